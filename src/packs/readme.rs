//! `README.txt`: how to open a pack without Larder. A part of the forms: its text stays as it is.

use super::form::Form;

/// The text for packs of a form.
pub(super) fn readme(form: Form) -> String {
    let how = match form {
        Form::Tar => TAR,
        Form::Zip => ZIP,
        Form::Dir => DIR,
    };
    format!("{FRONT}{how}{BEHIND}")
}

const FRONT: &str = "\
A snapshot of files
===================

This folder holds a snapshot as it was taken from a Larder store. No special program is needed to
open, check or read it.

  manifest.json      when, where and by whom the snapshot was taken, and a list of all that is in it
  content/           the files
  checksums.sha256   the SHA-256 of every other file here

To check that every file is as it was written, run in this folder:

  sha256sum -c checksums.sha256

";

const TAR: &str = "\
To unpack it (as root, to get owners and devices back; xattrs and ACLs come back too):

  tar --acls --xattrs --xattrs-include='*' -xpf PACK.tar
  zstd -dc PACK.tar.zst | tar --acls --xattrs --xattrs-include='*' -xpf -
  gzip -dc PACK.tar.gz  | tar --acls --xattrs --xattrs-include='*' -xpf -
  age -d -i KEY PACK.tar.zst.age | zstd -dc | tar --acls --xattrs --xattrs-include='*' -xpf -

GNU tar, as called above, gives all of it back. Other programs that know POSIX.1-2001 (pax) give
names and contents; some do not know owners, attributes or the holes in files (GNU's sparse format
1.0), or take names for one that differ only in how their accents are written.
";

const ZIP: &str = "\
To unpack it:

  unzip PACK.zip
  age -d -i KEY PACK.zip.age > PACK.zip

PACK.zip.enc is a zip under a password: 16 bytes of salt, 12 bytes of nonce, then AES-256-GCM
ciphertext with its tag of 16 bytes behind it. The key is PBKDF2-HMAC-SHA256 of the password and the
salt, 480000 rounds, 32 bytes.

A zip does not carry owners, extended attributes, ACLs, holes, hard links, devices, pipes and times
below a second: the manifest has them. In names of members the sign U+FFFD and two hexadecimal digits
stand for a byte that many systems could not take as it is; the manifest has the true names.
";

const DIR: &str = "\
The files in content/ are as they were. What the file system that they lie on could not hold is in
the manifest.
";

const BEHIND: &str = "
manifest.json is JSON, each item of the inventory on a line of its own. Times are seconds since 1970,
in UTC. Bytes that are not UTF-8 are written as {\"hex\": \"...\"}. blake3 is the BLAKE3 digest of a
file's content, link the first of several names of one file, holes the offset and length of each hole.
Under losses it says what tools that do not read the manifest do not get out of this pack.
";
