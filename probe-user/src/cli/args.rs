//! The raw arguments, as clap reads them. What they mean is decided in [`super::config`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgAction, ArgGroup, ArgMatches, Args, Parser, Subcommand};
use clap_complete::Shell;
use probe_ledger::{Idle, Share, Weight};

use super::config::Format;
use super::duration;
use super::log::LogFormat;
use crate::export::metrics::DEFAULT_ADDRESS;
use crate::kernel::BoundaryRung;
use crate::roots::Roots;
use crate::source::{NAMES, SourceSpec, nvml};
use crate::target::Selector;

const EXIT_STATUSES: &str = "Exit status: 0 done; 1 failed; 2 usage; 3 the measurement is invalid, or \
    an audit failed; 4 a privilege or kernel feature is missing.";

/// What each request of a running inference server costs in joules.
#[derive(Debug, Parser)]
#[command(name = "wattprobe", version, about, long_about = None, after_help = EXIT_STATUSES)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Where sysfs is
    #[arg(long, global = true, value_name = "DIR", default_value = "/sys")]
    pub sysfs_root: PathBuf,
    /// Where procfs is
    #[arg(long, global = true, value_name = "DIR", default_value = "/proc")]
    pub procfs_root: PathBuf,
    /// NVIDIA's management library [default: libnvidia-ml.so.1; none under another sysfs]
    #[arg(long, global = true, value_name = "FILE")]
    pub nvml_library: Option<PathBuf>,
    /// Say what was decided and why
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// How messages on standard error look
    #[arg(long, global = true, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

impl Global {
    /// The machine's pseudo file systems.
    #[must_use]
    pub fn roots(&self) -> Roots {
        let (sysfs, procfs) = (self.sysfs_root.clone(), self.procfs_root.clone());
        // A sysfs that is not this machine's has no GPUs of this machine either.
        let own = || (sysfs == Path::new("/sys")).then(|| nvml::LIBRARY.into());
        let nvml = self.nvml_library.clone().or_else(own);
        Roots { sysfs, procfs, nvml }
    }
}

/// Commands of the contract that come later.
pub const LATER: [&str; 4] = ["daemon", "top", "bench", "report"];

/// The commands of this version.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What this machine can measure, what is missing, how to get it
    Doctor(DoctorArgs),
    /// Attach to a running server and say what each request costs
    Attach(Box<AttachArgs>),
    /// Measure the idle power of every domain while the machine is quiet, and keep it
    Calibrate(CalibrateArgs),
    /// Read the evidence that attach --tape wrote
    Tape {
        /// What to do with it
        #[command(subcommand)]
        command: TapeCommand,
    },
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual pages
    Man,
}

