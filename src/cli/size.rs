//! Sizes as people write them.

/// Reads a number of bytes: alone, or with K, M, G or T (also `KiB` …) for powers of 1024, or `KB` … for powers of 1000.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    const UNITS: [&str; 4] = ["k", "m", "g", "t"];
    let wrong = || format!("{text:?} is no size like 4096, 500K, 20M, 1G (powers of 1024) or 20MB (powers of 1000)");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.to_ascii_lowercase();
    let (letter, base) = match unit.as_str() {
        "" | "b" => return Ok(number),
        unit if unit.ends_with("ib") => (&unit[..unit.len() - 2], 1024u64),
        unit if unit.ends_with('b') => (&unit[..unit.len() - 1], 1000),
        unit => (unit, 1024),
    };
    let power = (1u32..).zip(UNITS).find(|(_, name)| *name == letter).map(|(power, _)| power).ok_or_else(wrong)?;
    base.checked_pow(power).and_then(|factor| number.checked_mul(factor)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            ("0", 0),
            ("4096", 4096),
            ("7b", 7),
            ("1k", 1024),
            ("1K", 1024),
            ("1KiB", 1024),
            ("1KB", 1000),
            ("3M", 3 << 20),
            ("2GiB", 2 << 30),
            ("2GB", 2_000_000_000),
            ("1T", 1 << 40),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for bad in ["", "K", "1.5M", "-1", "1 K", "1X", "1KK", "1iB", "99999999999T", "ib"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
