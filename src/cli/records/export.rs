//! `larder records export`

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Kind, Role};
use crate::ops::records::{Dataset, JsonPath, Query, checked};
use crate::packs::TableWriter;
use crate::records::RecordParser;
use crate::records::tape::{Limits, Sort, Tape, Value};
use crate::store::StoreError;

use super::super::context;
use super::super::error::CliError;
use super::super::output::{Output, counted, stdout_unbuffered};
use super::super::pack_file::PackFile;
use super::super::pack_keys::PasswordArgs;
use super::super::{Global, Outcome};
use super::RecordsReportJson;
use super::find::QueryArgs;

/// What a table has if nobody says otherwise.
const FIELDS: [&str; 7] = [
    "natural_key",
    "observed_at_utc",
    "exchange_type",
    "source_system",
    "entity_type",
    "content_sha256",
    "exchange_id",
];

/// Write records out: as lines, one JSON list, a pack, CSV or Parquet
///
/// All versions are written, or with --current those that stand under their keys. A pack is what `larder export --bare` makes of the snapshot: a folder, a zip or a
/// zip.enc by the name of FILE, which the system that the form comes from unpacks and imports. A table has the fields that are asked for: a field of the
/// record, or NAME=$.PATH; texts as they are, anything else as JSON. A path is like `$.response.items[0].id` or `$.response["a.b"]`; of one with `[*]` or `.*` in it the cell is a list
/// of all that stands there, as JSON. A field that no record has is told. With --json a report is printed, unless the records themselves go to standard output.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The dataset, or one of its snapshots
    #[arg(value_name = "DATASET")]
    dataset: String,
    /// Where to; `-` is standard output
    #[arg(long, short = 'o', value_name = "FILE", value_hint = ValueHint::AnyPath)]
    output: PathBuf,
    /// As what [default: by the name of FILE, else ndjson]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<FormatArg>,
    /// Only what stands under its key, in the order of the keys
    #[arg(long)]
    current: bool,
    /// Of a pack: with its view by-key
    #[arg(long)]
    with_views: bool,
    /// A field of a table (can be repeated)
    #[arg(long, value_name = "FIELD|NAME=$.PATH")]
    field: Vec<String>,
    #[command(flatten)]
    password: PasswordArgs,
    #[command(flatten)]
    query: QueryArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// A record a line
    Ndjson,
    /// One list
    Json,
    /// A folder, zip or zip.enc as the packs are
    Pack,
    Csv,
    Parquet,
}

impl FormatArg {
    fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        match name.rsplit_once('.').map(|(_, end)| end) {
            Some("json") => Self::Json,
            Some("csv") => Self::Csv,
            Some("parquet") => Self::Parquet,
            Some("zip") => Self::Pack,
            Some("enc") if name.ends_with(".zip.enc") => Self::Pack,
            _ => Self::Ndjson,
        }
    }

    /// The same; refused if the name promises what is not written.
    fn promised(path: &Path) -> Result<Self, CliError> {
        let end = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if ["tar", "tgz", "gz", "zst", "xz", "bz2", "7z", "age"].contains(&end.as_str()) {
            let why = format!("records are not written as .{end}");
            let hint = "`larder export` writes a snapshot as tar, tar.zst or tar.gz; or name a form with --format, `-o -`, and compress what comes";
            return Err(CliError::new(Kind::Usage, why).hint(hint));
        }
        Ok(Self::of(path))
    }
}

impl FormatArg {
    const fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Json => "json",
            Self::Pack => "pack",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

/// What `larder records export` prints of what is no pack.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct ExportedJson {
    /// The dataset or snapshot, as it was named.
    dataset: String,
    /// The file.
    output: String,
    /// `ndjson`, `json`, `csv` or `parquet`.
    format: &'static str,
    /// Records that were written.
    records: u64,
    /// Fields that were asked for and that no record has.
    empty_fields: Vec<String>,
}

/// A column.
struct Field {
    name: String,
    path: JsonPath,
    /// A record has it.
    found: Cell<bool>,
}

