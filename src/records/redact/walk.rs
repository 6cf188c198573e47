//! A way through a JSON value that finds what is secret in it.

use std::borrow::Cow;
use std::collections::HashSet;

use super::super::python;
use super::super::quoted::quoted;
use super::super::tape::{Sort, Value};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    pub(super) fn name(path: String, header: bool) -> Self {
        Self { path, sort: if header { By::Header } else { By::Member } }
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
    /// An object that tells by a member what its `value` is called: by what that is secret, if it is.
    told: Option<By>,
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
}

impl<'a> Walk<'a> {
    pub(super) fn new(names: &'a Names, patterns: &'a Patterns, clock: &'a mut Clock) -> Self {
        Self { names, patterns, clock, edits: Vec::new(), found: Vec::new() }
    }

    /// The value as text without what is secret in it, if there is anything.
    pub(super) fn run(&mut self, root: Value<'_, '_>) -> Result<Option<String>, RedactError> {
        let mut open: Vec<Open> = Vec::new();
        let mut at = root.place();
        while at < root.end() {
            while open.pop_if(|top| at >= top.end).is_some() {}
            let value = root.at(at);
            if open.last().is_some_and(|top| top.object && top.name.is_none()) {
                self.name(root, value, &mut open)?;
                at += 1;
                continue;
            }
            at = self.value(value, &mut open)?;
        }
        if self.edits.is_empty() {
            return Ok(None);
        }
        let mut out = String::new();
        python::push_edited(root, &self.edits, &mut out);
        Ok(Some(out))
    }

    /// The name of a member.
    fn name<'t>(&mut self, root: Value<'t, '_>, name: Value<'t, '_>, open: &mut [Open<'t>]) -> Result<(), RedactError> {
        let text = name.text().unwrap_or_default();
        let scrubbed = self.patterns.scrub(&text, self.clock)?;
        let Some((mut made, rule)) = scrubbed else {
            if let Some(top) = open.last_mut() {
                top.name = Some(text);
            }
            return Ok(());
        };
        self.tell(open, None, By::Pattern(rule));
        if let Some(top) = open.last_mut() {
            if top.made.is_empty() {
                let names = root.at(top.at).members().filter_map(|(name, _)| name.text());
                top.made.extend(names.map(Cow::into_owned));
            }
            let plain = made.clone();
            let mut number = 1;
            while !top.made.insert(made.clone()) {
                number += 1;
                made = format!("{plain}~{number}");
            }
            top.name = Some(Cow::Owned(made.clone()));
        }
        self.edits.push((name.place(), in_quotes(&made)));
        Ok(())
    }

    /// A value; gives the place behind what is done with.
    fn value<'t>(&mut self, value: Value<'t, '_>, open: &mut Vec<Open<'t>>) -> Result<u32, RedactError> {
        let (name, within, due) = match open.last_mut() {
            None => (None, Within::Anything, None),
            Some(top) => (top.name.take(), top.within, top.due.take()),
        };
        let by = match &name {
            Some(name) => self.by_name(name, value, within, open),
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
        } else if let Some(text) = value.text() {
            if let Some((scrubbed, rule)) = self.patterns.scrub(&text, self.clock)? {
                self.tell(open, Some(&called), By::Pattern(rule));
                self.edits.push((value.place(), in_quotes(&scrubbed)));
            } else if let Some(top) = open.last_mut().filter(|top| top.in_turn && due.is_none()) {
                top.due = self.of_name(&text, within);
            }
        } else if matches!(value.sort(), Sort::List | Sort::Object) {
            self.enter(value, called, within, open);
            return Ok(value.place() + 1);
        }
        Ok(value.end())
    }

    fn of_name(&self, name: &str, within: Within) -> Option<By> {
        if self.names.is_header(name) {
            return Some(By::Header);
        }
        self.names.is_secret_name(name, within).then_some(By::Member)
    }

    fn by_name(&self, name: &str, value: Value<'_, '_>, within: Within, open: &[Open<'_>]) -> Option<By> {
        let told = open.last().and_then(|top| top.told).filter(|_| name.eq_ignore_ascii_case("value"));
        let token = || self.names.is_secret(name, value, within).then_some(By::Member);
        told.or_else(|| self.of_name(name, within)).or_else(token)
    }

    /// Goes into a list or object.
    fn enter<'t>(&self, value: Value<'t, '_>, called: Called<'t>, within: Within, open: &mut Vec<Open<'t>>) {
        let object = value.sort() == Sort::Object;
        let inner = match &called {
            Called::Name(name) => Within::of(name),
            // What is in a list is called as the list is.
            _ => within,
        };
        let in_list = open.last().is_some_and(|top| !top.object);
        let pair = in_list && inner != Within::Anything && value.items().take(3).count() == 2;
        open.push(Open {
            at: value.place(),
            end: value.end(),
            called,
            object,
            within: inner,
            told: if object { self.told(value, inner) } else { None },
            name: None,
            in_turn: !object && (pair || inner == Within::Turns),
            due: None,
            count: 0,
            made: HashSet::new(),
        });
    }

    /// Of `{"name": "Authorization", "value": …}` and the like: by what the value is secret, if it is.
    fn told(&self, object: Value<'_, '_>, within: Within) -> Option<By> {
        let mut name = None;
        let mut value = None;
        for (member, inner) in object.members().take(16) {
            let text = member.text().unwrap_or_default();
            if text.eq_ignore_ascii_case("value") {
                value = Some(inner);
            } else if ["name", "key", "header", "field"].iter().any(|known| text.eq_ignore_ascii_case(known)) {
                name = name.or(inner.text());
            }
        }
        let (name, value) = name.zip(value)?;
        let token = || self.names.is_secret(&name, value, within).then_some(By::Member);
        self.of_name(&name, within).or_else(token)
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
