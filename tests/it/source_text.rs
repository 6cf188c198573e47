//! The text of a Rust source, as the rules of tidy.rs look at it: without comments and literals, and the paths that it names.

/// A file of src/.
#[derive(Clone)]
pub(crate) struct Source {
    /// Below src/.
    pub(crate) path: String,
    /// Its text, comments and literals blanked out.
    pub(crate) code: String,
    /// Its module as a path from the crate's root.
    module: Vec<String>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let stem = path.trim_end_matches(".rs");
        let stem = stem.strip_suffix("/mod").unwrap_or(stem);
        let module =
            if stem == "lib" || stem == "main" { Vec::new() } else { stem.split('/').map(str::to_owned).collect() };
        Self { path: path.to_owned(), code: code_only(text), module }
    }

    pub(crate) fn module(&self) -> &[String] {
        &self.module
    }

    pub(crate) fn layer(&self) -> Option<&str> {
        self.module.first().map(String::as_str)
    }

    pub(crate) fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || (place.ends_with('/') && self.path.starts_with(place)))
    }

    pub(crate) fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// Where a word stands by itself.
    pub(crate) fn words(&self, word: &str) -> Vec<usize> {
        let alone = |at: usize| {
            let before = self.code[..at].chars().next_back().is_some_and(is_word);
            let after = self.code[at + word.len()..].chars().next().is_some_and(is_word);
            !before && (!after || word.ends_with('!'))
        };
        self.code.match_indices(word).map(|(at, _)| at).filter(|at| alone(*at)).collect()
    }

    /// Paths inside the crate that the file names, from the crate's root, each with its line.
    pub(crate) fn used_paths(&self) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        for at in self.words("crate") {
            if let Some(rest) = self.code[at + 5..].strip_prefix("::") {
                found.extend(branches(rest).into_iter().map(|path| (self.line(at), path)));
            }
        }
        for at in self.words("super") {
            if self.code[..at].ends_with("super::") {
                continue;
            }
            let (mut rest, mut up) = (&self.code[at..], 0);
            while let Some(below) = rest.strip_prefix("super::") {
                (rest, up) = (below, up + 1);
            }
            // Inside `mod tests { … }` the first `super` is the file itself.
            let Some(up) = usize::checked_sub(up, self.inline_depth(at)) else { continue };
            if let Some(left) = self.module.len().checked_sub(up) {
                let whole = |path: Vec<String>| [&self.module[..left], &path[..]].concat();
                found.extend(branches(rest).into_iter().map(|path| (self.line(at), whole(path))));
            }
        }
        found
    }

    /// How many inline modules a place lies in.
    fn inline_depth(&self, at: usize) -> usize {
        let holds = |start: usize| {
            let rest = &self.code[start + 3..at];
            let Some((name, body)) = rest.split_once('{') else { return false };
            let inside = |open: usize, c: char| match c {
                '{' => Some(open + 1),
                '}' => open.checked_sub(1).filter(|open| *open > 0),
                _ => Some(open),
            };
            name.trim().chars().all(is_word) && body.chars().try_fold(1, inside).is_some()
        };
        self.words("mod").into_iter().filter(|start| *start < at && holds(*start)).count()
    }

    /// Names that a mod.rs exports, and the file of its folder that each comes from.
    pub(crate) fn exports(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for at in self.words("use") {
            let line_start = self.code[..at].rfind(['\n', ';']).map_or(0, |i| i + 1);
            if self.code[line_start..at].trim_start().starts_with("pub") {
                for path in branches(self.code[at + 3..].trim_start()) {
                    if let [from, .., name] = &path[..] {
                        found.push((name.clone(), from.clone()));
                    }
                }
            }
        }
        found
    }
}

/// The paths of a use tree: `a::{b, c::D}` gives `a::b` and `a::c::D`.
fn branches(text: &str) -> Vec<Vec<String>> {
    let mut path = Vec::new();
    let mut rest = text.trim_start();
    loop {
        let word: String = rest.chars().take_while(|c| is_word(*c)).collect();
        if word.is_empty() {
            break;
        }
        rest = &rest[word.len()..];
        path.push(word);
        match rest.strip_prefix("::") {
            Some(below) => rest = below,
            None => return vec![path],
        }
    }
    let Some(group) = rest.strip_prefix('{') else { return vec![path] };
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    let whole = |part| match part {
        "self" => vec![path.clone()],
        part => branches(part).into_iter().map(|below| [&path[..], &below[..]].concat()).collect(),
    };
    parts.flat_map(whole).collect()
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Rust text with comments, strings and characters blanked out; lines stay where they are.
pub(crate) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with('"') {
            quoted(rest)
        } else if rest.starts_with("r\"") || rest.starts_with("r#") {
            let hashes: String = rest[1..].chars().take_while(|c| *c == '#').collect();
            let close = format!("\"{hashes}");
            match rest[1 + hashes.len()..].strip_prefix('"').and_then(|body| body.find(&close)) {
                Some(end) => 2 + hashes.len() + end + close.len(),
                None => 0,
            }
        } else if let Some(body) = rest.strip_prefix('\'') {
            // A character, unless it is a lifetime.
            let one = body.chars().next().map_or(0, char::len_utf8);
            match () {
                () if body.starts_with('\\') => body[2..].find('\'').map_or(0, |end| end + 4),
                () if body[one..].starts_with('\'') => one + 2,
                () => 0,
            }
        } else {
            0
        };
        if len == 0 {
            at += rest.chars().next().map_or(1, char::len_utf8);
        } else {
            out[at..at + len].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
            at += len;
        }
    }
    String::from_utf8(out).expect("whole characters are blanked out")
}

/// Length of the string literal at the front of `text`.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}
