//! The forms in which secrets come: bodies of encoders and servers, forms, logs, traces, settings.

use std::sync::OnceLock;

use super::super::record::Record;
use super::Redactor;
use super::names::{ENDINGS, WORDS};
use super::tests::{record, redact, redactor, text};
use super::walk::in_quotes;

fn left(redactor: &Redactor, json: &str, more: &str) -> Record {
    let before = record("null", json, more);
    redact(redactor, &before).map_or(before, |redacted| redacted.record)
}

/// One that has only what always applies, made once.
fn usual() -> &'static Redactor {
    static USUAL: OnceLock<Redactor> = OnceLock::new();
    USUAL.get_or_init(|| redactor(&[], &[]))
}

#[track_caller]
fn goes(json: &str, wanted: &str) {
    assert_eq!(left(usual(), json, "").response.as_str(), if wanted.is_empty() { json } else { wanted });
}

#[track_caller]
fn text_goes(given: &str, wanted: &str) {
    assert_eq!(text(usual(), given), if wanted.is_empty() { given } else { wanted });
}

/// Every field of a record is looked at, and what says that it was redacted.
#[test]
fn all_fields() {
    let usual = usual();
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnMDAwMDAx";
    let key = "ghp_2123456789abcdefghijABCDEFGHIJ012345";
    let all = format!(
        r#", "{jwt}": 1, "{jwt}x": 2, "redactions_applied": ["{key}", "request_headers", {{"a": "{key}"}}], "original_commitment": "{key}""#
    );
    let left = left(usual, "1", &all);
    let line = left.line();
    assert!(!line.contains("eyJ") && !line.contains("ghp_"), "{line}");
    assert!(line.ends_with(r#""[REDACTED]": 1, "[REDACTED]~2": 2}"#), "{line}");
    assert_eq!(
        left.redactions_applied.as_str(),
        r#"["[REDACTED]", "request_headers", {"a": "[REDACTED]"}, "metadata_secrets"]"#
    );
    let other = redact(usual, &record("null", "1", &format!(r#", "original_commitment": "{key}""#))).unwrap().record;
    assert!(other.original_commitment.is_some_and(|text| text.starts_with("blake3:")));
    // The name of a policy's pattern is no secret, though the pattern fits it.
    let own = redactor(&[(Some("ticket"), "ticket|[0-9]{3}")], &[]);
    let redacted = redact(&own, &record("null", "\"a ticket\"", "")).unwrap().record;
    assert_eq!(redacted.redactions_applied.as_str(), r#"["pattern:ticket", "response_secrets"]"#);
    // So are numbers, to patterns of a policy alone.
    let redacted = redact(&own, &record("null", r#"{"a": 1234, "b": [12, -5.125, 1e2]}"#, "")).unwrap().record;
    assert_eq!(redacted.response.as_str(), r#"{"a": "[REDACTED]", "b": [12, "[REDACTED]", 1e2]}"#);
    let card = redactor(&[(None, "credit_card"), (None, "email")], &[]);
    let given = r#"{"card": 4111111111111111, "ms": [1700000000004, 1700000000012, 1700000000007], "u": "?to=ann%40example.com"}"#;
    let redacted = redact(&card, &record("null", given, "")).unwrap().record;
    assert_eq!(
        redacted.response.as_str(),
        r#"{"card": "[REDACTED]", "ms": [1700000000004, 1700000000012, 1700000000007], "u": "?to=[REDACTED]"}"#
    );
}

/// JSON in a text as Go, PHP, .NET and servers write it, and what is nearly JSON.
#[test]
fn bodies() {
    for (body, wanted) in [
        (r#"{"url":"https://x/?a=1\u0026key=keygonest9"}"#, r#"{"url":"https://x/?a=1&key=[REDACTED]"}"#),
        (r#"{"url":"https:\/\/ann:hunter2php@host\/"}"#, r#"{"url":"https://[REDACTED]@host/"}"#),
        (r#"{"\u0050assword":"hunter2upp"}"#, r#"{"\u0050assword":"[REDACTED]"}"#),
        ("\u{feff}{\"session_id\":\"SessBom11x\"}", "\u{feff}{\"session_id\":\"[REDACTED]\"}"),
        (
            "{\"a\":1}\n{\"headers\":[[\"Cookie\",\"sid=Ndj82hh17\"]]}\n",
            "{\"a\":1}\n{\"headers\":[[\"Cookie\",\"[REDACTED]\"]]}\n",
        ),
        ("\u{feff}[[\"Cookie\",\"sid=1\"]]\n", "\u{feff}[[\"Cookie\",\"[REDACTED]\"]]\n"),
        ("data: [[\"Cookie\",\"sid=1\"]]\n\n", "data: [[\"Cookie\",\"[REDACTED]\"]]\n\n"),
        (")]}'\n{\"csrf\":\"Tok12345\"}", ")]}'\n{\"csrf\":\"[REDACTED]\"}"),
        ("data: {\"Set-Cookie\":\"sid=1\"}\n\n", "data: {\"Set-Cookie\":\"[REDACTED]\"}\n\n"),
        ("cb({\"session_id\": \"S1234567\"})", "cb({\"session_id\": \"[REDACTED]\"})"),
        (
            r#"DEBUG headers={"Accept": "*/*", "Authorization": "Basic QWxhZGRp"} done"#,
            r#"DEBUG headers={"Accept": "*/*", "Authorization": "[REDACTED]"} done"#,
        ),
        (
            "DEBUG {'Accept': '*/*', 'Set-Cookie': ['sid=1; x'], 'n': 1}",
            "DEBUG {'Accept': '*/*', 'Set-Cookie': ['[REDACTED]'], 'n': 1}",
        ),
        (r#"{"x": 1, "Cookie": "sid=Broken99", oops"#, r#"{"x": 1, "Cookie": "[REDACTED]", oops"#),
        (r#"{"x": 1, "password": "abc\"tailsecret9", oops"#, r#"{"x": 1, [REDACTED], oops"#),
        (r#"{"x": 1, "jwt": "cut of"#, r#"{"x": 1, "jwt": "[REDACTED]"#),
        (r#"log {\"Cookie\": \"sid=1\", \"a\": \"b\"}"#, r#"log {\"Cookie\": \"[REDACTED]\", \"a\": \"b\"}"#),
        (r#"x {"auth": "basic", "pass": "yes", "credentials": "same-origin", "token": "the", "author": "Ann"}"#, ""),
    ] {
        text_goes(body, wanted);
    }
    let deep = (0..6).fold(r#"{"Cookie": "sid=Deep1234"}"#.to_owned(), |text, _| in_quotes(&format!("[{text}]")));
    let left = left(usual(), &deep, "");
    assert!(!left.line().contains("Deep1234"), "{}", left.line());
}

#[test]
fn lines_of_logs() {
    for (given, wanted) in [
        ("2024-01-01 INFO Authorization: Basic x1", "2024-01-01 INFO Authorization: [REDACTED]"),
        ("[0] Authorization: Bearer abc", "[0] Authorization: [REDACTED]"),
        ("Authorization: Basic\r\n  QWxhZGRp\r\nHost: x", "Authorization: [REDACTED]\r\nHost: x"),
        ("got X-Api-Key: k1234567, then", "got X-Api-Key: [REDACTED], then"),
        ("> Cookie: LoneCookieVal99\r\n> Cookie: biscuit", "> Cookie: [REDACTED]\r\n> Cookie: biscuit"),
        ("got Cookie: sid=abc; theme=dark", "got Cookie: sid=[REDACTED]; theme=dark"),
        ("Authorization=Basic x1 sent", "Authorization=[REDACTED] sent"),
        ("sent Basic QWxhZGRpbjpvcGVuc2VzYW1l to server", "sent Basic [REDACTED] to server"),
        ("Bearer 17|SanctumSecret40chars", "[REDACTED]"),
        (
            "the authorization: a word of a sentence; Basic training, basic arithmetic, Basic QUJDREVGR0g=; X-Api-Key: required",
            "",
        ),
        ("curl -H $'Authorization: Basic x' u", "curl -H $'Authorization: [REDACTED]' u"),
    ] {
        text_goes(given, wanted);
    }
}

#[test]
fn queries() {
    for (json, wanted) in [
        (r#"{"query_string": "token=tokqs12345&x=1"}"#, r#"{"query_string": "token=[REDACTED]&x=1"}"#),
        (
            r#"{"params": "key=parstr1234", "other": "key=parstr1234"}"#,
            r#"{"params": "key=[REDACTED]", "other": "key=parstr1234"}"#,
        ),
        (r#"{"body": "key=tokform124&grant=x"}"#, r#"{"body": "key=[REDACTED]&grant=x"}"#),
        (r#"{"params": ["key", "parflat123", "q", "w"]}"#, r#"{"params": ["key", "[REDACTED]", "q", "w"]}"#),
        (r#"{"params": {"privateToken": "x", "q": 1}}"#, r#"{"params": {"privateToken": "[REDACTED]", "q": 1}}"#),
    ] {
        goes(json, wanted);
    }
    for (given, wanted) in [
        ("https://x/?api%5Fkey=pctn12345&b=1", "https://x/?api%5Fkey=[REDACTED]&b=1"),
        ("https://x/p;jsessionid=8A2F31CCJS?b=1", "https://x/p;jsessionid=[REDACTED]"),
        ("?PHPSESSID=phpsq81723&privateToken=privtok123", "?PHPSESSID=[REDACTED]&privateToken=[REDACTED]"),
        ("https://x/?next=https%3A%2F%2Fann%3Ahunter2enc%40host", "https://x/?next=https%3A%2F%2F[REDACTED]%40host"),
        ("?next=%2Fcb%3Faccess_token%3Dtokenc12345%26b%3D1&c=2", "?next=%2Fcb%3Faccess_token%3D[REDACTED]%26b%3D1&c=2"),
        ("https://x/?next=https%3A%2F%2Fhost%2Fusers%2Fann%40example.com", ""),
        ("https://x/p;key=1;q=0.5 text/html;charset=utf-8", ""),
    ] {
        text_goes(given, wanted);
    }
}

/// What looks like a form, or a list of names and values, only once something is gone, is looked at then.
#[test]
fn what_is_left_is_looked_at_again() {
    text_goes("x=password: \"a b\"&key=abc12345", "x=[REDACTED]&key=[REDACTED]");
    let own = redactor(&[(None, "[0-9]{5}")], &[]);
    let left = left(&own, r#"{"params": ["a", 12345, "key", "v"]}"#, "");
    assert_eq!(left.response.as_str(), r#"{"params": ["a", "[REDACTED]", "key", "[REDACTED]"]}"#);
}

#[test]
fn headers() {
    for (json, wanted) in [
        (
            r#"{"hdrs": [["Authorization", "Basic x"], ["a", "b"]]}"#,
            r#"{"hdrs": [["Authorization", "[REDACTED]"], ["a", "b"]]}"#,
        ),
        (r#"{"h": [["Cookie", "x", 1]]}"#, r#"{"h": [["Cookie", "[REDACTED]", 1]]}"#),
        (r#"{"name": "Authorization", "values": ["Basic x"]}"#, r#"{"name": "Authorization", "values": "[REDACTED]"}"#),
        (
            r#"{"key": "12", "name": "Authorization", "value": "Basic x"}"#,
            r#"{"key": "12", "name": "Authorization", "value": "[REDACTED]"}"#,
        ),
        (
            r#"{"set_cookie": "a", "setCookie": "b", "proxy_authorization": "c", "Authorization:": "d", "HTTP_AUTHORIZATION": "e", "HTTP_COOKIE": "f", "http.request.header.authorization": "g"}"#,
            r#"{"set_cookie": "[REDACTED]", "setCookie": "[REDACTED]", "proxy_authorization": "[REDACTED]", "Authorization:": "[REDACTED]", "HTTP_AUTHORIZATION": "[REDACTED]", "HTTP_COOKIE": "[REDACTED]", "http.request.header.authorization": "[REDACTED]"}"#,
        ),
        (
            r#"{"a": ["Authorization", "Accept"], "vary": ["Cookie", "Accept", "Host"], "HTTP_HOST": "x", "name": "Cookie"}"#,
            "",
        ),
    ] {
        goes(json, wanted);
    }
    let many: String = (0..40).map(|n| format!("\"m{n}\": {n}, ")).collect();
    let told = format!(r#"{{{many}"name": "Cookie", "value": "x"}}"#);
    goes(&told, &told.replace("\"x\"", "\"[REDACTED]\""));
}

#[test]
fn keys_and_tokens() {
    for secret in [
        "Endpoint=sb://x/;SharedAccessKeyName=Root;SharedAccessKey=AbCdEfGh0123456789AbCdEfGh012345678901234=",
        "xapp-1-A012345678-0123456789012-abcdef",
        "xoxc-0123456789-abcdef",
        "xoxd-abcdef0123456789",
        "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
        "GOCSPX-abcdefghijklmnopqrst",
        "SG.abcdefghijklmnop.qrstuvwxyz0123456789",
        "pypi-AgEIcHlwaS5vcmcCJDAwMDAw",
        "hvs.CAESIJabcdefghijklmnopqr",
        "whsec_abcdefghijklmnopqrst",
        "TOKEN_ghp_1123456789abcdefghijABCDEFGHIJ012345",
        "AIzaabcdefghijklmnopqrstuvwxyz0123456789w",
        "eyJhbGciOiJIUzI1NiJ9.ewogICJzdWIiOiAiMyIKfQ.c2ln",
    ] {
        let left = text(usual(), secret);
        assert!(left.ends_with("[REDACTED]") && left.len() < 70, "{left}");
    }
    text_goes("ewok.ewe.ewer and eyJ.ey.x, sk-short, SG.1.2, hvs.net", "");
}

#[test]
fn forms_and_settings() {
    for (given, wanted) in [
        ("user%5Bpassword%5D=hunter2rails&commit=1", "user%5B[REDACTED]"),
        ("user[password]=hunter2brk&x=1", "user[[REDACTED]"),
        (
            "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nhunter2mp\r\n--b--",
            "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n[REDACTED]\r\n--b--",
        ),
        ("<a><password>hunter2xml</password></a>", "<a><password>[REDACTED]</password></a>"),
        (
            "<wsse:Password Type=\"x\">hunter2soap</wsse:Password>",
            "<wsse:Password Type=\"x\">[REDACTED]</wsse:Password>",
        ),
        ("['password' => 'hunter2arr', 'n' => 1]", "[[REDACTED], 'n' => 1]"),
        ("API_TOKEN=tokenv123456", "[REDACTED]"),
        ("export GITHUB_TOKEN=tokenvgh1234; x", "export [REDACTED]; x"),
        ("_auth=bnBtOnNlY3JldA==", "[REDACTED]"),
        ("session_id: sessyaml111\nn: 1", "[REDACTED]\nn: 1"),
        ("SESSION_ID=a1b2c3d4", "[REDACTED]"),
        ("token=q8Zr2LmK9xTc4VwB1nYp jwt=q8Zr2LmK9xTc4VwB1nYp", "[REDACTED] [REDACTED]"),
        ("api_token: q8Zr2LmK9x, csrf_token=abcdefghij", "[REDACTED], [REDACTED]"),
        ("&lt;db-password&gt;hunter2&lt;/db-password&gt;", "&lt;db-password&gt;[REDACTED]&lt;/db-password&gt;"),
        ("run --db-password hunter2 --token the --verbose", "run --db-password [REDACTED] --token the --verbose"),
        ("max_tokens=4096 token=the tokens=abc12345 csrf: none, the session id: see below, csrf token: required", ""),
        ("<passwordless>yes it is</passwordless><password>none</password><token>word</token>", ""),
        ("the option --password is read from a terminal", ""),
    ] {
        text_goes(given, wanted);
    }
    goes(
        r#"{"signing_key": "a", "encryptionKey": "b", "access_key": "q8Zr2LmK9xTc", "accesskey": "k", "X-Amz-Signature": "c"}"#,
        r#"{"signing_key": "[REDACTED]", "encryptionKey": "[REDACTED]", "access_key": "[REDACTED]", "accesskey": "k", "X-Amz-Signature": "[REDACTED]"}"#,
    );
}

/// A name that tells of a secret is seen from afar too, where nothing else in a record looks like one.
#[test]
fn each_name_by_itself() {
    for name in ENDINGS.iter().chain(&WORDS) {
        let json = |value: &str| format!(r#"{{"{name}": "{value}"}}"#);
        goes(&json("q8Zr2LmK9xTc4VwB1nYp"), &json("[REDACTED]"));
    }
}

/// However many headers a policy has, it is obeyed or refused; nothing dies of it.
#[test]
fn many_headers() {
    let names = |count: usize| (0..count).map(|n| format!("x-header-{n}-{}", "y".repeat(20))).collect::<Vec<_>>();
    let of = |count| {
        let mut policy = super::super::dataset_manifest::RedactionPolicy::default();
        policy.headers_to_redact = names(count);
        Redactor::new(&policy, [0; 32]).map(|_| ())
    };
    of(100).unwrap();
    let error = of(50_000).unwrap_err().to_string();
    assert!(error.contains("headers_to_redact") && error.contains("KiB"), "{error}");
}

/// Whatever texts are put together of, what is left of them is left as it is.
#[test]
fn random_texts_twice() {
    const PARTS: [&str; 44] = [
        "password",
        "=",
        ":",
        "\"",
        "'",
        "key",
        "&",
        "?",
        "token",
        "abc12345",
        "[REDACTED]",
        "{",
        "}",
        "[",
        "]",
        ",",
        "Cookie",
        "Authorization",
        "Basic ",
        "Bearer ",
        "\n",
        "data: ",
        "<password>",
        "</password>",
        "%3d",
        "%3f",
        "\\",
        "\\u0026",
        "x",
        " ",
        "12345",
        "eyJa.eyJb.c",
        "https://a:b@c/",
        "name",
        "value",
        "session_id",
        "\": \"",
        "\", \"",
        "=>",
        ";",
        "-u ",
        "curl ",
        "--secret ",
        "params",
    ];
    let redactors = [redactor(&[], &[]), redactor(&[(None, "[0-9]{3}"), (None, "red|x"), (Some("t"), "name")], &["X"])];
    let mut state = 7u64;
    let mut next = |end: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % end
    };
    let mut found = 0;
    for turn in 0..4000 {
        let mut text = |most: usize| (0..=next(most)).map(|_| PARTS[next(PARTS.len())]).collect::<String>();
        let (one, other, name) = (in_quotes(&text(14)), in_quotes(&text(4)), in_quotes(&text(2)));
        let json = match turn % 4 {
            0 => one,
            1 => format!("{{{name}: {one}, {other}: [{one}, 123]}}"),
            2 => format!("[[{name}, {one}], {{\"name\": {other}, \"value\": {one}}}]"),
            _ => in_quotes(&format!("{{{name}: {one}}}\n{{\"a\": {other}}}")),
        };
        let redactor = &redactors[turn / 4 % 2];
        found += usize::from(redact(redactor, &record("null", &json, "")).is_some());
    }
    assert!((1000..4000).contains(&found), "{found}");
}
