//! Section 10.1: blocks of record lines. What compression cannot shorten is taken out of the text, and what follows from the lines is left out.
//!
//! A record's line is text around digests and identifiers in hexadecimal. zstd needs more than five bits for each of their digits, and they
//! spoil its tables for the text; half of their length is all they need. The lines of an index say again what the records' lines say.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use crate::format::{DecodeError, LinesHead};

use super::compress::{CompressError, Effort, compress, decompress};

/// Why a block of lines does not unpack.
#[derive(Debug)]
pub(super) enum LinesError {
    Decode(DecodeError),
    Compress(CompressError),
}

impl From<DecodeError> for LinesError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<CompressError> for LinesError {
    fn from(error: CompressError) -> Self {
        Self::Compress(error)
    }
}

/// How a record's line begins.
const LINE: &[u8] = b"{\"exchange_id\": \"";
/// How a line of an index begins.
const INDEX: &[u8] = b"{\"h\": \"";
/// Marks in the text: digits of which number were taken out.
const DIGITS: [(u8, usize); 3] = [(1, 64), (2, 32), (4, 40)];
/// The mark of a UUID: 32 digits in groups.
const UUID: u8 = 3;
/// Where a UUID has dashes.
const DASHES: [usize; 4] = [8, 13, 18, 23];
const UUID_LEN: usize = 36;
/// Marks are below this.
const MARKS: std::ops::RangeInclusive<u8> = 1..=4;

/// True if a block with such content is worth packing so.
pub(super) fn is_lines(content: &[u8]) -> bool {
    content.starts_with(LINE) || content.starts_with(INDEX)
}

/// Packs items that are mostly lines of records. Nothing if they do not let themselves be packed so.
pub(super) fn pack(content: &[u8], items: &[u32]) -> Result<Option<Vec<u8>>, CompressError> {
    let (mut text, mut digits, mut derived) = (Vec::with_capacity(content.len()), Vec::new(), Vec::new());
    let (mut at, mut before) = (0usize, &content[..0]);
    let mut seen = Seen::default();
    for (ordinal, len) in items.iter().enumerate() {
        let Some(item) = content.get(at..at + *len as usize) else { return Ok(None) };
        at += item.len();
        if let Some(file) = derived_from(before, item) {
            derived.push((u32::try_from(ordinal).unwrap_or(u32::MAX), file.to_vec()));
        } else if has_marks(item) {
            return Ok(None);
        } else {
            take_out(item, &mut text, &mut digits, &mut seen);
        }
        before = item;
    }
    let frame = compress(&text, Effort::LINES)?;
    let short = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    let head = LinesHead { derived, text: short(text.len()), frame: short(frame.len()) }.to_bytes();
    let mut packed = Vec::with_capacity(4 + head.len() + frame.len() + digits.len());
    packed.extend_from_slice(&short(head.len()).to_le_bytes());
    packed.extend_from_slice(&head);
    packed.extend_from_slice(&frame);
    packed.extend_from_slice(&digits);
    Ok(Some(packed))
}

/// Unpacks items of these lengths into `content`.
pub(super) fn unpack(body: &[u8], items: &[u32], content: &mut Vec<u8>) -> Result<(), LinesError> {
    let bad = |why: &str| DecodeError::malformed("block of lines", why);
    let short = || bad("it ends too early");
    let (head_len, rest) = body.split_first_chunk::<4>().ok_or_else(short)?;
    let (head, rest) = rest.split_at_checked(u32::from_le_bytes(*head_len) as usize).ok_or_else(short)?;
    let head = LinesHead::from_bytes(head)?;
    let (frame, digits) = rest.split_at_checked(head.frame as usize).ok_or_else(short)?;
    let text = decompress(frame, head.text as usize)?;
    let (mut text, mut digits, mut derived) = (&text[..], digits, head.derived.iter().peekable());
    let (mut start, mut before) = (0, 0..0);
    for (ordinal, len) in items.iter().enumerate() {
        let end = start + *len as usize;
        if let Some((_, file)) = derived.next_if(|(n, _)| *n as usize == ordinal) {
            let lines = content.get(before).and_then(|lines| index_lines(lines, file));
            let lines = lines.filter(|lines| lines.len() == *len as usize);
            content.extend_from_slice(&lines.ok_or_else(|| bad("an index that does not follow from its lines"))?);
        } else {
            put_back(&mut text, &mut digits, end, content)
                .ok_or_else(|| bad("text and digits do not make its items"))?;
        }
        (before, start) = (start..end, end);
    }
    if text.is_empty() && digits.is_empty() && derived.next().is_none() {
        Ok(())
    } else {
        Err(bad("something is left over").into())
    }
}

