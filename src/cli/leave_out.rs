//! What is left out of folders: options that `snapshot` and `diff` share.

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;

use crate::model::{Kind, Name};
use crate::ops::capture::LeaveOut;

use super::error::CliError;
use super::{files, size};

/// What is left out
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "What is left out")]
pub(super) struct LeaveOutArgs {
    /// Leave out what matches, as in .gitignore; a leading / is the root of the snapshot (can be repeated)
    #[arg(long, short = 'e', value_name = "GLOB")]
    exclude: Vec<String>,
    /// Those of them that stand on the command line, not in the configuration.
    #[arg(skip)]
    pub(super) given: HashSet<String>,
    /// Leave out what matches the patterns in a file, a line each (can be repeated)
    #[arg(long, value_name = "FILE")]
    exclude_from: Vec<PathBuf>,
    /// Of a folder that has an entry of this name, capture the folder itself and that entry alone (can be repeated)
    #[arg(long, value_name = "NAME")]
    exclude_if_present: Vec<String>,
    /// The same for folders that a CACHEDIR.TAG with its proper first line marks as caches
    #[arg(long)]
    exclude_caches: bool,
    /// Leave out files of more bytes; K, M, G, T are powers of 1024, KB, MB, … of 1000
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    exclude_larger_than: Option<u64>,
    /// Do not look for .larderignore files
    #[arg(long)]
    no_ignore_files: bool,
    /// Honour the .gitignore files in the source too
    #[arg(long)]
    gitignore: bool,
}

impl LeaveOutArgs {
    /// True if anything was asked for.
    pub(super) fn is_given(&self) -> bool {
        *self != Self::default()
    }

    /// Reads the files of patterns and checks names.
    pub(super) fn read(self) -> Result<LeaveOut, CliError> {
        let usage = |text: String| CliError::new(Kind::Usage, text);
        if self.exclude.iter().any(String::is_empty) {
            return Err(
                usage("--exclude '' leaves out nothing".to_owned()).hint("`larder help snapshot` tells of patterns")
            );
        }
        let mut patterns = self.exclude;
        for file in &self.exclude_from {
            let text = files::read_text(file)
                .map_err(|e| usage(format!("cannot read the patterns in {}: {e}", file.display())))?;
            patterns.extend(text.lines().map(str::to_owned));
        }
        let tag = |text: &String| {
            let bad = |why: String| usage(format!("--exclude-if-present {text:?}: {why}"));
            Name::new(text.as_bytes()).map_err(|e| bad(e.to_string()))
        };
        Ok(LeaveOut {
            patterns,
            expected: self.given,
            ignore_files: !self.no_ignore_files,
            gitignore: self.gitignore,
            if_present: self.exclude_if_present.iter().map(tag).collect::<Result<_, _>>()?,
            caches: self.exclude_caches,
            larger_than: self.exclude_larger_than,
        })
    }
}
