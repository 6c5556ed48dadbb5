//! Completion scripts and manual pages, both made from the arguments themselves.

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::args::Cli;
use super::emit;
use super::exit::{ExitStatus, Failure};

/// Prints the completion script of a shell.
pub(super) fn completions(shell: Shell) -> Result<ExitStatus, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "wattprobe", &mut script);
    emit(&script).map(|()| ExitStatus::Done)
}

/// Prints the manual: one page for the program and one for each command, in one roff document.
pub(super) fn man() -> Result<ExitStatus, Failure> {
    let mut program = Cli::command();
    program.build();
    let mut pages = Vec::new();
    // After `build` each command knows its full name, wattprobe-attach.
    let commands = program.get_subcommands().filter(|c| c.get_name() != "help").cloned();
    let commands: Vec<_> = commands.collect();
    for page in std::iter::once(program).chain(commands) {
        Man::new(page)
            .render(&mut pages)
            .map_err(|e| Failure::new(ExitStatus::Failed, anyhow::Error::new(e)))?;
    }
    emit(&pages).map(|()| ExitStatus::Done)
}