/// Copies an item into the text, its strings of hexadecimal digits into `digits`: the first of each in a block. What repeats stays, for
/// the text's compression to find.
fn take_out(item: &[u8], text: &mut Vec<u8>, digits: &mut Vec<u8>, seen: &mut Seen) {
    let (mut copied, mut at) = (0, 0);
    while let Some(quote) = find(item, at, |word| zeros(word ^ (ONES * 0x22))) {
        at = quote + 1;
        let Some((mark, len)) = token(&item[at..]) else { continue };
        let found = &item[at..at + len];
        let first = found.first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first));
        if seen.insert(first) {
            text.extend_from_slice(&item[copied..at]);
            text.push(mark);
            copied = at + len;
            let mut nibbles = found.iter().filter(|b| **b != b'-').map(|b| nibble(*b).unwrap_or(0));
            while let (Some(high), Some(low)) = (nibbles.next(), nibbles.next()) {
                digits.push(high << 4 | low);
            }
        }
        at += len;
    }
    text.extend_from_slice(&item[copied..]);
}

/// What was taken out of a block, by its first eight digits. Another with the same stays in the text, which costs bytes and nothing else.
type Seen = HashSet<u64, BuildHasherDefault<Digits>>;

/// Digits of digests are as good as any hash of them.
#[derive(Default)]
struct Digits(u64);

impl Hasher for Digits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, digits: u64) {
        // The letters of digits differ in few bits.
        self.0 = digits.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }
}

fn has_marks(item: &[u8]) -> bool {
    item.iter().fold(false, |found, b| found | (b.wrapping_sub(*MARKS.start()) < 4))
}

/// A one in each byte.
const ONES: u64 = 0x0101_0101_0101_0101;

/// The high bit of each byte that is zero, and maybe of bytes above one.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}

/// Where the first byte is, from `at` on, for which `sought` sets the high bit: eight bytes are looked at together. Source: the search for a
/// zero byte in a word, as in Warren, "Hacker's Delight".
fn find(bytes: &[u8], mut at: usize, sought: impl Fn(u64) -> u64) -> Option<usize> {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let found = sought(u64::from_le_bytes(*eight));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    (at..bytes.len()).find(|at| sought(u64::from(bytes[*at]) | ONES << 8 & !0xff) & 0x80 != 0)
}

/// The mark and length of what stands at the beginning, if it is one of the strings that are taken out, up to its quote.
fn token(bytes: &[u8]) -> Option<(u8, usize)> {
    let run = bytes.iter().take(65).take_while(|b| nibble(**b).is_some()).count();
    if run == DASHES[0] {
        let uuid = bytes.get(..UUID_LEN)?;
        let fits = |(at, b): (usize, &u8)| if DASHES.contains(&at) { *b == b'-' } else { nibble(*b).is_some() };
        return (bytes.get(UUID_LEN) == Some(&b'"') && uuid.iter().enumerate().all(fits)).then_some((UUID, UUID_LEN));
    }
    let (mark, len) = *DIGITS.iter().find(|(_, len)| *len == run)?;
    (bytes.get(len) == Some(&b'"')).then_some((mark, len))
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Puts text and digits together until `content` has `end` bytes. Nothing if it cannot.
fn put_back(text: &mut &[u8], digits: &mut &[u8], end: usize, content: &mut Vec<u8>) -> Option<()> {
    while content.len() < end {
        let room = end - content.len();
        // Bytes below 5: a mark, or a zero, which is none.
        let low = |word: u64| word.wrapping_sub(ONES * 5) & !word & (ONES << 7);
        let rest = &text[..room.min(text.len())];
        let mut plain = find(rest, 0, low).unwrap_or(rest.len());
        while rest.get(plain) == Some(&0) {
            plain = find(rest, plain + 1, low).unwrap_or(rest.len());
        }
        content.extend_from_slice(&text[..plain]);
        *text = &text[plain..];
        if plain == room {
            break;
        }
        let (mark, rest) = text.split_first()?;
        *text = rest;
        let uuid = *mark == UUID;
        let len = if uuid { 32 } else { DIGITS.iter().find(|(m, _)| m == mark)?.1 };
        let (taken, rest) = digits.split_at_checked(len / 2)?;
        *digits = rest;
        let mut out = [0; 64];
        for (pair, byte) in out.chunks_exact_mut(2).zip(taken) {
            pair.copy_from_slice(&HEX[usize::from(*byte)]);
        }
        if uuid {
            let parts = [&out[..8], &out[8..12], &out[12..16], &out[16..20], &out[20..32]];
            for (n, part) in parts.into_iter().enumerate() {
                content.extend_from_slice(if n == 0 { b"" } else { b"-" });
                content.extend_from_slice(part);
            }
        } else {
            content.extend_from_slice(&out[..len]);
        }
    }
    (content.len() == end).then_some(())
}

const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = [digits[at >> 4], digits[at & 15]];
        at += 1;
    }
    table
};

