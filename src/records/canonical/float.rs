//! Fractions in the canonical form of records: the nearest double, rounded to 15 significant digits, read as a double again, printed
//! as Python's `repr` prints it.

/// Appends the form of a number that has a fraction or an exponent, as JSON writes such, or of `NaN`, `Infinity`, `-Infinity`.
pub(super) fn push(token: &str, out: &mut String) {
    if let Some((digits, exponent)) = short(token) {
        layout(token.starts_with('-'), &digits, exponent, out);
        return;
    }
    // Rust and Python both give the nearest double, whatever the length.
    let x = token.parse::<f64>().unwrap_or(f64::NAN);
    if x.is_nan() {
        out.push_str("\"NaN\"");
    } else if x.is_infinite() {
        out.push_str(if x > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    } else if x == 0.0 {
        out.push_str("0.0");
    } else {
        finite(x, out);
    }
}

fn finite(x: f64, out: &mut String) {
    let text = format!("{x:.14e}");
    let rounded = text.parse::<f64>().unwrap_or(f64::NAN);
    if rounded.is_infinite() {
        // Rounding left the doubles, behind the place where they are looked for: no quotes.
        out.push_str(if x > 0.0 { "Infinity" } else { "-Infinity" });
        return;
    }
    // The shortest digits that mean the rounded double: those of the text, save where doubles are less than 15 digits apart.
    let text = if rounded.is_normal() { text } else { format!("{rounded:e}") };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = Digits::of(mantissa).unwrap_or_default();
    layout(x < 0.0, &digits, exponent.parse().unwrap_or(0), out);
}

/// Up to 17 significant digits, without zeros at either end.
#[derive(Debug, Default, Clone, Copy)]
struct Digits {
    digits: [u8; 17],
    len: usize,
}

impl Digits {
    fn of(mantissa: &str) -> Option<Self> {
        let mut found = Self::default();
        let mut zeros = 0;
        for digit in mantissa.bytes().filter(u8::is_ascii_digit) {
            if digit == b'0' {
                zeros += usize::from(found.len > 0);
                continue;
            }
            if found.len + zeros >= found.digits.len() {
                return None;
            }
            found.digits[found.len..found.len + zeros].fill(b'0');
            found.len += zeros;
            found.digits[found.len] = digit;
            (found.len, zeros) = (found.len + 1, 0);
        }
        Some(found)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.digits[..self.len]).unwrap_or("")
    }
}

/// The digits of a number that has at most 15 of them, and the exponent of the first: the double that it means, rounded to 15 digits,
/// is that number again, because no two numbers of 15 digits mean one double. That does not hold where doubles end.
fn short(token: &str) -> Option<(Digits, i32)> {
    let (mantissa, exponent) = match token.find(['e', 'E']) {
        Some(at) => (&token[..at], token[at + 1..].parse::<i32>().ok()?),
        None => (token, 0),
    };
    let digits = Digits::of(mantissa)?;
    if digits.len == 0 || digits.len > 15 {
        return None;
    }
    let mantissa = mantissa.strip_prefix('-').unwrap_or(mantissa);
    let point = mantissa.find('.').unwrap_or(mantissa.len());
    // Where the first digit stands that is no zero, counted from the point.
    let first = mantissa.bytes().position(|b| matches!(b, b'1'..=b'9'))?;
    let place = if first < point { point - first - 1 } else { first - point };
    let place = i32::try_from(place).ok()?;
    let exponent = exponent.checked_add(if first < point { place } else { -place })?;
    (-300..=300).contains(&exponent).then_some((digits, exponent))
}

/// `digits` with a point behind the first, times ten to the `exponent`: with a point from 0.0001 to below 10^16, else with an exponent.
fn layout(negative: bool, digits: &Digits, exponent: i32, out: &mut String) {
    let digits = digits.text();
    out.push_str(if negative { "-" } else { "" });
    match usize::try_from(exponent) {
        Ok(whole) if exponent < 16 => {
            let cut = digits.len().min(whole + 1);
            out.push_str(&digits[..cut]);
            out.extend(std::iter::repeat_n('0', whole + 1 - cut));
            out.push('.');
            out.push_str(if cut < digits.len() { &digits[cut..] } else { "0" });
        }
        Err(_) if exponent >= -4 => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', exponent.unsigned_abs() as usize - 1));
            out.push_str(digits);
        }
        _ => {
            out.push_str(&digits[..1]);
            if digits.len() > 1 {
                out.push('.');
                out.push_str(&digits[1..]);
            }
            let sign = if exponent < 0 { '-' } else { '+' };
            out.push_str(&format!("e{sign}{:02}", exponent.unsigned_abs()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTORS: &str = include_str!("../../../tests/data/records/float_vectors.jsonl");

    fn form(token: &str) -> String {
        let mut out = String::new();
        push(token, &mut out);
        out
    }

    /// What the other system wrote and hashed of 2,461 doubles, the odd ones among them.
    #[test]
    fn vectors_bit_for_bit() {
        let mut count = 0;
        for line in VECTORS.lines() {
            let vector: serde_json::Value = serde_json::from_str(line).unwrap();
            let (token, wanted) = (vector["ndjson"].as_str().unwrap(), vector["canonical"].as_str().unwrap());
            assert_eq!(form(token), wanted, "{line}");
            let x = f64::from_bits(u64::from_str_radix(vector["bits"].as_str().unwrap(), 16).unwrap());
            if x.is_finite() {
                assert_eq!(form(&format!("{x:?}")), wanted, "{line}");
                assert_eq!(form(&format!("{x:.40e}")), wanted, "{line}");
            }
            count += 1;
        }
        assert_eq!(count, 2461);
    }

    #[test]
    fn many_ways_to_write_one_number() {
        for (token, wanted) in [
            ("0.0", "0.0"),
            ("-0.0", "0.0"),
            ("-0e5", "0.0"),
            ("1e-400", "0.0"),
            ("-1e-400", "0.0"),
            ("1E5", "100000.0"),
            ("10000.0e+1", "100000.0"),
            ("0.00001e10", "100000.0"),
            ("0.1e0", "0.1"),
            ("123.456", "123.456"),
            ("-123.456e2", "-12345.6"),
            ("1e15", "1000000000000000.0"),
            ("1e16", "1e+16"),
            ("0.0001", "0.0001"),
            ("0.00001234", "1.234e-05"),
            ("1e999999999999999999999", "\"Infinity\""),
            ("-1e400", "\"-Infinity\""),
            ("1e-999999999999999999999", "0.0"),
            ("1.7976931348623157e308", "Infinity"),
            ("-1.7976931348623157e308", "-Infinity"),
            ("1.797693134862315e308", "1.79769313486231e+308"),
            ("5e-324", "5e-324"),
            ("4e-324", "5e-324"),
            ("2.2250738585072011e-308", "2.2250738585072e-308"),
            ("0.30000000000000004", "0.3"),
            ("999999999999999.9", "1000000000000000.0"),
            ("100000000000000.5", "100000000000000.0"),
            ("100000000000001.5", "100000000000002.0"),
            ("9007199254740993.0", "9007199254740990.0"),
            ("100000000000000000000.0", "1e+20"),
        ] {
            assert_eq!(form(token), wanted, "{token}");
        }
        let long = format!("0.{}5", "0".repeat(200));
        assert_eq!(form(&long), "5e-201");
    }
}
