//! What secrets look like in a text.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use regex_automata::meta::{BuildError, Regex};
use regex_automata::util::syntax;
use regex_automata::{Input, Span};

use super::super::dataset_manifest::Pattern;
use super::known::{KNOWN, is_card};
use super::names::{Names, PARAMETERS, is_setting};
use super::{MARK, RedactError};

/// Bytes that a pattern of a policy may take when it is compiled.
const LARGEST: usize = 256 << 10;
/// The same of what always applies, a policy's headers among it.
const LARGEST_KNOWN: usize = 4 << 20;

/// White space as Python has it: Rust leaves out the four separators of ASCII.
const SPACE: &str = r"[\s\x1c-\x1f]";

/// Words that stand behind *bearer* where it is no credential.
const PROSE: [&str; 24] = [
    "a",
    "and",
    "are",
    "as",
    "at",
    "auth",
    "authentication",
    "authorization",
    "bearer",
    "bonds",
    "by",
    "for",
    "from",
    "in",
    "is",
    "of",
    "on",
    "or",
    "that",
    "the",
    "to",
    "token",
    "tokens",
    "was",
];

/// What of a match is replaced, and where it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The first group, in the whole text: what was replaced in it before is a part of it, and the whole of it no secret.
    Group,
    /// All of it, between what was replaced before.
    All,
    /// The second group, if the first is the name of a secret.
    Pair,
}

/// A pattern.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    /// It is one that a policy asked for: its name is told.
    pub(super) asked_for: bool,
    regex: Regex,
    part: Part,
    holds: fn(&str) -> bool,
}

/// What is left of a text, and the rules that found something in it, by their numbers.
pub(super) type Scrubbed = (String, BTreeSet<usize>);

/// How long each pattern has worked on a record. The engine is linear in the text for one search, and a pattern is bounded when it is
/// compiled; but there may be as many searches as places in the text, so the time is looked at behind each.
#[derive(Debug)]
pub(super) struct Clock {
    spent: Vec<Duration>,
    limit: Duration,
}

impl Clock {
    pub(super) fn new(rules: usize, limit: Duration) -> Self {
        Self { spent: vec![Duration::ZERO; rules], limit }
    }

    /// Adds what a pattern took since the last time.
    fn tick(&mut self, at: usize, rule: &Rule, since: &mut Instant) -> Result<(), RedactError> {
        let now = Instant::now();
        self.spent[at] += now - *since;
        *since = now;
        if self.spent[at] > self.limit {
            return Err(RedactError::TooSlow { pattern: rule.name.clone(), limit: self.limit });
        }
        Ok(())
    }
}

fn compile(pattern: &str, largest: usize) -> Result<Regex, Box<BuildError>> {
    let config = Regex::config().nfa_size_limit(Some(largest)).onepass_size_limit(Some(LARGEST));
    Regex::builder()
        .configure(config)
        .syntax(syntax::Config::new().case_insensitive(true))
        .build(pattern)
        .map_err(Box::new)
}

/// The rules that always apply, in their order.
fn always(names: &Names) -> Result<Vec<Rule>, RedactError> {
    let mut all = Always(Vec::new());
    let headers: Vec<_> = names.headers().iter().filter(|name| !matches!(&***name, "cookie" | "bearer")).collect();
    all.of_urls()?;
    all.of_headers(&headers)?;
    all.of_keys()?;
    all.of_words()?;
    all.of_commands(&headers)?;
    Ok(all.0)
}

fn any(_: &str) -> bool {
    true
}

/// One of these headers.
fn one_of<'a>(headers: impl Iterator<Item = &'a &'a String>) -> String {
    headers.map(|name| escaped(name)).collect::<Vec<_>>().join("|")
}

/// Rules that always apply, as they are made.
struct Always(Vec<Rule>);

impl Always {
    fn add(&mut self, name: &str, part: Part, pattern: &str, holds: fn(&str) -> bool) -> Result<(), RedactError> {
        let regex = compile(pattern, LARGEST_KNOWN).map_err(|e| too_many_headers(&e))?;
        self.0.push(Rule { name: name.to_owned(), asked_for: false, regex, part, holds });
        Ok(())
    }

