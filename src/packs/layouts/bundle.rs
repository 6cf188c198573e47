//! Judges an export bundle: manifest, checksums of all files, references that nobody could resolve.

use serde_json::{Value, json};

use crate::model::{Evidence, Reference};
use crate::records::json::{Json, parse};

use super::checksums;
use super::fault::{Faults, LayoutError, Seen};
use super::members::{Held, Members};
use super::provenance::labels;
use super::shown::short;
use super::{BUNDLE_VERSION, Layout, Provenance};

/// The file that says what it is.
pub(super) const MANIFEST: &str = "manifest.json";
/// The file with the hashes of all others.
pub(super) const CHECKSUMS: &str = "checksums.sha256";
/// The folder of the plans.
pub(super) const PLANS: &str = "scenario_plans";
/// True if what stands below a folder, which ends with a slash or is empty, is meant to be one.
pub(super) fn is_one(members: &Members, root: &[u8]) -> bool {
    let says_so = match members.file(root, MANIFEST).map(|file| &file.held) {
        Some(Held::Whole(bytes)) => parse(bytes).is_ok_and(|json| json.get("bundle_format_version").is_some()),
        _ => false,
    };
    let plans = [root, PLANS.as_bytes()].concat();
    let has_plans = || {
        let file = members.below(&plans).any(|(rest, _)| rest.starts_with(b"/"));
        file || members.folders.iter().any(|path| **path == *plans)
    };
    says_so || (members.file(root, CHECKSUMS).is_some() && has_plans())
}

/// Judges one.
///
/// # Errors
/// If it is of a version that is not known.
pub(super) fn judge(members: &Members, root: &[u8]) -> Result<Seen, LayoutError> {
    let (mut faults, mut remarks) = (Faults::default(), Vec::new());
    for (path, what) in &members.others {
        faults.note(
            path.strip_prefix(root).unwrap_or(path),
            format!("{what} has no place in {}", Layout::Bundle.described()),
        );
    }
    for path in members.outside(root) {
        faults.note(&[&b"../"[..], path].concat(), "it stands beside the folder that the bundle is");
    }
    compare_sums(members, root, &mut faults);
    let manifest = match members.file(root, MANIFEST).map(|file| &file.held) {
        Some(Held::Whole(bytes)) => parse(bytes).map_err(|e| e.to_string()),
        Some(_) => Err("it is too long".to_owned()),
        None => Err("it is not there".to_owned()),
    };
    let manifest = manifest.and_then(|json| match json {
        Json::Object(_) => Ok(json),
        _ => Err("it is no JSON object".to_owned()),
    });
    let provenance = match manifest {
        Ok(manifest) => {
            match manifest.get("bundle_format_version") {
                Some(Json::Number(version)) if &**version == BUNDLE_VERSION => {}
                Some(Json::Number(version)) => return Err(LayoutError::BundleVersion { found: short(version) }),
                _ => faults.note(MANIFEST.as_bytes(), "bundle_format_version is missing or no number"),
            }
            check_manifest(members, root, &manifest, &mut faults);
            let provenance = provenance(&manifest, root);
            let count = |name: &str| manifest.get(name).and_then(Json::list).map_or(0, <[Json]>::len);
            let (plans, runs) = (count("scenario_plans"), count("model_runs"));
            remarks.push(format!(
                "export bundle of {}: scenario plans: {plans}, model runs: {runs}",
                provenance.original_id
            ));
            unresolved(&manifest, &mut remarks);
            provenance
        }
        Err(why) => {
            faults.note(MANIFEST.as_bytes(), why);
            Provenance::default()
        }
    };
    Ok(Seen {
        layout: Layout::Bundle,
        root: root.strip_suffix(b"/").unwrap_or(root).into(),
        faults: faults.finish(),
        remarks,
        provenance,
    })
}

/// Compares the checksums with what is there: all files but this one are on the list, and nothing else is.
fn compare_sums(members: &Members, root: &[u8], faults: &mut Faults) {
    let bytes = match members.file(root, CHECKSUMS).map(|file| &file.held) {
        Some(Held::Whole(bytes)) => bytes,
        Some(_) => return faults.note(CHECKSUMS.as_bytes(), "it is too long"),
        None => return faults.note(CHECKSUMS.as_bytes(), "it is not there: nothing proves the files"),
    };
    let (mut sums, wrong) = checksums::read(bytes);
    if sums.is_empty() && wrong.is_empty() {
        faults.note(CHECKSUMS.as_bytes(), "it is empty: nothing proves the files");
    }
    wrong.into_iter().for_each(|what| faults.note(CHECKSUMS.as_bytes(), what));
    for (name, file) in members.below(root) {
        match (sums.remove(name), &file.sha256) {
            (None, _) if name == CHECKSUMS.as_bytes() => {}
            (Some(_), _) if name == CHECKSUMS.as_bytes() => faults.note(name, "it lists itself"),
            (None, _) => faults.note(name, "checksums.sha256 does not list it"),
            (Some(_), None) => faults.note(name, "it is larger, or lies deeper, than anything in a bundle"),
            (Some(listed), Some(found)) if listed != *found => {
                faults.note(name, "its SHA-256 is not the one in checksums.sha256");
            }
            (Some(_), Some(_)) => {}
        }
    }
    for name in sums.keys() {
        faults.note(name, "checksums.sha256 lists it, and it is not there");
    }
}