/// The file that an item names, if it is the index of the lines before it.
fn derived_from<'a>(lines: &[u8], item: &'a [u8]) -> Option<&'a [u8]> {
    if !item.starts_with(INDEX) || !lines.starts_with(LINE) {
        return None;
    }
    let first = &item[..item.iter().position(|b| *b == b'\n')?];
    let file = first.strip_suffix(b"\"}")?;
    let from = file.iter().rposition(|b| *b == b'"')? + 1;
    let file = &file[from..];
    (index_lines(lines, file)? == item).then_some(file)
}

/// The index of lines of records, in the form of the packs: a line for each, with its hash, key, id, time and the file that it stands in.
/// Nothing if they are not as they are written.
#[must_use]
pub fn index_lines(lines: &[u8], file: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(lines.len() / 4);
    for line in lines.split_inclusive(|b| *b == b'\n') {
        index_line(line.strip_suffix(b"\n")?, file, &mut out)?;
    }
    Some(out)
}

fn index_line(line: &[u8], file: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let names = ["content_sha256", "source_system", "entity_type", "natural_key", "exchange_id", "observed_at_utc"];
    let [hash, source, entity, key, id, time] = line_members(line, names)?;
    for part in [
        &b"{\"h\": \""[..],
        inner(hash?)?,
        b"\", \"k\": \"",
        inner(source?)?,
        b"|",
        inner(entity?)?,
        b"|",
        inner(key?)?,
        b"\", \"id\": \"",
        inner(id?)?,
        b"\", \"t\": \"",
        inner(time?)?,
        b"\", \"f\": \"",
        file,
        b"\"}\n",
    ] {
        out.extend_from_slice(part);
    }
    Some(())
}

/// Members of an object that is written in the style of the packs, as they are written. Nothing if it is not written so.
#[must_use]
pub fn line_members<'a, const N: usize>(line: &'a [u8], names: [&str; N]) -> Option<[Option<&'a [u8]>; N]> {
    let mut found = [None; N];
    each_member(line, |name, value, _| {
        if let Some(at) = names.iter().position(|wanted| wanted.as_bytes() == name) {
            found[at] = Some(value);
        }
    })?;
    Some(found)
}

/// What stands behind a member of such an object, its end included. Nothing if it has no such member, or is not written so.
#[must_use]
pub fn behind_member<'a>(line: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let mut found = None;
    each_member(line, |name, _, behind| {
        if name == wanted.as_bytes() {
            found = Some(behind);
        }
    })?;
    found
}

/// Gives each member: its name, its value, and what stands behind it.
fn each_member<'a>(line: &'a [u8], mut to: impl FnMut(&'a [u8], &'a [u8], &'a [u8])) -> Option<()> {
    let mut rest = line.strip_prefix(b"{")?;
    if rest == b"}" {
        return Some(());
    }
    loop {
        let (name, behind) = string(rest)?;
        let behind = behind.strip_prefix(b": ")?;
        let (value, behind) = behind.split_at(value_len(behind)?);
        to(name, value, behind);
        match behind.strip_prefix(b", ") {
            Some(more) => rest = more,
            None if behind == b"}" => return Some(()),
            None => return None,
        }
    }
}

/// The text of a member that is a string; nothing of any other.
#[must_use]
pub fn member_text(value: &[u8]) -> Option<String> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        return serde_json::from_slice(value).ok();
    }
    std::str::from_utf8(inner).ok().map(str::to_owned)
}

/// What stands between the quotes of a string; nothing between those of `null`.
fn inner(value: &[u8]) -> Option<&[u8]> {
    if value == b"null" { Some(b"") } else { value.strip_prefix(b"\"")?.strip_suffix(b"\"") }
}

/// A string's inner bytes, and what stands behind it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = value_len(bytes).filter(|_| bytes.first() == Some(&b'"'))?;
    Some((&bytes[1..len - 1], &bytes[len..]))
}

