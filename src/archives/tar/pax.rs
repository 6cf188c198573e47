//! PAX records: what an extended header says of the member behind it, or of all that follow.

use std::collections::BTreeMap;

use crate::model::Timestamp;

use super::libarchive::{from_base64, from_url};

/// Records that are understood. Others are passed over.
const KNOWN: [&[u8]; 23] = [
    b"path",
    b"linkpath",
    b"size",
    b"uid",
    b"gid",
    b"uname",
    b"gname",
    b"mtime",
    b"hdrcharset",
    b"SCHILY.acl.access",
    b"SCHILY.acl.default",
    b"SCHILY.acl.ace",
    b"SCHILY.devmajor",
    b"SCHILY.devminor",
    b"LIBARCHIVE.creationtime",
    b"RHT.security.selinux",
    b"GNU.sparse.major",
    b"GNU.sparse.minor",
    b"GNU.sparse.name",
    b"GNU.sparse.realsize",
    b"GNU.sparse.size",
    b"GNU.sparse.map",
    b"GNU.sparse.numblocks",
];
/// Those that make no sense for more than one member.
const LOCAL: [&[u8]; 3] = [b"path", b"linkpath", b"size"];

/// A name and value.
type Pair = (Box<[u8]>, Box<[u8]>);

/// Records by their names; the last of several counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Pax {
    known: BTreeMap<&'static [u8], Box<[u8]>>,
    /// Attributes, as they come: of several with one name the last counts.
    xattrs: Vec<Pair>,
    /// The same as libarchive writes them.
    encoded: Vec<Pair>,
    /// Offsets and lengths of stretches of data, as GNU's sparse format 0.0 has them.
    pub(super) stretches: Vec<(u64, u64)>,
    /// An offset whose length has not come.
    offset: Option<u64>,
}

impl Pax {
    /// Adds what a header says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn add(&mut self, mut bytes: &[u8], is_global: bool) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or("an extended header has a record that makes no sense")?;
            self.put(key, value, is_global)?;
            bytes = rest;
        }
        match self.offset {
            None => Ok(()),
            Some(_) => Err("a stretch of data has no length"),
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8], is_global: bool) -> Result<(), &'static str> {
        if is_global && (LOCAL.contains(&key) || key.starts_with(b"GNU.sparse.")) {
            return Err("a global header gives all members one name, size or map of holes");
        }
        if let Some(known) = KNOWN.iter().find(|known| **known == key) {
            self.known.insert(known, value.into());
        } else if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.xattrs.push((decode_key(name), value.into()));
        } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let name = from_url(name).ok_or("the name of an attribute is not encoded as it should be")?;
            let value = from_base64(value).ok_or("the value of an attribute is not encoded as it should be")?;
            self.encoded.push((name.into(), value.into()));
        } else if key == b"GNU.sparse.offset" {
            if self.offset.replace(number(value).ok_or(BAD_MAP)?).is_some() {
                return Err(BAD_MAP);
            }
        } else if key == b"GNU.sparse.numbytes" {
            let offset = self.offset.take().ok_or(BAD_MAP)?;
            self.stretches.push((offset, number(value).ok_or(BAD_MAP)?));
        }
        Ok(())
    }

    /// A record, that of the member before that of all; an empty one takes away what others say.
    pub(super) fn get<'a>(&'a self, global: &'a Self, key: &str) -> Option<&'a [u8]> {
        let key = key.as_bytes();
        self.known.get(key).or_else(|| global.known.get(key)).map(|value| &**value)
    }

    /// All attributes but ACLs, ascending by name, each once.
    pub(super) fn xattrs(&self, global: &Self) -> Vec<Pair> {
        let mut all: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
        for (name, value) in [global, self].iter().flat_map(|pax| pax.encoded.iter().chain(&pax.xattrs)) {
            all.insert(name, value);
        }
        let mut xattrs: Vec<Pair> = all.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        if let Some(label) = self.get(global, "RHT.security.selinux").filter(|label| !label.is_empty()) {
            // The kernel ends it with a zero byte.
            let value = [label.strip_suffix(b"\0").unwrap_or(label), b"\0"].concat();
            put_xattr(&mut xattrs, b"security.selinux", value);
        }
        xattrs
    }
}

/// Adds an attribute at its place, if there is none of the name.
pub(super) fn put_xattr(xattrs: &mut Vec<Pair>, name: &[u8], value: Vec<u8>) {
    if let Err(at) = xattrs.binary_search_by(|(other, _)| (**other).cmp(name)) {
        xattrs.insert(at, (name.into(), value.into()));
    }
}

pub(super) const BAD_MAP: &str = "its map of holes makes no sense";

/// The first record, `length key=value\n` where the length counts itself, and what stands behind it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = bytes.iter().take(20).position(|b| *b == b' ')?;
    let len = usize::try_from(number(&bytes[..blank])?).ok()?;
    let body = bytes.get(blank + 1..len)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=').filter(|at| *at > 0)?;
    Some((&body[..equals], &body[equals + 1..], &bytes[len..]))
}

