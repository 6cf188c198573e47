//! `larder sync`

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueHint};
use schemars::JsonSchema;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::model::{DatasetName, Kind, Manifest, Notice, Progress, Role, Timestamp};
use crate::ops::records::{
    Dataset, Direction, ImportOptions, Preference, RecordsError, Resolution, SyncConflict, SyncOptions, SyncReport,
    newest_of, synchronise,
};
use crate::records::ConflictStrategy;
use crate::snapshots::{SnapshotName, resolve};
use crate::sql::{Database, Opening, SqlError, TableNames, Target};
use crate::store::{Store, Waiting};

use super::error::CliError;
use super::output::{Output, counted, escaped, rfc3339, short_id};
use super::progress::Bar;
use super::store_args::who;
use super::{Global, Outcome, context, files, secrecy};

/// The variable with the URL of the database, which may have a password in it there.
const URL_VARIABLE: &str = "LARDER_SQL";
/// The variable with the password; behind it that of the database's own programs counts.
const PASSWORD_VARIABLE: &str = "LARDER_SQL_PASSWORD";
/// Conflicts and errors that are told where nobody asked for JSON.
const TOLD: usize = 20;

/// Mirror a record dataset in a database, and reconcile the two
///
/// The table is the one that the dataset's policy names (`sql_target`: lake.RawExchangeRecord unless told otherwise), in the form of the system that such records come
/// from; one that is there is used as it is. Rows of the dataset's source and entity count, and of what else it has records of. The table has a row for each
/// current record. Contents are compared by their hashes, then keys: what one side lacks it gets, and where both have a content under
/// one key that is a conflict. Whoever loses is kept in the dataset's history; nothing is deleted on either side. What comes from the table is one snapshot.
///
/// A row whose payload does not have the hash that its column says is told and left alone, and so is a record that the table does not take: exit status 3. The URL has no
/// password: that is taken from `LARDER_SQL_PASSWORD`, `PGPASSWORD` (of SQL Server: `SQLCMDPASSWORD`) or a file. Or the whole URL stands in `LARDER_SQL`.
///
/// SQL Server is there if Larder was built with `--features mssql`. It was tried with a server that answers as one would, never with a real one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder sync pages --sql sqlite:pages.db --create
  larder sync pages --sql postgres://ann@localhost/lake --direction import -n
  larder sync pages --sql postgres://ann@localhost/lake --conflict prefer_sql --json
  larder sync pages --sql sqlite:empty.db --create --to-snapshot pages@2026-01-01")]
pub(super) struct SyncArgs {
    /// Which dataset
    #[arg(value_name = "DATASET")]
    dataset: DatasetName,
    /// The database: `sqlite:PATH`, `postgres://USER@HOST/DATABASE` or `mssql://USER@HOST/DATABASE` [default: what `LARDER_SQL` says]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    sql: Option<String>,
    /// import: into the table; export: out of it; both (also as `json_to_sql`, `sql_to_json`, bidirectional) [default: as the dataset says]
    #[arg(long, value_name = "WHICH", value_parser = direction())]
    direction: Option<Direction>,
    /// Who wins; `fail` changes nothing if there is a conflict [default: as the dataset says]
    #[arg(long, value_name = "HOW", value_parser = preference())]
    conflict: Option<Preference>,
    /// Tell what would become of each record and row, and change nothing; what the table itself refuses shows only when it is written
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Make the table if it is not there, and the indexes that it lacks
    #[arg(long)]
    create: bool,
    /// Read the payload of each row, and tell those that have another hash, source, entity or key than their columns say; else that is done for rows alone whose
    /// hash the dataset does not know
    #[arg(long)]
    check_rows: bool,
    /// Fill the table from the dataset as it was then; rows that are not of it are in the way
    #[arg(long, value_name = "SNAP", conflicts_with_all = ["direction", "conflict"])]
    to_snapshot: Option<String>,
    /// A file whose first line is the password
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    sql_password_file: Option<PathBuf>,
    /// Seconds that are waited for a connection, or for a row or table that another program has locked
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Why it is done
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Fail if another larder is writing to the store or synchronising with the table, instead of waiting
    #[arg(long)]
    no_wait: bool,
}

