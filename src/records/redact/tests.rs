use std::collections::BTreeSet;

use super::super::dataset_manifest::Pattern;
use super::super::record::RecordHash;
use super::*;

const VECTORS: &str = include_str!("../../../tests/data/records/redaction_vectors.jsonl");

/// Where what is done differs from what the other system did, and why. By request and response as they go in.
const DIFFERENT: &[(&str, &str, &str)] = &[
    (
        r#"{"response": {"s": "{\"password\": \"correct horse\"}"}}"#,
        r#"{"response": {"s": "{\"password\": \"[REDACTED]\"}"}}"#,
        "a password in quotes may have blanks in it, and a text that is JSON has members",
    ),
    (
        r#"{"request": {"headers": [["Authorization", "x"], ["a", "JWT"]]}}"#,
        r#"{"request": {"headers": [["Authorization", "[REDACTED]"], ["a", "[REDACTED]"]]}}"#,
        "headers are as secret in a list as in an object",
    ),
    (
        r#"{"request": {"inner": {"headers": {"Authorization": "x"}}}}"#,
        r#"{"request": {"inner": {"headers": {"Authorization": "[REDACTED]"}}}}"#,
        "at any depth",
    ),
    (
        r#"{"request": {"body": {"password": "hunter2hunter2", "api_key": "0123456789abcdef"}}}"#,
        r#"{"request": {"body": {"password": "[REDACTED]", "api_key": "[REDACTED]"}}}"#,
        "a member that is called so holds a secret as an assignment in a text does",
    ),
    (
        r#"{"request": {"url": ["https://x/?key=1"]}}"#,
        r#"{"request": {"url": ["https://x/?key=[REDACTED]"]}}"#,
        "a URL is one wherever it stands",
    ),
    (
        r#"{"request": {"url": "https://x/JWT?a=AKIAIOSFODNN7EXAMPLE"}}"#,
        r#"{"request": {"url": "https://x/[REDACTED]?a=[REDACTED]"}}"#,
        "what is secret in a text is secret in a URL",
    ),
    (r#"{"response": {"s": "secret=1234567"}}"#, r#"{"response": {"s": "[REDACTED]"}}"#, "a short password is one too"),
    (
        r#"{"response": {"s": "secret=abcd\u001cefghijklm"}}"#,
        r#"{"response": {"s": "[REDACTED]\u001cefghijklm"}}"#,
        "a short password is one too",
    ),
    (
        r#"{"response": {"s": "secret=abcd\u000befghijklm"}}"#,
        r#"{"response": {"s": "[REDACTED]\u000befghijklm"}}"#,
        "a short password is one too",
    ),
    (r#"{"response": {"JWT": 1}}"#, r#"{"response": {"[REDACTED]": 1}}"#, "tokens are used as names"),
    (
        r#"{"request": {"headers": {"X-Custom-Secret": "a", "Authorization": "b"}}}"#,
        r#"{"request": {"headers": {"X-Custom-Secret": "[REDACTED]", "Authorization": "[REDACTED]"}}}"#,
        "whoever names one more header does not want the others stored",
    ),
];

const JWT: &str =
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";

pub(super) fn policy(patterns: &[(Option<&str>, &str)], headers: &[&str]) -> RedactionPolicy {
    let mut policy = RedactionPolicy::default();
    policy.enabled = true;
    let pattern = |(name, pattern): &(Option<&str>, &str)| Pattern {
        name: name.map(str::to_owned),
        pattern: (*pattern).to_owned(),
    };
    policy.patterns = patterns.iter().map(pattern).collect();
    policy.headers_to_redact.extend(headers.iter().map(|name| (*name).to_owned()));
    policy
}

pub(super) fn redactor(patterns: &[(Option<&str>, &str)], headers: &[&str]) -> Redactor {
    Redactor::new(&policy(patterns, headers), [1; 32]).unwrap()
}

/// A record with this request and response, and whatever follows.
pub(super) fn record(request: &str, response: &str, more: &str) -> Record {
    let line = format!(
        r#"{{"exchange_type": "http", "source_system": "s", "entity_type": "e", "request": {request}, "response": {response}{more}}}"#
    );
    Record::parse(line.as_bytes()).unwrap_or_else(|e| panic!("{line}: {e}"))
}

/// Redacts; whatever it is, what comes out verifies, is tied to what it was, and doing it again changes nothing.
pub(super) fn redact(redactor: &Redactor, record: &Record) -> Option<Redacted> {
    let mut parser = RecordParser::default();
    let redacted = redactor.apply(record, &mut parser).unwrap()?;
    let left = &redacted.record;
    assert_eq!(left.original_commitment, Some(redactor.commitment(record.content_sha256)));
    let again = parser.read(left.line().as_bytes()).unwrap();
    assert_eq!((again.verified(), again.content_sha256), (super::super::Verified::Same, left.content_sha256));
    assert_eq!(redactor.apply(left, &mut parser).unwrap(), None, "{}", left.line());
    assert!(redacted.count > 0 && !redacted.places.is_empty());
    Some(redacted)
}

/// A text as the response of a record, redacted.
pub(super) fn text(redactor: &Redactor, text: &str) -> String {
    let record = record("null", &walk::in_quotes(text), "");
    let left = redact(redactor, &record).map_or(record.response, |redacted| redacted.record.response);
    parse(left.as_str().as_bytes()).unwrap().text().unwrap().to_owned()
}

#[test]
fn vectors() {
    let custom = redactor(&[], &["X-Custom-Secret"]);
    let usual = redactor(&[], &[]);
    let mut differences = BTreeSet::new();
    for line in VECTORS.lines() {
        let member = |name: &str| {
            let mut tape = Tape::default();
            let root = tape.read(line.as_bytes(), &Limits::default()).unwrap();
            let value = root.members().find(|(n, _)| n.text().unwrap() == name).unwrap().1;
            let mut out = String::new();
            super::super::python::push(value, &mut out);
            out
        };
        let (request, response) = (member("request_in"), member("response_in"));
        let redactor = if line.contains("custom-headers") { &custom } else { &usual };
        let before = record(&request, &response, "");
        let left = redact(redactor, &before).map_or(before.clone(), |redacted| redacted.record);
        let (wanted_request, wanted_response) = (member("request_out"), member("response_out"));
        if (left.request.as_str(), left.response.as_str()) == (&*wanted_request, &*wanted_response) {
            continue;
        }
        let said = |request: &str, response: &str| {
            let said = [("request", request), ("response", response)].into_iter().filter(|(_, value)| *value != "null");
            let said: Vec<_> = said.map(|(name, value)| format!("\"{name}\": {value}")).collect();
            format!("{{{}}}", said.join(", ")).replace(JWT, "JWT")
        };
        let known = DIFFERENT.iter().find(|(given, _, _)| *given == said(&request, &response));
        let (given, wanted, _) = known.unwrap_or_else(|| panic!("{line}\n{}", left.line()));
        assert_eq!(said(left.request.as_str(), left.response.as_str()), *wanted, "{given}");
        differences.insert(*given);
    }
    assert_eq!((VECTORS.lines().count(), differences.len()), (40, DIFFERENT.len()));
}

#[test]
fn texts() {
    let usual = redactor(&[], &[]);
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n+/=\n-----END RSA PRIVATE KEY-----";
    for (given, wanted) in [
        ("nothing here", "nothing here"),
        ("https://user:pa@ss@host/path", "https://[REDACTED]@host/path"),
        (
            "git clone https://ghtoken@host/x, then ssh://git@host",
            "git clone https://[REDACTED]@host/x, then ssh://[REDACTED]@host",
        ),
        ("https://host/users/me@example.com?q=a@b", "https://host/users/me@example.com?q=a@b"),
        (
            "see https://x/?a=1&amp;Api_Key=v&amp;b=2#access_token=t",
            "see https://x/?a=1&amp;Api_Key=[REDACTED]&amp;b=2#access_token=[REDACTED]",
        ),
        ("?key=[REDACTED]rest&x=1", "?key=[REDACTED]&x=1"),
        ("?monkey=1&keys=2&donkey_key=3", "?monkey=1&keys=2&donkey_key=3"),
        (
            "https://b.s3/x?X-Amz-Credential=a&X-Amz-Signature=0f0f&e=1",
            "https://b.s3/x?X-Amz-Credential=a&X-Amz-Signature=[REDACTED]&e=1",
        ),
        ("Authorization: Basic dXNlcjpwYXNz\r\nHost: x", "Authorization: [REDACTED]\r\nHost: x"),
        ("> Cookie: sid=1; t=2\n> Host: x", "> Cookie: sid=[REDACTED]\n> Host: x"),
        ("Cookie: a biscuit. Bearer: a person", "Cookie: a biscuit. Bearer: a person"),
        (
            "the bearer of the ring, a bearer token, bearer bonds",
            "the bearer of the ring, a bearer token, bearer bonds",
        ),
        ("bearer of Bearer abc+/=.", "bearer of [REDACTED]"),
        ("bearer bearer abc", "bearer [REDACTED]"),
        ("a\neyJa.eyJb. b", "a\n[REDACTED] b"),
        ("eyJhbGciOiJ.ZW5j.aXY.Y2lwaGVy.dGFn!", "[REDACTED]!"),
        ("keyJa eyJ eyJa.b", "keyJa eyJ eyJa.b"),
        (
            "AKIAIOSFODNN7EXAMPLE,xASIAABCDEFGHIJKLMNOP akiaiosfodnn7example",
            "[REDACTED],xASIAABCDEFGHIJKLMNOP akiaiosfodnn7example",
        ),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345 sk-proj-0123456789abcdefghij", "[REDACTED] [REDACTED]"),
        (pem, "[REDACTED]"),
        ("password=[REDACTED]", "password=[REDACTED]"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_[REDACTED]"),
        ("{\\\"password\\\": \\\"a b\\\"}", "{[REDACTED]}"),
        ("password: 'a b' pwd=short", "[REDACTED] [REDACTED]"),
        // Short ones, and what is none.
        ("user=ann&password=abc&x=1", "user=ann&password=[REDACTED]&x=1"),
        ("password=abc&x=1 db_pass=hunter2;", "[REDACTED]&x=1 [REDACTED];"),
        ("password: hunt2, Secret : p@ss, PWD = 1234", "[REDACTED], [REDACTED], [REDACTED]"),
        (
            "Forgot password: click here. Password: required; the secret: be kind. password = none",
            "Forgot password: click here. Password: required; the secret: be kind. password = none",
        ),
        ("password=true pass=3 fail=2 pwd=/tmp passwd=$PW bypass=yes compass=north", ""),
        ("passed: a1b2, pass: 17 of 20, passenger=x1y2z3", ""),
        // What curl is told.
        ("curl -u ann:pw https://x", "curl -u [REDACTED] https://x"),
        ("curl -sSf \\\n  --user='ann:p w' -U p:q x", "curl -sSf \\\n  --user='[REDACTED]' -U [REDACTED] x"),
        ("curl --user-agent a:b -o x:y -H 'Accept: */*'", ""),
        ("sort -u a:b; a curly -u c:d", ""),
        (
            "curl -H \"PRIVATE-TOKEN: abc\" --header 'authorization: Basic x=' -H 'Cookie: a=1'",
            "curl -H \"PRIVATE-TOKEN: [REDACTED]\" --header 'authorization: [REDACTED]' -H 'Cookie: [REDACTED]'",
        ),
        ("\u{17f}ecret=12345678", "[REDACTED]"),
    ] {
        assert_eq!(text(&usual, given), if wanted.is_empty() { given } else { wanted }, "{given}");
    }
}

#[test]
fn names_whose_values_tell() {
    let usual = redactor(&[], &[]);
    let of = |given: &str| {
        let before = record("null", given, "");
        redact(&usual, &before).map_or(before, |redacted| redacted.record).response.as_str().to_owned()
    };
    for name in [
        "pass",
        "PASS",
        "db_pass",
        "Proxy-Pass",
        "pw",
        "auth",
        "Auth",
        "jwt",
        "JWT",
        "sessionid",
        "session_id",
        "Session-ID",
        "PHPSESSID",
        "csrf",
        "_csrf",
        "XSRF",
        "csrfmiddlewaretoken",
        "credentials",
        "creds",
        "token",
        "Token",
        "PRIVATE-TOKEN",
        "private_token",
        "xsrf-token",
        "api_token",
    ] {
        for value in ["s3cr3t", "correct-horse"] {
            let given = format!(r#"{{"{name}": "{value}", "n": 1}}"#);
            assert_eq!(of(&given), format!(r#"{{"{name}": "[REDACTED]", "n": 1}}"#), "{given}");
            let pair = format!(r#"[{{"name": "{name}", "value": "{value}"}}]"#);
            assert_eq!(of(&pair), format!(r#"[{{"name": "{name}", "value": "[REDACTED]"}}]"#), "{pair}");
        }
        for value in ["true", "false", "null", "\"\"", "[]", "{}"] {
            let given = format!(r#"{{"{name}": {value}}}"#);
            assert_eq!(of(&given), given);
        }
    }
    assert_eq!(of(r#"{"auth": ["ann", "pw"], "b": 1}"#), r#"{"auth": "[REDACTED]", "b": 1}"#);
    assert_eq!(of(r#"{"credentials": {"a": "b"}}"#), r#"{"credentials": "[REDACTED]"}"#);
    assert_eq!(of(r#"{"auth": {"user": "ann", "pass": "pw1"}}"#), r#"{"auth": {"user": "ann", "pass": "[REDACTED]"}}"#);
    for kept in [
        r#"{"token_count": 17, "max_tokens": 4096, "tokens": ["a1b2c3"], "completion_tokens": "128", "next_page_token": "a1b2c3d4"}"#,
        r#"{"pass": 12, "fail": 3, "passed": "a1b2", "passes": "x1y2", "bypass": "a1b2", "compass": "n0rth", "passport": "P1234567"}"#,
        r#"{"pass": "yes", "a": {"pass": "FAILED"}, "b": {"pass": "12"}, "pass_rate": "0.97", "tests": {"pass": ["t1", "t2"]}}"#,
        r#"{"auth": "basic", "a": {"auth": "OAuth2"}, "b": {"auth": "https://idp/authorize"}, "author": "Ann B1", "auth_url": "/x1"}"#,
        r#"{"credentials": "same-origin", "a": {"credentials": [{"degree": "MD"}]}, "credentialed": "a1b2", "sessions": "a1b2"}"#,
        r#"{"token": "the", "a": {"token": "two words 2"}, "b": {"token": 50256}, "session_id": 17}"#,
        r#"{"content": [{"token": "2024", "logprob": -0.1}, {"token": "understand", "pos": "VERB"}]}"#,
    ] {
        assert_eq!(of(kept), kept);
    }
    // Long ones are none of a language; and a name that goes tells nothing.
    let long = r#"{"token": "[REDACTED]", "logprob": 0}"#;
    assert_eq!(of(r#"{"token": "abcdefghijklmnop", "logprob": 0}"#), long);
    let own = redactor(&[(None, "logprob"), (None, "2")], &[]);
    let left = redact(&own, &record("null", r#"{"token": "understand", "logprob": 1, "pass": "12"}"#, "")).unwrap();
    assert_eq!(left.record.response.as_str(), r#"{"token": "[REDACTED]", "[REDACTED]": 1, "pass": "[REDACTED]"}"#);
}

/// Bodies are JSON in a text: names stay, what is not secret stays as it is written, and so does what is around it.
#[test]
fn json_within_texts() {
    let usual = redactor(&[], &["X-Mine"]);
    let deep = |levels: usize, inner: &str| {
        (0..levels).fold(inner.to_owned(), |text, _| walk::in_quotes(&format!("[{text}]")))
    };
    for (given, wanted) in [
        (r#"{"password":"x","n":1.50, "u":"\u00e9"}"#, r#"{"password":"[REDACTED]","n":1.50, "u":"\u00e9"}"#),
        (" [{\"headers\":{\"Cookie\":\"a\"}}]\n", " [{\"headers\":{\"Cookie\":\"[REDACTED]\"}}]\n"),
        (r#"{"p\u0061ss":"abc"}"#, r#"{"p\u0061ss":"[REDACTED]"}"#),
        (
            r#"{"url":"https://a:b@c/?key=d","x-mine":[1]}"#,
            r#"{"url":"https://[REDACTED]@c/?key=[REDACTED]","x-mine":"[REDACTED]"}"#,
        ),
        (r#"{"pass": true, "max_tokens": 5}"#, r#"{"pass": true, "max_tokens": 5}"#),
        (r#"{"password": "a b""#, "{[REDACTED]"),
    ] {
        assert_eq!(text(&usual, given), wanted);
    }
    for levels in [1, 3, 10] {
        let before = record("null", &deep(levels, r#"{"pwd": "a b"}"#), "");
        let left = redact(&usual, &before).unwrap().record;
        assert!(!left.line().contains("a b"), "{}", left.line());
        assert_eq!(left.response.as_str() == deep(levels, r#"{"pwd": "[REDACTED]"}"#), levels <= 3, "{}", left.line());
    }
    let own = redactor(&[(None, "email")], &[]);
    let body = walk::in_quotes(r#"{"pwd": "x", "to": ["a@b.de", "c@d.de"], "Cookie": "y"}"#);
    let left = redact(&own, &record(&format!(r#"{{"body": {body}}}"#), "null", "")).unwrap();
    let places: Vec<_> = left.places.iter().map(|place| (&*place.path, &*place.rule)).collect();
    assert_eq!(places, [("/request/body", "header"), ("/request/body", "member"), ("/request/body", "email")]);
    assert_eq!(left.record.redactions_applied.as_str(), r#"["pattern:email", "request_headers", "request_secrets"]"#);
}

#[test]
fn names_of_members() {
    let usual = redactor(&[], &["X-Mine"]);
    for (given, wanted) in [
        (
            r#"{"password": "x", "db_Password": 7, "passwords": "x", "passwordless": "x"}"#,
            r#"{"password": "[REDACTED]", "db_Password": "[REDACTED]", "passwords": "x", "passwordless": "x"}"#,
        ),
        (r#"{"password": null, "secret": true, "apiKey": "", "clientSecret": [], "pwd": {}}"#, ""),
        (
            r#"{"secret": {"a": [1, {"b": 2}]}, "AccessToken": [1]}"#,
            r#"{"secret": "[REDACTED]", "AccessToken": "[REDACTED]"}"#,
        ),
        (r#"{"token": "the", "next_page_token": "abcdefghijklmnopqrst"}"#, ""),
        (r#"{"token": "abcdefghijklmnop"}"#, r#"{"token": "[REDACTED]"}"#),
        (
            r#"{"a": [{"set-cookie": ["a=1", "b=2"]}], "X-MINE": "v", "cookies": {"s": 1}}"#,
            r#"{"a": [{"set-cookie": "[REDACTED]"}], "X-MINE": "[REDACTED]", "cookies": "[REDACTED]"}"#,
        ),
        (
            r#"{"headers": [{"name": "Authorization", "value": "x"}, {"value": "y", "name": "Accept"}]}"#,
            r#"{"headers": [{"name": "Authorization", "value": "[REDACTED]"}, {"value": "y", "name": "Accept"}]}"#,
        ),
        (
            r#"{"rawHeaders": ["Host", "x", "Authorization", "y", "Accept", "Cookie"]}"#,
            r#"{"rawHeaders": ["Host", "x", "Authorization", "[REDACTED]", "Accept", "Cookie"]}"#,
        ),
        (r#"{"allow_headers": ["Authorization", "Accept"]}"#, ""),
        (
            r#"{"params": {"key": "x", "q": 1}, "other": {"key": "x"}}"#,
            r#"{"params": {"key": "[REDACTED]", "q": 1}, "other": {"key": "x"}}"#,
        ),
        (
            r#"{"queryString": [{"name": "sig", "value": "x"}], "query": [["key", "v"], ["q", "w"]]}"#,
            r#"{"queryString": [{"name": "sig", "value": "[REDACTED]"}], "query": [["key", "[REDACTED]"], ["q", "w"]]}"#,
        ),
        (r#"{"\u0070assword": "x"}"#, r#"{"password": "[REDACTED]"}"#),
    ] {
        for (request, response) in [(given, "null"), ("null", given)] {
            let before = record(request, response, "");
            let left = redact(&usual, &before).map_or(before, |redacted| redacted.record);
            let left = if request == "null" { left.response } else { left.request };
            assert_eq!(left.as_str(), if wanted.is_empty() { given } else { wanted });
        }
    }
}

#[test]
fn names_stay_apart() {
    let usual = redactor(&[], &[]);
    let other = JWT.replace("eyJh", "eyJi");
    let given = format!(r#"{{"{JWT}": 1, "[REDACTED]~2": 2, "{other}": {{"{JWT}": 3}}, "x": 4}}"#);
    let left = redact(&usual, &record("null", &given, "")).unwrap();
    assert_eq!(
        left.record.response.as_str(),
        r#"{"[REDACTED]": 1, "[REDACTED]~2": 2, "[REDACTED]~3": {"[REDACTED]": 3}, "x": 4}"#
    );
    assert!(!left.record.line().contains("eyJ") && !format!("{:?}", left.places).contains("eyJ"));
}

/// Only what was replaced is told, with what was told before; and where.
#[test]
fn what_was_applied() {
    let own = redactor(&[(Some("ticket"), "TCK-[0-9]+"), (None, "email")], &[]);
    let usual = redactor(&[], &[]);
    let all = record(
        r#"{"headers": {"Cookie": "a"}, "a/b": ["me@example.com"]}"#,
        r#"{"x": [{"password": "p"}], "t": "TCK-1"}"#,
        r#", "natural_key": "https://x/?key=1", "tags": ["TCK-2"], "mine": {"secret": "s"}, "api_key": "k", "redactions_applied": ["old", "request_headers"]"#,
    );
    let left = redact(&own, &all).unwrap();
    assert_eq!(
        left.record.redactions_applied.as_str(),
        r#"["old", "request_headers", "metadata_secrets", "natural_key_secrets", "pattern:email", "pattern:ticket", "request_secrets", "response_secrets"]"#
    );
    let places: Vec<_> = left.places.iter().map(|place| (&*place.path, &*place.rule)).collect();
    assert_eq!(
        places,
        [
            ("/request/headers/Cookie", "header"),
            ("/request/a~1b/0", "email"),
            ("/response/x/0/password", "member"),
            ("/response/t", "ticket"),
            ("/natural_key", "query"),
            ("/tags/0", "ticket"),
            ("/mine/secret", "member"),
            ("/api_key", "member"),
        ]
    );
    assert_eq!(left.count, 8);
    assert_eq!(left.record.key(), Some("https://x/?key=[REDACTED]"));
    assert!(left.record.line().ends_with(r#""mine": {"secret": "[REDACTED]"}, "api_key": "[REDACTED]"}"#));
    // Each rule that found something in a text is told.
    let several =
        record("null", r#"["TCK-1 of me@example.com at https://a:b@c"]"#, r#", "natural_key": "a@b.de TCK-2""#);
    let left = redact(&own, &several).unwrap();
    let places: Vec<_> = left.places.iter().map(|place| (&*place.path, &*place.rule)).collect();
    assert_eq!(
        places,
        [
            ("/response/0", "userinfo"),
            ("/response/0", "ticket"),
            ("/response/0", "email"),
            ("/natural_key", "ticket"),
            ("/natural_key", "email"),
        ]
    );
    assert_eq!(
        left.record.redactions_applied.as_str(),
        r#"["natural_key_secrets", "pattern:email", "pattern:ticket", "response_secrets"]"#
    );
    let clean = record(r#"{"headers": {"Accept": "*/*"}}"#, r#"{"ok": true}"#, "");
    assert_eq!(usual.apply(&clean, &mut RecordParser::default()).unwrap(), None);
    let many = record("null", &format!("[{}]", [r#"{"pwd": 1}"#; 250].join(", ")), "");
    let left = redact(&usual, &many).unwrap();
    assert_eq!((left.count, left.places.len()), (250, 100));
}

#[test]
fn patterns_of_a_policy() {
    for (pattern, given, wanted) in [
        ("email", "a me.you+x@mail.example.com, x@y", "a [REDACTED], x@y"),
        ("ipv4", "10.0.0.1 256.1.1.1 1.2.3", "[REDACTED] 256.1.1.1 1.2.3"),
        ("credit_card", "4111 1111 1111 1111 and 4111 1111 1111 1112", "[REDACTED] and 4111 1111 1111 1112"),
        ("iban", "DE89 3704 0044 0532 0130 00 and some12 word", "[REDACTED] and some12 word"),
        ("us_ssn", "078-05-1120 or 078-051120", "[REDACTED] or 078-051120"),
        ("^a", "aaa a", "[REDACTED]aa a"),
        // What is left is looked at again: it now stands at the begin of a word.
        (r"\ba", "aac", "[REDACTED][REDACTED]c"),
        ("b*", "abba", "a[REDACTED]a"),
        ("(?-i)x+", "xxX", "[REDACTED]X"),
        ("ticket", "TICKET", "[REDACTED]"),
        ("é", "É e\u{301}", "[REDACTED] e\u{301}"),
        ("redacted", "[REDACTED] redacted", "[REDACTED] [REDACTED]"),
    ] {
        assert_eq!(text(&redactor(&[(None, pattern)], &[]), given), wanted, "{pattern}");
    }
    for (pattern, why) in [
        ("(", "unclosed group"),
        ("(?=a)", "look-around"),
        (r"(a)\1", "backreference"),
        ("((a{500}){500}){500}", "256 KiB"),
    ] {
        let error = Redactor::new(&policy(&[(None, pattern)], &[]), [0; 32]).unwrap_err().to_string();
        assert!(error.contains(why), "{pattern}: {error}");
    }
}

/// What other engines take for ever takes no longer than the text; what takes long all the same is an error.
#[test]
fn time() {
    let slow = redactor(&[(None, "(a+)+$"), (None, "(.*)*b")], &[]);
    let long = format!("{}!", "a".repeat(200_000));
    assert_eq!(text(&slow, &long), long);
    // Each search goes on to the end for the longer one, and finds the shorter.
    let square = redactor(&[(Some("square"), "a.*q|a")], &[]).within(Duration::from_millis(20));
    let given = record("null", &format!("\"{}\"", "a".repeat(200_000)), "");
    let error = square.apply(&given, &mut RecordParser::default()).unwrap_err();
    assert_eq!(error.to_string(), "the pattern square took longer than 20ms");
}

#[test]
fn commitments_need_the_key() {
    let secret = record(r#"{"headers": {"Cookie": "a"}}"#, "null", "");
    let one = redact(&redactor(&[], &[]), &secret).unwrap().record;
    let other = Redactor::new(&policy(&[], &[]), [2; 32]).unwrap();
    let two = other.apply(&secret, &mut RecordParser::default()).unwrap().unwrap().record;
    assert_eq!(one.content_sha256, two.content_sha256);
    assert_ne!(one.original_commitment, two.original_commitment);
    let hash = RecordHash::from_bytes([7; 32]);
    assert!(other.commitment(hash).starts_with("blake3:") && !other.commitment(hash).contains(&hash.to_string()[..16]));
    // The first one is what counts: redacted again by more patterns, it is still tied to what it was.
    let more = redactor(&[(None, "Cookie")], &[]);
    let again = more.apply(&one, &mut RecordParser::default()).unwrap().unwrap().record;
    assert_eq!(again.original_commitment, one.original_commitment);
    assert!(format!("{:?}", other.key).contains("SecretKey") && !format!("{:?}", other.key).contains(char::is_numeric));
}

/// A policy's patterns do not change what names a record; secrets go from there too.
#[test]
fn names_of_records() {
    let redactor = redactor(&[(None, "[0-9]+")], &[]);
    let mut parser = RecordParser::default();
    let line = r#"{"exchange_id": "id-17", "exchange_type": "h2", "source_system": "https://a:b@c4", "entity_type": "e3", "natural_key": "k5"}"#;
    let record = parser.read(line.as_bytes()).unwrap();
    let left = redactor.apply(&record, &mut parser).unwrap().unwrap().record;
    let names = [&left.exchange_id, &left.exchange_type, &left.source_system, &left.entity_type].map(String::as_str);
    assert_eq!(names, ["id-17", "h2", "https://[REDACTED]@c4", "e3"]);
    assert_eq!(left.natural_key.as_deref(), Some("k[REDACTED]"));
    assert_eq!(redactor.apply(&left, &mut parser).unwrap(), None);
}
