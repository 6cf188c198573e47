//! `larder verify PACK`

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::Kind;
use crate::packs::Drift;
use crate::packs::layouts::{Layout, Wanted};
use crate::packs::verify::{Checked, Found, Held, check};

use super::error::CliError;
use super::events::ErrorJson;
use super::layout_arg::LayoutArg;
use super::limit_args::{AllowArgs, LimitArgs};
use super::output::{Output, counted, escaped, human_bytes};
use super::pack_input::{failed, open, tell_met};
use super::pack_keys::PasswordArgs;
use super::progress::Bar;
use super::report::as_json;
use super::verify_json::VerifyJson;
use super::{Global, Outcome};

/// What can be said of a pack that is to be checked.
#[derive(Debug, Args)]
pub(super) struct VerifyPackArgs {
    /// Packs, or any other archives, instead of the store; `-` is standard input
    #[arg(value_name = "PACK", value_hint = ValueHint::FilePath, conflicts_with_all = ["read_data", "budget", "no_key"])]
    pub(super) packs: Vec<PathBuf>,
    /// Which layout of another system an archive has, or none [default: what its content tells]
    #[arg(long, value_name = "LAYOUT", requires = "packs")]
    layout: Option<LayoutArg>,
    #[command(flatten)]
    password: PasswordArgs,
    #[command(flatten)]
    allow: AllowArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

pub(super) fn run(args: &VerifyPackArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    if let [pack] = args.packs.as_slice() {
        return one(pack, args, global, out);
    }
    if args.packs.iter().filter(|pack| *pack == Path::new("-")).count() > 1 {
        return Err(CliError::new(Kind::Usage, "standard input can be read once"));
    }
    let (mut worst, mut bad) = (Outcome::Done, Vec::new());
    for pack in &args.packs {
        if !out.json() {
            out.line(&format!("{}:", escaped(&pack.to_string_lossy())))?;
        }
        match one(pack, args, global, out) {
            Ok(Outcome::Done) => {}
            Ok(outcome) => worst = outcome,
            Err(error) if error.kind == Kind::Interrupted => return Err(error),
            Err(error) => {
                if error.silent.is_none() {
                    tell_one(pack, &error, out)?;
                }
                bad.push(error.kind);
            }
        }
    }
    // What a look could not tell goes behind what one has told.
    let order = [Kind::Damage, Kind::WrongKey, Kind::Newer, Kind::Failed, Kind::NotFound, Kind::Usage];
    let Some(kind) = order.into_iter().find(|kind| bad.contains(kind)).or(bad.first().copied()) else {
        return Ok(worst);
    };
    let text = format!("{} of {} packs are not as they should be, or could not be read", bad.len(), args.packs.len());
    Err(CliError::new(kind, text).told(out.json()))
}

/// Tells what is wrong with one of several packs.
fn tell_one(pack: &Path, error: &CliError, out: &Output) -> Result<(), CliError> {
    if out.json() {
        let pack = pack.to_string_lossy().into_owned();
        return out.print_json(&VerifyReportJson::Unread(Box::new(UnreadPackJson { pack, error: as_json(error) })));
    }
    let hint = error.hint.as_ref().map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
    out.tell(&format!("larder: {}{hint}", error.message));
    Ok(())
}

fn one(pack: &Path, args: &VerifyPackArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    if pack.join("header").is_file() && pack.join("db").is_dir() {
        let text = format!("{} is a store, not a pack", pack.display());
        return Err(CliError::new(Kind::Usage, text).hint(format!("larder --store {} verify", pack.display())));
    }
    let limits = args.allow.of(args.limits.limits());
    let bar = Bar::start(out, "verify");
    let wanted = args.layout.map_or(Wanted::Any, LayoutArg::wanted);
    let checked = open(pack, &args.password.keys(global), &limits, &bar).and_then(|archive| {
        let around: Vec<_> = archive.around.iter().map(|layer| layer.as_str()).collect();
        let checked = check(archive.opened, &limits, wanted, &std::env::temp_dir(), &bar);
        Ok((around, checked.map_err(|e| failed(pack, e))?))
    });
    bar.finish();
    let (around, checked) = checked?;
    if pack != Path::new("-") && pack.is_dir() && checked.count == 0 && checked.is_bare() {
        let text = format!(
            "{} is a folder and no pack: there is nothing that its files could be held against",
            pack.display()
        );
        return Err(CliError::new(Kind::NotFound, text)
            .hint("name the pack, or the folder of one that lies there extracted (that with manifest.json in it)"));
    }
    if out.json() {
        out.print_json(&VerifyReportJson::Pack(Box::new(VerifyPackJson::new(pack, &checked, around))))?;
    } else {
        print(&checked, out)?;
    }
    let outcome = tell_met(pack, &checked.audited, out);
    for remark in &checked.remarks {
        out.remark(&format!("larder: {}: {}", pack.display(), escaped(remark)));
    }
    for Drift { what, items, examples } in &checked.audited.drifts {
        let items = counted(*items, "item", "items");
        out.remark(&format!(
            "larder: {}: of {items} {what} is not as the manifest says, as after an extraction by others than root or without attributes; the contents are: {}",
            pack.display(),
            escaped(&examples.join(", "))
        ));
    }
    if checked.count == 0 {
        return Ok(outcome);
    }
    let things = counted(checked.count, "thing", "things");
    if checked.damaged == 0 {
        let text = format!("not taken: {things} in {}", pack.display());
        return Err(CliError::new(Kind::Usage, text).hint(NEXT_OF_REFUSED).told(out.json()));
    }
    let text = format!("damage found: {things} in {}", pack.display());
    let next = if checked.is_cut_short { NEXT_OF_A_PART } else { NEXT };
    Err(CliError::new(Kind::Damage, text).hint(next).told(out.json()))
}

const NEXT: &str =
    "what is not named above is as it should be; take the pack from another copy, or export the snapshot again";
const NEXT_OF_A_PART: &str =
    "nothing is known of what was not looked at; take the pack from another copy, or export the snapshot again";

const NEXT_OF_REFUSED: &str = "import and unpack refuse it too, unless an option that is named above lets it in";

fn print(checked: &Checked, out: &Output) -> Result<(), CliError> {
    for Found { member, why, sort } in &checked.findings {
        let member = if member.is_empty() { String::new() } else { format!("{}: ", escaped(member)) };
        out.line(&format!("{}: {member}{}", sort.as_str(), escaped(why)))?;
    }
    let more = checked.count - checked.findings.len() as u64;
    if more > 0 {
        out.line(&format!("… and {more} more"))?;
    }
    if checked.is_cut_short {
        out.line("what comes behind that was not looked at")?;
    }
    for held in &checked.snapshots {
        let state = if held.is_whole { "whole" } else { "damaged" };
        let items = counted(held.items, "item", "items");
        out.line(&format!(
            "{state}: {}: {}snapshot {} of {}, {items}",
            escaped(&held.name),
            held.paths.as_ref().map_or_else(String::new, |paths| format!("parts ({}) of ", escaped(&paths.join(", ")))),
            held.id,
            escaped(&held.dataset)
        ))?;
    }
    let audited = &checked.audited;
    if checked.count == 0 {
        let (members, bytes) = (counted(audited.members, "member", "members"), human_bytes(audited.bytes));
        let of_records = checked.records.map(|compared| {
            let right = counted(compared.right, "record", "records");
            let before = match compared.redacted_before {
                0 => String::new(),
                n => format!(", and {n} redacted by a system that keeps the hash of what was there before"),
            };
            format!("{right}, each with the hash of its content{before}")
        });
        let how = match (checked.layout, of_records) {
            (_, Some(records)) if checked.snapshots.is_empty() => format!("{records}; there is no list of checksums"),
            (_, Some(records)) => format!("inventory and checksums; {records}"),
            (Some(layout), _) => format!("{}, as it says of itself", layout.described()),
            (None, _) if checked.is_bare() => {
                "every member read; there is no manifest or list of checksums to hold them against".to_owned()
            }
            (None, _) => "inventory and checksums".to_owned(),
        };
        out.line(&format!("no damage: {members}, {bytes} ({how})"))?;
    }
    Ok(())
}

/// What `larder verify` prints: of a store, or of a pack.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum VerifyReportJson {
    /// Of a store.
    Store(Box<VerifyJson>),
    /// Of a pack; of several packs a line each.
    Pack(Box<VerifyPackJson>),
    /// Of one of several packs, that could not be read.
    Unread(Box<UnreadPackJson>),
}