/// Reads a direction by its name, or by the one that the other system has for it.
pub(super) fn direction() -> impl TypedValueParser<Value = Direction> {
    let names = [("import", "json_to_sql"), ("export", "sql_to_json"), ("both", "bidirectional")];
    let names = names.map(|(name, other)| PossibleValue::new(name).alias(other));
    PossibleValuesParser::new(names).try_map(|name| Direction::named(&name).ok_or("it is no direction"))
}

/// The same for who wins.
fn preference() -> impl TypedValueParser<Value = Preference> {
    let names = [
        PossibleValue::new("prefer_newest"),
        PossibleValue::new("prefer_sql"),
        PossibleValue::new("prefer_json").alias("prefer_dataset"),
        PossibleValue::new("fail"),
    ];
    PossibleValuesParser::new(names).try_map(|name| Preference::named(&name).ok_or("it is no preference"))
}

/// What `larder sync` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct SyncJson {
    /// The dataset.
    dataset: String,
    /// The database and the table.
    sql: String,
    /// `import`, `export` or `both`.
    direction: &'static str,
    /// Nothing was changed.
    dry_run: bool,
    /// When it began.
    started_at: String,
    /// When it ended.
    completed_at: String,
    /// From the dataset into the table.
    json_to_sql: ToSqlJson,
    /// From the table into the dataset.
    sql_to_json: ToJsonJson,
    /// Two contents under one key; 10,000 at most.
    conflicts: Vec<ConflictJson>,
    /// How many there are.
    conflict_count: u64,
    /// What could not be carried, and why; 10,000 at most.
    errors: Vec<String>,
    /// How many there are.
    error_count: u64,
    /// Current records of the dataset, in the end.
    json_record_count: u64,
    /// Rows of the table, in the end.
    sql_record_count: u64,
    /// The snapshot of what came from the table.
    snapshot: Option<String>,
}

/// From the dataset into the table.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct ToSqlJson {
    /// Records that became further rows.
    inserted: u64,
    /// Records that took the place of a row.
    updated: u64,
    /// Records that the table has, or that lost.
    skipped: u64,
}

/// From the table into the dataset.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct ToJsonJson {
    /// Rows whose content came into the dataset.
    inserted: u64,
    /// Rows whose content the dataset has.
    skipped: u64,
    /// Rows that were replaced: their content came into the dataset's history.
    kept: u64,
}

/// Two contents under one key.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct ConflictJson {
    /// The key.
    natural_key: Option<String>,
    /// The source.
    source_system: String,
    /// The entity.
    entity_type: String,
    /// The hash of the dataset's content.
    json_hash: String,
    /// The hash of the table's.
    sql_hash: String,
    /// `json_wins`, `sql_wins` or `failed`.
    resolution: &'static str,
}

pub(super) fn run(args: &SyncArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let target = target(args)?;
    let store = context::open_for_stream(Role::Owner, "synchronising records", global)?;
    let bar = Bar::start(out, "sync");
    let begun = context::now();
    let manifest = snapshot(args, &store)?;
    let pages = context::pages(&store);
    let dataset = Dataset::of(&pages, &manifest)?;
    let dataset = dataset.ok_or_else(|| Dataset::missing(&pages, &manifest, args.dataset.as_str()))?;
    let policy = dataset.manifest()?;
    let mut import = ImportOptions::new(args.dataset.clone());
    import.waiting = if args.no_wait { Waiting::NoWait } else { Waiting::Wait };
    import.who = who();
    import.reason.clone_from(&args.reason);
    import.sources = vec![target.shown().into_bytes()];
    let rebuild = args.to_snapshot.is_some();
    let stated = Direction::named(&policy.sync_policy.direction_default).unwrap_or(Direction::Both);
    let direction = if rebuild { Direction::Import } else { args.direction.unwrap_or(stated) };
    let preference = if rebuild {
        Preference::Fail
    } else {
        args.conflict.unwrap_or_else(|| preferred(policy.sync_policy.conflict_strategy))
    };
    let options = SyncOptions {
        direction,
        preference,
        dry_run: args.dry_run,
        create: args.create,
        rebuild,
        check_rows: args.check_rows,
        import,
    };
    let mut database = open(args, &target, TableNames::of(&policy.sql_target)?, &bar)?;
    let tmp = if args.dry_run { std::env::temp_dir() } else { store.dir().join("tmp") };
    let done = synchronise(&store, &dataset, database.as_mut(), options, &tmp, &bar, &context::now);
    let sql = database.shown();
    drop(database);
    bar.finish();
    let (report, ended) = (&done?, context::now());
    Told { args, direction, sql: &sql, report, begun, ended }.tell(out)
}

