//! Names that say that what stands beside them is secret.

use super::super::tape::{Sort, Value};
use super::MARK;

/// Headers that hold secrets.
const HEADERS: [&str; 23] = [
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
    "x-xsrf-token",
    "x-amz-security-token",
    "private-token",
    "job-token",
    "deploy-token",
    "x-gitlab-token",
    "x-vault-token",
    "x-auth-key",
    "x-goog-api-key",
    "x-functions-key",
    "x-shopify-access-token",
    "ocp-apim-subscription-key",
];

/// What the names of members end in whose values are secret; of the name hyphens, underscores, points, blanks and letter case do not count.
pub(super) const ENDINGS: [&str; 35] = [
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
    "apitoken",
    "xsrftoken",
    "privatetoken",
    "deploytoken",
    "jobtoken",
    "bottoken",
    "githubtoken",
    "gitlabtoken",
    "npmtoken",
    "middlewaretoken",
    "authenticitytoken",
    "verificationtoken",
    "privatekey",
    "secretkey",
    "secretaccesskey",
    "accountkey",
    "signingkey",
    "encryptionkey",
    "amzsignature",
    "googsignature",
    "cookies",
];

/// Names of members, folded in the same way, that hold a secret if what stands there is a text and no word for a setting.
pub(super) const WORDS: [&str; 25] = [
    "pass",
    "pw",
    "dbpass",
    "userpass",
    "smtppass",
    "mailpass",
    "ftppass",
    "adminpass",
    "rootpass",
    "loginpass",
    "proxypass",
    "authpass",
    "jwt",
    "sessionid",
    "sessid",
    "jsessionid",
    "phpsessid",
    "aspnetsessionid",
    "connectsid",
    "csrf",
    "xsrf",
    "creds",
    "credentials",
    "auth",
    // Of eight characters or more: in a page it is the letter that leads to a link.
    "accesskey",
];

/// What stands in such a member where it tells how something is set or how it went.
const SETTINGS: [&str; 33] = [
    "true",
    "false",
    "yes",
    "no",
    "on",
    "off",
    "none",
    "null",
    "nil",
    "undefined",
    "n/a",
    "enabled",
    "disabled",
    "required",
    "optional",
    "ok",
    "pass",
    "passed",
    "fail",
    "failed",
    "skip",
    "skipped",
    "default",
    "unknown",
    "missing",
    "valid",
    "invalid",
    "expired",
    "always",
    "never",
    "include",
    "omit",
    "same-origin",
];

/// What stands in `auth` where it tells in which way somebody proves who they are.
const WAYS: [&str; 32] = [
    "basic",
    "bearer",
    "digest",
    "oauth",
    "oauth1",
    "oauth2",
    "jwt",
    "apikey",
    "api_key",
    "api-key",
    "token",
    "session",
    "cookie",
    "password",
    "saml",
    "oidc",
    "openid",
    "ldap",
    "kerberos",
    "ntlm",
    "negotiate",
    "anonymous",
    "hmac",
    "mtls",
    "iam",
    "public",
    "private",
    "user",
    "admin",
    "login",
    "plain",
    "starttls",
];

/// Members beside a `token` that is a piece of language.
const OF_LANGUAGE: [&str; 8] =
    ["logprob", "logprobs", "top_logprobs", "token_id", "lemma", "pos", "upos", "whitespace"];

