//! Finding records by what they say.

use crate::records::canonical::Exchange;
use crate::records::tape::{Limits, Sort, Tape, Value};
use crate::records::{ObservedAt, Record};

/// Fields that are the same in all observations of a content.
const CONTENT: [&str; 6] = ["exchange_type", "source_system", "entity_type", "request", "response", "content_sha256"];

/// What is looked for; what is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Its source.
    pub source: Option<String>,
    /// Its entity.
    pub entity: Option<String>,
    /// Its type.
    pub kind: Option<String>,
    /// Observed at this moment or later: seconds and nanoseconds since 1970. What tells no time is not found by times.
    pub since: Option<(i64, u32)>,
    /// Observed at this moment or before.
    pub until: Option<(i64, u32)>,
    /// Tags that it has, each of them.
    pub tags: Vec<String>,
    /// What it has at these places, each of them.
    pub paths: Vec<JsonPath>,
}

impl Query {
    /// True if a record is one of those.
    #[must_use]
    pub fn fits(&self, record: &Record) -> bool {
        let same = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        if !same(&self.source, &record.source_system)
            || !same(&self.entity, &record.entity_type)
            || !same(&self.kind, &record.exchange_type)
        {
            return false;
        }
        self.fits_time(record.observed_at.as_ref())
            && self.fits_tags(record.tags.as_str().as_bytes())
            && self.has_paths(record)
    }

    /// True if something is asked for that is no content, so that observations of one content differ in it.
    pub(super) fn asks_for_observations(&self) -> bool {
        let is_content = |path: &JsonPath| match path.steps.first() {
            None => true,
            Some(Step::Name(name)) => CONTENT.contains(&&**name),
            Some(Step::At(_) | Step::Any) => false,
        };
        self.since.is_some() || self.until.is_some() || !self.tags.is_empty() || !self.paths.iter().all(is_content)
    }

    /// True of the time of an observation that is one of those. One that tells no time is in no span of time.
    pub(super) fn fits_time(&self, observed: Option<&ObservedAt>) -> bool {
        let observed = observed.map(ObservedAt::instant).map(|(seconds, micros)| (seconds, micros * 1000));
        let since = self.since.is_none_or(|since| observed.is_some_and(|at| at >= since));
        since && self.until.is_none_or(|until| observed.is_some_and(|at| at <= until))
    }

    /// True of a list of tags, as JSON, that has all of those.
    pub(super) fn fits_tags(&self, list: &[u8]) -> bool {
        if self.tags.is_empty() {
            return true;
        }
        let mut tape = Tape::default();
        let Ok(list) = tape.read(list, &Limits::NONE) else { return false };
        let tags: Vec<_> = list.items().filter_map(|tag| tag.text()).collect();
        self.tags.iter().all(|wanted| tags.iter().any(|tag| tag == wanted))
    }

    fn has_paths(&self, record: &Record) -> bool {
        if self.paths.is_empty() {
            return true;
        }
        let (line, mut tape) = (record.line(), Tape::default());
        // However deep it is: a record that was let in is found.
        let Ok(root) = tape.read(line.as_bytes(), &Limits::NONE) else { return false };
        self.paths.iter().all(|path| path.found(root))
    }
}

/// A place in a record, and what is to stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath {
    steps: Vec<Step>,
    /// Nothing if anything will do.
    value: Option<Wanted>,
}

/// What is to stand at a place: a text, or JSON that has the same canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    /// The form of the text.
    text: String,
    /// The form of the JSON, if it is some.
    json: Option<String>,
}

impl Wanted {
    fn new(written: &str) -> Self {
        let text = form_of(&serde_json::Value::from(written).to_string()).unwrap_or_default();
        Self { text, json: form_of(written) }
    }

    fn is(&self, found: Value<'_, '_>) -> bool {
        let mut exchange = Exchange::default();
        let form = exchange.form(found);
        let Some(json) = self.json.as_deref() else { return form == self.text };
        let is_number = matches!(found.sort(), Sort::Whole | Sort::Fraction);
        form == self.text
            || form == json
            || is_number && is_whole(form) != is_whole(json) && same_as_decimals(form, json)
    }
}

/// The canonical form of a text that is JSON.
fn form_of(json: &str) -> Option<String> {
    let mut tape = Tape::default();
    let value = tape.read(json.as_bytes(), &Limits::NONE).ok()?;
    Some(Exchange::default().form(value).to_owned())
}