/// The snapshot that is synchronised with.
fn snapshot(args: &SyncArgs, store: &Store) -> Result<Manifest, CliError> {
    let Some(text) = &args.to_snapshot else {
        let newest = newest_of(store, &args.dataset)?;
        return Ok(newest.ok_or_else(|| RecordsError::NoDataset(args.dataset.to_string()))?);
    };
    let name = text.parse::<SnapshotName>().map_err(|e| CliError::new(Kind::Usage, e.to_string()))?;
    let manifest = store.manifest(&resolve(store, &name, context::now())?)?;
    if manifest.dataset != args.dataset {
        let of = format!("{text} is a snapshot of {}, not of {}", manifest.dataset, args.dataset);
        return Err(CliError::new(Kind::Usage, of));
    }
    Ok(manifest)
}

/// What a dataset's policy prefers: it speaks of records that come in from packs.
fn preferred(strategy: ConflictStrategy) -> Preference {
    match strategy {
        ConflictStrategy::Newest => Preference::Newest,
        ConflictStrategy::Incoming => Preference::Dataset,
        ConflictStrategy::Existing => Preference::Sql,
        ConflictStrategy::Fail => Preference::Fail,
    }
}

/// The database that was named, with its password.
fn target(args: &SyncArgs) -> Result<Target, CliError> {
    secrecy::guard_memory();
    let target = match &args.sql {
        Some(url) => Target::parse(url, false)?,
        None => match std::env::var(URL_VARIABLE).map(Zeroizing::new) {
            Ok(url) if !url.is_empty() => Target::parse(&url, true)?,
            _ => {
                return Err(CliError::new(Kind::Usage, "no database was named").hint(format!(
                    "name one with --sql or {URL_VARIABLE}: sqlite:PATH, postgres://USER@HOST/DATABASE, mssql://USER@HOST/DATABASE"
                )));
            }
        },
    };
    let password = password(args, &target)?;
    Ok(target.with_password(password))
}

fn password(args: &SyncArgs, target: &Target) -> Result<Option<Zeroizing<Vec<u8>>>, CliError> {
    if let Some(file) = &args.sql_password_file {
        let failed = |why: String| CliError::new(Kind::Usage, format!("the password file {}: {why}", file.display()));
        let bytes = Zeroizing::new(files::read(file).map_err(|e| failed(e.to_string()))?);
        let line = bytes.split(|b| matches!(b, b'\n' | b'\r')).next().unwrap_or_default();
        if line.is_empty() {
            return Err(failed("its first line is empty".to_owned()));
        }
        return Ok(Some(Zeroizing::new(line.to_vec())));
    }
    let mut names = std::iter::once(PASSWORD_VARIABLE).chain(target.password_variable());
    let set = names.find_map(|name| std::env::var_os(name).filter(|text| !text.is_empty()));
    Ok(set.map(|text| Zeroizing::new(std::os::unix::ffi::OsStringExt::into_vec(text))))
}

fn open(args: &SyncArgs, target: &Target, names: TableNames, bar: &Bar) -> Result<Box<dyn Database>, CliError> {
    let told = AtomicBool::new(false);
    let wait = || {
        if !args.no_wait && !told.swap(true, Ordering::Relaxed) {
            let text = "another larder is synchronising with this table; waiting for it";
            bar.notice(Notice::Remark(text.to_owned()));
        }
        !args.no_wait && !bar.cancelled()
    };
    let opening = Opening { create: args.create && !args.dry_run, timeout: Duration::from_secs(args.timeout) };
    let opened = target.open(names, opening, &wait);
    Ok(opened.map_err(|e| if bar.cancelled() { SqlError::Interrupted } else { e })?)
}

/// What is told of a run.
struct Told<'a> {
    args: &'a SyncArgs,
    direction: Direction,
    /// The database and the table.
    sql: &'a str,
    report: &'a SyncReport,
    begun: Timestamp,
    ended: Timestamp,
}

