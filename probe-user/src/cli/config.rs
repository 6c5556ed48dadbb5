//! The validated configuration of a command: what [`super::args`] says, checked as a whole.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use probe_common::MAX_TARGETS;
use probe_ledger::Policies;

use super::args::{AttachArgs, Token};
use super::exit::{Classify, ExitStatus};
use super::log::Log;
use crate::export::books::NOT_TARGETS;
use crate::kernel::BoundaryRung;
use crate::source::SourceSpec;
use crate::target::TargetSpec;

/// Whether the books use this name for something that is no target.
pub(super) fn is_reserved(name: &str) -> bool {
    NOT_TARGETS.contains(&name) || ["idle", "residual"].contains(&name)
}

/// What standard output shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table of requests with running totals.
    #[default]
    Table,
    /// The summary at the end, as one JSON object.
    Json,
}

/// Everything `attach` needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct AttachConfig {
    /// At least one, at most [`MAX_TARGETS`], in the order given, with distinct labels.
    pub targets: Vec<TargetSpec>,
    /// Request records; `-` is standard output.
    pub requests: Option<PathBuf>,
    /// The books at the end; `-` is standard output.
    pub summary: Option<PathBuf>,
    /// The slice stream.
    pub slices: Option<PathBuf>,
    /// A directory for the tape.
    pub tape: Option<PathBuf>,
    /// Where to serve metrics.
    pub metrics: Option<SocketAddr>,
    /// End after this time.
    pub duration: Option<Duration>,
    /// End after this many finished requests.
    pub count: Option<NonZeroU64>,
    /// What standard output shows.
    pub format: Format,
    /// Sources in the order given; none means `auto`.
    pub sources: Vec<SourceSpec>,
    /// Weight, share and idle policy.
    pub policies: Policies,
    /// Idle power that was calibrated, if not in the default place.
    pub calibration: Option<PathBuf>,
    /// The boundary rung, if not the best.
    pub boundary: Option<BoundaryRung>,
    /// Where messages go.
    pub log: Log,
}

/// Why the arguments make no configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No target at all.
    #[error("no target; give --port, --container, --pid, --unit or --cgroup")]
    NoTarget,
    /// More targets than the clocks tell apart.
    #[error("{0} targets, but one probe watches at most {MAX_TARGETS}; watch fewer")]
    TooManyTargets(usize),
    /// A target with two names.
    #[error(
        "--name {0:?} would be a second name of the same target; write each --name after its target"
    )]
    SecondName(String),
    /// The same target twice.
    #[error("the target {0:?} is given twice; remove one")]
    TargetTwice(String),
    /// Two targets of one name.
    #[error("two targets are called {0:?}; tell them apart with --name after each")]
    NameTwice(String),
    /// A name that the books use themselves.
    #[error("a target cannot be called {0:?}, the books use that name; choose another with --name")]
    NameReserved(String),
    /// Two outputs into one file, or both into standard output.
    #[error("two options write to {}; give each its own file", .0.display())]
    FileTwice(PathBuf),
}

