//! Paths as people write them in a file: `~` and `$HOME` in front, relative ones counted from the file's folder.

use std::path::{Path, PathBuf};

/// The path that is meant. `base` is the file's folder.
///
/// Nothing but the front is looked at: a `$` elsewhere is a character like any other.
pub(super) fn expand(text: &str, base: &Path, home: Option<&Path>) -> Result<PathBuf, String> {
    let below_home = ["~", "$HOME", "${HOME}"].iter().find_map(|front| text.strip_prefix(front));
    match (below_home.filter(|rest| rest.is_empty() || rest.starts_with('/')), home) {
        (Some(rest), Some(home)) => Ok(home.join(rest.trim_start_matches('/'))),
        (Some(_), None) => Err(format!("there is no home folder that {text:?} could be in")),
        (None, _) if text.starts_with('~') => Err(format!("{text:?}: the homes of other users are not looked up")),
        (None, _) if text.is_empty() => Err("a path is empty".to_owned()),
        (None, _) => Ok(base.join(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fronts() {
        let expand = |text| expand(text, Path::new("/etc/larder"), Some(Path::new("/home/eve")));
        let cases = [
            ("~", "/home/eve"),
            ("~/work", "/home/eve/work"),
            ("$HOME/work", "/home/eve/work"),
            ("${HOME}", "/home/eve"),
            ("$HOMER/x", "/etc/larder/$HOMER/x"),
            ("a/~", "/etc/larder/a/~"),
            ("../b", "/etc/larder/../b"),
            ("/srv", "/srv"),
        ];
        for (text, path) in cases {
            assert_eq!(expand(text).as_deref(), Ok(Path::new(path)), "{text}");
        }
        assert!(expand("~eve/x").is_err() && expand("").is_err());
        assert!(super::expand("~", Path::new("/"), None).is_err());
    }
}