/// Bytes of the JSON value at the beginning.
fn value_len(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0usize, 0usize);
    loop {
        match bytes.get(at)? {
            b'"' => {
                at += 1;
                loop {
                    at = find(bytes, at, |word| zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5c)))?;
                    if bytes[at] == b'"' {
                        break;
                    }
                    at += 2;
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ if depth > 0 => at += 1,
            _ => {
                let end = bytes[at..].iter().position(|b| matches!(b, b',' | b'}' | b']'));
                return end.map(|end| at + end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: u32, key: &str) -> String {
        let hash = crate::codec::digest(&n.to_le_bytes()).to_string();
        let id = format!("{:08x}-{n:04x}-4abc-8def-{}", n.wrapping_mul(2_654_435_761), &hash[20..32]);
        format!(
            "{{\"exchange_id\": \"{id}\", \"exchange_type\": \"http\", \"source_system\": \"s\\\"{{\", \"entity_type\": \"e\", \
             \"natural_key\": {key}, \"request\": null, \"response\": {{\"a\": [1, {{\"}}\": \"]\"}}], \"md5\": \"{}\"}}, \
             \"observed_at_utc\": \"2024-01-15T10:30:00+00:00\", \"provenance\": {{\"git_sha\": \"{}\"}}, \"content_sha256\": \"{hash}\", \
             \"schema_version\": 1}}\n",
            &hash[7..39],
            "ab".repeat(20),
        )
    }

    fn group(from: u32) -> (Vec<u8>, Vec<u8>) {
        let lines: String = (from..from + 50).map(|n| line(n, if n % 3 == 0 { "null" } else { "\"k|é\"" })).collect();
        let index = index_lines(lines.as_bytes(), b"records/2024/2024-01-15/chunk-0001.ndjson").unwrap();
        (lines.into_bytes(), index)
    }

    #[test]
    fn an_index_line_says_what_the_record_says() {
        let index = index_lines(line(1, "\"k\\n\"").as_bytes(), b"records/x").unwrap();
        let text = String::from_utf8(index).unwrap();
        assert!(text.starts_with("{\"h\": \"") && text.ends_with("\"f\": \"records/x\"}\n"), "{text}");
        assert!(text.contains("\"k\": \"s\\\"{|e|k\\n\", \"id\": \"9e3779b1-0001-"), "{text}");
        assert!(text.contains("\"t\": \"2024-01-15T10:30:00+00:00\""), "{text}");
        for bad in ["", "{}", "{\"exchange_id\": \"x\"}\n", "{\"exchange_id\": \"x\n", "[1]\n", "{\"a\": \"\\"] {
            assert!(bad.is_empty() || index_lines(bad.as_bytes(), b"f").is_none(), "{bad}");
        }
    }

    #[test]
    fn lines_and_their_index_come_back_and_take_little() {
        let ((a, ai), (b, bi)) = (group(0), group(50));
        let other = b"{\"h\": \"no index\"}\n".to_vec();
        let items: Vec<&[u8]> = vec![&a, &ai, &b, &bi, &other];
        let content = items.concat();
        let lens: Vec<u32> = items.iter().map(|i| u32::try_from(i.len()).unwrap()).collect();
        assert!(is_lines(&content));
        let packed = pack(&content, &lens).unwrap().unwrap();
        let plain = compress(&content, Effort::LINES).unwrap();
        assert!(packed.len() < plain.len(), "{} {}", packed.len(), plain.len());
        let mut out = Vec::new();
        unpack(&packed, &lens, &mut out).unwrap();
        assert!(out == content);
        for at in 0..packed.len().min(3000) {
            let mut bad = packed.clone();
            bad[at] ^= 0x55;
            let mut out = Vec::new();
            let _ = unpack(&bad, &lens, &mut out);
            assert!(unpack(&packed[..at], &lens, &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn bytes_are_found_wherever_they_are() {
        for len in 0..40 {
            for at in 0..len {
                for (byte, before) in [(b'"', b'!'), (b'\\', b'['), (b'"', b'#'), (b'"', 0xa2)] {
                    let mut bytes = vec![before; len];
                    bytes[at] = byte;
                    let sought = |word: u64| zeros(word ^ (ONES * u64::from(byte)));
                    for from in 0..=len {
                        assert_eq!(
                            find(&bytes, from, sought),
                            (from <= at).then_some(at),
                            "{len} {at} {from} {before}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn content_with_marks_is_left_alone() {
        for mark in MARKS {
            let mut content = line(1, "null").into_bytes();
            content.push(mark);
            let len = u32::try_from(content.len()).unwrap();
            assert!(pack(&content, &[len]).unwrap().is_none());
        }
    }
}
