//! `larder completions`

use clap::{Args, ValueEnum};

use crate::model::Kind;

use super::Outcome;
use super::error::CliError;
use super::output::Output;

/// Write the completions of a shell to standard output
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder completions bash > ~/.local/share/bash-completion/completions/larder
  larder completions zsh > ~/.zfunc/_larder            in a folder of fpath
  larder completions fish > ~/.config/fish/completions/larder.fish")]
pub(super) struct CompletionsArgs {
    /// Which
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(args: &CompletionsArgs, mut definition: clap::Command, out: &Output) -> Result<Outcome, CliError> {
    use clap_complete::{generate, shells};
    if out.json() {
        return Err(CliError::new(Kind::Usage, "completions are a script, which is no JSON").hint("leave --json out"));
    }
    let mut script = Vec::new();
    match args.shell {
        Shell::Bash => generate(shells::Bash, &mut definition, "larder", &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut definition, "larder", &mut script),
        Shell::Fish => generate(shells::Fish, &mut definition, "larder", &mut script),
    }
    out.raw(&script)?;
    Ok(Outcome::Done)
}
