//! Reading a manifest as a stream: an item at a time, in bounded memory, whatever its lines look like.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::archives::printable;
use crate::model::{Failure, Kind};

use super::{Item, LossInfo, SCHEMA_VERSION, SnapshotInfo, Text, Totals};

/// What stands in front of a manifest's inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The rules that the archive follows.
    pub form: String,
    /// The name of the pack's folder.
    pub name: String,
    /// What the snapshot says of itself.
    pub snapshot: SnapshotInfo,
    /// Of a pack of parts: their paths.
    pub paths: Option<Vec<Text>>,
}

impl Head {
    /// Of a pack of parts: their paths, made printable.
    #[must_use]
    pub fn printable_paths(&self) -> Option<Vec<String>> {
        self.paths.as_ref().map(|paths| paths.iter().map(|path| printable(path.bytes())).collect())
    }
}

/// What stands behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// What the manifest says of the sums over its inventory.
    pub totals: Totals,
    /// What stock tools do not get out of the pack.
    pub losses: Vec<LossInfo>,
}

/// A piece of a manifest, in the order in which it comes.
#[derive(Debug)]
pub enum Piece {
    /// What stands in front, once.
    Head(Box<Head>),
    /// The next item of the inventory.
    Item(Box<Item>),
    /// What stands behind, once.
    Tail(Tail),
}

/// What can be wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Its version is another.
    #[error("manifest.json has schema_version {0}; this version of Larder reads {SCHEMA_VERSION}")]
    Version(String),
    /// The archive follows rules that nobody here knows.
    #[error(
        "manifest.json says that the archive follows the rules {0}; this version of Larder knows tar-v1, zip-v1 and dir-v1"
    )]
    Form(String),
    /// It is none.
    #[error("manifest.json makes no sense: {0}")]
    Malformed(String),
    /// It cannot be read.
    #[error("manifest.json cannot be read: {0}")]
    Read(#[source] io::Error),
}

impl Failure for ManifestError {
    fn kind(&self) -> Kind {
        match self {
            Self::Version(_) | Self::Form(_) => Kind::Newer,
            Self::Malformed(_) => Kind::Damage,
            Self::Read(_) => Kind::Failed,
        }
    }
}

/// Reads a manifest to its end, a piece at a time: one head, items, one tail.
///
/// # Errors
/// If it is no manifest of a version that is known, or the first error of `take`.
pub fn read_manifest<E: From<ManifestError>>(
    from: impl Read,
    take: &mut dyn FnMut(Piece) -> Result<(), E>,
) -> Result<(), E> {
    let left = Cell::new(PIECE_MAX);
    let desk = RefCell::new(Desk { take, stopped: None, left: &left });
    let bounded = Bounded { from, left: &left };
    let mut json = serde_json::Deserializer::from_reader(io::BufReader::with_capacity(64 << 10, bounded));
    let read = Whole(&desk).deserialize(&mut json).and_then(|()| json.end());
    read.map_err(|error| match desk.into_inner().stopped {
        Some(Stop::Taker(e)) => e,
        Some(Stop::Version(version)) => ManifestError::Version(version).into(),
        None if error.is_io() && error.io_error_kind() == Some(io::ErrorKind::InvalidData) => {
            ManifestError::Malformed(error.to_string()).into()
        }
        None if error.is_io() => ManifestError::Read(error.into()).into(),
        None => ManifestError::Malformed(error.to_string()).into(),
    })
}

/// Bytes that one piece of a manifest may have: what it says is held, and an item with millions of holes is long.
const PIECE_MAX: u64 = 256 << 20;

/// Reads no more for one piece than that.
struct Bounded<'a, R> {
    from: R,
    left: &'a Cell<u64>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.from.read(buffer)?;
        let left = self.left.get().checked_sub(len as u64);
        self.left.set(
            left.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a piece of it is longer than any can be"))?,
        );
        Ok(len)
    }
}

/// Why reading stopped, where serde's own errors cannot say it.
enum Stop<E> {
    Taker(E),
    Version(String),
}

/// Where pieces go.
struct Desk<'a, E> {
    take: &'a mut dyn FnMut(Piece) -> Result<(), E>,
    stopped: Option<Stop<E>>,
    left: &'a Cell<u64>,
}

impl<E> Desk<'_, E> {
    fn give<S: serde::de::Error>(&mut self, piece: Piece) -> Result<(), S> {
        self.left.set(PIECE_MAX);
        (self.take)(piece).map_err(|e| {
            self.stopped = Some(Stop::Taker(e));
            S::custom("stopped")
        })
    }
}

struct Whole<'a, 'b, E>(&'a RefCell<Desk<'b, E>>);

impl<'de, E> DeserializeSeed<'de> for Whole<'_, '_, E> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

/// Takes the value of a member that may stand there once.
fn once<'de, M: MapAccess<'de>, T: serde::Deserialize<'de>>(
    map: &mut M,
    slot: &mut Option<T>,
    name: &'static str,
) -> Result<(), M::Error> {
    if slot.replace(map.next_value()?).is_some() {
        return Err(M::Error::duplicate_field(name));
    }
    Ok(())
}