impl Field {
    fn parse(text: &str) -> Result<Self, CliError> {
        let (name, path) = match text.split_once("=$") {
            _ if text.starts_with('$') => (text.trim_start_matches(['$', '.']), text.to_owned()),
            Some((name, path)) => (name, format!("${path}")),
            None => (text, format!("$.{text}")),
        };
        let path = JsonPath::parse(&path).map_err(|e| CliError::new(Kind::Usage, e.to_string()))?;
        if path.wants_value() {
            let hint = "a field is NAME=$.PATH; a name that has an = in it is written $[\"a=b\"]";
            return Err(CliError::new(Kind::Usage, format!("{text} is no field")).hint(hint));
        }
        Ok(Self { name: name.to_owned(), path, found: Cell::new(false) })
    }

    fn value(&self, record: Value<'_, '_>) -> Option<String> {
        if self.path.is_of_several() {
            let all: Vec<_> = self.path.all(record).into_iter().map(|value| value.raw()).collect();
            self.found.set(self.found.get() || !all.is_empty());
            return (!all.is_empty()).then(|| format!("[{}]", all.join(",")));
        }
        let value = self.path.first(record)?;
        self.found.set(true);
        match value.sort() {
            Sort::Null => None,
            Sort::Text => value.text().map(Cow::into_owned),
            _ => Some(value.raw().to_owned()),
        }
    }
}

pub(super) fn run(args: &ExportArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let format = args.format.map_or_else(|| FormatArg::promised(&args.output), Ok)?;
    let query = args.query.query()?;
    let is_table = matches!(format, FormatArg::Csv | FormatArg::Parquet);
    if !is_table && !args.field.is_empty() {
        return Err(CliError::new(Kind::Usage, "fields are those of a table: --format csv or parquet"));
    }
    if args.password.key_file().is_some() && format != FormatArg::Pack {
        return Err(CliError::new(Kind::Usage, "a key file seals a pack: name it .zip.enc"));
    }
    if args.with_views && format != FormatArg::Pack {
        return Err(CliError::new(Kind::Usage, "views are those of a pack: --format pack"));
    }
    if format == FormatArg::Pack {
        if args.current || query.is_some() {
            return Err(CliError::new(Kind::Usage, "a pack is a whole snapshot: leave out what chooses records"));
        }
        return pack(args, global, out);
    }
    let fields: Vec<Field> = match args.field.as_slice() {
        [] => FIELDS.iter().map(|name| Field::parse(name)).collect::<Result<_, _>>()?,
        fields => fields.iter().map(|text| Field::parse(text)).collect::<Result<_, _>>()?,
    };
    let mut names = HashSet::new();
    if let Some(twice) = fields.iter().find(|field| !names.insert(&*field.name)) {
        return Err(CliError::new(Kind::Usage, format!("two fields are called {}", twice.name)));
    }
    let store = context::open_for_stream(Role::Owner, "reading records", global)?;
    let dataset = super::dataset(&store, &args.dataset.parse()?, &args.dataset)?;
    let to_stdout = args.output == Path::new("-");
    let job = Job { dataset, query, current: args.current, format, fields, to_stdout };
    let count = if to_stdout {
        job.write(&mut stdout_unbuffered()?)?
    } else {
        let file = PackFile::for_what("records", &args.output, &store, global)?;
        match file.stream(|| false)? {
            Some(mut stream) => job.write(&mut stream)?,
            None => file.replace(|file| job.write(file), |_, _| Ok(()))?,
        }
    };
    // Those that a table has anyway need not be in it.
    let missing = job.fields.iter().filter(|field| count > 0 && !args.field.is_empty() && !field.found.get());
    let empty_fields: Vec<String> = missing.map(|field| field.name.clone()).collect();
    for name in &empty_fields {
        out.remark(&format!("larder: no record has the field {name}"));
    }
    if out.json() && !to_stdout {
        let (dataset, output) = (args.dataset.clone(), args.output.to_string_lossy().into_owned());
        let report = ExportedJson { dataset, output, format: format.name(), records: count, empty_fields };
        out.print_json(&RecordsReportJson::Export(report))?;
    } else {
        out.remark(&counted(count, "record was written", "records were written"));
    }
    Ok(Outcome::Done)
}

/// The snapshot as a pack, by the command that makes packs.
fn pack(args: &ExportArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let name = args.output.to_string_lossy().to_lowercase();
    let format = if name.ends_with(".zip.enc") {
        "zip.enc"
    } else if FormatArg::of(&args.output) == FormatArg::Pack {
        "zip"
    } else {
        "dir"
    };
    let mut words: Vec<OsString> =
        ["larder", "export", "--bare", "--accept-loss", "--format", format].map(OsString::from).to_vec();
    words.extend(args.with_views.then(|| OsString::from("--with-views")));
    words.extend(args.password.key_file().into_iter().flat_map(|file| ["--key-file".into(), file.into()]));
    words.extend([OsString::from("-o"), args.output.clone().into(), "--".into(), args.dataset.clone().into()]);
    super::super::again(words, global, out)
}

