//! Rows of a query's result, told apart by a digest: the same rows in an evidence item, a JSON file and a Parquet file have the same.

use crate::codec::Sha256;
use crate::records::json::Json;

/// Rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rows {
    /// How many.
    pub(super) count: usize,
    /// Of all of them, as JSON and Parquet both can hold them: members that are null are left out, their order does not count, nor whether
    /// a number has a fraction of zero.
    pub(super) digest: String,
}

impl Rows {
    /// Of a list of objects; nothing if it is none.
    pub(super) fn of(list: &Json) -> Option<Self> {
        let rows = list.list()?;
        let mut digest = Digest::default();
        for row in rows {
            row.members()?;
            digest.row(row);
        }
        Some(digest.finish())
    }
}

/// Takes rows one by one.
#[derive(Debug, Default)]
pub(super) struct Digest {
    hash: Sha256,
    count: usize,
}

impl Digest {
    pub(super) fn row(&mut self, row: &Json) {
        self.count += 1;
        self.value(row);
    }

    pub(super) fn finish(self) -> Rows {
        Rows { count: self.count, digest: self.hash.hex() }
    }

    fn value(&mut self, value: &Json) {
        match value {
            Json::Null => self.hash.update(b"n"),
            Json::Bool(value) => self.hash.update(if *value { b"t" } else { b"f" }),
            Json::Number(text) => self.text(b'd', &number(text)),
            Json::Text(text) => self.text(b's', text),
            Json::List(list) => {
                self.hash.update(b"[");
                list.iter().for_each(|value| self.value(value));
                self.hash.update(b"]");
            }
            Json::Object(members) => {
                // Of two of one name the last counts; a stable sort leaves it behind.
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by(|(a, _), (b, _)| a.cmp(b));
                self.hash.update(b"{");
                for (at, (name, value)) in members.iter().enumerate() {
                    let is_last = members.get(at + 1).is_none_or(|(next, _)| next != name);
                    if is_last && *value != Json::Null {
                        self.text(b'k', name);
                        self.value(value);
                    }
                }
                self.hash.update(b"}");
            }
        }
    }

    fn text(&mut self, sort: u8, text: &str) {
        self.hash.update(&[sort]);
        self.hash.update(&(text.len() as u64).to_le_bytes());
        self.hash.update(text.as_bytes());
    }
}

/// A number as a double, where that holds it; else as it is written.
fn number(text: &str) -> String {
    const EXACT: u64 = 1 << 53;
    let is_whole = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    if is_whole && text.parse::<i64>().map_or(true, |n| n.unsigned_abs() > EXACT) {
        return text.to_owned();
    }
    // Minus zero and zero are one number.
    text.parse::<f64>().map_or_else(|_| text.to_owned(), |x| format!("{:?}", x + 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::json::parse;

    fn digest(text: &str) -> String {
        Rows::of(&parse(text.as_bytes()).unwrap()).unwrap().digest
    }

    #[test]
    fn what_is_the_same() {
        let rows = r#"[{"a": 1, "b": "x", "c": null, "d": {"e": null}}, {"a": -0.0}]"#;
        assert_eq!(digest(rows), digest(r#"[{"d":{},"b":"\u0078","a":1.0},{"a":0,"c":null}]"#));
        assert_eq!(digest(r#"[{"a":1e-07}]"#), digest(r#"[{"a":0.0000001}]"#));
        assert_eq!(digest(r#"[{"a":1,"a":2}]"#), digest(r#"[{"a":2}]"#));
        assert_eq!(Rows::of(&parse(b"[{},{}]").unwrap()).unwrap().count, 2);
    }

    #[test]
    fn what_is_not() {
        let all = [
            r"[]",
            r"[{}]",
            r"[{},{}]",
            r#"[{"a":1}]"#,
            r#"[{"a":"1"}]"#,
            r#"[{"a":[1]}]"#,
            r#"[{"a":[null]}]"#,
            r#"[{"a":[]}]"#,
            r#"[{"a":{}}]"#,
            r#"[{"a":true}]"#,
            r#"[{"a":9007199254740993}]"#,
            r#"[{"a":9007199254740995}]"#,
            r#"[{"a":NaN}]"#,
            r#"[{"ab":"c"}]"#,
            r#"[{"a":"bc"}]"#,
        ];
        for (at, a) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|b| digest(a) != digest(b)), "{a}");
        }
        for text in ["{}", "[1]", "null"] {
            assert!(Rows::of(&parse(text.as_bytes()).unwrap()).is_none(), "{text}");
        }
    }
}
