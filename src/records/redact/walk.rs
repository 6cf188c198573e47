//! A way through a JSON value that finds what is secret in it.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use super::super::python;
use super::super::quoted::quoted;
use super::super::tape::{Limits, Sort, Tape, Value};
use super::names::{Names, Within, is_harmless};
use super::patterns::{Clock, Patterns};
use super::{MARK, RedactError, TOLD};

/// Something that was replaced.
#[derive(Debug)]
pub(super) struct Found {
    /// A JSON pointer from the value that was walked through; empty beyond those that are told.
    pub(super) path: String,
    pub(super) sort: By,
}

/// What it was found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By {
    /// The name of a header.
    Header,
    /// The name of a member.
    Member,
    /// A pattern, by its number.
    Pattern(usize),
}

impl Found {
    pub(super) fn pattern(path: String, at: usize) -> Self {
        Self { path, sort: By::Pattern(at) }
    }
}

/// What a list or object is called in what it is in.
enum Called<'t> {
    Nothing,
    Name(Cow<'t, str>),
    Number(usize),
}

/// A list or object that is open.
struct Open<'t> {
    at: u32,
    end: u32,
    called: Called<'t>,
    object: bool,
    within: Within,
    /// An object that tells by members what its `value` is called.
    told: Vec<Cow<'t, str>>,
    /// In an object: the name whose value is due.
    name: Option<Cow<'t, str>>,
    /// A list that has names and values in turn.
    in_turn: bool,
    /// In such a list: the last item was a name that says that the next one is secret.
    due: Option<By>,
    /// Values so far.
    count: usize,
    /// Names that were made, so that none is made twice.
    made: HashSet<String>,
}

/// A walk.
pub(super) struct Walk<'a> {
    names: &'a Names,
    patterns: &'a Patterns,
    clock: &'a mut Clock,
    edits: Vec<(u32, String)>,
    pub(super) found: Vec<Found>,
    /// How many texts it is in that are JSON themselves.
    depth: usize,
}

/// Texts within each other that are gone through as JSON.
const TEXTS_DEEP: usize = 4;

impl<'a> Walk<'a> {
    pub(super) fn new(names: &'a Names, patterns: &'a Patterns, clock: &'a mut Clock) -> Self {
        Self { names, patterns, clock, edits: Vec::new(), found: Vec::new(), depth: 0 }
    }

    /// The value as text without what is secret in it, if there is anything. `name`: what it is called.
    pub(super) fn run(&mut self, name: Option<&str>, root: Value<'_, '_>) -> Result<Option<String>, RedactError> {
        self.go_through(name, root)?;
        if self.edits.is_empty() {
            return Ok(None);
        }
        let mut out = String::new();
        python::push_edited(root, &self.edits, &mut out);
        Ok(Some(out))
    }

    fn go_through(&mut self, name: Option<&str>, root: Value<'_, '_>) -> Result<(), RedactError> {
        let mut open: Vec<Open> = Vec::new();
        let mut called = name.map(|name| Cow::Owned(name.to_owned()));
        let mut at = root.place();
        while at < root.end() {
            while open.pop_if(|top| at >= top.end).is_some() {}
            let value = root.at(at);
            if open.last().is_some_and(|top| top.object && top.name.is_none()) {
                self.name(root, value, &mut open)?;
                at += 1;
                continue;
            }
            at = self.value(value, called.take(), &mut open)?;
        }
        Ok(())
    }

    /// A text without its secrets, and what found them. One that is JSON itself, as bodies are, is gone through as such: names stay beside what
    /// is replaced, and nothing else changes.
    fn text(&mut self, text: &str, is_query: bool) -> Result<Option<(String, Vec<By>)>, RedactError> {
        const ROUNDS: usize = 4;
        if !self.patterns.has_own() && !self.patterns.may_hold(text) {
            return Ok(None);
        }
        let (mut left, mut found) = (Cow::Borrowed(text), BTreeSet::new());
        for _ in 0..ROUNDS {
            if let Some(changed) = self.inner(&left, &mut found)? {
                left = Cow::Owned(changed);
            }
            let scrubbed = if is_query || is_form(&left) {
                self.patterns.scrub_query(&left, self.clock)?
            } else {
                self.patterns.scrub(&left, self.clock)?
            };
            match scrubbed {
                None if found.is_empty() => return Ok(None),
                None => return Ok(Some((left.into_owned(), found.into_iter().collect()))),
                Some((changed, rules)) => {
                    left = Cow::Owned(changed);
                    found.extend(rules.into_iter().map(By::Pattern));
                }
            }
        }
        Ok(Some((MARK.to_owned(), found.into_iter().collect())))
    }