/// Parameters of a query that are secret.
pub(super) const PARAMETERS: [&str; 41] = [
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
    "pass",
    "jwt",
    "csrf",
    "csrf_token",
    "xsrf_token",
    "api_token",
    "private_token",
    "job_token",
    "session_id",
    "sessionid",
    "sessid",
    "jsessionid",
    "phpsessid",
    "connect.sid",
    "credentials",
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
#[derive(Debug, Clone)]
pub(super) struct Names {
    headers: Vec<String>,
    /// The same without what parts their words.
    folded: Vec<String>,
}

impl Names {
    /// Those that always count, and these headers.
    pub(super) fn new(headers: &[String]) -> Self {
        let more = headers.iter().map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty());
        let mut headers: Vec<String> = HEADERS.map(str::to_owned).into_iter().chain(more).collect();
        headers.sort_unstable();
        headers.dedup();
        let mut folded: Vec<_> = headers.iter().map(|name| folded(name)).collect();
        folded.sort_unstable();
        Self { headers, folded }
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

    /// The same however its words are parted, and with what gateways and traces put in front.
    pub(super) fn is_like_header(&self, name: &str) -> bool {
        let is = |name: &str| self.folded.binary_search_by(|known| known.as_str().cmp(name)).is_ok();
        let folded = folded(name);
        let fronts = ["httprequestheader", "httpresponseheader", "http"];
        is(&folded) || fronts.iter().find_map(|front| folded.strip_prefix(front)).is_some_and(is)
    }

    /// True of a name and what stands in quotes behind it, in a text that need not be JSON.
    pub(super) fn is_secret_pair(&self, name: &str, text: &str) -> bool {
        self.is_like_header(name)
            || self.is_secret_name(name, Within::Anything)
            || Self::is_secret_text(name, text)
            || Self::may_be_token(name, text) && Self::is_long_token(text)
    }

    /// True if this member holds a secret by what stands in it. `text`: that of the value, if it is one.
    pub(super) fn is_secret_by_value(name: &str, value: Value<'_, '_>, text: Option<&str>) -> bool {
        let name = &*folded(name);
        if !WORDS.contains(&name) {
            return false;
        }
        let Some(text) = text else {
            let is_pair = |value: Value<'_, '_>| {
                value.items().take(3).count() == 2 && value.items().all(|item| item.sort() == Sort::Text)
            };
            return match (name, value.sort()) {
                ("auth", Sort::List) => is_pair(value),
                ("creds" | "credentials", Sort::Object) => true,
                _ => false,
            };
        };
        Self::is_secret_text(name, text)
    }

    /// The same where a text stands in it.
    fn is_secret_text(name: &str, text: &str) -> bool {
        let name = &*folded(name);
        if !WORDS.contains(&name) {
            return false;
        }
        let tells_a_way = || {
            let is_place = text.starts_with('/') || text.starts_with("http://") || text.starts_with("https://");
            is_place || WAYS.contains(&&*text.trim().to_lowercase())
        };
        let is_secret = (name != "auth" || !tells_a_way()) && (name != "accesskey" || text.len() >= 8);
        is_secret && !is_setting(text)
    }

    /// True if what a member called `token` has may be a secret: language models call words so.
    pub(super) fn may_be_token(name: &str, text: &str) -> bool {
        let is_code = || text.len() >= 8 || (text.contains(|c: char| c.is_ascii_digit()) && text.len() >= 3);
        (5..9).contains(&name.len()) && folded(name) == "token" && !text.contains(char::is_whitespace) && is_code()
    }

    /// True of a token that is a secret whatever stands beside it.
    pub(super) fn is_long_token(text: &str) -> bool {
        text.len() >= 16
    }

    /// True of a member that tells that the token beside it is a piece of language.
    pub(super) fn is_of_language(name: &str) -> bool {
        OF_LANGUAGE.iter().any(|known| name.eq_ignore_ascii_case(known))
    }

    /// True if whatever is called so is secret.
    pub(super) fn is_secret_name(&self, name: &str, within: Within) -> bool {
        let folded = folded(name);
        ENDINGS.iter().any(|ending| folded.ends_with(ending))
            || (within == Within::Query && PARAMETERS.iter().any(|known| self::folded(known) == folded))
    }
}

/// True of a text that tells how something is set, or counts something.
pub(super) fn is_setting(text: &str) -> bool {
    let text = text.trim();
    let counts = text.len() < 4 && text.bytes().all(|b| b.is_ascii_digit());
    counts || SETTINGS.contains(&&*text.to_lowercase())
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
    name.chars().filter(|c| !matches!(c, '-' | '_' | '.' | ' ' | ':')).flat_map(char::to_lowercase).collect()
}
