//! Canonical forms of JSON: one text for one value, to be hashed. There are two, of two systems, and they differ in nearly everything:
//!
//! | | [`jcs`] | [`Exchange`] |
//! |---|---|---|
//! | what it is for | the chain of hashes over evidence | `content_sha256` of records |
//! | source | RFC 8785, *JSON Canonicalization Scheme* (June 2020) | what the system that records come from computes: Python's `json` over values that were normalised before |
//! | order of names | UTF-16 code units | code points, which is that of the UTF-8 bytes |
//! | strings | as they are | Unicode's NFC (UAX #15); so are names |
//! | names twice in an object | an error | the value that Python's dictionary would be left with |
//! | whole numbers | doubles: an error beyond ±(2^53 − 1) | the digits as they are written; `-0` is `0` |
//! | other numbers | as ECMAScript prints them | rounded to 15 significant digits, as Python prints them |
//! | `NaN`, infinite | an error | a string; see [`Exchange`] |
//!
//! Strings are escaped alike in both ([`super::quoted`]).

mod exchange;
mod float;
mod jcs;

pub use exchange::{Exchange, nfc, twins};
pub use jcs::{CanonicalError, jcs};
