//! `mount -t fuse.larder` and /etc/fstab: called as mount.fuse.larder, the program takes the arguments that mount(8) gives to
//! its helpers and does what `larder mount --background` does.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Options behind -o that are flags of ours.
const OURS: [(&[u8], &str); 6] = [
    (b"identity", "--identity"),
    (b"config", "--config"),
    (b"snapshot", "--snapshot"),
    (b"cache_size", "--cache-size"),
    (b"deadline", "--deadline"),
    (b"log", "--log"),
];

/// The arguments as `larder` takes them, whatever the name it was called by.
pub(super) fn arguments(args: Vec<OsString>) -> Vec<OsString> {
    let name = args.first().and_then(|name| Path::new(name).file_name());
    match name.map(OsStr::as_bytes) {
        Some(b"mount.fuse.larder" | b"mount.larder") => translated(args),
        _ => args,
    }
}

/// From `NAME SOURCE MOUNTPOINT [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]`.
fn translated(args: Vec<OsString>) -> Vec<OsString> {
    let mut ours: Vec<OsString> = ["larder", "mount", "--background", "--quiet"].map(OsString::from).into();
    let (mut places, mut rest) = (Vec::new(), args.into_iter().skip(1));
    while let Some(word) = rest.next() {
        match word.as_bytes() {
            b"-o" => options(&rest.next().unwrap_or_default(), &mut ours),
            b"-t" | b"-N" => drop(rest.next()),
            // Nothing is written to mtab, and unknown options are not passed over.
            b"-n" | b"-s" => {}
            [b'-', ..] => ours.push(word),
            _ => places.push(word),
        }
    }
    ours.push("--".into());
    ours.extend(places);
    ours
}

fn options(text: &OsStr, ours: &mut Vec<OsString>) {
    let mut others: Vec<&[u8]> = Vec::new();
    for option in text.as_bytes().split(|b| *b == b',') {
        let at = option.iter().position(|b| *b == b'=').unwrap_or(option.len());
        let (name, value) = option.split_at(at);
        let spelled: Vec<u8> = name.iter().map(|b| if *b == b'-' { b'_' } else { *b }).collect();
        match OURS.iter().find(|(known, _)| *known == spelled && !value.is_empty()) {
            Some((_, flag)) => {
                ours.push(flag.into());
                ours.push(OsString::from_vec(value[1..].to_vec()));
            }
            // Said of every file system that is not said to be read-only.
            None if name == b"rw" => {}
            None => others.push(option),
        }
    }
    ours.push("-o".into());
    ours.push(OsString::from_vec(others.join(&b',')));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(text: &str) -> String {
        let args = arguments(text.split(' ').map(OsString::from).collect());
        args.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn what_mount_gives_to_its_helpers() {
        assert_eq!(translated("/bin/larder mount -o ro /mnt"), "/bin/larder mount -o ro /mnt");
        assert_eq!(
            translated(
                "/sbin/mount.fuse.larder /srv/store#home /mnt -n -o rw,identity=/root/key,noexec -t fuse.larder"
            ),
            "larder mount --background --quiet --identity /root/key -o noexec -- /srv/store#home /mnt"
        );
        assert_eq!(
            translated("mount.larder -v -o log=/l,snapshot=home~1,identity a b"),
            "larder mount --background --quiet -v --log /l --snapshot home~1 -o identity -- a b"
        );
    }
}
