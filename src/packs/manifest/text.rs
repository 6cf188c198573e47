//! What a manifest writes bytes and times as: text that gives them back exactly.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::model::Timestamp;

/// Bytes that need not be text: a string if they are UTF-8, else their hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Text {
    /// The bytes, as UTF-8.
    Plain(String),
    /// Bytes that are not UTF-8.
    Hex {
        /// Two small hexadecimal digits for each byte.
        hex: HexBytes,
    },
}

impl Text {
    /// The bytes as a manifest writes them.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Plain(text.to_owned()),
            Err(_) => Self::Hex { hex: HexBytes(bytes.to_vec()) },
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(text) => text.as_bytes(),
            Self::Hex { hex } => &hex.0,
        }
    }
}

/// Bytes as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HexBytes(Vec<u8>);

impl Serialize for HexBytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let digits: String = self.0.iter().map(|b| format!("{b:02x}")).collect();
        to.serialize_str(&digits)
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let digit = |c: u8| char::from(c).to_digit(16).filter(|_| !c.is_ascii_uppercase());
        let pair = |pair: &[u8]| match pair {
            [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
        bytes.map(Self).ok_or_else(|| D::Error::custom("hex is not pairs of small hexadecimal digits"))
    }
}

impl JsonSchema for HexBytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HexBytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^([0-9a-f]{2})+$"})
    }
}

/// A moment: seconds since 1970 as a decimal number, negative before, with nine digits behind the point where it is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = i128::from(self.0.seconds) * 1_000_000_000 + i128::from(self.0.nanos);
        let (sign, whole) = (if whole < 0 { "-" } else { "" }, whole.unsigned_abs());
        match whole % 1_000_000_000 {
            0 => write!(f, "{sign}{}", whole / 1_000_000_000),
            nanos => write!(f, "{sign}{}.{nanos:09}", whole / 1_000_000_000),
        }
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no time as a manifest has it");
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let (whole, part) = digits.split_once('.').unwrap_or((digits, "000000000"));
        let all_digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(part) || part.len() != 9 {
            return Err(wrong());
        }
        let (whole, part): (i128, i128) = (whole.parse().map_err(|_| wrong())?, part.parse().map_err(|_| wrong())?);
        let all = whole.checked_mul(1_000_000_000).and_then(|n| n.checked_add(part)).ok_or_else(wrong)? * sign;
        let seconds = i64::try_from(all.div_euclid(1_000_000_000)).map_err(|_| wrong())?;
        let nanos = u32::try_from(all.rem_euclid(1_000_000_000)).map_err(|_| wrong())?;
        let time = Self(Timestamp { seconds, nanos });
        // One way of writing each moment.
        if time.to_string() == text { Ok(time) } else { Err(wrong()) }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Seconds since 1970, negative before.",
            "type": "string",
            "pattern": "^-?[0-9]+(\\.[0-9]{9})?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back() {
        for (bytes, json) in [
            (&b"plain"[..], "\"plain\""),
            ("\u{fffd}".as_bytes(), "\"\u{fffd}\""),
            (b"", "\"\""),
            (b"caf\xe9", "{\"hex\":\"636166e9\"}"),
            (b"a\n\"\x1b", "\"a\\n\\\"\\u001b\""),
        ] {
            let text = Text::new(bytes);
            assert_eq!(serde_json::to_string(&text).unwrap(), json);
            assert_eq!(serde_json::from_str::<Text>(json).unwrap().bytes(), bytes);
        }
        for wrong in ["{\"hex\":\"6\"}", "{\"hex\":\"6G\"}", "{\"hex\":\"AB\"}", "{}", "1", "{\"hex\":\"+1\"}"] {
            assert!(serde_json::from_str::<Text>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn any_time_comes_back() {
        for (seconds, nanos, text) in [
            (1, 5, "1.000000005"),
            (-1, 0, "-1"),
            (-1, 999_999_999, "-0.000000001"),
            (-2, 500_000_000, "-1.500000000"),
            (0, 0, "0"),
            (i64::MAX, 999_999_999, "9223372036854775807.999999999"),
            (i64::MIN, 0, "-9223372036854775808"),
        ] {
            let time = Time(Timestamp { seconds, nanos });
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse(), Ok(time));
        }
        for wrong in ["", "-", "1.5", "1.000000000", "+1", "01", "-0", "1e3", "9223372036854775808", "1.", ".000000001"]
        {
            assert!(wrong.parse::<Time>().is_err(), "{wrong}");
        }
    }
}
