//! What stands at the end of a Parquet file, looked at ahead of the library: it makes room for what is told, goes into what is nested as deep as that
//! is, and asserts what a schema should be.

use super::thrift::{Reader, Sort};

/// Bytes of it. Of a file with a million values it has some thousands.
const MAX_BYTES: usize = 256 << 10;
/// Elements of a schema: the library holds a thousand values of each column.
const MAX_ELEMENTS: usize = 1000;
/// Groups in groups.
const MAX_DEPTH: usize = 8;
/// What is behind it: its length, and a mark.
const TAIL: usize = 8;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// The library may read it.
    Sound,
    /// It holds together, and is larger than is worth it or has what JSON has no sort for.
    Beyond,
    /// It does not hold together.
    Broken,
}

/// An element of a schema.
#[derive(Debug, Clone, Copy, Default)]
struct Element {
    children: Option<i64>,
    has_type: bool,
    repetition: Option<i64>,
    /// What it is annotated as, in the older and the newer way.
    is_list: bool,
    is_map: bool,
}

/// Repetition of what is there any number of times.
const REPEATED: i64 = 2;

/// Looks at the end of a file.
pub(super) fn look(bytes: &[u8]) -> Look {
    let Some((rest, tail)) = bytes.split_last_chunk::<TAIL>() else { return Look::Broken };
    let [a, b, c, d, mark @ ..] = tail;
    let len = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
    if mark != b"PAR1" || len > rest.len() {
        return Look::Broken;
    }
    if len > MAX_BYTES {
        return Look::Beyond;
    }
    let Some(schema) = schema(&rest[rest.len() - len..]) else { return Look::Broken };
    match schema {
        None => Look::Beyond,
        Some(elements) => judge(&elements),
    }
}

/// The elements of the schema; nothing inside if there are too many.
#[allow(clippy::option_option, reason = "broken, too many, some")]
fn schema(footer: &[u8]) -> Option<Option<Vec<Element>>> {
    let (mut reader, mut found, mut many) = (Reader::new(footer), None, false);
    reader.fields(0, &mut |reader, field, sort| match (field, sort) {
        (2, Sort::LIST) if found.is_none() => {
            let (len, sort) = reader.list()?;
            let mut elements = Vec::new();
            for _ in 0..len {
                let next = if sort == Sort::STRUCT { element(reader)? } else { return None };
                many |= elements.len() == MAX_ELEMENTS;
                if !many {
                    elements.push(next);
                }
            }
            found = Some(elements);
            Some(())
        }
        (2, _) => None,
        _ => reader.skip(sort, 1),
    })?;
    let found = found?;
    Some(if many { None } else { Some(found) })
}

fn element(reader: &mut Reader) -> Option<Element> {
    let mut element = Element::default();
    reader.fields(1, &mut |reader, field, sort| {
        match (field, sort) {
            (1, Sort::INT) => {
                reader.int()?;
                element.has_type = true;
            }
            (3, Sort::INT) => element.repetition = Some(reader.int()?),
            (5, Sort::INT) => element.children = Some(reader.int()?),
            (6, Sort::INT) => match reader.int()? {
                1 | 2 => element.is_map = true,
                3 => element.is_list = true,
                _ => {}
            },
            // A union: one field, whose number says which it is.
            (10, Sort::STRUCT) => reader.fields(2, &mut |reader, field, sort| {
                element.is_map |= field == 2;
                element.is_list |= field == 3;
                reader.skip(sort, 3)
            })?,
            _ => reader.skip(sort, 2)?,
        }
        Some(())
    })?;
    Some(element)
}

