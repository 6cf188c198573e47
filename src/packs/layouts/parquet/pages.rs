//! The headers of a column's pages, read ahead of the library: it believes what they say of sizes.
//!
//! Of their fields three matter; the others are passed over.

use super::thrift::{Reader, Sort};

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
    let mut reader = Reader::new(bytes);
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
    page.header = reader.at();
    (sizes == 3).then_some(page)
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
