//! Thrift's compact protocol, as far as the headers of Parquet need it.

/// Structs in structs in lists.
const MAX_DEPTH: u32 = 16;

/// How a value is written.
pub(super) struct Sort;

impl Sort {
    pub(super) const FALSE: u8 = 2;
    pub(super) const BYTE: u8 = 3;
    pub(super) const INT: u8 = 5;
    pub(super) const LONG: u8 = 6;
    pub(super) const DOUBLE: u8 = 7;
    pub(super) const BINARY: u8 = 8;
    pub(super) const LIST: u8 = 9;
    pub(super) const SET: u8 = 10;
    pub(super) const STRUCT: u8 = 12;
}

pub(super) type Field<'a, 'b> = &'b mut dyn FnMut(&mut Reader<'a>, i64, u8) -> Option<()>;

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

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

    /// A whole number of any length.
    pub(super) fn int(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Gives each field of a struct to `take`, which reads it: its number and how it is written.
    pub(super) fn fields(&mut self, depth: u32, take: Field<'a, '_>) -> Option<()> {
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

    /// How many values a list has, and how they are written.
    pub(super) fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let len = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        // Truth values take a byte each in a list.
        Some((len, if head & 15 <= Sort::FALSE { Sort::BYTE } else { head & 15 }))
    }

    /// Reads over a value.
    pub(super) fn skip(&mut self, sort: u8, depth: u32) -> Option<()> {
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
            Sort::LIST | Sort::SET => {
                let (len, sort) = self.list()?;
                (0..len).try_for_each(|_| self.skip(sort, depth + 1))
            }
            Sort::STRUCT => self.fields(depth + 1, &mut |reader, _, sort| reader.skip(sort, depth + 1)),
            _ => None,
        }
    }
}