/// Whether a schema is a tree, and one that the library takes.
fn judge(elements: &[Element]) -> Look {
    // Of each open group: how many children are to come, and whether it is a list.
    let mut open: Vec<(i64, bool)> = Vec::new();
    let mut look = Look::Sound;
    for (at, element) in elements.iter().enumerate() {
        let parent = open.last_mut();
        if parent.is_some() == (at == 0) {
            return Look::Broken;
        }
        let children = element.children.unwrap_or(0);
        let in_list = parent.is_some_and(|(left, is_list)| {
            *left -= 1;
            *is_list
        });
        let is_root = at == 0;
        let is_leaf = children == 0;
        let known = element.repetition.is_some_and(|repetition| (0..=REPEATED).contains(&repetition));
        let fits = usize::try_from(children).is_ok_and(|children| children < elements.len() - at)
            && (is_root || known)
            && (is_leaf == element.has_type)
            && !(is_root && is_leaf)
            && (!in_list || element.repetition == Some(REPEATED))
            && (is_leaf || !element.is_list || children == 1);
        if !fits {
            return Look::Broken;
        }
        if element.is_map || (element.is_list && is_leaf) || open.len() > MAX_DEPTH {
            look = Look::Beyond;
        }
        if !is_leaf {
            open.push((children, element.is_list && !is_root));
        }
        while open.pop_if(|(left, _)| *left == 0).is_some() {}
    }
    if open.is_empty() && !elements.is_empty() { look } else { Look::Broken }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A file with this schema, its elements as fields: each a number, and a small value.
    pub(in super::super) fn file(elements: &[&[(u8, i8)]]) -> Vec<u8> {
        let zigzag = |n: i8| (n.cast_unsigned() << 1) ^ if n < 0 { 0xff } else { 0 };
        let mut footer = vec![0x15, 2, 0x19, 0xfc];
        let mut len = elements.len();
        while len >= 0x80 {
            footer.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
            len >>= 7;
        }
        footer.push(u8::try_from(len).unwrap());
        for element in elements {
            let mut last = 0;
            for (field, value) in *element {
                footer.extend([(field - last) << 4 | Sort::INT, zigzag(*value)]);
                last = *field;
            }
            footer.push(0);
        }
        footer.push(0);
        let len = u32::try_from(footer.len()).unwrap().to_le_bytes();
        [&b"PAR1"[..], &footer, &len, b"PAR1"].concat()
    }

    pub(in super::super) const LEAF: &[(u8, i8)] = &[(1, 2), (3, 1)];

    #[test]
    fn schemas() {
        let root = |children| [(5, children)];
        let group = [(3, 1), (5, 1)];
        let list = [(3, 1), (5, 1), (6, 3)];
        let repeated = [(1, 2), (3, 2)];
        for (elements, wanted) in [
            (&[&root(1)[..], LEAF][..], Look::Sound),
            (&[&root(2)[..], &group, LEAF, LEAF], Look::Sound),
            (&[&root(1)[..], &list, &repeated], Look::Sound),
            (&[&root(1)[..], &[(3, 1), (5, 1), (6, 1)], LEAF], Look::Beyond),
            // Not a tree, or not of the kind that the library asserts.
            (&[], Look::Broken),
            (&[&root(0)[..]], Look::Broken),
            (&[&root(2)[..], LEAF], Look::Broken),
            (&[&root(1)[..], LEAF, LEAF], Look::Broken),
            (&[&root(-1)[..], LEAF], Look::Broken),
            (&[&root(1)[..], &[(3, 1)]], Look::Broken),
            (&[&root(1)[..], &[(1, 2)]], Look::Broken),
            (&[&root(1)[..], &[(1, 2), (3, 7)]], Look::Broken),
            (&[&root(1)[..], &list, LEAF], Look::Broken),
            (&[&root(1)[..], &[(3, 1), (5, 2), (6, 3)], &repeated, &repeated], Look::Broken),
        ] {
            assert_eq!(look(&file(elements)), wanted, "{elements:?}");
        }
        let one = root(1);
        let deep = [&[&one[..]][..], &[&group[..]; 12], &[LEAF]].concat();
        assert_eq!(look(&file(&deep)), Look::Beyond);
    }

    #[test]
    fn what_is_cut_or_too_large() {
        let whole = file(&[&[(5, 1)], LEAF]);
        for len in 0..whole.len() {
            assert_eq!(look(&whole[..len]), Look::Broken, "{len}");
        }
        for at in 4..whole.len() - 8 {
            let mut changed = whole.clone();
            changed[at] = 0x7f;
            let _ = look(&changed);
        }
        let mut large = vec![0; MAX_BYTES + 1];
        large.extend(u32::try_from(MAX_BYTES + 1).unwrap().to_le_bytes());
        large.extend(b"PAR1");
        assert_eq!(look(&large), Look::Beyond);
    }
}
