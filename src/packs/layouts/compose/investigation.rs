//! An investigation archive of a folder: the chain of its evidence, its inventory, its metadata.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::records::json::{Json, parse};
use crate::records::{ALGORITHM, DOMAIN, content_hash_of, same};

use super::super::item::{Item, file_name, is_item, numbered};
use super::super::{INVESTIGATION_VERSION, Layout};
use super::{ComposeError, Content, Laid, Plan, Read, Told, folder_name, iso};

const METADATA: &str = "metadata.json";
const LINEAGE: &str = "lineage.json";
const CHANGES: &str = "code_changes.json";
const PROMPTS: [&str; 3] = ["prompts/hypothesis.txt", "prompts/query.txt", "prompts/synthesis.txt"];

pub(super) fn plan<E: From<ComposeError>>(files: &[String], told: &Told, read: Read<E>) -> Result<Plan, E> {
    let has = |name: &str| files.iter().any(|file| file == name);
    if !has(METADATA) && !files.iter().any(|file| file.starts_with("evidence/")) {
        return Err(
            ComposeError::Nothing { layout: Layout::Investigation, lacks: "evidence/ and no metadata.json" }.into()
        );
    }
    files.iter().try_for_each(|file| readable(file))?;
    let as_it_was = has(METADATA);
    let mut items = items(files, read)?;
    if !as_it_was {
        join(&mut items)?;
    }
    let mut laid: Vec<Laid> = Vec::new();
    let mut used: BTreeSet<&str> = [METADATA].into();
    let end = items.last().and_then(|item| item.item.link.content_hash.clone());
    let count = items.len();
    for item in items {
        let results: Vec<_> = files.iter().filter(|file| result_of(file) == Some(item.item.link.seq)).collect();
        used.insert(item.file);
        let rows = item.rows.filter(|_| results.is_empty() && !as_it_was);
        laid.push(Laid { name: item.name, content: item.content });
        for file in results {
            if used.insert(file) {
                laid.push(captured(file));
            }
        }
        if let Some(rows) = rows {
            let name = format!("evidence/{:03}-results.json", item.item.link.seq);
            laid.push(Laid { name, content: Content::Made(rows.into_bytes()) });
        }
    }
    for name in [LINEAGE, CHANGES] {
        if has(name) {
            laid.push(captured(name));
        } else if !as_it_was {
            laid.push(Laid { name: name.to_owned(), content: Content::Made(b"{}".to_vec()) });
        }
    }
    laid.extend(PROMPTS.into_iter().filter(|name| has(name)).map(captured));
    used.extend([LINEAGE, CHANGES].iter().chain(&PROMPTS));
    for file in files.iter().filter(|file| !used.contains(file.as_str())) {
        // What metadata.json lists has its place, whatever it is.
        if !as_it_was {
            return Err(ComposeError::NoPlace { path: file.clone(), layout: Layout::Investigation }.into());
        }
        laid.push(captured(file));
    }
    let id = if as_it_was {
        laid.push(captured(METADATA));
        let bytes = read(METADATA)?;
        let metadata = super::super::metadata::Metadata::read(&bytes).map_err(|e| ComposeError::Layout(e.into()))?;
        metadata.investigation_id
    } else {
        laid.push(metadata(&laid, told, count, end));
        told.id.clone()
    };
    let names: BTreeSet<_> = laid.iter().map(|laid| &laid.name).collect();
    if names.len() < laid.len() {
        return Err(ComposeError::file("evidence/", "two files of it would get one name").into());
    }
    Ok(Plan { root: format!("snapshot-{}", folder_name(&id)?), folders: Vec::new(), files: laid, as_it_was })
}

fn captured(name: &str) -> Laid {
    Laid { name: name.to_owned(), content: Content::Captured(name.to_owned()) }
}

/// What the older system would refuse, or take for something else.
fn readable(file: &str) -> Result<(), ComposeError> {
    if file.contains("..") {
        return Err(ComposeError::file(file, "the older system refuses names that hold two dots in a row"));
    }
    if file.ends_with(METADATA) && file != METADATA {
        return Err(ComposeError::file(file, "the older system would take it for metadata.json"));
    }
    Ok(())
}

/// The number of the item whose results a file holds.
fn result_of(file: &str) -> Option<u64> {
    let (number, rest) = numbered(file.strip_prefix("evidence/")?)?;
    matches!(rest, "results.json" | "results.parquet").then_some(number)
}

/// An item on its way into the archive.
struct Moving<'a> {
    /// Where it was captured.
    file: &'a str,
    /// What it is called there.
    name: String,
    item: Item,
    content: Content,
    /// The value, while the item may still change.
    bytes: Vec<u8>,
    /// The rows of a query, as a file of their own holds them.
    rows: Option<String>,
}