/// One of several packs that could not be read.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UnreadPackJson {
    /// The file, as it was named.
    pack: String,
    /// Why not.
    error: ErrorJson,
}

/// What was checked of a pack, and what was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct VerifyPackJson {
    /// The file, as it was named.
    pack: String,
    /// True if something is damaged; then the exit status is 13. If there are other findings alone, it is 2.
    damaged: bool,
    /// What lies around the archive, the outermost first: age, zip.enc, zstd, gzip, xz, bzip2.
    around: Vec<&'static str>,
    /// Members of the archive that were let in.
    members: u64,
    /// Bytes of their contents.
    bytes: u64,
    /// The snapshots, if it is a pack of Larder's.
    snapshots: Vec<HeldJson>,
    /// `investigation` or `bundle`, if it is an archive of another system that Larder knows.
    layout: Option<&'static str>,
    /// True if there was nothing to hold the contents against but the format's own checks.
    bare: bool,
    /// Of a pack of exchange records: how many have the hash of their content.
    records: Option<u64>,
    /// Of a pack of exchange records: how many were redacted by a system that keeps the hash of what was there before.
    redacted_before: Option<u64>,
    /// The first thousand of them.
    findings: Vec<PackFindingJson>,
    /// How many there are.
    finding_count: u64,
    /// True if it could not be read to its end: there may be more.
    cut_short: bool,
    /// What is strange and no damage.
    remarks: Vec<String>,
    /// What members have that makes no sense, or is in a form that Larder does not know; then the exit status is 3.
    lost: u64,
    /// Names that are like another but for letter case or accents.
    alike: u64,
    /// Of a pack that lies there extracted: metadata that is not as the manifest says, while the contents are.
    drifts: Vec<DriftJson>,
}