/// The commands of `tape`.
#[derive(Debug, Subcommand)]
pub enum TapeCommand {
    /// What the tape holds and how it ends
    Info {
        /// The tape's directory
        dir: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Check every frame, that the books close, and that they are what the run published; status 3 where not
    Verify {
        /// The tape's directory
        dir: PathBuf,
        /// A tape whose writer was killed, or that was cut so that it looks like one, does not pass either
        #[arg(long)]
        require_end: bool,
    },
    /// Print the request records once more, byte for byte as --requests wrote them
    Replay {
        /// The tape's directory
        dir: PathBuf,
        /// Write the summary as the run did; of a tape without an end its policies, requests, domains and targets
        #[arg(long, value_name = "FILE")]
        summary: Option<PathBuf>,
        /// Other policies
        #[command(flatten)]
        policies: OtherPolicies,
    },
    /// Write the request records into a file
    Export {
        /// The tape's directory
        dir: PathBuf,
        /// How
        #[arg(long, value_enum, default_value_t)]
        format: super::tape::Format,
        /// The file: complete, or not there
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
        /// Other policies
        #[command(flatten)]
        policies: OtherPolicies,
    },
}

/// Policies to attribute the energy of a tape by once more; without them the run's.
#[derive(Args, Clone, Copy, Debug)]
pub struct OtherPolicies {
    /// Another weight policy
    #[arg(long, value_name = "POLICY", value_parser = weight)]
    pub weight: Option<Weight>,
    /// Another share policy
    #[arg(long, value_name = "POLICY", value_parser = share)]
    pub share: Option<Share>,
    /// Another idle policy
    #[arg(long, value_name = "POLICY", value_parser = idle)]
    pub idle: Option<Idle>,
}

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `calibrate`.
#[derive(Args, Debug)]
pub struct CalibrateArgs {
    /// Measure for this time: 10s, 2m
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub duration: Duration,
    /// Sources
    #[arg(help = format!("Where joules come from: {NAMES}; repeatable"))]
    #[arg(long, value_name = "SPEC", value_parser = |s: &str| s.parse::<SourceSpec>())]
    pub source: Vec<SourceSpec>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Keep it in this file [default: /var/lib/wattprobe/calibration.json, without root below $XDG_STATE_HOME]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Keep it though the machine was not quiet
    #[arg(long)]
    pub force: bool,
}

/// The options that name a target.
const TARGETS: [&str; 5] = ["port", "pid", "unit", "cgroup", "container"];

/// Arguments of `attach`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("target").required(true).multiple(true).args(TARGETS))]
pub struct AttachArgs {
    /// Watch who listens on this TCP port, or on this unix socket (a path), here or else in a container; repeatable
    #[arg(long, value_name = "N|PATH", value_parser = port, allow_negative_numbers = true)]
    pub port: Vec<Selector>,
    /// Watch this process and its children; repeatable
    #[arg(long, value_name = "N", value_parser = pid, allow_negative_numbers = true)]
    pub pid: Vec<Selector>,
    /// Watch this systemd unit; repeatable
    #[arg(long, value_name = "NAME", value_parser = unit)]
    pub unit: Vec<Selector>,
    /// Watch this control group, a path below the cgroup root or an absolute one; repeatable
    #[arg(long, value_name = "PATH", value_parser = cgroup)]
    pub cgroup: Vec<Selector>,
    /// Watch this container: the first 4 or more digits of its id, as docker ps, podman ps or crictl ps print it, or LXC's name; repeatable
    #[arg(long, value_name = "ID", value_parser = container)]
    pub container: Vec<Selector>,
    /// Name of the target before it on the command line (of the first, if it comes before all)
    #[arg(long, value_name = "LABEL", value_parser = label)]
    pub name: Vec<String>,
    /// Write one JSON object for each finished request; - is standard output
    #[arg(long, value_name = "FILE|-")]
    pub requests: Option<PathBuf>,
    /// Write the books at the end of the run, one JSON object
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Write one line for each stay of a target's thread on a CPU
    #[arg(long, value_name = "FILE")]
    pub slices: Option<PathBuf>,
    /// Serve OpenMetrics on this address
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = DEFAULT_ADDRESS, value_parser = address)]
    #[arg(help = format!("Serve OpenMetrics on this address [default: {DEFAULT_ADDRESS}]"))]
    pub metrics: Option<SocketAddr>,
    /// End after this time: 500ms, 10s, 2m, 1h
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    pub duration: Option<Duration>,
    /// End after this many finished requests; those that are open then are interrupted
    #[arg(long, value_name = "N", value_parser = requests)]
    pub count: Option<NonZeroU64>,
    /// What standard output shows
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Sources
    #[arg(help = format!("Where joules come from: {NAMES}; repeatable"))]
    #[arg(long, value_name = "SPEC", value_parser = |s: &str| s.parse::<SourceSpec>())]
    pub source: Vec<SourceSpec>,
    /// Weight of on-CPU time: time; smt: beside a busy sibling thread six tenths; cycles: what each CPU counted meanwhile
    #[arg(long, value_name = "POLICY", default_value = "time", value_parser = weight)]
    pub weight: Weight,
    /// Split between overlapping requests: equal; tokens: what each received; work: what its tokens cost, as learned here
    #[arg(long, value_name = "POLICY", default_value = "equal", value_parser = share)]
    pub share: Share,
    /// Who is given idle energy, beside the joules: none, even (all residents alike), proportional (by active energy)
    #[arg(long, value_name = "POLICY", default_value = "none", value_parser = idle)]
    pub idle: Idle,
    /// Idle power that wattprobe calibrate kept in this file [default: where it keeps it]
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// See the server's sockets by these hooks [default: fentry where the kernel allows it, else tracepoint]
    #[arg(long, value_name = "HOOKS", value_enum)]
    pub boundary: Option<BoundaryRung>,
    /// Write the evidence of every number into this new directory: see wattprobe tape
    #[arg(long, value_name = "DIR")]
    pub tape: Option<PathBuf>,
}

