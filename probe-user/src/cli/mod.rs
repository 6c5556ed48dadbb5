//! The command line: raw arguments → validated configuration → one command → exit status.
//!
//! [`args`] is what clap sees, [`config`] what the commands get: no command sees a raw argument.
//! Whatever fails comes back here as a [`exit::Failure`] and is printed once, on one line, with what
//! to do about it. Results go to standard output, everything else to standard error.

pub mod args;
pub mod attach;
pub mod calibrate;
pub mod config;
pub mod doctor;
pub mod duration;
pub mod exit;
pub mod log;
mod manual;
mod stop;
pub mod tape;
mod weight;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches};

use args::{Cli, Command};
use config::AttachConfig;
use exit::{ExitStatus, Failure};
use log::{Log, LogFormat};

/// Runs the command line; the arguments include the program's name.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match Cli::command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return refuse(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let log = Log::new(cli.global.verbose, cli.global.log_format);
    let roots = cli.global.roots();
    let done = match cli.command {
        Command::Doctor(args) => doctor::run(&roots, args.json),
        Command::Attach(args) => {
            let tokens = matches.subcommand_matches("attach").map(args::target_tokens);
            AttachConfig::new(*args, tokens.unwrap_or_default(), log)
                .map_err(Failure::from)
                .and_then(|config| attach::run(&config, &roots))
        }
        Command::Tape { command } => tape::run(command, log),
        Command::Calibrate(args) => calibrate::run(&args, &roots, log),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man => manual::man(),
    };
    match done {
        Ok(status) => status.into(),
        Err(failure) => {
            log.error(&failure.line(), failure.status());
            failure.status().into()
        }
    }
}

/// Help and version are results; anything else clap says is one line and exit status 2.
fn refuse(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        // Nobody is left to tell when standard output or error is closed.
        let _ = error.print();
        return if error.use_stderr() { ExitStatus::Usage } else { ExitStatus::Done }.into();
    }
    Log::new(0, LogFormat::Text).error(&one_line(error), ExitStatus::Usage);
    ExitStatus::Usage.into()
}

/// Clap's paragraphs without the usage, as one line.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let text = text.split("\n\nUsage:").next().unwrap_or(text);
    let text = text.split("\n\nFor more information").next().unwrap_or(text);
    let words: Vec<_> = text.split_whitespace().collect();
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(name)) if args::LATER.contains(&name.as_str()) => {
            format!(
                "the command {name} is not in this version; see wattprobe --help for those that are"
            )
        }
        _ => format!("{}; see wattprobe --help", words.join(" ")),
    }
}

/// Writes a result to standard output; a reader that went away is no failure.
fn emit(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            let error = anyhow::Error::new(e).context("cannot write to standard output");
            Err(Failure::new(ExitStatus::Failed, error))
        }
        _ => Ok(()),
    }
}
