//! An export bundle of a folder: its manifest and its checksums.

use std::collections::BTreeMap;

use crate::codec::Sha256;
use crate::model::Reference;
use crate::records::json::{Json, parse};

use super::super::checksums::{self, Sums};
use super::super::{BUNDLE_VERSION, Layout};
use super::{ComposeError, Content, Laid, Plan, Read, Told, folder_name, iso};

const MANIFEST: &str = "manifest.json";
const CHECKSUMS: &str = "checksums.sha256";
const PLANS: &str = "scenario_plans";

pub(super) fn plan<E: From<ComposeError>>(files: &[String], told: &Told, read: Read<E>) -> Result<Plan, E> {
    let has = |name: &str| files.iter().any(|file| file == name);
    let plans: Vec<&String> = files.iter().filter(|file| plan_name(file).is_some()).collect();
    if !has(MANIFEST) && plans.is_empty() {
        return Err(
            ComposeError::Nothing { layout: Layout::Bundle, lacks: "scenario_plans/ and no manifest.json" }.into()
        );
    }
    let as_it_was = has(MANIFEST) && has(CHECKSUMS);
    let stray = files
        .iter()
        .find(|file| !(as_it_was || plan_name(file).is_some() || [MANIFEST, CHECKSUMS].contains(&&***file)));
    if let Some(file) = stray {
        return Err(ComposeError::NoPlace { path: file.clone(), layout: Layout::Bundle }.into());
    }
    let mut laid: BTreeMap<String, Content> =
        files.iter().map(|file| (file.clone(), Content::Captured(file.clone()))).collect();
    let mut id = told.id.clone();
    if has(MANIFEST) {
        let bytes = read(MANIFEST)?;
        let manifest = parse(&bytes).map_err(ComposeError::json(MANIFEST))?;
        let workspace = manifest.get("workspace");
        let named = workspace.and_then(|w| w.get("workspace_id").or_else(|| w.get("id"))).and_then(Json::text);
        id = named.map_or(id, str::to_owned);
    } else {
        let mut listed = Vec::new();
        for file in plans {
            let bytes = read(file)?;
            let plan = parse(&bytes).map_err(ComposeError::json(file))?;
            let name = plan.get("name").and_then(Json::text).map(str::to_owned);
            listed.push((file.as_str(), bytes.len(), name));
        }
        laid.insert(MANIFEST.to_owned(), Content::Made(manifest(told, &listed)));
    }
    if !has(CHECKSUMS) {
        let mut sums = Sums::new();
        for (name, content) in &laid {
            let mut hash = Sha256::default();
            match content {
                Content::Captured(file) => hash.update(&read(file)?),
                Content::Made(bytes) => hash.update(bytes),
            }
            sums.insert(name.as_bytes().into(), hash.hex());
        }
        laid.insert(CHECKSUMS.to_owned(), Content::Made(checksums::write(&sums)));
    }
    let root = folder_name(&id)?.to_owned();
    let mut files: Vec<Laid> = laid.into_iter().map(|(name, content)| Laid { name, content }).collect();
    // The manifest first, the plans, the checksums last, as they were written.
    files.sort_by_key(|laid| match laid.name.as_str() {
        MANIFEST => 0,
        CHECKSUMS => 2,
        _ => 1,
    });
    Ok(Plan { root, folders: vec![PLANS.to_owned()], files, as_it_was })
}

/// The name of a plan's file without its end.
fn plan_name(file: &str) -> Option<&str> {
    file.strip_prefix(PLANS)?
        .strip_prefix('/')?
        .strip_suffix(".json")
        .filter(|name| !name.is_empty() && !name.contains('/'))
}

fn manifest(told: &Told, plans: &[(&str, usize, Option<String>)]) -> Vec<u8> {
    let text = |text: &str| Json::Text(text.to_owned().into());
    let number = |number: usize| Json::Number(number.to_string().into());
    // Names ascending, as the older system sorts them.
    let object = |members: Vec<(&'static str, Json<'static>)>| {
        Json::Object(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
    };
    let files = plans.iter().map(|(file, size, _)| object(vec![("path", text(file)), ("size_bytes", number(*size))]));
    let listed = plans.iter().map(|(file, _, name)| {
        object(vec![
            ("file", text(file)),
            ("name", name.as_deref().map_or(Json::Null, text)),
            ("scenario_id", text(plan_name(file).unwrap_or(file))),
        ])
    });
    let run = |reference: &Reference| {
        let hash = reference.hash.as_deref().and_then(|hash| hash.strip_prefix("sha256="));
        object(vec![
            ("artifact_hash", hash.map_or(Json::Null, text)),
            ("artifact_uri", text(&reference.uri)),
            ("artifact_verified", reference.verified.map_or(Json::Null, Json::Bool)),
            ("key", text(&reference.key)),
            ("metrics", Json::Null),
            ("model_type", Json::Null),
            ("run_id", Json::Null),
            ("status", Json::Null),
        ])
    };
    let workspace =
        object(vec![("status", text(told.status.as_deref().unwrap_or("unknown"))), ("workspace_id", text(&told.id))]);
    let json = object(vec![
        ("bundle_format_version", Json::Number(BUNDLE_VERSION.into())),
        ("exported_at", text(&iso(told.time, "+00:00"))),
        ("files", Json::List(files.collect())),
        ("model_runs", Json::List(told.references.iter().map(run).collect())),
        ("scenario_plans", Json::List(listed.collect())),
        ("unresolved_references", Json::List(Vec::new())),
        ("workspace", workspace),
    ]);
    let mut out = json.indented();
    out.push('\n');
    out.into_bytes()
}