fn check_manifest(members: &Members, root: &[u8], manifest: &Json, faults: &mut Faults) {
    let mut note = |what: String| faults.note(MANIFEST.as_bytes(), what);
    if manifest.get("workspace").and_then(Json::members).is_none() {
        note("workspace is missing or no object".to_owned());
    }
    let plans = manifest.get("scenario_plans").and_then(Json::list).unwrap_or_default();
    for plan in plans {
        match plan.get("file").and_then(Json::text) {
            Some(file) if members.file(root, file).is_some() => {}
            Some(file) => note(format!("scenario_plans names {}, which is not there", short(file))),
            None => note("scenario_plans has an item without a file".to_owned()),
        }
    }
    for file in manifest.get("files").and_then(Json::list).unwrap_or_default() {
        let (Some(path), Some(Json::Number(size))) = (file.get("path").and_then(Json::text), file.get("size_bytes"))
        else {
            note("files has an item without path and size_bytes".to_owned());
            continue;
        };
        match members.file(root, path) {
            None => note(format!("files names {}, which is not there", short(path))),
            Some(found) if found.size.to_string() != **size => {
                note(format!("files says that {} has {} bytes; it has {}", short(path), short(size), found.size));
            }
            Some(_) => {}
        }
    }
}

/// References that could not be resolved are told and do no harm.
fn unresolved(manifest: &Json, remarks: &mut Vec<String>) {
    const NAMED: usize = 20;
    let list = manifest.get("unresolved_references").and_then(Json::list).unwrap_or_default();
    for reference in list.iter().take(NAMED) {
        let text = |name| short(reference.get(name).and_then(Json::text).unwrap_or("?"));
        remarks.push(format!("unresolved reference: {} {}: {}", text("key"), text("ref_id"), text("reason")));
    }
    if list.len() > NAMED {
        remarks.push(format!("unresolved references: {} more", list.len() - NAMED));
    }
}

fn provenance(manifest: &Json, root: &[u8]) -> Provenance {
    let workspace = manifest.get("workspace");
    let field = |name: &str| workspace.and_then(|w| w.get(name)).and_then(Json::text).map(short);
    let root = String::from_utf8_lossy(root.strip_suffix(b"/").unwrap_or(root)).into_owned();
    let id = field("workspace_id").or_else(|| field("id")).unwrap_or_else(|| short(&root));
    let exported_at = manifest.get("exported_at").and_then(Json::text).map(short);
    let runs = manifest.get("model_runs").and_then(Json::list).unwrap_or_default();
    let count = |name: &str| manifest.get(name).and_then(Json::list).map_or(0, <[Json]>::len);
    let metrics = json!({
        "scenario_plans": count("scenario_plans"),
        "model_runs": runs.len(),
        "unresolved_references": count("unresolved_references"),
    });
    let taken = |value: Option<&Json>| match value {
        Some(Json::Text(text)) => Value::String(short(text)),
        Some(Json::Bool(value)) => Value::Bool(*value),
        _ => Value::Null,
    };
    let all = |list: &str, names: &[&str]| -> Value {
        let list = manifest.get(list).and_then(Json::list).unwrap_or_default();
        let one = |item: &Json| {
            names
                .iter()
                .map(|name| ((*name).to_owned(), taken(item.get(name))))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        list.iter().take(1000).map(one).collect::<Vec<Value>>().into()
    };
    let payload = json!({ "replay_of": {
        "layout": Layout::Bundle.as_str(),
        "bundle_format_version": 1,
        "workspace_id": id,
        "exported_at": exported_at,
        "status": field("status"),
        "scenario_plans": all("scenario_plans", &["scenario_id", "file", "name"]),
        "model_runs": all("model_runs", &["key", "run_id", "model_type", "status", "artifact_uri", "artifact_hash", "artifact_verified"]),
        "unresolved_references": all("unresolved_references", &["key", "ref_id", "reason"]),
    }});
    let mut provenance = Provenance {
        original_id: id.clone(),
        original_created_at: exported_at.clone(),
        labels: Vec::new(),
        evidence: Evidence {
            scope: Some("workspace".to_owned()),
            scope_ref: Some(id.clone()),
            metrics: Some(metrics.to_string()),
            payload: Some(payload.to_string()),
            ..Evidence::default()
        },
        references: runs.iter().take(1000).enumerate().filter_map(|(at, run)| reference(at, run)).collect(),
    };
    let mut keys = std::collections::BTreeSet::new();
    provenance.references.retain(|reference| keys.insert(reference.key.clone()));
    provenance.label(labels::REPLAY, Some("true"));
    provenance.label(labels::LAYOUT, Some(Layout::Bundle.as_str()));
    provenance.label(labels::ID, Some(&id));
    provenance.label(labels::CREATED_AT, exported_at.as_deref());
    provenance.label(labels::STATUS, field("status").as_deref());
    provenance
}

/// What a model run refers to; nothing if it names no artifact.
fn reference(at: usize, run: &Json) -> Option<Reference> {
    let text = |name: &str| run.get(name).and_then(Json::text).filter(|text| !text.is_empty() && text.len() <= 4096);
    let hash = text("artifact_hash").map(|hash| hash.strip_prefix("sha256:").unwrap_or(hash).to_ascii_lowercase());
    let hash = hash.filter(|hash| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
    Some(Reference {
        key: text("key").map_or_else(|| format!("model_run_{at}"), short),
        uri: text("artifact_uri")?.to_owned(),
        verified: match run.get("artifact_verified") {
            // What was not compared with a hash was not verified.
            Some(Json::Bool(verified)) if hash.is_some() => Some(*verified),
            _ => None,
        },
        hash: hash.map(|hex| format!("sha256={hex}")),
    })
}
