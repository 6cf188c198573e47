//! Extra fields: what writers of zips say beyond the first version of the format.

use crate::model::Timestamp;

use super::window::{u16_at, u32_at, u64_at};

/// What the extra fields of one record say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extra {
    pub(super) mtime: Option<Timestamp>,
    pub(super) btime: Option<Timestamp>,
    pub(super) owner: Option<(u32, u32)>,
    /// A name in UTF-8, and the CRC of the name that it stands for.
    pub(super) name: Option<(u32, Vec<u8>)>,
    /// The numbers of zip64, in their order.
    pub(super) long: Option<Vec<u8>>,
    /// It is encrypted with AES.
    pub(super) is_sealed: bool,
}

impl Extra {
    /// Reads the fields of a record. What makes no sense is passed over, as all do; but of zip64's numbers no two may be given.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let (mut extra, mut rest, mut ntfs) = (Self::default(), bytes, None);
        while rest.len() >= 4 {
            let (id, len) = (u16_at(rest, 0), usize::from(u16_at(rest, 2)));
            let Some(body) = rest.get(4..4 + len) else { break };
            rest = &rest[4 + len..];
            match id {
                0x0001 if extra.long.replace(body.to_vec()).is_some() => return Err("it gives its long sizes twice"),
                // Info-ZIP: seconds, if the first bit says that there are any.
                0x5455 if body.len() >= 5 && body[0] & 1 != 0 => {
                    extra.mtime = Some(seconds(u32_at(body, 1).cast_signed().into()));
                }
                // Info-ZIP, first and second form: access and change, then owner and group.
                0x5855 => {
                    if body.len() >= 8 && extra.mtime.is_none() {
                        extra.mtime = Some(seconds(u32_at(body, 4).cast_signed().into()));
                    }
                    if body.len() >= 12 && extra.owner.is_none() {
                        extra.owner = Some((u16_at(body, 8).into(), u16_at(body, 10).into()));
                    }
                }
                0x7855 if body.len() >= 4 && extra.owner.is_none() => {
                    extra.owner = Some((u16_at(body, 0).into(), u16_at(body, 2).into()));
                }
                // The third: numbers of any length.
                0x7875 => extra.owner = owner(body).or(extra.owner),
                0x000a => ntfs = windows_times(body),
                0x7075 if body.len() > 5 && body[0] == 1 => {
                    extra.name = Some((u32_at(body, 1), body[5..].to_vec()));
                }
                0x9901 => extra.is_sealed = true,
                _ => {}
            }
        }
        // They are exact to 100 nanoseconds.
        if let Some((changed, made)) = ntfs {
            (extra.mtime, extra.btime) = (Some(changed), Some(made));
        }
        Ok(extra)
    }

    /// What is not said here is taken from another record of the same member.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            mtime: self.mtime.or(other.mtime),
            btime: self.btime.or(other.btime),
            owner: self.owner.or(other.owner),
            name: self.name.or(other.name),
            long: self.long,
            is_sealed: self.is_sealed || other.is_sealed,
        }
    }

    /// Numbers of 32 bits, each in its long form if it is all ones: there they stand in the same order.
    pub(super) fn lengthen<const N: usize>(&self, short: [u32; N]) -> Result<[u64; N], &'static str> {
        let (mut numbers, mut at) = ([0; N], 0);
        let long = self.long.as_deref().unwrap_or_default();
        for (number, short) in numbers.iter_mut().zip(short) {
            *number = u64::from(short);
            if short == u32::MAX && self.long.is_some() {
                if long.len() < at + 8 {
                    return Err("its long sizes are missing");
                }
                *number = u64_at(long, at);
                at += 8;
            }
        }
        Ok(numbers)
    }
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

fn owner(body: &[u8]) -> Option<(u32, u32)> {
    let number = |bytes: &[u8]| {
        let (low, high) = bytes.split_at(bytes.len().min(4));
        high.iter().all(|b| *b == 0).then(|| low.iter().rev().fold(0, |n, b| n << 8 | u32::from(*b)))
    };
    let [1, len, rest @ ..] = body else { return None };
    let (uid, rest) = rest.split_at_checked((*len).into())?;
    let (len, rest) = rest.split_first()?;
    Some((number(uid)?, number(rest.get(..usize::from(*len))?)?))
}

