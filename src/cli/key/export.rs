//! `larder key export`

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueHint};
use schemars::JsonSchema;
use serde::Serialize;

use crate::codec::armoured;
use crate::model::{Kind, Role};
use crate::store::StoreError;

use super::super::error::CliError;
use super::super::output::Output;
use super::super::pack_file::PackFile;
use super::super::{Global, Outcome, context};
use super::{KeyReportJson, name};

/// Write a key's object as text, to be kept elsewhere or on paper
///
/// The text is an age file that only the key's own identity or passphrase opens: it is no secret, and useless without that.
/// Should the store's `keys` folder be lost, put the text there as keys/NAME.age; `age -d` opens it too. A rotation makes it
/// old: export it again after that.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder key export > key.txt
  larder key export paper -o key.txt")]
pub(super) struct ExportArgs {
    /// Which: its name, its first digits, or its label [default: the one in use]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Into this file instead of standard output
    #[arg(long, short = 'o', value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
}

/// What `larder key export -o FILE` wrote.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct KeyExportJson {
    /// The key: 16 hexadecimal digits.
    name: String,
    /// The file; bytes that are not UTF-8 are replaced.
    file: String,
}

pub(super) fn run(args: &ExportArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    if out.json() && args.output.is_none() {
        return Err(CliError::new(Kind::Usage, "--json and a key cannot both go to standard output")
            .hint("name a file with -o"));
    }
    let store = context::open_named(global)?;
    let name = match &args.name {
        None if store.is_encrypted() => store.keyring().name(),
        None => return Err(CliError::new(Kind::Usage, "the store is not encrypted: it has no keys")),
        Some(text) => {
            store.require(Role::Catalog, "naming keys")?;
            let (mut known, mut others) = (Vec::new(), Vec::new());
            for (name, info) in store.key_infos()? {
                match info {
                    Some(info) => known.push(info),
                    None => others.push(name),
                }
            }
            name::find(text, &known, &others)?
        }
    };
    let text = armoured(&store.key_object(name)?).map_err(StoreError::from)?;
    let Some(named) = &args.output else {
        out.raw(&text)?;
        return Ok(Outcome::Done);
    };
    let file = PackFile::for_what("a key", named, &store, global)?;
    file.replace(|to| to.write_all(&text).map_err(|e| file.failed(&e)), |(), _| Ok(()))?;
    if out.json() {
        let file = named.display().to_string();
        out.print_json(&KeyReportJson::Export(KeyExportJson { name: name.to_string(), file }))?;
        return Ok(Outcome::Done);
    }
    out.remark(&format!(
        "wrote the key {name} to {}; its identity or passphrase opens it, nothing else",
        named.display()
    ));
    Ok(Outcome::Done)
}