impl Classify for ConfigError {
    fn status(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

impl AttachConfig {
    /// Checks the arguments of `attach` as a whole; `tokens` are its targets and names in order.
    ///
    /// # Errors
    /// [`ConfigError`], with what to write instead.
    pub fn new(args: AttachArgs, tokens: Vec<Token>, log: Log) -> Result<Self, ConfigError> {
        let targets = targets(tokens)?;
        let mut files = BTreeSet::new();
        for path in args.requests.iter().chain(&args.summary).chain(&args.slices) {
            if !files.insert(path) && path != Path::new("/dev/null") {
                return Err(ConfigError::FileTwice(path.clone()));
            }
        }
        Ok(Self {
            targets,
            requests: args.requests,
            summary: args.summary,
            slices: args.slices,
            tape: args.tape,
            metrics: args.metrics,
            duration: args.duration,
            count: args.count,
            format: args.format,
            sources: args.source,
            policies: Policies { weight: args.weight, share: args.share, idle: args.idle },
            calibration: args.calibration,
            boundary: args.boundary,
            log,
        })
    }
}

/// Gives each name to the target before it; one that comes before all belongs to the first.
fn targets(tokens: Vec<Token>) -> Result<Vec<TargetSpec>, ConfigError> {
    let mut targets: Vec<TargetSpec> = Vec::new();
    let mut ahead = None;
    for token in tokens {
        match token {
            Token::Target(selector) => {
                if targets.iter().any(|t| t.selector == selector) {
                    let label = TargetSpec { selector, name: None }.label();
                    return Err(ConfigError::TargetTwice(label));
                }
                targets.push(TargetSpec { selector, name: ahead.take() });
            }
            Token::Name(name) => {
                let place = targets.last_mut().map_or(&mut ahead, |t| &mut t.name);
                if place.is_some() {
                    return Err(ConfigError::SecondName(name));
                }
                *place = Some(name);
            }
        }
    }
    if targets.is_empty() {
        return Err(ConfigError::NoTarget);
    }
    if targets.len() > MAX_TARGETS {
        return Err(ConfigError::TooManyTargets(targets.len()));
    }
    if let Some(label) = targets.iter().map(TargetSpec::label).find(|l| is_reserved(l)) {
        return Err(ConfigError::NameReserved(label));
    }
    let mut labels = BTreeSet::new();
    match targets.iter().map(TargetSpec::label).find(|label| !labels.insert(label.clone())) {
        Some(twin) => Err(ConfigError::NameTwice(twin)),
        None => Ok(targets),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::super::args::{Cli, Command, target_tokens};
    use super::super::log::LogFormat;
    use super::*;
    use crate::target::Selector;

    fn attach(line: &str) -> Result<AttachConfig, ConfigError> {
        let words = ["wattprobe", "attach"].into_iter().chain(line.split_whitespace());
        let matches = Cli::command().try_get_matches_from(words).unwrap();
        let Command::Attach(args) = Cli::from_arg_matches(&matches).unwrap().command else {
            panic!("not attach")
        };
        let tokens = target_tokens(matches.subcommand_matches("attach").unwrap());
        AttachConfig::new(*args, tokens, Log::new(0, LogFormat::Text))
    }

    fn labels(line: &str) -> Vec<String> {
        attach(line).unwrap().targets.iter().map(TargetSpec::label).collect()
    }

    #[test]
    fn a_name_belongs_to_the_target_before_it() {
        assert_eq!(labels("--port 80 --port 81 --name b"), ["port-80", "b"]);
        assert_eq!(labels("--unit u --name a --port 81 --name b"), ["a", "b"]);
        assert_eq!(labels("--name a --pid 7"), ["a"]);
        assert_eq!(labels("--name a --cgroup x/y --port 1"), ["a", "port-1"]);
    }

    #[test]
    fn targets_keep_the_order_of_the_command_line() {
        let config = attach("--cgroup a/b --port /run/x.sock --pid 9 --unit llama").unwrap();
        let selectors: Vec<_> = config.targets.into_iter().map(|t| t.selector).collect();
        assert_eq!(
            selectors,
            [
                Selector::Cgroup("a/b".into()),
                Selector::UnixPath("/run/x.sock".into()),
                Selector::Pid(9),
                Selector::Unit("llama.service".into())
            ]
        );
    }

    #[test]
    fn a_process_number_is_never_a_label() {
        assert_eq!(labels("--pid 4711"), ["process"]);
    }

    #[test]
    fn a_container_and_a_control_group_are_called_by_their_ends() {
        let id = "3f4e8d1c9b7a6f5e4d3c2b1a09f8e7d6c5b4a3928170f6e5d4c3b2a190817263";
        let line = format!("--container docker://{id} --cgroup system.slice/ollama.service");
        assert_eq!(labels(&line), ["3f4e8d1c9b7a", "ollama"]);
        let config = attach("--container 3f4e8d").unwrap();
        assert_eq!(config.targets[0].selector, Selector::Container("3f4e8d".into()));
        assert_eq!(labels("--container 3f4e8d --name llama"), ["llama"]);
    }

    #[test]
    fn combinations_that_cannot_be_meant_are_refused() {
        let error = |line: &str| attach(line).unwrap_err();
        assert_eq!(error("--port 1 --name a --name b"), ConfigError::SecondName("b".into()));
        assert_eq!(error("--port 1 --port 1"), ConfigError::TargetTwice("port-1".into()));
        assert_eq!(error("--pid 1 --pid 2"), ConfigError::NameTwice("process".into()));
        assert_eq!(
            error("--port 1 --port 2 --name port-1"),
            ConfigError::NameTwice("port-1".into())
        );
        assert_eq!(error("--port 1 --requests x --slices x"), ConfigError::FileTwice("x".into()));
        assert_eq!(error("--port 1 --requests - --summary -"), ConfigError::FileTwice("-".into()));
        for name in ["other", "kernel", "self", "idle", "residual"] {
            let reserved = ConfigError::NameReserved(name.into());
            assert_eq!(error(&format!("--port 1 --name {name}")), reserved);
        }
        assert_eq!(error("--unit self"), ConfigError::NameReserved("self".into()));
        let many: String = (1..=13).map(|p| format!("--port {p} ")).collect();
        assert_eq!(error(&many), ConfigError::TooManyTargets(13));
    }

    #[test]
    fn every_option_reaches_the_configuration() {
        let config = attach(
            "--port 8080 --requests - --summary s --slices l --metrics --for 2m --count 3 \
             --format json --source auto --source perf:msr/tsc/,scale=1e-9",
        )
        .unwrap();
        assert_eq!(config.requests, Some("-".into()));
        assert_eq!(config.summary, Some("s".into()));
        assert_eq!(config.slices, Some("l".into()));
        assert_eq!(config.metrics.unwrap().to_string(), "127.0.0.1:9847");
        assert_eq!(config.duration, Some(Duration::from_secs(120)));
        assert_eq!(config.count.map(NonZeroU64::get), Some(3));
        assert_eq!(config.format, Format::Json);
        assert_eq!(config.sources.len(), 2);
        let policies = config.policies;
        let names = [policies.weight.name(), policies.share.name(), policies.idle.name()];
        assert_eq!(names, ["time", "equal", "none"]);
        let at = |text: &str| attach(&format!("--port 1 --metrics {text}")).unwrap().metrics;
        assert_eq!(at("9000").unwrap().to_string(), "127.0.0.1:9000");
        assert_eq!(at("[::]:1").unwrap().to_string(), "[::]:1");
    }
}
