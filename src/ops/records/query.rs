//! Finding records by what they say.

use crate::records::json::{Json, parse};
use crate::records::{ObservedAt, Record};

/// What is looked for; what is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Its source.
    pub source: Option<String>,
    /// Its entity.
    pub entity: Option<String>,
    /// Its type.
    pub kind: Option<String>,
    /// Observed at this moment or later: seconds and nanoseconds since 1970.
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
        let observed = record.observed_at.as_ref().map(ObservedAt::instant).map(|(s, micros)| (s, micros * 1000));
        let since = self.since.is_none_or(|since| observed.is_some_and(|at| at >= since));
        let until = self.until.is_none_or(|until| observed.is_some_and(|at| at <= until));
        since && until && self.has_tags(record) && self.has_paths(record)
    }

    fn has_tags(&self, record: &Record) -> bool {
        if self.tags.is_empty() {
            return true;
        }
        let tags = parse(record.tags.as_str().as_bytes()).unwrap_or(Json::Null);
        let has = |wanted: &String| {
            let tags = tags.list().unwrap_or_default();
            tags.iter().any(|tag| tag.text() == Some(wanted))
        };
        self.tags.iter().all(has)
    }

    fn has_paths(&self, record: &Record) -> bool {
        if self.paths.is_empty() {
            return true;
        }
        let line = record.line();
        let Ok(json) = parse(line.as_bytes()) else { return false };
        self.paths.iter().all(|path| path.found(&json))
    }
}

/// A place in a record, and what is to stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath {
    steps: Vec<Step>,
    /// Text, or JSON as it is written; nothing if anything will do.
    value: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    At(usize),
    Any,
}

/// A text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no path like $.response.items[0].id or $.response.title=Ada: {1}")]
pub struct NoPath(String, &'static str);

impl JsonPath {
    /// Reads a path, and behind `=` what is to stand there: `$.request.url`, `$.response.items[*].id=7`, `$['a.b']`.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, NoPath> {
        let no = |why| NoPath(text.to_owned(), why);
        let mut rest = text.strip_prefix('$').ok_or_else(|| no("it does not begin with $"))?;
        let mut steps = Vec::new();
        loop {
            if rest.is_empty() {
                return Ok(Self { steps, value: None });
            }
            if let Some(value) = rest.strip_prefix('=') {
                return Ok(Self { steps, value: Some(value.to_owned()) });
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
            let end = inner.find(']').ok_or_else(|| no("a bracket is not closed"))?;
            steps.push(match &inner[..end] {
                "*" => Step::Any,
                number => Step::At(number.parse().map_err(|_| no("a number or * is due in brackets"))?),
            });
            rest = &inner[end + 1..];
        }
    }

    /// True if it is in a value.
    #[must_use]
    pub fn found(&self, json: &Json) -> bool {
        walk(&self.steps, json, &|found| match (&self.value, found) {
            (None, _) => true,
            (Some(wanted), Json::Text(text)) => text == wanted,
            (Some(wanted), Json::Number(text)) => text == wanted,
            (Some(wanted), Json::Bool(value)) => wanted == if *value { "true" } else { "false" },
            (Some(wanted), Json::Null) => wanted == "null",
            (Some(_), Json::List(_) | Json::Object(_)) => false,
        })
    }

    /// What stands there, the first of several.
    #[must_use]
    pub fn first<'a, 'j>(&self, json: &'a Json<'j>) -> Option<&'a Json<'j>> {
        first(&self.steps, json)
    }
}

fn walk(steps: &[Step], json: &Json, fits: &dyn Fn(&Json) -> bool) -> bool {
    let Some((step, rest)) = steps.split_first() else { return fits(json) };
    match step {
        Step::Name(name) => json.get(name).is_some_and(|below| walk(rest, below, fits)),
        Step::At(at) => json.list().and_then(|list| list.get(*at)).is_some_and(|below| walk(rest, below, fits)),
        Step::Any => {
            let listed = json.list().unwrap_or_default().iter();
            let named = json.members().unwrap_or_default().iter().map(|(_, value)| value);
            listed.chain(named).any(|below| walk(rest, below, fits))
        }
    }
}

fn first<'a, 'j>(steps: &[Step], json: &'a Json<'j>) -> Option<&'a Json<'j>> {
    let Some((step, rest)) = steps.split_first() else { return Some(json) };
    match step {
        Step::Name(name) => first(rest, json.get(name)?),
        Step::At(at) => first(rest, json.list()?.get(*at)?),
        Step::Any => {
            let listed = json.list().unwrap_or_default().iter();
            let named = json.members().unwrap_or_default().iter().map(|(_, value)| value);
            listed.chain(named).find_map(|below| first(rest, below))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_what_they_name() {
        let json =
            parse(br#"{"response": {"items": [{"id": 7, "a.b": "x=y"}, {"id": 1.50}], "ok": true, "no": null}}"#)
                .unwrap();
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
        ] {
            assert_eq!(JsonPath::parse(path).unwrap().found(&json), wanted, "{path}");
        }
        for bad in ["response", "$response", "$.", "$..a", "$[x]", "$[1", "$['a]"] {
            assert!(JsonPath::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(JsonPath::parse("$.response.items[*].id").unwrap().first(&json), Some(&Json::Number("7".into())));
    }
}