impl<'de, E> Visitor<'de> for Whole<'_, '_, E> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a manifest")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let (mut form, mut name, mut snapshot, mut paths) = (None, None, None, None);
        let (mut totals, mut losses, mut version) = (None, None, None::<serde_json::Value>);
        let (mut head_given, missing) = (false, M::Error::missing_field);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "schema_version" => {
                    once(&mut map, &mut version, "schema_version")?;
                    if let Some(other) = version.as_ref().filter(|v| **v != SCHEMA_VERSION) {
                        self.0.borrow_mut().stopped = Some(Stop::Version(other.to_string()));
                        return Err(M::Error::custom("another version"));
                    }
                }
                // Nothing is believed of a manifest whose version is not known yet.
                _ if version.is_none() => return Err(M::Error::custom("schema_version does not stand first")),
                "form" | "name" | "snapshot" | "paths" | "inventory" if head_given => {
                    return Err(M::Error::custom(format!("{key} stands behind the inventory")));
                }
                "form" => once(&mut map, &mut form, "form")?,
                "name" => once(&mut map, &mut name, "name")?,
                "snapshot" => once(&mut map, &mut snapshot, "snapshot")?,
                "paths" => once(&mut map, &mut paths, "paths")?,
                "totals" => once(&mut map, &mut totals, "totals")?,
                "losses" => once(&mut map, &mut losses, "losses")?,
                "inventory" => {
                    head_given = true;
                    let head = Head {
                        form: form.take().ok_or_else(|| missing("form"))?,
                        name: name.take().ok_or_else(|| missing("name"))?,
                        snapshot: snapshot.take().ok_or_else(|| missing("snapshot"))?,
                        paths: paths.take(),
                    };
                    self.0.borrow_mut().give(Piece::Head(Box::new(head)))?;
                    map.next_value_seed(Items(self.0))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if !head_given {
            return Err(missing("inventory"));
        }
        let totals = totals.ok_or_else(|| missing("totals"))?;
        let losses = losses.ok_or_else(|| missing("losses"))?;
        self.0.borrow_mut().give(Piece::Tail(Tail { totals, losses }))
    }
}

struct Items<'a, 'b, E>(&'a RefCell<Desk<'b, E>>);

impl<'de, E> DeserializeSeed<'de> for Items<'_, '_, E> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, E> Visitor<'de> for Items<'_, '_, E> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of items")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<(), S::Error> {
        while let Some(item) = items.next_element()? {
            self.0.borrow_mut().give(Piece::Item(item))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNAPSHOT: &str = r#"{"id":"00","dataset":"d","sequence":1,"arrival":"5","kind":"manual","tree":"","files":0,"folders":0,
        "others":0,"bytes":0,"unreadable":0,"changed":0,"client_time":"5","host":"","user":"","program":"","sources":[],
        "labels":{},"references":[],"immutable":false}"#;
    const TOTALS: &str = r#""totals":{"items":0,"files":0,"folders":0,"others":0,"bytes":0},"losses":[]"#;

    fn read(text: &str) -> Result<(Head, Vec<Item>), ManifestError> {
        let (mut head, mut items, mut tails) = (None, Vec::new(), 0);
        read_manifest::<ManifestError>(text.as_bytes(), &mut |piece| {
            match piece {
                Piece::Head(found) => head = Some(*found),
                Piece::Item(item) => items.push(*item),
                Piece::Tail(_) => tails += 1,
            }
            Ok(())
        })?;
        assert_eq!(tails, 1);
        Ok((head.unwrap(), items))
    }

    fn with(items: &str) -> String {
        format!(
            r#"{{"schema_version":1,"form":"tar-v1","name":"n","novel":{{"a":[1]}},"snapshot":{SNAPSHOT},"inventory":[{items}],{TOTALS}}}"#
        )
    }

    #[test]
    fn items_come_one_by_one_and_what_is_novel_is_passed_over() {
        let (head, items) = read(&with(
            r#"{"path":"","kind":"folder","mode":"0755","uid":0,"gid":0,"mtime":"1","novel":1},
               {"path":{"hex":"e9"},"kind":"fifo","mode":"0600","uid":0,"gid":0,"mtime":"-0.000000001","member":null}"#,
        ))
        .unwrap();
        assert_eq!((head.form.as_str(), items.len()), ("tar-v1", 2));
        assert_eq!((items[0].member.clone(), items[1].member.clone()), (None, Some(None)));
        assert_eq!(items[1].path.bytes(), b"\xe9");
    }

    #[test]
    fn what_is_refused() {
        let version = |text: &str| matches!(read(text), Err(ManifestError::Version(_)));
        assert!(version(r#"{"schema_version":2,"form":7}"#) && version(r#"{"schema_version":"1"}"#));
        for text in [
            "",
            "[]",
            "{}",
            r#"{"form":"tar-v1","schema_version":1}"#,
            &with("1"),
            &with(r#"{"path":"a"}"#),
            &with("").replace(r#""name":"n""#, r#""name":"n","name":"m""#),
            &with("").replace(r#""inventory":[]"#, r#""inventory":[],"inventory":[]"#),
            &with("").replace(r#""inventory":[],"#, ""),
            &format!("{}x", with("")),
            &with("")[..with("").len() - 1],
        ] {
            assert!(matches!(read(text), Err(ManifestError::Malformed(_))), "{text}");
        }
        let endless = b"{\"schema_version\":1,\"form\":\"".chain(io::repeat(b'x'));
        assert!(read_manifest::<ManifestError>(endless, &mut |_| Ok(())).is_err());
        let stopped = read_manifest::<ManifestError>(
            with(r#"{"path":"","kind":"folder","mode":"0755","uid":0,"gid":0,"mtime":"1"}"#).as_bytes(),
            &mut |_| Err(ManifestError::Version("mine".to_owned())),
        );
        assert!(matches!(stopped, Err(ManifestError::Version(text)) if text == "mine"));
    }
}