/// Times of change and of birth: 100 nanoseconds since 1601.
fn windows_times(body: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let mut rest = body.get(4..)?;
    while rest.len() >= 4 {
        let (tag, len) = (u16_at(rest, 0), usize::from(u16_at(rest, 2)));
        let attribute = rest.get(4..4 + len)?;
        if tag == 1 && len >= 24 {
            return Some((since_1601(u64_at(attribute, 0)), since_1601(u64_at(attribute, 16))));
        }
        rest = &rest[4 + len..];
    }
    None
}

fn since_1601(ticks: u64) -> Timestamp {
    let seconds = i64::try_from(ticks / 10_000_000).unwrap_or(0) - 11_644_473_600;
    Timestamp { seconds, nanos: u32::try_from(ticks % 10_000_000).unwrap_or(0) * 100 }
}

/// DOS's date and time, taken for UTC, which nobody says it is. Nothing if there is no such day.
pub(super) fn dos_time(date: u16, time: u16) -> Option<Timestamp> {
    let (year, month, day) = (i64::from(date >> 9) + 1980, i64::from(date >> 5 & 15), i64::from(date & 31));
    let (hour, minute, second) = (i64::from(time >> 11), i64::from(time >> 5 & 63), i64::from(time & 31) * 2);
    if !(1..=12).contains(&month) || day == 0 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970, with years that begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469;
    Some(seconds(days * 86_400 + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(id: u16, body: &[u8]) -> Vec<u8> {
        [&id.to_le_bytes()[..], &u16::try_from(body.len()).unwrap().to_le_bytes(), body].concat()
    }

    #[test]
    fn fields() {
        let all = [
            field(0x5455, &[3, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]),
            field(0x7875, &[1, 4, 0xe8, 3, 0, 0, 2, 100, 0]),
            field(0x7777, &[1, 2, 3]),
        ]
        .concat();
        let extra = Extra::parse(&all).unwrap();
        assert_eq!((extra.mtime, extra.owner), (Some(seconds(-1)), Some((1000, 100))));
        let ntfs = [&[0; 4][..], &[1, 0, 24, 0], &116_444_736_000_000_005_u64.to_le_bytes(), &[0; 8], &[0; 8]].concat();
        let extra = Extra::parse(&[field(0x5455, &[1, 9, 0, 0, 0]), field(0x000a, &ntfs)].concat()).unwrap();
        assert_eq!(extra.mtime, Some(Timestamp { seconds: 0, nanos: 500 }));
        assert_eq!(extra.btime, Some(seconds(-11_644_473_600)));
        let long = Extra::parse(&field(1, &[1, 0, 0, 0, 1, 0, 0, 0])).unwrap();
        assert_eq!(long.lengthen([5, u32::MAX]), Ok([5, (1 << 32) + 1]));
        assert!(long.lengthen([u32::MAX; 2]).is_err());
        assert!(Extra::parse(&[field(1, &[0; 8]), field(1, &[0; 8])].concat()).is_err());
        for cut in 0..all.len() {
            let _ = Extra::parse(&all[..cut]);
        }
        for body in [&[1, 4, 0][..], &[1, 0], &[1, 5, 0, 0, 0, 0, 1, 0], &[2, 0, 0], &[]] {
            assert_eq!(owner(body), None, "{body:?}");
        }
    }

    #[test]
    fn days() {
        let day =
            |year: u16, month: u16, day: u16| dos_time((year - 1980) << 9 | month << 5 | day, 0).map(|t| t.seconds);
        assert_eq!(day(1980, 1, 1), Some(315_532_800));
        assert_eq!(day(2000, 2, 29), Some(951_782_400));
        assert_eq!(day(2000, 3, 1), Some(951_868_800));
        assert_eq!(day(2107, 12, 31), Some(4_354_732_800));
        assert_eq!(dos_time(0x21, 23 << 11 | 59 << 5 | 29).map(|t| t.seconds), Some(315_532_800 + 86_398));
        assert_eq!([dos_time(0, 0), dos_time(0x21, 24 << 11)], [None, None]);
    }
}