    /// A text that is JSON, or has some a line, without what is secret in it, if it is one and there is anything.
    fn inner(&mut self, text: &str, found: &mut BTreeSet<By>) -> Result<Option<String>, RedactError> {
        let whole = text.trim_start_matches('\u{feff}').trim_ascii();
        let ends = |text: &str, open, close| text.starts_with(open) && text.ends_with(close);
        let is_some = |text: &str| ends(text, '{', '}') || ends(text, '[', ']');
        if self.depth == TEXTS_DEEP {
            return Ok(None);
        }
        let mut tape = Tape::default();
        if is_some(whole) && tape.read(whole.as_bytes(), &Limits::NONE).is_ok() {
            return self.inner_of(text, whole, found);
        }
        let (mut out, mut changed) = (String::new(), false);
        for line in text.split_inclusive('\n') {
            // As events are sent.
            let part = line.trim_start_matches("data:").trim_ascii();
            let left = if is_some(part) { self.inner_of(line, part, found)? } else { None };
            changed |= left.is_some();
            out.push_str(left.as_deref().unwrap_or(line));
        }
        Ok(changed.then_some(out))
    }

    /// The same of a part of a text.
    fn inner_of(&mut self, text: &str, part: &str, found: &mut BTreeSet<By>) -> Result<Option<String>, RedactError> {
        let mut tape = Tape::default();
        let Ok(root) = tape.read(part.as_bytes(), &Limits::NONE) else { return Ok(None) };
        let mut walk = Walk { depth: self.depth + 1, ..Walk::new(self.names, self.patterns, self.clock) };
        walk.go_through(None, root)?;
        if walk.edits.is_empty() {
            return Ok(None);
        }
        found.extend(walk.found.iter().map(|found| found.sort));
        let before = text.find(part).unwrap_or_default();
        let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
        for (place, edit) in &walk.edits {
            let range = root.at(*place).range();
            out.push_str(&text[copied..before + range.start]);
            out.push_str(edit);
            copied = before + range.end;
        }
        out.push_str(&text[copied..]);
        Ok(Some(out))
    }

