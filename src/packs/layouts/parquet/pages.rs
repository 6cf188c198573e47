//! The headers of a column's pages, read ahead of the library: it believes what they say of sizes.
//!
//! They are structs in Thrift's compact protocol. Of their fields three matter; the others are passed over.

/// Structs in structs in lists.
const MAX_DEPTH: u32 = 16;

/// What a page's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Page {
    /// Bytes of the header itself.
    pub(super) header: usize,
    /// Bytes that follow it.
    pub(super) stored: usize,
    /// Bytes that these become.
    pub(super) plain: usize,
    /// Values in it.
    pub(super) values: usize,
    /// Whether other pages refer to these values.
    pub(super) is_dictionary: bool,
}

/// The pages of a column; nothing if they do not fit into it.
pub(super) fn pages(mut column: &[u8]) -> Option<Vec<Page>> {
    let mut pages = Vec::new();
    while !column.is_empty() {
        let page = page(column)?;
        column = column.get(page.header.checked_add(page.stored)?..)?;
        pages.push(page);
    }
    Some(pages)
}

fn page(bytes: &[u8]) -> Option<Page> {
    let mut reader = Reader { bytes, at: 0 };
    let (mut page, mut sizes) = (Page::default(), 0);
    reader.fields(0, &mut |reader, field, sort| {
        match field {
            2 | 3 if sort == Sort::INT => {
                let size = usize::try_from(reader.int()?).ok()?;
                *(if field == 2 { &mut page.plain } else { &mut page.stored }) = size;
                sizes |= field;
            }
            5 | 7 | 8 if sort == Sort::STRUCT => {
                page.is_dictionary |= field == 7;
                reader.fields(1, &mut |reader, field, sort| match (field, sort) {
                    (1, Sort::INT) => {
                        page.values = usize::try_from(reader.int()?).ok()?;
                        Some(())
                    }
                    _ => reader.skip(sort, 2),
                })?;
            }
            _ => reader.skip(sort, 1)?,
        }
        Some(())
    })?;
    page.header = reader.at;
    (sizes == 3).then_some(page)
}

/// How a value is written.
struct Sort;

impl Sort {
    const FALSE: u8 = 2;
    const BYTE: u8 = 3;
    const INT: u8 = 5;
    const LONG: u8 = 6;
    const DOUBLE: u8 = 7;
    const BINARY: u8 = 8;
    const SET: u8 = 10;
    const STRUCT: u8 = 12;
}

type Field<'a, 'b> = &'b mut dyn FnMut(&mut Reader<'a>, i64, u8) -> Option<()>;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn pass(&mut self, len: usize) -> Option<()> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len())?;
        self.at = end;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn int(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn fields(&mut self, depth: u32, take: Field<'a, '_>) -> Option<()> {
        let mut id: i64 = 0;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            id = match head >> 4 {
                0 => self.int()?,
                more => id.checked_add(i64::from(more))?,
            };
            if depth > MAX_DEPTH {
                return None;
            }
            take(self, id, head & 15)?;
        }
    }

    fn skip(&mut self, sort: u8, depth: u32) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match sort {
            1 | Sort::FALSE => Some(()),
            Sort::BYTE => self.pass(1),
            4..=Sort::LONG => self.varint().map(|_| ()),
            Sort::DOUBLE => self.pass(8),
            Sort::BINARY => {
                let len = usize::try_from(self.varint()?).ok()?;
                self.pass(len)
            }
            9 | Sort::SET => {
                let head = self.byte()?;
                let len = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                // Truth values take a byte each in a list.
                let sort = if head & 15 <= Sort::FALSE { Sort::BYTE } else { head & 15 };
                (0..len).try_for_each(|_| self.skip(sort, depth + 1))
            }
            Sort::STRUCT => self.fields(depth + 1, &mut |reader, _, sort| reader.skip(sort, depth + 1)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data page of 3 values, 20 bytes stored and 30 plain, with a string to be passed over.
    const HEADER: &[u8] = &[0x15, 0, 0x15, 60, 0x15, 40, 0x2c, 0x15, 6, 0x15, 0, 0x3c, 0x18, 2, b'a', b'b', 0, 0, 0];

    #[test]
    fn what_is_read() {
        let column = [HEADER, &[9; 20]].concat().repeat(2);
        let page = Page { header: HEADER.len(), stored: 20, plain: 30, values: 3, is_dictionary: false };
        assert_eq!(pages(&column), Some(vec![page, page]));
        assert_eq!(pages(&[]), Some(Vec::new()));
    }

    #[test]
    fn what_does_not_fit() {
        let whole = [HEADER, &[9; 20]].concat();
        assert!((1..whole.len()).all(|len| pages(&whole[..len]).is_none()));
        for (at, byte) in [(3, 61), (5, 41), (6, 0x20), (13, 0xff), (0, 0x0f)] {
            let mut changed = whole.clone();
            changed[at] = byte;
            assert_eq!(pages(&changed), None, "byte {at}");
        }
        assert_eq!(pages(&vec![0x1c; 100_000]), None, "no end of structs");
        assert_eq!(pages(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), None);
    }
}
