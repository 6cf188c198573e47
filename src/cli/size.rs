//! Sizes as people write them.

/// Reads a number of bytes: `4096`, `64K`, `100M`, `1.5G`, `2T`. K, M, G, T are powers of 1024, with or without `iB` behind; `KB`, `MB`,
/// `GB`, `TB` powers of 1000.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size like 4096, 500K, 1.5G (powers of 1024) or 20MB (powers of 1000)");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale = unit_bytes(&unit.trim().to_ascii_uppercase()).ok_or_else(wrong)?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale).ok_or_else(wrong);
    }
    let (whole, part) = number.split_once('.').ok_or_else(wrong)?;
    let digits = u32::try_from(part.len()).ok().filter(|n| (1..=9).contains(n)).ok_or_else(wrong)?;
    let part: u64 = part.parse().map_err(|_| wrong())?;
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let part = part.checked_mul(scale).ok_or_else(wrong)? / 10u64.pow(digits);
    whole.checked_mul(scale).and_then(|w| w.checked_add(part)).ok_or_else(wrong)
}

/// Bytes in a unit, which is written in capitals.
fn unit_bytes(unit: &str) -> Option<u64> {
    if matches!(unit, "" | "B") {
        return Some(1);
    }
    let (letter, rest) = unit.split_at_checked(1)?;
    let base: u64 = match rest {
        "" | "IB" => 1024,
        "B" => 1000,
        _ => return None,
    };
    let power = ["K", "M", "G", "T"].iter().position(|known| *known == letter)?;
    base.checked_pow(u32::try_from(power + 1).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let good = [
            ("0", 0),
            ("4096", 4096),
            ("64K", 65_536),
            ("64k", 65_536),
            ("1KiB", 1024),
            ("1KB", 1000),
            ("7B", 7),
            ("1.5G", 3 << 29),
            ("2 T", 2 << 40),
        ];
        for (text, bytes) in good {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for bad in ["", "K", "-1", "1.K", ".5K", "1e3", "5X", "99999999999T", "1.2.3", "5KBB", "5IB", "5BB", "5é"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
