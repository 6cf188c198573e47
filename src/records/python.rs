//! JSON as Python writes it by default, save that nothing is escaped that need not be: `, ` and `: ` between, UTF-8. So the system that
//! records come from writes its lines. Numbers stay as they are written, names in their order.

use super::quoted::quoted;
use super::tape::{Sort, Value};

/// Appends a value.
pub(super) fn push(root: Value<'_, '_>, out: &mut String) {
    push_edited(root, &[], out);
}

/// Appends a value, with other texts in place of some of the values and names in it: `edits` are places and texts, ascending.
pub(super) fn push_edited(root: Value<'_, '_>, mut edits: &[(u32, String)], out: &mut String) {
    // What is open: where it ends, and what closes it.
    let mut open: Vec<(u32, char)> = Vec::new();
    let (mut at, end) = (root.place(), root.end());
    let (mut first, mut is_name) = (true, false);
    while at < end || !open.is_empty() {
        if let Some((_, close)) = open.pop_if(|(end, _)| at >= *end) {
            out.push(close);
            (first, is_name) = (false, close_of(open.last()) == Some('}'));
            continue;
        }
        let value = root.at(at);
        let in_object = close_of(open.last()) == Some('}');
        if !first && (is_name || !in_object) {
            out.push_str(", ");
        }
        at += 1;
        first = false;
        if let [(place, edit), rest @ ..] = edits
            && *place == value.place()
        {
            out.push_str(edit);
            (at, edits) = (value.end(), rest);
            if in_object && is_name {
                out.push_str(": ");
            }
            is_name = in_object && !is_name;
            continue;
        }
        match value.sort() {
            Sort::List | Sort::Object => {
                let (begin, close) = if value.sort() == Sort::List { ('[', ']') } else { ('{', '}') };
                out.push(begin);
                open.push((value.end(), close));
                (first, is_name) = (true, close == '}');
                continue;
            }
            Sort::Text => text(value, out),
            _ => out.push_str(value.raw()),
        }
        if in_object && is_name {
            out.push_str(": ");
        }
        is_name = in_object && !is_name;
    }
}

fn close_of(open: Option<&(u32, char)>) -> Option<char> {
    open.map(|(_, close)| *close)
}

fn text(value: Value<'_, '_>, out: &mut String) {
    if value.is_escaped() {
        quoted(&value.text().unwrap_or_default(), &mut |piece| out.push_str(piece));
    } else {
        out.push_str(value.raw());
    }
}