struct Job {
    dataset: Dataset,
    query: Option<Query>,
    current: bool,
    format: FormatArg,
    fields: Vec<Field>,
    to_stdout: bool,
}

/// True of an error whose cause is that whoever read a pipe went away.
fn is_broken_pipe(error: &io::Error) -> bool {
    let mut cause = error.get_ref().map(|inner| inner as &dyn std::error::Error);
    while let Some(inner) = cause {
        if inner.downcast_ref::<io::Error>().is_some_and(is_broken_pipe) {
            return true;
        }
        cause = inner.source();
    }
    error.kind() == io::ErrorKind::BrokenPipe
}

impl Job {
    fn write(&self, to: &mut (dyn Write + Send)) -> Result<u64, CliError> {
        let failed = |e: io::Error| {
            if self.to_stdout && is_broken_pipe(&e) {
                CliError::output(&io::ErrorKind::BrokenPipe.into())
            } else {
                CliError::new(Kind::Failed, format!("the records cannot be written: {e}"))
            }
        };
        let mut to = BufWriter::with_capacity(1 << 20, to);
        let count = if self.format == FormatArg::Parquet {
            let names: Vec<&str> = self.fields.iter().map(|field| field.name.as_str()).collect();
            let mut table = TableWriter::new(&mut to, &names).map_err(failed)?;
            let count = self.each(|line| table.push(self.cells(line)?).map_err(failed))?;
            table.finish().map_err(failed)?;
            count
        } else {
            self.text(&mut to, &failed)?
        };
        to.flush().map_err(failed)?;
        Ok(count)
    }

    fn text(&self, to: &mut dyn Write, failed: &dyn Fn(io::Error) -> CliError) -> Result<u64, CliError> {
        let row = |to: &mut dyn Write, cells: &mut dyn Iterator<Item = Option<String>>| -> io::Result<()> {
            for (at, cell) in cells.enumerate() {
                to.write_all(if at == 0 { b"" } else { b"," })?;
                to.write_all(quoted(&cell.unwrap_or_default()).as_bytes())?;
            }
            to.write_all(b"\r\n")
        };
        match self.format {
            FormatArg::Json => to.write_all(b"[").map_err(failed)?,
            FormatArg::Csv => row(to, &mut self.fields.iter().map(|field| Some(field.name.clone()))).map_err(failed)?,
            _ => {}
        }
        let mut first = true;
        let count = self.each(|line| {
            let written = match self.format {
                FormatArg::Csv => row(to, &mut self.cells(line)?.into_iter()),
                FormatArg::Json => {
                    let between: &[u8] = if first { b"\n" } else { b",\n" };
                    to.write_all(between).and_then(|()| to.write_all(line))
                }
                _ => to.write_all(line).and_then(|()| to.write_all(b"\n")),
            };
            first = false;
            written.map_err(failed)
        })?;
        if self.format == FormatArg::Json {
            to.write_all(b"\n]\n").map_err(failed)?;
        }
        Ok(count)
    }

    /// A record as a row.
    fn cells(&self, line: &[u8]) -> Result<Vec<Option<String>>, CliError> {
        let mut tape = Tape::default();
        let damaged = |e| StoreError::damage("a record", e);
        let root = tape.read(line, &Limits::NONE).map_err(damaged)?;
        Ok(self.fields.iter().map(|field| field.value(root)).collect())
    }

    /// Gives each record that is asked for, its hash checked.
    fn each(&self, mut to: impl FnMut(&[u8]) -> Result<(), CliError>) -> Result<u64, CliError> {
        let tmp = std::env::temp_dir();
        let mut lines = if self.current { self.dataset.current_lines(&tmp)? } else { self.dataset.lines()? };
        let (mut parser, mut count) = (RecordParser::of_stored(), 0);
        while let Some(line) = lines.next()? {
            let record = checked(&mut parser, &line)?;
            if self.query.as_ref().is_none_or(|query| query.fits(&record)) {
                to(&line)?;
                count += 1;
            }
        }
        Ok(count)
    }
}

/// A cell as RFC 4180 has it.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