/// True of a form that is a whole number.
fn is_whole(form: &str) -> bool {
    let digits = form.strip_prefix('-').unwrap_or(form);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// True if of two numbers the whole one has, as a decimal, the form of the other: `2` and `2.0`.
fn same_as_decimals(one: &str, other: &str) -> bool {
    let decimal = |form: &str| form_of(&if is_whole(form) { format!("{form}.0") } else { form.to_owned() });
    decimal(one).is_some_and(|form| Some(form) == decimal(other))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    At(usize),
    Any,
}

/// Stars in a path, at most.
const STARS: usize = 100;

/// A text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no path like $.response.items[0].id or $.response.title=Ada: {1}")]
pub struct NoPath(String, &'static str);

impl JsonPath {
    /// Reads a path, and behind `=` what is to stand there: `$.request.url`, `$.response.items[*].id=7`, `$["a.b"]`, `$['a.b']`. Between double
    /// quotes stands a name as JSON has it.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, NoPath> {
        let no = |why| NoPath(text.to_owned(), why);
        let mut rest = text.strip_prefix('$').ok_or_else(|| no("it does not begin with $"))?;
        let mut steps = Vec::new();
        loop {
            if steps.last() == Some(&Step::Any) && steps.iter().filter(|step| **step == Step::Any).count() > STARS {
                return Err(no("it has more than 100 stars"));
            }
            if rest.is_empty() {
                return Ok(Self { steps, value: None });
            }
            if let Some(value) = rest.strip_prefix('=') {
                return Ok(Self { steps, value: Some(Wanted::new(value)) });
            }
            if let Some(name) = rest.strip_prefix('.') {
                let end = name.find(['.', '[', '=']).unwrap_or(name.len());
                if end == 0 {
                    return Err(no("a name is missing behind a dot"));
                }
                steps.push(if &name[..end] == "*" { Step::Any } else { Step::Name(name[..end].to_owned()) });
                rest = &name[end..];
                continue;
            }
            let inner = rest.strip_prefix('[').ok_or_else(|| no("a dot or a bracket is due"))?;
            if let Some(quoted) = inner.strip_prefix('\'') {
                let end = quoted.find("']").ok_or_else(|| no("a name in brackets has no end"))?;
                steps.push(Step::Name(quoted[..end].to_owned()));
                rest = &quoted[end + 2..];
                continue;
            }
            if let Some(quoted) = inner.strip_prefix('"') {
                // The first end that leaves a text of JSON: a quotation mark in it is escaped.
                let mut ends = quoted.match_indices("\"]").map(|(at, _)| at + 2);
                let found = ends.find_map(|end| Some((end, text_of(&inner[..end])?)));
                let (end, name) = found.ok_or_else(|| no("a name in brackets has no end"))?;
                steps.push(Step::Name(name));
                rest = &inner[end + 1..];
                continue;
            }
            let end = inner.find(']').ok_or_else(|| no("a bracket is not closed"))?;
            steps.push(match &inner[..end] {
                "*" => Step::Any,
                number => {
                    Step::At(number.parse().map_err(|_| no("a number, * or a name in quotes is due in brackets"))?)
                }
            });
            rest = &inner[end + 1..];
        }
    }

    /// True if it is in a value.
    #[must_use]
    pub fn found(&self, json: Value<'_, '_>) -> bool {
        let fits = |found: Value<'_, '_>| self.value.as_ref().is_none_or(|wanted| wanted.is(found));
        walk(&self.steps, json, &mut |found| fits(found).then_some(found)).is_some()
    }

    /// True if it says what is to stand there.
    #[must_use]
    pub fn wants_value(&self) -> bool {
        self.value.is_some()
    }

    /// True if it may lead to several places.
    #[must_use]
    pub fn is_of_several(&self) -> bool {
        self.steps.contains(&Step::Any)
    }

    /// What stands there, the first of several.
    #[must_use]
    pub fn first<'t, 'n>(&self, json: Value<'t, 'n>) -> Option<Value<'t, 'n>> {
        walk(&self.steps, json, &mut Some)
    }

    /// All that stands there, in the order of the text.
    #[must_use]
    pub fn all<'t, 'n>(&self, json: Value<'t, 'n>) -> Vec<Value<'t, 'n>> {
        let mut found = Vec::new();
        let _ = walk(&self.steps, json, &mut |value| {
            found.push(value);
            None
        });
        found
    }
}

/// The text that a string of JSON is.
fn text_of(json: &str) -> Option<String> {
    let mut tape = Tape::default();
    tape.read(json.as_bytes(), &Limits::NONE).ok()?.text().map(std::borrow::Cow::into_owned)
}

/// The first that is wanted of what stands where steps lead to. Only stars go deeper on the stack.
fn walk<'t, 'n>(
    mut steps: &[Step],
    mut json: Value<'t, 'n>,
    wanted: &mut dyn FnMut(Value<'t, 'n>) -> Option<Value<'t, 'n>>,
) -> Option<Value<'t, 'n>> {
    while let Some((step, rest)) = steps.split_first() {
        let (is_list, is_object) = (json.sort() == Sort::List, json.sort() == Sort::Object);
        steps = rest;
        json = match step {
            // Of several of one name the last, as for Python.
            Step::Name(name) if is_object => {
                json.members().filter(|(n, _)| n.text().is_some_and(|text| text == *name)).last()?.1
            }
            Step::At(at) if is_list => json.items().nth(*at)?,
            Step::Any if is_list => return json.items().find_map(|below| walk(rest, below, wanted)),
            Step::Any if is_object => return json.members().find_map(|(_, below)| walk(rest, below, wanted)),
            Step::Name(_) | Step::At(_) | Step::Any => return None,
        };
    }
    wanted(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_what_they_name() {
        let mut tape = Tape::default();
        let text = br#"{"ok": 1, "response": {"items": [{"id": 7, "a.b": "x=y"}, {"id": 1.50}], "ok": false, "ok": true, "no": null}, "q\"]=b": 2, "": 3}"#;
        let json = tape.read(text, &Limits::NONE).unwrap();
        for (path, wanted) in [
            ("$", true),
            ("$.response.ok=true", true),
            ("$.response.ok=false", false),
            ("$.response.no=null", true),
            ("$.response.none", false),
            ("$.response.items[0].id=7", true),
            ("$.response.items[1].id=7", false),
            ("$.response.items[*].id=1.50", true),
            ("$.response.*[0]['a.b']=x=y", true),
            ("$.response.items[2]", false),
            ("$.response.items=x", false),
            ("$.response.items[1].id=1.5", true),
            ("$.response.items[1].id=15e-1", true),
            ("$.response.items[1].id=2", false),
            ("$.response.items[1].id=1", false),
            ("$.response.items[0].id=7.0", true),
            ("$.response.items[0]={\"a.b\": \"x=y\", \"id\": 7}", true),
            ("$.response.items[0]['a.b']=\"x=y\"", true),
            ("$[\"response\"].*[0][\"a.b\"]=x=y", true),
            ("$[\"a\\\"]=\"]", false),
            ("$[\"q\\\"]=\\u0062\"]=2", true),
            ("$['']=3", true),
        ] {
            assert_eq!(JsonPath::parse(path).unwrap().found(json), wanted, "{path}");
        }
        for bad in ["response", "$response", "$.", "$..a", "$[x]", "$[1", "$['a]", "$[\"a]", "$[\"a\"", "$[\"a\"x]"] {
            assert!(JsonPath::parse(bad).is_err(), "{bad}");
        }
        let many = |step: &str, times: usize| JsonPath::parse(&format!("${}", step.repeat(times)));
        assert!(many("[*]", STARS).is_ok() && many(".*", STARS + 1).is_err());
        assert!(!many("[0]", 1 << 20).unwrap().found(json), "however long it is");
        let first = |path: &str| JsonPath::parse(path).unwrap().first(json).map(|value| value.raw());
        assert_eq!(first("$.response.items[*].id"), Some("7"));
        assert_eq!(first("$.response.items[*].none"), None);
        let all = |path: &str| JsonPath::parse(path).unwrap().all(json).iter().map(Value::raw).collect::<Vec<_>>();
        assert_eq!(all("$.response.items[*].id"), ["7", "1.50"]);
    }

    #[test]
    fn values_are_compared_by_their_forms() {
        let mut tape = Tape::default();
        let text = r#"{"half": 1.50, "big": 100000.0, "two": 2, "long": 9007199254740993, "none": NaN, "text": "e\u0301", "digits": "7",
            "list": [1, 2.50, {"b": 1, "a": "x"}], "object": {"k": 1}}"#;
        let json = tape.read(text.as_bytes(), &Limits::NONE).unwrap();
        for (path, wanted) in [
            ("$.half=1.5", true),
            ("$.half=1.50", true),
            ("$.half=15e-1", true),
            ("$.half=1.51", false),
            ("$.big=100000", true),
            ("$.big=1e5", true),
            ("$.big=100001", false),
            ("$.two=2.0", true),
            ("$.two=-2", false),
            ("$.long=9007199254740993", true),
            ("$.long=9007199254740992", false),
            ("$.none=NaN", true),
            ("$.text=\u{e9}", true),
            ("$.text=e\u{301}", true),
            ("$.text=\"\u{e9}\"", true),
            ("$.text=e", false),
            ("$.digits=7", true),
            ("$.digits=7.0", false),
            ("$.list=[1,2.5,{\"a\":\"x\",\"b\":1}]", true),
            ("$.list=[1,2.5]", false),
            ("$.list[*]=2.5", true),
            ("$.object={\"k\":1}", true),
            ("$.object={}", false),
        ] {
            assert_eq!(JsonPath::parse(path).unwrap().found(json), wanted, "{path}");
        }
        let all =
            |path: &str| -> Vec<&str> { JsonPath::parse(path).unwrap().all(json).iter().map(Value::raw).collect() };
        assert_eq!(all("$.list[*]"), ["1", "2.50", r#"{"b": 1, "a": "x"}"#]);
        assert_eq!(all("$.list[2].*"), ["1", "\"x\""]);
        assert!(all("$.two[*]").is_empty());
    }
}
