//! RFC 8785: names sorted by UTF-16 code units, numbers as ECMAScript prints them, strings as they are (no normal form of
//! Unicode). What it has no text for is an error, never an approximation.

use super::super::json::Json;
use super::super::quoted::quoted;

/// Why a value has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A whole number that a double does not hold for certain.
    #[error("the whole number {0} lies beyond ±(2^53 − 1)")]
    BeyondDoubles(String),
    /// `NaN` or infinite, as written or beyond what a double can be.
    #[error("{0} is no finite number")]
    NotFinite(String),
    /// A name that an object has twice.
    #[error("the name {0:?} stands twice in one object")]
    Doubled(String),
}

/// Gives the canonical text of RFC 8785 piece by piece.
///
/// # Errors
/// If the value has none; what was given until then is of no use.
pub fn jcs(value: &Json, out: &mut dyn FnMut(&str)) -> Result<(), CanonicalError> {
    match value {
        Json::Null => out("null"),
        Json::Bool(value) => out(if *value { "true" } else { "false" }),
        Json::Number(text) => out(&number(text)?),
        Json::Text(text) => quoted(text, out),
        Json::List(list) => {
            out("[");
            for (n, value) in list.iter().enumerate() {
                out(if n == 0 { "" } else { "," });
                jcs(value, out)?;
            }
            out("]");
        }
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            if let Some(pair) = members.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(CanonicalError::Doubled(cut(&pair[0].0)));
            }
            out("{");
            for (n, (name, value)) in members.into_iter().enumerate() {
                out(if n == 0 { "" } else { "," });
                quoted(name, out);
                out(":");
                jcs(value, out)?;
            }
            out("}");
        }
    }
    Ok(())
}

fn number(text: &str) -> Result<String, CanonicalError> {
    const MAX_SAFE: u64 = (1 << 53) - 1;
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        let safe = text.parse::<i64>().ok().filter(|n| n.unsigned_abs() <= MAX_SAFE);
        return safe.map(|n| n.to_string()).ok_or_else(|| CanonicalError::BeyondDoubles(cut(text)));
    }
    let finite = text.parse::<f64>().ok().filter(|x| x.is_finite());
    finite.map(ecmascript).ok_or_else(|| CanonicalError::NotFinite(cut(text)))
}

/// What an error can show of a text that may be as long as the document.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// `Number::toString` of ECMAScript: of the shortest texts that mean this double the nearest, of two the even one. Rust prints the other.
fn ecmascript(x: f64) -> String {
    ryu_js::Buffer::new().format_finite(x).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::super::json::parse;
    use super::*;

    fn canonical(text: &str) -> Result<String, CanonicalError> {
        let mut out = String::new();
        jcs(&parse(text.as_bytes()).unwrap(), &mut |piece| out.push_str(piece)).map(|()| out)
    }

    /// Appendix B of RFC 8785, and where the layouts change.
    #[test]
    fn doubles() {
        for (bits, wanted) in [
            (0, "0"),
            (0x8000_0000_0000_0000, "0"),
            (1, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ] {
            let x = f64::from_bits(bits);
            assert_eq!(ecmascript(x), wanted, "{bits:x}");
            assert_eq!(canonical(&format!("{x:?}")).unwrap(), ecmascript(x));
        }
        for (text, wanted) in [
            ("1400.0", "1400"),
            ("-0.0", "0"),
            ("-0", "0"),
            ("1e-7", "1e-7"),
            ("0.000001", "0.000001"),
            ("123456.789e3", "123456789"),
            ("9007199254740993.0", "9007199254740992"),
            ("9007199254740991", "9007199254740991"),
            ("-9007199254740991", "-9007199254740991"),
            ("1E2", "100"),
            ("1e-400", "0"),
        ] {
            assert_eq!(canonical(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn order_and_strings() {
        let text = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
        let wanted = "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}";
        assert_eq!(canonical(text).unwrap(), wanted, "the example of RFC 8785, section 3.2.3");
        let text = r#"[ "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "é", "\u007f\u2028", [], {} ]"#;
        assert_eq!(
            canonical(text).unwrap(),
            "[\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\",\"e\u{301}\",\"\u{7f}\u{2028}\",[],{}]".replace("e\u{301}", "é")
        );
        assert_eq!(canonical("\"e\u{301}\"").unwrap(), "\"e\u{301}\"", "no normal form");
    }

    #[test]
    fn what_has_no_form() {
        for text in ["9007199254740992", "-9007199254740992", "123456789012345678901234567890"] {
            assert_eq!(canonical(&format!("[{text}]")), Err(CanonicalError::BeyondDoubles(text.to_owned())));
        }
        for text in ["NaN", "Infinity", "-Infinity", "1e400", "-1e400"] {
            assert_eq!(canonical(text), Err(CanonicalError::NotFinite(text.to_owned())));
        }
        assert_eq!(canonical(r#"{"a":{"b":1,"\u0062":2}}"#), Err(CanonicalError::Doubled("b".to_owned())));
    }
}
