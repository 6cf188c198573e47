//! `larder records export`

use std::borrow::Cow;
use std::cell::RefCell;
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
use super::super::output::{Output, counted, escaped, stdout_unbuffered};
use super::super::pack_file::PackFile;
use super::super::pack_keys::PasswordArgs;
use super::super::{Global, Outcome};
use super::RecordsReportJson;
use super::find::QueryArgs;

/// What `larder records export` prints of what it wrote into a file.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct ExportJson {
    /// The dataset.
    dataset: String,
    /// How many records were written.
    records: u64,
    /// Where to.
    output: String,
}

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
/// record, or NAME=$.PATH; texts as they are, anything else as JSON, what a path with stars finds as a list.
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

/// A column.
struct Field {
    name: String,
    path: JsonPath,
}

impl Field {
    fn parse(text: &str) -> Result<Self, CliError> {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) => (name, path.to_owned()),
            None if text.starts_with('$') => (text.trim_start_matches(['$', '.']), text.to_owned()),
            None => (text, format!("$.{text}")),
        };
        let path = JsonPath::parse(&path).map_err(|e| CliError::new(Kind::Usage, e.to_string()))?;
        Ok(Self { name: name.to_owned(), path })
    }

    fn value(&self, record: Value<'_, '_>) -> Option<String> {
        if self.path.has_stars() {
            let all: Vec<_> = self.path.all(record).iter().map(Value::raw).collect();
            return (!all.is_empty()).then(|| format!("[{}]", all.join(", ")));
        }
        let value = self.path.first(record)?;
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
    let mut names: Vec<_> = fields.iter().map(|field| &field.name).collect();
    names.sort_unstable();
    if let Some([name, ..]) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(CliError::new(Kind::Usage, format!("two fields are called {name}")));
    }
    let store = context::open_for_stream(Role::Owner, "reading records", global)?;
    let dataset = super::dataset(&store, &args.dataset.parse()?, &args.dataset)?;
    let to_output = args.output == Path::new("-");
    let had = RefCell::new(vec![false; fields.len()]);
    let job = Job { dataset, query, current: args.current, format, fields, to_output, had };
    let count = if to_output {
        job.write(&mut stdout_unbuffered()?)?
    } else {
        let file = PackFile::for_what("records", &args.output, &store, global)?;
        match file.stream(|| false)? {
            Some(mut stream) => job.write(&mut stream)?,
            None => file.replace(|file| job.write(file), |_, _| Ok(()))?,
        }
    };
    let had = job.had.borrow();
    for (field, _) in
        job.fields.iter().zip(&*had).filter(|(_, had)| is_table && count > 0 && !args.field.is_empty() && !**had)
    {
        out.tell(&escaped(&format!("larder: no record has the field {}", field.name)));
    }
    if out.json() && !to_output {
        let output = args.output.display().to_string();
        out.print_json(&RecordsReportJson::Export(ExportJson {
            dataset: args.dataset.clone(),
            records: count,
            output,
        }))?;
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
    /// It goes to standard output.
    to_output: bool,
    /// Of each field: a record has it.
    had: RefCell<Vec<bool>>,
}

impl Job {
    fn write(&self, to: &mut (dyn Write + Send)) -> Result<u64, CliError> {
        let failed = |e: io::Error| {
            if self.to_output {
                return CliError::output(&e);
            }
            CliError::new(Kind::Failed, format!("the records cannot be written: {e}"))
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
        let cells: Vec<_> = self.fields.iter().map(|field| field.value(root)).collect();
        self.had.borrow_mut().iter_mut().zip(&cells).for_each(|(had, cell)| *had |= cell.is_some());
        Ok(cells)
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
