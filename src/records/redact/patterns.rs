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

fn compile(pattern: &str) -> Result<Regex, Box<BuildError>> {
    let config = Regex::config().nfa_size_limit(Some(LARGEST)).onepass_size_limit(Some(LARGEST));
    Regex::builder()
        .configure(config)
        .syntax(syntax::Config::new().case_insensitive(true))
        .build(pattern)
        .map_err(Box::new)
}

/// The rules that always apply, in their order.
fn always(names: &Names) -> Vec<Rule> {
    let any = |_: &str| true;
    let rule = |name: &str, part, pattern: &str, holds| {
        let regex = compile(pattern).unwrap_or_else(|e| panic!("the pattern {name} is right: {e}"));
        Rule { name: name.to_owned(), asked_for: false, regex, part, holds }
    };
    let parameters = PARAMETERS.join("|");
    let headers: Vec<_> = names.headers().iter().filter(|name| !matches!(&***name, "cookie" | "bearer")).collect();
    let headers = headers.into_iter().map(|name| escaped(name)).collect::<Vec<_>>().join("|");
    let secret = "secret[_-]?access[_-]?key|(?:secret|private|account)[_-]?key|(?:access|refresh|auth|id|session|security)[_-]?token|\
                  client[_-]?secret|secret|password|passwd|passphrase|pwd";
    let of_curl = r"(?-u:\b)curl(?-u:\b)(?:[^\r\n]|\\\r?\n)*?[ \t\n](?:-u[ \t]*|--(?:proxy-)?user(?:[ \t]+|=))";
    let pass = "(?-u:\\b)(?:(?:db|user|smtp|mail|ftp|admin|root|login|proxy|auth)[_-])?pass";
    // What is short ends where something else may begin.
    let short = r#"["']?([^\s\x1c-\x1f"'\\&;,<>(){}\[\]|]{3,})"#;
    vec![
        rule(
            "private_key",
            Part::All,
            r"-----BEGIN[ A-Z0-9]*PRIVATE KEY-----(?:(?s:.*?)-----END[ A-Z0-9]*PRIVATE KEY-----|(?s:.*))",
            any,
        ),
        rule("userinfo", Part::Group, r#"://([^\s/?#"<>\\]+)@"#, any),
        rule("query", Part::Group, &format!(r#"(?:[?&#]|&amp;)(?:{parameters})=([^&\s\x1c-\x1f#"<>]+)"#), any),
        rule(
            "header_line",
            Part::Group,
            &format!(r"(?m)^[ \t<>]*(?:(?:{headers})[ \t]*:|cookie[ \t]*:[ \t]*[^\s=;]+=)[ \t]*(\S[^\r\n]*)"),
            any,
        ),
        rule(
            "api_key",
            Part::All,
            &format!(r#"["']?(?:api[_-]?key|apikey)["']?{SPACE}*[:=]{SPACE}*["']?([a-zA-Z0-9_-]{{16,}})["']?"#),
            any,
        ),
        rule("bearer", Part::All, &format!(r#"["']?bearer{SPACE}+([a-zA-Z0-9_.~+/=-]+)["']?"#), |token| {
            !PROSE.contains(&token.to_lowercase().trim_end_matches(['.', '-', '/']))
        }),
        rule("jwt", Part::All, r"eyJ[a-zA-Z0-9_-]+\.eyJ[a-zA-Z0-9_-]+\.[a-zA-Z0-9_-]*", any),
        rule(
            "jwe",
            Part::All,
            r"eyJ[a-zA-Z0-9_-]+\.[a-zA-Z0-9_-]*\.[a-zA-Z0-9_-]+\.[a-zA-Z0-9_-]+\.[a-zA-Z0-9_-]+",
            any,
        ),
        rule("cloud_key", Part::All, &format!("(?-i)(?:{})", CLOUD.join("|")), any),
        rule(
            "assignment",
            Part::All,
            &format!(
                r#"\\*["']?(?:{secret})\\*["']?{SPACE}*[:=]{SPACE}*(?:\\*"[^"]+"|\\*'[^']+'|["']?([^\s\x1c-\x1f"']{{8,}})["']?)"#
            ),
            |given| !is_setting(given.trim_end_matches([',', ';', '.', ')'])),
        ),
        rule("assignment", Part::All, &format!(r#"(?:{secret}|{pass})["']?={short}"#), is_given),
        rule("assignment", Part::All, &format!(r#"(?:{secret})["']?{SPACE}*[:=]{SPACE}*{short}"#), is_code),
        rule("curl_user", Part::Group, &format!(r#"{of_curl}["']([^"'\r\n]*:[^"'\r\n]+)["']"#), any),
        rule("curl_user", Part::Group, &format!(r#"{of_curl}([^\s"':]*:[^\s"']+)"#), any),
        rule(
            "header_line",
            Part::Group,
            &format!(r#"(?:-H[ \t]*|--header(?:[ \t]+|=))["'](?:{headers}|cookie)[ \t]*:[ \t]*([^"'\r\n]+)"#),
            any,
        ),
    ]
}

/// What is assigned without a blank: anything but a setting, a path, and what stands for a value.
fn is_given(text: &str) -> bool {
    !is_setting(text) && !text.starts_with(['/', '.', '~', '$', '%', '*'])
}

/// What stands behind a word and a colon may be a word of a sentence: a secret is none.
fn is_code(text: &str) -> bool {
    let has = |is: fn(&char) -> bool| text.chars().any(|c| is(&c));
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let is_mixed = digits > 0 && has(char::is_ascii_alphabetic) || has(|c| "!@#$%^*+".contains(*c));
    is_given(text) && (is_mixed && !text.ends_with(['!', ':']) || digits >= 4)
}

/// Keys of clouds and services, by what they begin with.
const CLOUD: [&str; 14] = [
    r"(?-u:\b)(?:AKIA|ABIA|ACCA|ASIA)[A-Z0-9]{16}(?-u:\b)",
    r"(?-u:\b)AIza[0-9A-Za-z_-]{35}",
    r"(?-u:\b)ya29\.[0-9A-Za-z_-]{20,}",
    r"(?-u:\b)gh[pousr]_[0-9A-Za-z]{36,}",
    r"(?-u:\b)github_pat_[0-9A-Za-z_]{22,}",
    r"(?-u:\b)glpat-[0-9A-Za-z_-]{20,}",
    r"(?-u:\b)xox[abeprs]-[0-9A-Za-z-]{10,}",
    r"(?-u:\b)[rs]k_(?:live|test)_[0-9A-Za-z]{16,}",
    r"(?-u:\b)sk-[0-9A-Za-z_-]{20,}",
    r"(?-u:\b)npm_[0-9A-Za-z]{36}",
    r"(?-u:\b)hf_[0-9A-Za-z]{30,}",
    r"(?-u:\b)dop_v1_[0-9a-f]{64}",
    r"AccountKey=[0-9A-Za-z+/=]{40,}",
    r"AGE-SECRET-KEY-1[0-9A-Z]{40,}",
];

/// What one of them is in the text of whatever holds a secret, or the name of one: most texts hold none, and that is told in one pass.
fn sign(names: &Names) -> Regex {
    let mut signs: Vec<String> = [
        r#"://[^\s/?#"<>\\]*@"#,
        "bearer",
        "api[_-]?key",
        "secret",
        r#"pass[-_. ]*(?:w|phrase|=|\\*["'])"#,
        "pwd",
        r#"pw\\*["']"#,
        "jwt",
        "sess(?:ion)?[-_. ]*id",
        "connect[-_. ]*sid",
        "[cx]srf",
        r#"(?:cred(?:ential)?s|auth)\\*["']"#,
        "curl",
        "authenticity|middleware|verification",
        // A letter that is escaped in JSON within a text.
        r"\\u00[67]",
        "token",
        "cookie",
        "private[_ -]?key",
        "account[_-]?key",
        "eyJ",
        "(?-i:AKIA|ABIA|ACCA|ASIA|AIza|ya29|gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|[rs]k_|sk-|npm_|hf_|dop_v1_|AGE-)",
        // Names of members, where what parts their words does not count.
        r"(?:api|private|secret|access|account)[-_. ]+(?:access[-_. ]*)?key",
        "[?&#;](?:key|auth|authorization|access_key|sig|signature|x-amz-signature|x-goog-signature|credentials)=",
        r#""(?:key|sig|signature|access_key|x-amz-signature|x-goog-signature)\\*""#,
    ]
    .map(str::to_owned)
    .to_vec();
    signs.extend(names.headers().iter().map(|name| escaped(name)));
    compile(&signs.join("|")).unwrap_or_else(|e| panic!("the signs are right: {e}"))
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
}

impl Patterns {
    pub(super) fn new(own: &[Pattern], names: &Names) -> Result<Self, RedactError> {
        let mut rules = always(names);
        let always = rules.len();
        for (n, Pattern { name, pattern }) in own.iter().enumerate() {
            let known = KNOWN.iter().find(|(known, _)| known == pattern);
            let name = match (name, known) {
                (Some(name), _) => name.clone(),
                (None, Some((known, _))) => (*known).to_owned(),
                (None, None) => format!("pattern_{}", n + 1),
            };
            let text = known.map_or(pattern.as_str(), |(_, text)| text);
            let regex = compile(text).map_err(|e| RedactError::Pattern { pattern: pattern.clone(), why: why(&e) })?;
            let holds = if known.is_some_and(|(name, _)| *name == "credit_card") { is_card } else { |_: &str| true };
            rules.push(Rule { name, asked_for: true, regex, part: Part::All, holds });
        }
        Ok(Self { rules, sign: sign(names), own: always })
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
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
                if let Some(replaced) = rule.replace(&left, &mut || clock.tick(at, rule, &mut since))? {
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
    fn replace(&self, text: &str, tick: &mut Tick<'_>) -> Result<Option<String>, RedactError> {
        let mut spans = Vec::new();
        if self.part == Part::Group {
            self.find(text, 0..text.len(), &mut spans, tick)?;
        } else {
            let mut from = 0;
            while from <= text.len() {
                let to = text[from..].find(MARK).map_or(text.len(), |at| from + at);
                self.find(text, from..to, &mut spans, tick)?;
                from = to + MARK.len();
            }
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
        found: &mut Vec<Span>,
        tick: &mut Tick<'_>,
    ) -> Result<(), RedactError> {
        let mut groups = self.regex.create_captures();
        let mut at = within.start;
        while at < within.end {
            self.regex.search_captures(&Input::new(text).span(at..within.end), &mut groups);
            tick()?;
            let Some(all) = groups.get_match() else { break };
            let group = groups.get_group(1);
            let judged = group.unwrap_or(all.span());
            let replaced = if self.part == Part::Group { judged } else { all.span() };
            let secret = &text[judged.range()];
            if !replaced.is_empty() && (self.holds)(secret) && (self.part == Part::All || secret != MARK) {
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