    fn of_urls(&mut self) -> Result<(), RedactError> {
        self.add(
            "private_key",
            Part::All,
            r"-----BEGIN[ A-Z0-9]*PRIVATE KEY-----(?:(?s:.*?)-----END[ A-Z0-9]*PRIVATE KEY-----|(?s:.*))",
            any,
        )?;
        let parameters = PARAMETERS.map(|name| loose(name, r"(?:[_.-]|%5f|%2d|%2e)?")).join("|");
        // Slashes are escaped in JSON that PHP writes.
        self.add("userinfo", Part::Group, r#":(?:\\*/){2}([^\s/?#"<>\\]+)@"#, any)?;
        self.add("userinfo", Part::Group, r#"%3a%2f%2f([^\s/?#&"<>\\%]+(?:%3a[^\s/?#&"<>\\%]*)?)%40"#, any)?;
        let begin = r"(?:[?&#]|&amp;|\\+u0026)";
        self.add("query", Part::Group, &format!(r#"{begin}(?:{parameters})=([^&\s\x1c-\x1f#"<>\\]+)"#), any)?;
        // Behind a semicolon, as sessions are told; a short name there may be anything's.
        let behind = PARAMETERS
            .iter()
            .filter(|name| name.len() > 4)
            .map(|name| loose(name, "[_.-]?"))
            .collect::<Vec<_>>()
            .join("|");
        self.add("query", Part::Group, &format!(r#";(?:{behind})=([^&;\s\x1c-\x1f#"<>\\]+)"#), is_token_like)?;
        let encoded = r#"(?:[^&%\s"<>\\]|%(?:[013-9a-f][0-9a-f]|2[0124-57-9a-f]))+"#;
        self.add("query", Part::Group, &format!(r"%(?:3f|26|23)(?:{parameters})%3d({encoded})"), any)?;
        Ok(())
    }

    fn of_headers(&mut self, headers: &[&String]) -> Result<(), RedactError> {
        // Within a line those alone that are no words of a sentence.
        let plain = |name: &str| name.contains('-') && !matches!(name, "set-cookie" | "proxy-authorization");
        let within = one_of(headers.iter().filter(|name| plain(name)));
        let headers = one_of(headers.iter());
        let way = "basic|bearer|negotiate|ntlm|token|apikey";
        self.add(
        "header_line",
        Part::Group,
        &format!(
            r"(?m)^[ \t<>]*(?:(?:{headers})[ \t]*:|cookie[ \t]*:[ \t]*[^\s=;]+=)[ \t]*((?:{way}|digest)[ \t]*\r?\n[ \t]+[^\r\n]+|\S[^\r\n]*)"
        ),
        any,
    )?;
        let told = format!(r#"(?:digest|hawk|aws4-hmac-sha256)[ \t]+[^\r\n]+|(?:{way})[ \t]+[^\s"',]+"#);
        let authorization = r#"(?-u:\b)(?:proxy[_-])?authorization["']?[ \t]*[:=][ \t]*["']?"#;
        self.add("header_line", Part::Group, &format!("{authorization}({told})"), any)?;
        self.add(
            "header_line",
            Part::Group,
            &format!(r#"(?:^|[^\w-])(?:{within})[ \t]*:[ \t]*([^\s"',;]+)"#),
            is_token_like,
        )?;
        self.add("header_line", Part::Group, r#"(?-u:\b)cookie[ \t]*:[ \t]*[\w.%-]+=([^\s;"',]+)"#, any)?;
        self.add("header_line", Part::Group, r"(?m)^[ \t<>]*cookie[ \t]*:[ \t]*([^\s=;]+)[ \t]*\r?$", is_code)?;
        self.add("basic", Part::Group, r"(?-u:\b)basic[ \t]+([A-Za-z0-9+/_-]{6,}={0,2})", is_user_and_password)?;
        Ok(())
    }

    fn of_keys(&mut self) -> Result<(), RedactError> {
        let (sep, close) = between();
        self.add(
            "api_key",
            Part::All,
            &format!(r#"["']?(?:api[_-]?key|apikey){close}["']?{sep}["']?([a-zA-Z0-9_-]{{16,}})["']?"#),
            any,
        )?;
        self.add("bearer", Part::All, &format!(r#"["']?bearer{SPACE}+([a-zA-Z0-9_.~+/=|-]+)["']?"#), |token| {
            !PROSE.contains(&token.to_lowercase().trim_end_matches(['.', '-', '/', '|']))
        })?;
        // The payload may be written with line ends.
        let part = |more| format!("e(?:yJ[a-zA-Z0-9_-]+|w[o0][a-zA-Z0-9_-]{{8,}}{more})");
        let jwt = format!(r"{}\.{}\.[a-zA-Z0-9_-]*", part(""), part("|yA[a-zA-Z0-9_-]{8,}"));
        self.add("jwt", Part::All, &jwt, any)?;
        self.add(
            "jwe",
            Part::All,
            r"eyJ[a-zA-Z0-9_-]+\.[a-zA-Z0-9_-]*\.[a-zA-Z0-9_-]+\.[a-zA-Z0-9_-]+\.[a-zA-Z0-9_-]+",
            any,
        )?;
        self.add("cloud_key", Part::All, &format!("(?-i)(?:{})", CLOUD.join("|")), any)?;
        Ok(())
    }

    fn of_words(&mut self) -> Result<(), RedactError> {
        let (sep, close) = between();
        let long = r#"(?:"(?:[^"\\]|\\(?s:.))+"|\\+"[^"]+"|'(?:[^'\\]|\\(?s:.))+'|\\+'[^']+'|["']?([^\s\x1c-\x1f"']{8,})["']?)"#;
        // What is short ends where something else may begin.
        let short = r#"["']?([^\s\x1c-\x1f"'\\&;,<>(){}\[\]|]{3,})"#;
        self.add("assignment", Part::All, &format!(r#"\\*["']?(?:{SECRET}){close}\\*["']?{sep}{long}"#), |given| {
            !is_setting(given.trim_end_matches([',', ';', '.', ')']))
        })?;
        self.add("assignment", Part::All, &format!(r#"(?:{SECRET}|{PASS}){close}["']?={short}"#), is_given)?;
        self.add("assignment", Part::All, &format!(r#"(?:{SECRET})["']?{sep}{short}"#), is_code)?;
        // What stands in quotes behind a name in quotes, though the text as a whole be no JSON; its end may be missing.
        for value in [r#""((?:[^"\\]|\\(?s:.))+)"#, r"'((?:[^'\\]|\\(?s:.))+)"] {
            self.add("member", Part::Pair, &format!(r#"["']([\w.:/ -]{{2,64}})["']{sep}\[?{SPACE}*b?{value}"#), any)?;
        }
        self.add(
            "member",
            Part::Pair,
            &format!(r#"\\+["']([\w.:/ -]{{2,64}})\\+["']{sep}\[?{SPACE}*\\+["']([^"'\\]+)"#),
            any,
        )?;
        self.add("assignment", Part::All, &format!(r#"(?:{TOKEN}){close}["']?={short}"#), is_token_like)?;
        self.add("assignment", Part::All, &format!(r#"(?:{TOKEN})["']?{sep}{short}"#), is_code)?;
        let named = format!(r"(?:[\w-]+:)?[\w.-]*?(?:{SECRET}|api[_-]?key|{PASS})");
        self.add("element", Part::Group, &format!(r"<{named}(?:\s[^<>]*)?>\s*([^<\s](?:[^<]*[^<\s])?)"), |text| {
            !is_setting(text)
        })?;
        self.add("element", Part::Group, &format!(r"&lt;{named}(?:\s[^<>&]*)?&gt;\s*([^<&\s]+)"), |text| {
            !is_setting(text)
        })?;
        self.add(
        "form",
        Part::Group,
        &format!(
            r#"(?-u:\b)name="?[\w.\[\]-]*?(?:{SECRET}|{TOKEN}|{PASS}|api[_-]?key)\]?"?(?:;[^\r\n]*)?\r?\n(?:[\w-]+:[^\r\n]*\r?\n)*\r?\n([^\r\n]+)"#
        ),
        any,
    )?;
        Ok(())
    }

    fn of_commands(&mut self, headers: &[&String]) -> Result<(), RedactError> {
        let headers = one_of(headers.iter());
        let option = format!(r#"(?:^|\s)--?(?:[\w-]+-)?(?:{SECRET}|token|pass|api-?key)[ \t]+["']?([^\s"'-][^\s"']*)"#);
        self.add("option", Part::Group, &option, is_token_like)?;
        let of_curl = r"(?-u:\b)curl(?-u:\b)(?:[^\r\n]|\\\r?\n)*?[ \t\n](?:-u[ \t]*|--(?:proxy-)?user(?:[ \t]+|=))";
        self.add("curl_user", Part::Group, &format!(r#"{of_curl}["']([^"'\r\n]*:[^"'\r\n]+)["']"#), any)?;
        self.add("curl_user", Part::Group, &format!(r#"{of_curl}([^\s"':]*:[^\s"']+)"#), any)?;
        self.add(
            "header_line",
            Part::Group,
            &format!(r#"(?:-H[ \t]*|--header(?:[ \t]+|=))\$?["'](?:{headers}|cookie)[ \t]*:[ \t]*([^"'\r\n]+)"#),
            any,
        )?;
        Ok(())
    }
}

/// What stands between a name and what is assigned to it; and of forms, a bracket behind the name.
fn between() -> (String, &'static str) {
    (format!("{SPACE}*(?:=>|[:=]){SPACE}*"), r"(?:\]|%5d)?")
}

/// Words for a secret in texts.
const SECRET: &str = "secret[_-]?access[_-]?key|(?:secret|private|account)[_-]?key|(?:access|refresh|auth|id|session|security)[_-]?token|\
                      client[_-]?secret|secret|password|passwd|passphrase|pwd";
/// Words for a password where it stands beside a `=`.
const PASS: &str = r"(?-u:\b)(?:(?:db|user|smtp|mail|ftp|admin|root|login|proxy|auth)[_-])?pass";
/// Words that stand in sentences too, or before what is none.
const TOKEN: &str = r"(?:api|bot|github|gitlab|gh|npm|deploy|job|private|bearer|csrf|xsrf|middleware|authenticity|verification)[_-]?token|(?-u:\b)token|(?:session|sess|phpsess|jsession)[_-]?id|[cx]srf|(?-u:\b)jwt|(?-u:\b)_auth|(?:signing|encryption|access)[_-]?key";

/// What is assigned without a blank: anything but a setting, a path, and what stands for a value.
fn is_given(text: &str) -> bool {
    !is_setting(text) && !text.starts_with(['/', '.', '~', '$', '%', '*'])
}

/// A word is no token, but what is long or has digits may be one.
fn is_token_like(text: &str) -> bool {
    is_given(text) && (text.len() >= 8 || text.contains(|c: char| c.is_ascii_digit()))
}

/// True of what `Basic` proves who one is with: user and password with a colon between, in base64.
fn is_user_and_password(text: &str) -> bool {
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for b in text.trim_end_matches('=').bytes() {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' | b'-' => 62,
            _ => 63,
        };
        (bits, count) = (bits << 6 | u32::from(value), count + 6);
        if count >= 8 {
            count -= 8;
            bytes.extend((bits >> count).to_le_bytes().first());
        }
    }
    std::str::from_utf8(&bytes).is_ok_and(|text| text.contains(':') && !text.contains(char::is_control))
}

/// What stands behind a word and a colon may be a word of a sentence: a secret is none.
fn is_code(text: &str) -> bool {
    let has = |is: fn(&char) -> bool| text.chars().any(|c| is(&c));
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let is_mixed = digits > 0 && has(char::is_ascii_alphabetic) || has(|c| "!@#$%^*+".contains(*c));
    is_given(text) && (is_mixed && !text.ends_with(['!', ':']) || digits >= 4)
}

/// Keys of clouds and services, by what they begin with. An underscore in front, as in names of variables, is no part of a word.
const CLOUD: [&str; 23] = [
    r"(?:_|(?-u:\b))(?:AKIA|ABIA|ACCA|ASIA)[A-Z0-9]{16}(?-u:\b)",
    r"(?:_|(?-u:\b))AIza[0-9A-Za-z_-]{35,}",
    r"(?:_|(?-u:\b))ya29\.[0-9A-Za-z_-]{20,}",
    r"(?:_|(?-u:\b))GOCSPX-[0-9A-Za-z_-]{20,}",
    r"(?:_|(?-u:\b))gh[pousr]_[0-9A-Za-z]{36,}",
    r"(?:_|(?-u:\b))github_pat_[0-9A-Za-z_]{22,}",
    r"(?:_|(?-u:\b))glpat-[0-9A-Za-z_-]{20,}",
    r"(?:_|(?-u:\b))xox[a-z]-[0-9A-Za-z%-]{10,}",
    r"(?:_|(?-u:\b))xapp-[0-9A-Za-z-]{10,}",
    r"hooks\.slack\.com/(?:services|workflows|triggers)/[0-9A-Za-z/_-]{20,}",
    r"(?:_|(?-u:\b))[rs]k_(?:live|test)_[0-9A-Za-z]{16,}",
    r"(?:_|(?-u:\b))whsec_[0-9A-Za-z+/=]{20,}",
    r"(?:_|(?-u:\b))sk-[0-9A-Za-z_-]{20,}",
    r"(?:_|(?-u:\b))SG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}",
    r"(?:_|(?-u:\b))npm_[0-9A-Za-z]{36,}",
    r"(?:_|(?-u:\b))pypi-AgE[0-9A-Za-z_-]{20,}",
    r"(?:_|(?-u:\b))hf_[0-9A-Za-z]{30,}",
    r"(?:_|(?-u:\b))hv[bs]\.[0-9A-Za-z_-]{20,}",
    r"(?:_|(?-u:\b))dop_v1_[0-9a-f]{64}",
    r"(?:_|(?-u:\b))shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
    r"AccountKey=[0-9A-Za-z+/=]{40,}",
    r"SharedAccess(?:Key|Signature)=[0-9A-Za-z+/=%]{16,}",
    r"AGE-SECRET-KEY-1[0-9A-Z]{40,}",
];

/// What one of them is in the text of whatever holds a secret, or the name of one: most texts hold none, and that is told in one pass.
fn sign(names: &Names) -> Result<Regex, RedactError> {
    let mut signs: Vec<String> = [
        r#":\\*/\\*/[^\s/?#"<>\\]*@"#,
        "%3a%2f%2f",
        "bearer",
        r"basic[ \t]+[A-Za-z0-9+/_-]{6}",
        "secret",
        r#"pass[-_. ]*(?:w|phrase|=|>|\\*["'\]]|%5d)"#,
        "pwd",
        r#"pw\\*["']"#,
        "jwt",
        "sess(?:ion)?[-_. ]*id",
        "connect[-_. ]*sid",
        "[cx]srf",
        r#"(?:cred(?:ential)?s|auth)\\*["']"#,
        "_auth",
        "curl",
        "authenticity|middleware|verification",
        // A letter or sign that is escaped in JSON within a text.
        r"\\u00[2-7]",
        "token",
        "cookie",
        "eyJ|ew[o0][a-z0-9_-]{8}",
        "(?-i:AKIA|ABIA|ACCA|ASIA|AIza|ya29|GOCSPX|gh[pousr]_|github_pat_|glpat-|xox|xapp-|hooks\\.slack|[rs]k_|whsec_|sk-|SG\\.|npm_|pypi-|hf_|hv[bs]\\.|dop_v1_|shp|SharedAccess|AGE-)",
        // Names of members, where what parts their words does not count; and of parameters, where it may be encoded.
        r"(?:api|private|secret|access|account|auth|functions|subscription|signing|encryption)(?:[-_. ]|%5f|%2d)*(?:access[-_. ]*)?key",
        r#"(?:^|["?&#;]|u0026)(?:key|auth|authorization|sig|signature|x.?amz.?signature|x.?goog.?signature|credentials|pass)="#,
        "%(?:3f|26|23)[a-z0-9_.%-]+%3d",
        r#""(?:key|sig|signature|(?:x.?)?(?:amz|goog).?signature)\\*""#,
    ]
    .map(str::to_owned)
    .to_vec();
    signs.extend(names.headers().iter().map(|name| loose(name, "[-_. ]*")));
    compile(&signs.join("|"), LARGEST_KNOWN).map_err(|e| too_many_headers(&e))
}

/// A name as a pattern, whatever stands between its words.
fn loose(name: &str, between: &str) -> String {
    name.split(|c: char| !c.is_alphanumeric()).map(escaped).collect::<Vec<_>>().join(between)
}

fn too_many_headers(error: &BuildError) -> RedactError {
    RedactError::Pattern { pattern: "headers_to_redact".to_owned(), why: why(error) }
}

/// A text as a pattern that fits nothing else.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_alphanumeric() { c.to_string() } else { format!("\\x{{{:x}}}", u32::from(c)) })
        .collect()
}

/// All patterns of a policy.
#[derive(Debug)]
pub(super) struct Patterns {
    rules: Vec<Rule>,
    sign: Regex,
    /// Those from here on are the policy's own: for them nothing tells beforehand whether a text holds them.
    own: usize,
    names: Names,
}

impl Patterns {
    pub(super) fn new(own: &[Pattern], names: &Names) -> Result<Self, RedactError> {
        let mut rules = always(names)?;
        let always = rules.len();
        for (n, Pattern { name, pattern }) in own.iter().enumerate() {
            let known = KNOWN.iter().find(|(known, _)| known == pattern);
            let name = match (name, known) {
                (Some(name), _) => name.clone(),
                (None, Some((known, _))) => (*known).to_owned(),
                (None, None) => format!("pattern_{}", n + 1),
            };
            let text = known.map_or(pattern.as_str(), |(_, text)| text);
            let regex =
                compile(text, LARGEST).map_err(|e| RedactError::Pattern { pattern: pattern.clone(), why: why(&e) })?;
            let holds = if known.is_some_and(|(name, _)| *name == "credit_card") { is_card } else { |_: &str| true };
            rules.push(Rule { name, asked_for: true, regex, part: Part::All, holds });
        }
        Ok(Self { rules, sign: sign(names)?, own: always, names: names.clone() })
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// True of the name of a pattern of the policy.
    pub(super) fn is_own(&self, name: &str) -> bool {
        self.rules[self.own..].iter().any(|rule| rule.name == name)
    }

    /// True if every text must be looked at.
    pub(super) fn has_own(&self) -> bool {
        self.own < self.rules.len()
    }

    /// False of a text, or of JSON, in which nothing can be that always counts as secret.
    pub(super) fn may_hold(&self, text: &str) -> bool {
        self.sign.is_match(text)
    }

    /// A text without its secrets, and the rules that found some; nothing if it holds none.
    pub(super) fn scrub(&self, text: &str, clock: &mut Clock) -> Result<Option<Scrubbed>, RedactError> {
        self.scrub_by(self.rules.len(), text, clock)
    }

    /// The same by the rules that always apply: what names a record, or its source, is not for a policy to change.
    pub(super) fn scrub_name(&self, text: &str, clock: &mut Clock) -> Result<Option<Scrubbed>, RedactError> {
        self.scrub_by(self.own, text, clock)
    }

    /// What stands for a number, if a pattern of the policy finds something in it.
    pub(super) fn scrub_number(&self, digits: &str, clock: &mut Clock) -> Result<Option<BTreeSet<usize>>, RedactError> {
        let mut found = BTreeSet::new();
        for (at, rule) in self.rules.iter().enumerate().skip(self.own) {
            let mut since = Instant::now();
            let replaced = rule.replace(digits, &self.names, &mut || clock.tick(at, rule, &mut since))?;
            found.extend(replaced.map(|_| at));
        }
        Ok((!found.is_empty()).then_some(found))
    }

    /// The text of a query or form, without a question mark in front.
    pub(super) fn scrub_query(&self, text: &str, clock: &mut Clock) -> Result<Option<Scrubbed>, RedactError> {
        let scrubbed = self.scrub_by(self.rules.len(), &format!("?{text}"), clock)?;
        Ok(scrubbed.map(|(left, found)| (left.strip_prefix('?').unwrap_or(&left).to_owned(), found)))
    }

    /// By the first so many rules.
    fn scrub_by(&self, rules: usize, text: &str, clock: &mut Clock) -> Result<Option<Scrubbed>, RedactError> {
        /// What is left after a pass may look like a secret by what now stands beside it; if there is no end of it, all of it goes.
        const PASSES: usize = 8;
        let (mut left, mut found) = (Cow::Borrowed(text), BTreeSet::new());
        for _ in 0..PASSES {
            let mut is_done = true;
            let from = if self.may_hold(&left) { 0 } else { self.own };
            for (at, rule) in self.rules.iter().enumerate().take(rules).skip(from) {
                let mut since = Instant::now();
                if let Some(replaced) = rule.replace(&left, &self.names, &mut || clock.tick(at, rule, &mut since))? {
                    is_done &= replaced == *left;
                    left = Cow::Owned(replaced);
                    found.insert(at);
                }
            }
            if is_done {
                return Ok((!found.is_empty()).then(|| (left.into_owned(), found)));
            }
        }
        Ok(Some((MARK.to_owned(), found)))
    }
}

impl Rule {
    /// The text with what it finds replaced, if it finds anything. Calls `tick` behind each search.
    fn replace(&self, text: &str, names: &Names, tick: &mut Tick<'_>) -> Result<Option<String>, RedactError> {
        let mut spans = Vec::new();
        if self.part == Part::All {
            let mut from = 0;
            while from <= text.len() {
                let to = text[from..].find(MARK).map_or(text.len(), |at| from + at);
                self.find(text, from..to, names, &mut spans, tick)?;
                from = to + MARK.len();
            }
        } else {
            self.find(text, 0..text.len(), names, &mut spans, tick)?;
        }
        if spans.is_empty() {
            return Ok(None);
        }
        let mut out = String::with_capacity(text.len());
        let mut copied = 0;
        for span in spans {
            out.push_str(&text[copied..span.start]);
            out.push_str(MARK);
            copied = span.end;
        }
        out.push_str(&text[copied..]);
        Ok(Some(out))
    }

    fn find(
        &self,
        text: &str,
        within: Range<usize>,
        names: &Names,
        found: &mut Vec<Span>,
        tick: &mut Tick<'_>,
    ) -> Result<(), RedactError> {
        let mut groups = self.regex.create_captures();
        let mut at = within.start;
        while at < within.end {
            self.regex.search_captures(&Input::new(text).span(at..within.end), &mut groups);
            tick()?;
            let Some(all) = groups.get_match() else { break };
            let group = groups.get_group(if self.part == Part::Pair { 2 } else { 1 });
            let judged = group.unwrap_or(all.span());
            let replaced = if self.part == Part::All { all.span() } else { judged };
            let secret = &text[judged.range()];
            let name = groups.get_group(1).filter(|_| self.part == Part::Pair);
            let is_secret =
                name.map_or_else(|| (self.holds)(secret), |name| names.is_secret_pair(&text[name.range()], secret));
            if !replaced.is_empty() && is_secret && (self.part == Part::All || secret != MARK) {
                found.push(replaced);
                at = replaced.end;
            } else {
                // Whatever is in what was let pass is looked at again.
                at = if judged.start > at { judged.start } else { next_character(text, at) };
            }
        }
        Ok(())
    }
}

/// Says when it is enough.
type Tick<'a> = dyn FnMut() -> Result<(), RedactError> + 'a;

fn next_character(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(at + 1, |c| at + c.len_utf8())
}

fn why(error: &BuildError) -> String {
    if error.size_limit().is_some() {
        return format!("compiled it takes more than {} KiB", LARGEST >> 10);
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause {
        text = e.to_string();
        cause = e.source();
    }
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