/// A target or a name, in the order of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A target.
    Target(Selector),
    /// A name for the target before it.
    Name(String),
}

/// The targets and names of `attach` in the order in which they were given.
#[must_use]
pub fn target_tokens(matches: &ArgMatches) -> Vec<Token> {
    let mut tokens = Vec::new();
    for id in TARGETS {
        let values = matches.get_many::<Selector>(id).into_iter().flatten();
        let indices = matches.indices_of(id).into_iter().flatten();
        tokens.extend(indices.zip(values).map(|(i, s)| (i, Token::Target(s.clone()))));
    }
    let names = matches.get_many::<String>("name").into_iter().flatten();
    let indices = matches.indices_of("name").into_iter().flatten();
    tokens.extend(indices.zip(names).map(|(i, name)| (i, Token::Name(name.clone()))));
    tokens.sort_by_key(|(index, _)| *index);
    tokens.into_iter().map(|(_, token)| token).collect()
}

fn port(text: &str) -> Result<Selector, String> {
    if text.contains('/') || text.starts_with('@') {
        return Ok(Selector::UnixPath(text.into()));
    }
    match text.parse() {
        Ok(0) | Err(_) => {
            Err("write a TCP port from 1 to 65535, or the path of a unix socket".into())
        }
        Ok(port) => Ok(Selector::Port(port)),
    }
}

fn pid(text: &str) -> Result<Selector, String> {
    // The kernel's own bound is 2^22; anything positive that fits is left for it to judge.
    match text.parse::<i32>() {
        Ok(pid) if pid > 0 => Ok(Selector::Pid(pid.unsigned_abs())),
        _ => Err("write the number of a process".into()),
    }
}

fn requests(text: &str) -> Result<NonZeroU64, String> {
    text.parse().map_err(|_| "write a number of requests from 1 on".into())
}

fn unit(text: &str) -> Result<Selector, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ":_.\\@-".contains(c);
    if text.is_empty() || text.starts_with('.') || text.len() > 255 || !text.chars().all(plain) {
        return Err("write the name of a systemd unit, such as llama.service".into());
    }
    let full = [".service", ".scope", ".slice"].iter().any(|suffix| text.ends_with(suffix));
    Ok(Selector::Unit(if full { text.into() } else { format!("{text}.service") }))
}

fn cgroup(text: &str) -> Result<Selector, String> {
    if text.trim_matches('/').is_empty() || text.split('/').any(|part| part == "..") {
        return Err("write the path of a control group, such as system.slice/llama.service".into());
    }
    Ok(Selector::Cgroup(text.into()))
}

fn container(text: &str) -> Result<Selector, String> {
    // Kubernetes writes the runtime before it.
    let id = text.split_once("://").map_or(text, |(_, id)| id);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if id.is_empty() || id.len() > 64 || !id.chars().all(plain) {
        return Err(
            "write the id of a container, or the first digits of it, such as 3f4e8d1c9b7a".into()
        );
    }
    Ok(Selector::Container(id.into()))
}

fn label(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 64 || text.chars().any(char::is_control) {
        return Err("write a name of 1 to 64 printable characters".into());
    }
    Ok(text.to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    match (text.parse::<SocketAddr>(), port.parse::<u16>()) {
        (Ok(address), _) => Ok(address),
        (_, Ok(port)) => Ok(SocketAddr::new(local, port)),
        _ => Err(format!("write an address and port, such as {DEFAULT_ADDRESS} or [::1]:9847")),
    }
}

/// One of the policies there are.
fn policy<P: Copy>(text: &str, all: &[P], name: fn(P) -> &'static str) -> Result<P, String> {
    let names = || all.iter().map(|policy| name(*policy)).collect::<Vec<_>>().join(", ");
    let found = all.iter().find(|policy| name(**policy) == text).copied();
    found.ok_or_else(|| format!("unknown policy; use {}", names()))
}

fn weight(text: &str) -> Result<Weight, String> {
    policy(text, &Weight::ALL, Weight::name)
}

fn share(text: &str) -> Result<Share, String> {
    policy(text, &Share::ALL, Share::name)
}

fn idle(text: &str) -> Result<Idle, String> {
    policy(text, &Idle::ALL, Idle::name)
}