    /// The name of a member.
    fn name<'t>(&mut self, root: Value<'t, '_>, name: Value<'t, '_>, open: &mut [Open<'t>]) -> Result<(), RedactError> {
        let text = name.text().unwrap_or_default();
        let scrubbed = self.patterns.scrub(&text, self.clock)?;
        let Some((plain, rules)) = scrubbed else {
            if let Some(top) = open.last_mut() {
                top.name = Some(text);
            }
            return Ok(());
        };
        rules.into_iter().for_each(|rule| self.tell(open, None, By::Pattern(rule)));
        if let Some(top) = open.last_mut() {
            if top.made.is_empty() {
                let names = root.at(top.at).members().filter_map(|(name, _)| name.text());
                top.made.extend(names.map(Cow::into_owned));
            }
            let made = apart(plain, &mut top.made);
            self.edits.push((name.place(), in_quotes(&made)));
            top.name = Some(Cow::Owned(made));
        }
        Ok(())
    }

    /// A value; gives the place behind what is done with.
    fn value<'t>(
        &mut self,
        value: Value<'t, '_>,
        called: Option<Cow<'t, str>>,
        open: &mut Vec<Open<'t>>,
    ) -> Result<u32, RedactError> {
        let (name, within, due) = match open.last_mut() {
            None => (called, Within::Anything, None),
            Some(top) => (top.name.take(), top.within, top.due.take()),
        };
        let text = value.text();
        let by = match &name {
            Some(name) => self.by_name(name, value, text.as_deref(), within, open)?,
            None => due,
        };
        let called = match (name, open.last()) {
            (Some(name), _) => Called::Name(name),
            (None, Some(top)) => Called::Number(top.count),
            (None, None) => Called::Nothing,
        };
        if let Some(top) = open.last_mut() {
            top.count += 1;
        }
        if let Some(by) = by.filter(|_| !is_harmless(value)) {
            self.tell(open, Some(&called), by);
            self.edits.push((value.place(), in_quotes(MARK)));
        } else if let Some(text) = text {
            let is_query = matches!(&called, Called::Name(name) if Within::of(name) == Within::Query);
            if let Some((mut scrubbed, found)) = self.text(&text, is_query)? {
                found.into_iter().for_each(|by| self.tell(open, Some(&called), by));
                // What stands there now may look like a secret of that name, where what stood there did not.
                if let Called::Name(name) = &called
                    && scrubbed != MARK
                    && let Some(by) = self.by_name(name, value, Some(&scrubbed), within, open)?
                {
                    self.tell(open, Some(&called), by);
                    MARK.clone_into(&mut scrubbed);
                }
                self.edits.push((value.place(), in_quotes(&scrubbed)));
                self.name_in_turn(&scrubbed, within, due, open);
            } else {
                self.name_in_turn(&text, within, due, open);
            }
        } else if matches!(value.sort(), Sort::Whole | Sort::Fraction) && self.patterns.has_own() {
            if let Some(found) = self.patterns.scrub_number(value.raw(), self.clock)? {
                found.into_iter().for_each(|rule| self.tell(open, Some(&called), By::Pattern(rule)));
                self.edits.push((value.place(), in_quotes(MARK)));
            }
        } else if matches!(value.sort(), Sort::List | Sort::Object) {
            Self::enter(value, called, within, open);
            return Ok(value.place() + 1);
        }
        Ok(value.end())
    }

    /// What is left of a text in a list of names and values may say that the next one is secret.
    fn name_in_turn(&self, text: &str, within: Within, due: Option<By>, open: &mut [Open<'_>]) {
        if let Some(top) = open.last_mut().filter(|top| top.in_turn && due.is_none()) {
            top.due = self.of_name(text, within);
        }
    }

    fn of_name(&self, name: &str, within: Within) -> Option<By> {
        if self.names.is_header(name) {
            return Some(By::Header);
        }
        if self.names.is_secret_name(name, within) {
            return Some(By::Member);
        }
        self.names.is_like_header(name).then_some(By::Header)
    }

    /// By what a member is secret, if it is: by its name, or by what it has in common with one of that name. `text`: that of the value.
    fn by_name(
        &mut self,
        name: &str,
        value: Value<'_, '_>,
        text: Option<&str>,
        within: Within,
        open: &[Open<'_>],
    ) -> Result<Option<By>, RedactError> {
        let top = open.last();
        let told = top.map(|top| &top.told[..]).filter(|_| is_value(name)).unwrap_or_default();
        for name in told.iter().map(|name| &**name).chain([name]) {
            if let Some(by) = self.of_name(name, within) {
                return Ok(Some(by));
            }
            let is_token = || text.filter(|text| Names::may_be_token(name, text));
            let is_secret = Names::is_secret_by_value(name, value, text)
                || match is_token() {
                    None => false,
                    Some(text) if Names::is_long_token(text) => true,
                    Some(_) => !top.map_or(Ok(false), |top| self.is_language(value.at(top.at)))?,
                };
            if is_secret {
                return Ok(Some(By::Member));
            }
        }
        Ok(None)
    }

    /// True if a member of an object, one whose name stays, tells that the object is about a piece of language.
    fn is_language(&mut self, object: Value<'_, '_>) -> Result<bool, RedactError> {
        for (name, _) in object.members().take(16) {
            let name = name.text().unwrap_or_default();
            if Names::is_of_language(&name) && self.patterns.scrub(&name, self.clock)?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes into a list or object.
    fn enter<'t>(value: Value<'t, '_>, called: Called<'t>, within: Within, open: &mut Vec<Open<'t>>) {
        let object = value.sort() == Sort::Object;
        let inner = match &called {
            Called::Name(name) => Within::of(name),
            // What is in a list is called as the list is.
            _ => within,
        };
        let in_list = open.last().is_some_and(|top| !top.object);
        // A name and a value, and what belongs to them.
        let pair = in_list && !object && matches!(value.items().take(4).count(), 2 | 3);
        let pair = pair || inner == Within::Query && !object && value.items().count().is_multiple_of(2);
        open.push(Open {
            at: value.place(),
            end: value.end(),
            called,
            object,
            within: inner,
            told: if object { told(value) } else { Vec::new() },
            name: None,
            in_turn: !object && (pair || inner == Within::Turns),
            due: None,
            count: 0,
            made: HashSet::new(),
        });
    }

    fn tell(&mut self, open: &[Open<'_>], last: Option<&Called<'_>>, sort: By) {
        let mut path = String::new();
        if self.found.len() < TOLD {
            for called in open.iter().map(|open| &open.called).chain(last) {
                match called {
                    Called::Nothing => {}
                    Called::Name(name) => path.push_str(&format!("/{}", pointer(name))),
                    Called::Number(number) => path.push_str(&format!("/{number}")),
                }
            }
        }
        self.found.push(Found { path, sort });
    }
}

/// True of a text that is names and values as forms are sent, more than one.
fn is_form(text: &str) -> bool {
    let is_pair =
        |pair: &str| pair.split_once('=').is_some_and(|(name, _)| !name.is_empty() && !name.contains(['?', '/', ':']));
    text.contains('&') && !text.contains(char::is_whitespace) && text.split('&').all(is_pair)
}

/// What an object calls what it holds.
fn is_value(name: &str) -> bool {
    ["value", "values", "val"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Of `{"name": "Authorization", "value": …}` and the like: the name, and whatever else may be it.
fn told<'t>(object: Value<'t, '_>) -> Vec<Cow<'t, str>> {
    let mut names = Vec::new();
    let mut has_value = false;
    for (member, inner) in object.members() {
        let text = member.text().unwrap_or_default();
        has_value |= is_value(&text);
        if ["name", "key", "header", "field"].iter().any(|known| text.eq_ignore_ascii_case(known)) {
            names.extend(inner.text());
        }
    }
    if has_value { names } else { Vec::new() }
}

/// The name, with a number behind it if there is one like it; it is one of them then.
pub(super) fn apart(name: String, names: &mut HashSet<String>) -> String {
    let (mut made, mut number) = (name.clone(), 1);
    while !names.insert(made.clone()) {
        number += 1;
        made = format!("{name}~{number}");
    }
    made
}

/// A name as a JSON pointer has it.
pub(super) fn pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A text as a string of JSON.
pub(super) fn in_quotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    quoted(text, &mut |piece| out.push_str(piece));
    out
}