/// GNU tar writes `%3D` for an equals sign in a name, which would end it, and `%25` for the sign itself.
fn decode_key(name: &[u8]) -> Box<[u8]> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, behind @ ..] = rest {
        let (byte, behind) = match rest {
            [b'%', b'3', b'D', behind @ ..] => (b'=', behind),
            [b'%', b'2', b'5', behind @ ..] => (b'%', behind),
            _ => (*first, behind),
        };
        decoded.push(byte);
        rest = behind;
    }
    decoded.into()
}

/// Digits alone, no sign.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok()
}

/// Seconds with a fraction, the sign in front. What is finer than nanoseconds is rounded down.
pub(super) fn time(text: &[u8]) -> Option<Timestamp> {
    let (is_negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let point = text.iter().position(|b| *b == b'.');
    let (whole, fraction) = point.map_or((text, &b""[..]), |at| (&text[..at], &text[at + 1..]));
    if whole.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = i64::try_from(number(whole)?).ok()?;
    let nanos = (0..9).fold(0, |nanos, at| nanos * 10 + u32::from(fraction.get(at).map_or(0, |b| b - b'0')));
    let finer = fraction.iter().skip(9).any(|b| *b != b'0');
    match (is_negative, nanos + u32::from(is_negative && finer)) {
        (false, nanos) => Some(Timestamp { seconds, nanos }),
        (true, 0) => Some(Timestamp { seconds: -seconds, nanos: 0 }),
        (true, 1_000_000_000) => Some(Timestamp { seconds: -seconds - 1, nanos: 0 }),
        (true, nanos) => Some(Timestamp { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let mut pax = Pax::default();
        let xattr = b"24 SCHILY.xattr.a=b\0\n\xff=\n";
        pax.add(&[&b"12 path=a/b\n13 ctime=1.5\n12 path=c=d\n"[..], xattr].concat(), false).unwrap();
        assert_eq!(pax.get(&Pax::default(), "path"), Some(&b"c=d"[..]));
        assert_eq!(pax.xattrs(&Pax::default()), [((*b"a").into(), b"b\0\n\xff=".as_slice().into())]);
        for bad in [
            &b"12 path=a/c"[..],
            b"11 path=a/b\n",
            b"13 path=a/b\n",
            b"path=a\n",
            b" 3\n",
            b"5 =x\n",
            b"6 abc\n",
            b"99999999999999999999 a=b\n",
            b"1 a=b\n",
            b"0 a=b\n",
            b"28 GNU.sparse.offset=4 28 \n\n",
            b"22 GNU.sparse.offset=\n",
            b"24 GNU.sparse.numbytes=1\n",
            b"27 LIBARCHIVE.xattr.a=b=c=\n",
        ] {
            assert!(Pax::default().add(bad, false).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(Pax::default().add(b"12 path=a/b\n", true).is_err());
        assert_eq!(decode_key(b"user.a%3Db%25%4"), b"user.a=b%%4".as_slice().into());
    }

    #[test]
    fn what_stands_nearer_counts() {
        let of = |text: &[u8], is_global| {
            let mut pax = Pax::default();
            pax.add(text, is_global).unwrap();
            pax
        };
        let global = of(b"11 uname=x\n20 SCHILY.xattr.a=1\n20 SCHILY.xattr.b=1\n", true);
        let local =
            of(b"10 uname=\n27 LIBARCHIVE.xattr.%61=Mg\n25 LIBARCHIVE.xattr.c=Mw\n20 SCHILY.xattr.c=4\n", false);
        assert_eq!(local.get(&global, "uname"), Some(&b""[..]));
        assert_eq!(Pax::default().get(&global, "uname"), Some(&b"x"[..]));
        let pair = |n: &[u8], v: &[u8]| (n.into(), v.into());
        assert_eq!(local.xattrs(&global), [pair(b"a", b"2"), pair(b"b", b"1"), pair(b"c", b"4")]);
    }

    #[test]
    fn times() {
        for (text, wanted) in [
            (&b"1"[..], Some((1, 0))),
            (b"1.5", Some((1, 500_000_000))),
            (b"1.0000000019", Some((1, 1))),
            (b"-1", Some((-1, 0))),
            (b"-0.000000001", Some((-1, 999_999_999))),
            (b"-1.5", Some((-2, 500_000_000))),
            (b"-1.9999999999", Some((-2, 0))),
            (b"1.", Some((1, 0))),
            (b"", None),
            (b".5", None),
            (b"1e9", None),
            (b"--1", None),
            (b"+1", None),
            (b"1.5.5", None),
            (b"99999999999999999999", None),
        ] {
            let got = time(text).map(|t| (t.seconds, t.nanos));
            assert_eq!(got, wanted, "{}", String::from_utf8_lossy(text));
        }
    }
}