impl Told<'_> {
    fn tell(&self, out: &Output) -> Result<Outcome, CliError> {
        let Self { args, report, .. } = self;
        if out.json() {
            out.print_json(&self.json())?;
        } else {
            self.tell_errors(out);
            self.lines(out)?;
        }
        if report.failed {
            let conflicts = counted(report.tally.conflicts, "conflict", "conflicts");
            return Err(CliError::new(
                Kind::Failed,
                format!("{conflicts}, and the strategy is fail; nothing was changed"),
            )
            .hint("say who wins with --conflict")
            .told(out.json()));
        }
        match report.snapshot {
            Some(id) => out.remark(&format!("{} of {}", short_id(id), args.dataset)),
            None if args.dry_run => out.remark("nothing was changed"),
            None => {}
        }
        Ok(if report.error_count > 0 { Outcome::Partial } else { Outcome::Done })
    }

    fn tell_errors(&self, out: &Output) {
        let SyncReport { errors, error_count, .. } = self.report;
        for error in errors.iter().take(TOLD) {
            out.tell(&format!("larder: {error}"));
        }
        if *error_count > TOLD as u64 {
            out.tell(&format!("larder: … and {} more", error_count - TOLD as u64));
        }
    }

    fn json(&self) -> SyncJson {
        let Self { args, direction, sql, report, begun, ended } = self;
        let tally = &report.tally;
        let conflict = |conflict: &SyncConflict| ConflictJson {
            natural_key: conflict.key.clone(),
            source_system: conflict.source.clone(),
            entity_type: conflict.entity.clone(),
            json_hash: conflict.dataset.to_string(),
            sql_hash: conflict.sql.to_string(),
            resolution: conflict.resolution.name(),
        };
        SyncJson {
            dataset: args.dataset.to_string(),
            sql: (*sql).to_owned(),
            direction: direction.name(),
            dry_run: args.dry_run,
            started_at: rfc3339(*begun),
            completed_at: rfc3339(*ended),
            json_to_sql: ToSqlJson { inserted: tally.inserted, updated: tally.updated, skipped: tally.skipped },
            sql_to_json: ToJsonJson { inserted: tally.taken, skipped: tally.known, kept: tally.kept },
            conflicts: report.conflicts.iter().map(conflict).collect(),
            conflict_count: tally.conflicts,
            errors: report.errors.clone(),
            error_count: report.error_count,
            json_record_count: tally.records,
            sql_record_count: tally.rows,
            snapshot: report.snapshot.map(|id| id.to_string()),
        }
    }

    /// The conflicts and the counts.
    fn lines(&self, out: &Output) -> Result<(), CliError> {
        if out.quiet() {
            return Ok(());
        }
        let SyncReport { tally, conflicts, error_count, .. } = self.report;
        for conflict in conflicts.iter().take(TOLD) {
            let SyncConflict { source, entity, key, .. } = conflict;
            let outcome = match conflict.resolution {
                Resolution::Dataset => "the dataset wins",
                Resolution::Sql => "the table wins",
                Resolution::Failed => "nobody wins",
            };
            let key = key.as_deref().unwrap_or_default();
            out.line(&escaped(&format!("{source} {entity} {key:?}: {outcome}")))?;
        }
        if tally.conflicts > TOLD as u64 {
            out.line(&format!("… and {} more conflicts", tally.conflicts - TOLD as u64))?;
        }
        let into_table = [(tally.inserted, "inserted"), (tally.updated, "updated"), (tally.skipped, "skipped")];
        let into_dataset = [(tally.taken, "inserted"), (tally.kept, "kept"), (tally.known, "skipped")];
        for (name, counts) in [("table", into_table), ("dataset", into_dataset)] {
            let counts = counts.map(|(count, what)| format!("{count} {what}"));
            out.line(&format!("{name:10} {}", counts.join(", ")))?;
        }
        for (name, count) in
            [("conflicts", tally.conflicts), ("errors", *error_count), ("records", tally.records), ("rows", tally.rows)]
        {
            out.line(&format!("{name:10} {count}"))?;
        }
        let nanos = f64::from(self.ended.nanos) - f64::from(self.begun.nanos);
        let seconds = (self.ended.seconds - self.begun.seconds) as f64 + nanos / 1e9;
        out.line(&format!("{:10} {seconds:.3} s", "duration"))
    }
}