/// The items of a folder, by their numbers.
fn items<'a, E: From<ComposeError>>(files: &'a [String], read: Read<E>) -> Result<Vec<Moving<'a>>, E> {
    let mut items = Vec::new();
    for file in files {
        let Some(name) = file.strip_prefix("evidence/").filter(|name| is_item(name)) else { continue };
        let bytes = read(file)?;
        let json = parse(&bytes).map_err(ComposeError::json(file))?;
        let mut item = Item::of(&json).map_err(|why| ComposeError::file(file, why))?;
        let from_name = numbered(name).map(|(number, _)| number);
        if !item.has_seq {
            item.link.seq = from_name.unwrap_or(0);
        }
        let is_query = item.kind.as_deref() == Some("query_result") && item.rows.is_some();
        let rows = json.get("sample_rows").filter(|_| is_query).map(Json::indented);
        items.push(Moving { file, name: file.clone(), item, content: Content::Captured(file.clone()), bytes, rows });
    }
    items.sort_by_key(|moving| moving.item.link.seq);
    Ok(items)
}

/// Joins items that have no hashes to a chain; of a chain that is there, nothing is changed.
fn join(items: &mut [Moving]) -> Result<(), ComposeError> {
    if let Some(pair) = items.windows(2).find(|pair| pair[0].item.link.seq == pair[1].item.link.seq) {
        let why = format!("{} has its number {} too", pair[0].file, pair[1].item.link.seq);
        return Err(ComposeError::file(pair[1].file, why));
    }
    let has_chain = items.iter().any(|moving| moving.item.link.content_hash.is_some());
    let mut before: Option<String> = None;
    for moving in items {
        let Moving { file, name, item, bytes, .. } = moving;
        if item.has_seq
            && numbered(name.trim_start_matches("evidence/")).map(|(number, _)| number) != Some(item.link.seq)
        {
            let kind = item.kind.as_deref().unwrap_or("unknown");
            *name = format!("evidence/{}", file_name(item.link.seq, folder_name(kind)?));
        }
        if has_chain {
            continue;
        }
        let refused = |why: String| ComposeError::file(file, why);
        if item.link.prev_hash.as_deref().is_some_and(|prev| before.as_deref().is_none_or(|before| !same(prev, before)))
        {
            return Err(refused("its prev_hash is not the hash of the item before it".to_owned()));
        }
        let mut json = parse(bytes).map_err(ComposeError::json(file))?;
        let hash = content_hash_of(&json, item.link.seq, before.as_deref()).map_err(|e| refused(e.to_string()))?;
        if !item.has_seq {
            json.set("seq", Json::Number(Cow::Owned(item.link.seq.to_string())));
        }
        json.set("prev_hash", before.take().map_or(Json::Null, |hash| Json::Text(hash.into())));
        json.set("content_hash", Json::Text(hash.clone().into()));
        moving.content = Content::Made(json.indented().into_bytes());
        item.link.content_hash = Some(hash.clone());
        before = Some(hash);
    }
    Ok(())
}

fn metadata(laid: &[Laid], told: &Told, count: usize, root_hash: Option<String>) -> Laid {
    let text = |text: &str| Json::Text(text.to_owned().into());
    let or_null = |value: Option<&str>| value.map_or(Json::Null, text);
    let mut files: Vec<&str> = laid.iter().map(|laid| laid.name.as_str()).collect();
    files.sort_unstable();
    let chain = || Json::Object(vec![("algorithm".into(), text(ALGORITHM)), ("domain_prefix".into(), text(DOMAIN))]);
    let json = Json::Object(vec![
        ("schema_version".into(), text(INVESTIGATION_VERSION)),
        ("investigation_id".into(), text(&told.id)),
        ("created_at".into(), text(&iso(told.time, "Z"))),
        ("source_instance".into(), or_null(told.source.as_deref())),
        ("tenant_id".into(), Json::Null),
        ("status".into(), text(told.status.as_deref().unwrap_or("unknown"))),
        ("evidence_count".into(), Json::Number(count.to_string().into())),
        ("root_hash".into(), or_null(root_hash.as_deref())),
        ("chain_metadata".into(), if root_hash.is_some() { chain() } else { Json::Null }),
        ("max_size_bytes".into(), Json::Number(told.max_size.to_string().into())),
        ("files".into(), Json::List(files.into_iter().map(text).collect())),
    ]);
    Laid { name: METADATA.to_owned(), content: Content::Made(json.indented().into_bytes()) }
}
