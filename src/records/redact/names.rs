//! Names that say that what stands beside them is secret.

use super::super::tape::{Sort, Value};
use super::MARK;

/// Headers that hold secrets.
const HEADERS: [&str; 12] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "x-auth-token",
    "bearer",
    "x-access-token",
    "x-secret",
    "x-csrf-token",
    "x-amz-security-token",
];

/// What the names of members end in whose values are secret; of the name hyphens, underscores, points, blanks and letter case do not count.
const ENDINGS: [&str; 19] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "apikey",
    "accesstoken",
    "refreshtoken",
    "authtoken",
    "idtoken",
    "sessiontoken",
    "csrftoken",
    "securitytoken",
    "bearertoken",
    "privatekey",
    "secretkey",
    "secretaccesskey",
    "accountkey",
    "cookies",
];

/// Parameters of a query that are secret.
pub(super) const PARAMETERS: [&str; 26] = [
    "api_key",
    "api-key",
    "apikey",
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "auth",
    "authorization",
    "bearer",
    "access_token",
    "refresh_token",
    "id_token",
    "auth_token",
    "session_token",
    "client_secret",
    "access_key",
    "private_key",
    "sig",
    "signature",
    "x-amz-signature",
    "x-amz-security-token",
    "x-goog-signature",
];

/// What is in a container, told by the name that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// Anything.
    Anything,
    /// Headers, in whatever way they are listed.
    Headers,
    /// Headers, a name and a value in turn.
    Turns,
    /// Parameters of a query.
    Query,
}

impl Within {
    /// Of a container that is called so.
    pub(super) fn of(name: &str) -> Self {
        let name = folded(name);
        if name == "rawheaders" {
            Self::Turns
        } else if name.ends_with("headers") {
            Self::Headers
        } else if matches!(&*name, "params" | "query" | "queryparams" | "queryparameters" | "querystring") {
            Self::Query
        } else {
            Self::Anything
        }
    }
}

/// The names of a policy.
#[derive(Debug)]
pub(super) struct Names {
    headers: Vec<String>,
}

impl Names {
    /// Those that always count, and these headers.
    pub(super) fn new(headers: &[String]) -> Self {
        let more = headers.iter().map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty());
        let mut headers: Vec<String> = HEADERS.map(str::to_owned).into_iter().chain(more).collect();
        headers.sort_unstable();
        headers.dedup();
        Self { headers }
    }

    /// All headers.
    pub(super) fn headers(&self) -> &[String] {
        &self.headers
    }

    /// True of a header that holds a secret.
    pub(super) fn is_header(&self, name: &str) -> bool {
        let is = |name: &str| self.headers.binary_search_by(|known| known.as_str().cmp(name)).is_ok();
        if name.is_ascii() && name.bytes().all(|b| !b.is_ascii_uppercase()) {
            is(name)
        } else {
            is(&name.to_lowercase())
        }
    }

    /// True if this member, or this parameter, has a secret value.
    pub(super) fn is_secret(&self, name: &str, value: Value<'_, '_>, within: Within) -> bool {
        self.is_secret_name(name, within) || (name.eq_ignore_ascii_case("token") && is_long_word(value))
    }

    /// True if whatever is called so is secret.
    pub(super) fn is_secret_name(&self, name: &str, within: Within) -> bool {
        let folded = folded(name);
        ENDINGS.iter().any(|ending| folded.ends_with(ending))
            || (within == Within::Query && PARAMETERS.contains(&&*name.to_lowercase()))
    }
}

/// A token may be a word of a language, as language models count them: a secret one is long.
fn is_long_word(value: Value<'_, '_>) -> bool {
    value.text().is_some_and(|text| text.len() >= 16 && !text.contains(char::is_whitespace))
}

/// True of what hides nothing: nothing, a yes or no, or what has been replaced.
pub(super) fn is_harmless(value: Value<'_, '_>) -> bool {
    match value.sort() {
        Sort::Null | Sort::True | Sort::False => true,
        Sort::Text => value.text().is_some_and(|text| text.is_empty() || text == MARK),
        Sort::List | Sort::Object => value.end() == value.place() + 1,
        Sort::Whole | Sort::Fraction | Sort::NotFinite => false,
    }
}

fn folded(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_' | '.' | ' ')).flat_map(char::to_lowercase).collect()
}