/// A sort of metadata that is not as the manifest says.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct DriftJson {
    /// In words: `its owner`, `its mode` …
    what: &'static str,
    /// How many items have it otherwise.
    items: u64,
    /// The first few.
    examples: Vec<String>,
}

/// A snapshot of a pack.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct HeldJson {
    /// The pack's folder.
    name: String,
    /// The snapshot's id.
    id: String,
    /// Its dataset.
    dataset: String,
    /// Of a pack that has not all of that snapshot: the paths that it has.
    paths: Option<Vec<String>>,
    /// Items of its inventory that were held against the archive.
    items: u64,
    /// All was as manifest and checksums say.
    whole: bool,
}

/// Something that is not as it should be.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct PackFindingJson {
    /// The member; nothing if it is the archive as a whole.
    member: Option<String>,
    /// What is wrong.
    why: String,
    /// `damaged`; or `refused`, `unsupported`, `limit`: what is well formed, and not taken in.
    sort: &'static str,
}

impl VerifyPackJson {
    fn new(pack: &Path, checked: &Checked, around: Vec<&'static str>) -> Self {
        let held = |held: &Held| HeldJson {
            name: held.name.clone(),
            id: held.id.clone(),
            dataset: held.dataset.clone(),
            paths: held.paths.clone(),
            items: held.items,
            whole: held.is_whole,
        };
        let drift =
            |drift: &Drift| DriftJson { what: drift.what, items: drift.items, examples: drift.examples.clone() };
        let remarks = &checked.audited.remarks;
        let finding = |found: &Found| PackFindingJson {
            member: Some(found.member.clone()).filter(|member| !member.is_empty()),
            why: found.why.clone(),
            sort: found.sort.as_str(),
        };
        Self {
            pack: pack.to_string_lossy().into_owned(),
            damaged: checked.damaged > 0,
            around,
            members: checked.audited.members,
            bytes: checked.audited.bytes,
            snapshots: checked.snapshots.iter().map(held).collect(),
            layout: checked.layout.map(Layout::as_str),
            bare: checked.is_bare(),
            records: checked.records.map(|compared| compared.right),
            redacted_before: checked.records.map(|compared| compared.redacted_before),
            findings: checked.findings.iter().map(finding).collect(),
            finding_count: checked.count,
            cut_short: checked.is_cut_short,
            remarks: remarks.strange.iter().chain(&remarks.lost).chain(&checked.remarks).cloned().collect(),
            lost: remarks.losses,
            alike: checked.audited.alike,
            drifts: checked.audited.drifts.iter().map(drift).collect(),
        }
    }
}
