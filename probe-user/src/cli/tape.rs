//! `wattprobe tape`: what a tape holds, whether it is whole, its records once more.

use std::{
    fs::Permissions,
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    args::{OtherPolicies, TapeCommand},
    exit::{Classify, ExitStatus, Failure},
    log::Log,
};
use crate::{
    export::parquet::Parquet,
    export::summary,
    record::RequestRecord,
    replay::{self, Info, Others, ReplayError, Replayed, Walked},
    tape::{Counts, Ending, TapeError},
};

/// Does one of its commands.
///
/// # Errors
/// The tape is damaged or cannot be read, or a result cannot be written.
pub fn run(command: TapeCommand, log: Log) -> Result<ExitStatus, Failure> {
    match command {
        TapeCommand::Info { dir, json } => {
            let (walked, info) = replay::info(&dir)?;
            let text = if json { as_json(&walked, &info) } else { as_text(&walked, &info) };
            super::emit(text.as_bytes())?;
            Ok(ExitStatus::Done)
        }
        TapeCommand::Verify { dir, require_end } => verify(&dir, require_end, log),
        TapeCommand::Replay { dir, summary, policies } => {
            let replayed = to_lines(&dir, policies.into(), Box::new(io::stdout().lock()))?;
            tell(&replayed, log);
            if let Some(path) = summary {
                write_summary(&replayed, &path)?;
            }
            Ok(ExitStatus::Done)
        }
        TapeCommand::Export { dir, format, output, force, policies } => {
            tell(&export(&dir, policies.into(), format, &output, force)?, log);
            Ok(ExitStatus::Done)
        }
    }
}

impl From<OtherPolicies> for Others {
    fn from(OtherPolicies { weight, share, idle }: OtherPolicies) -> Self {
        Self { weight, share, idle }
    }
}

/// The summary as `--summary` of the run wrote it; of a run without an end, its energy.
fn write_summary(replayed: &Replayed, path: &Path) -> Result<(), ReplayError> {
    let text = match (&replayed.summary, &replayed.energy) {
        (Some(summary), _) => serde_json::to_vec_pretty(summary),
        (None, Some(energy)) => serde_json::to_vec_pretty(energy),
        (None, None) => return Err(ReplayError::Empty),
    };
    let mut text = text.map_err(io::Error::from)?;
    text.push(b'\n');
    Ok(summary::write(path, &text)?)
}

/// What limits the records that were given.
fn tell(replayed: &Replayed, log: Log) {
    if matches!(replayed.walked.ending, Ending::Open { .. }) {
        log.warn("the tape has no end: its records up to there; see wattprobe tape verify");
    } else if replayed.differ {
        log.info("under other policies the numbers are not held against what the run published; see wattprobe tape verify");
    }
}

/// How records are exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Jsonl,
    /// Apache Parquet: one row a record, its fields as columns.
    Parquet,
}

/// Into a file beside the one that was named, which takes its place at the end: it is complete or not there.
fn export(
    dir: &Path,
    others: Others,
    format: Format,
    output: &Path,
    force: bool,
) -> Result<Replayed, ReplayError> {
    let taken = || ReplayError::Taken(output.to_owned());
    match output.symlink_metadata() {
        Ok(there) if !there.is_file() => return Err(ReplayError::Special(output.to_owned())),
        Ok(_) if !force => return Err(taken()),
        _ => {}
    }
    let beside = output.parent().filter(|parent| !parent.as_os_str().is_empty());
    // As any new file; the umask holds.
    let mode = Permissions::from_mode(0o666);
    let file = tempfile::Builder::new()
        .prefix(".wattprobe-")
        .permissions(mode)
        .tempfile_in(beside.unwrap_or(Path::new(".")))?;
    let replayed = match format {
        Format::Jsonl => to_lines(dir, others, Box::new(file.as_file()))?,
        Format::Parquet => {
            let mut rows = Parquet::begin(BufWriter::new(file.as_file()))?;
            let replayed = replay::replay(dir, others, |record| Ok(rows.record(record)?))?;
            rows.finish()?.flush()?;
            replayed
        }
    };
    file.as_file().sync_all()?;
    let kept = if force { file.persist(output) } else { file.persist_noclobber(output) };
    kept.map(|_| replayed).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => taken(),
        _ => error.error.into(),
    })
}

fn verify(dir: &Path, require_end: bool, log: Log) -> Result<ExitStatus, Failure> {
    let replayed = replay::replay(dir, Others::default(), |_| Ok(()))?;
    let Walked { counts, ending, last, hash } = replayed.walked;
    let Counts { frames, items, segments } = counts;
    let what = format!("{frames} frames with {items} entries in {segments} segments");
    let (segment, frame) = last;
    match ending {
        Ending::Ended(_) => super::emit(
            format!("whole: {what}; the books close and are what the run published; hash {hash}\n")
                .as_bytes(),
        )?,
        Ending::Open { unfinished_bytes } => {
            let books = if items > 0 { "the books close" } else { "nothing is booked yet" };
            let line = format!(
                "no end: whole up to segment {segment}, frame {frame}: {what}; {books}; hash {hash}; {unfinished_bytes} bytes of an unfinished frame follow\n"
            );
            super::emit(line.as_bytes())?;
            if require_end {
                log.warn("the tape has no end record: its writer was killed or the disk was full, or it was cut there; leave --require-end out to accept it");
                return Ok(ExitStatus::Invalid);
            }
        }
    }
    Ok(ExitStatus::Done)
}

/// As `--requests` writes them.
fn to_lines(dir: &Path, others: Others, out: Box<dyn Write + '_>) -> Result<Replayed, ReplayError> {
    let mut out = BufWriter::new(out);
    let mut gone = false;
    let mut line = Vec::new();
    let mut each = |record: &RequestRecord| {
        if gone {
            return Ok(());
        }
        line.clear();
        serde_json::to_writer(&mut line, record).map_err(io::Error::from)?;
        line.push(b'\n');
        // A reader that went away is no failure.
        match out.write_all(&line) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => gone = true,
            result => result?,
        }
        Ok(())
    };
    let replayed = replay::replay(dir, others, &mut each);
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => replayed,
    }
}

fn ending(ending: Ending) -> &'static str {
    match ending {
        Ending::Ended(_) => "ended",
        Ending::Open { .. } => "open",
    }
}

fn as_json(walked: &Walked, info: &Info) -> String {
    let counts = &walked.counts;
    let value = json!({
        "frames": counts.frames,
        "items": counts.items,
        "segments": counts.segments,
        "ending": ending(walked.ending),
        "hash": walked.hash,
        "tape": info,
    });
    format!("{value}\n")
}

/// Names come from the tape: no byte of them controls a terminal.
fn as_text(walked: &Walked, info: &Info) -> String {
    let mut lines = Vec::new();
    if let Some(host) = &info.host {
        lines.push(format!("wattprobe   {}", host.version.escape_debug()));
        lines.push(format!("kernel      {}", host.kernel.escape_debug()));
        lines.push(format!("packages    {}", host.packages));
        for domain in &host.domains {
            lines.push(format!(
                "domain      {} from {}",
                domain.name.escape_debug(),
                domain.source.escape_debug()
            ));
        }
        for name in host.targets.values() {
            lines.push(format!("target      {}", name.escape_debug()));
        }
        let policies = &host.policies;
        let [weight, share, idle] =
            [&policies.weight, &policies.share, &policies.idle].map(|name| name.escape_debug());
        lines.push(format!("policies    weight {weight}, share {share}, idle {idle}"));
        let clock = host.clock();
        lines.push(format!("begin       {}", clock.rfc3339(host.begin)));
        if let Some((first, last)) = info.span_ns {
            lines.push(format!("last tick   {}", clock.rfc3339(last)));
            lines.push(format!("span        {:.3} s", last.saturating_sub(first) as f64 / 1e9));
        }
    }
    let entries = &info.entries;
    lines.push(format!("ticks       {}", entries.ticks));
    lines.push(format!("readings    {}", entries.readings));
    lines.push(format!("boundaries  {}", entries.boundaries));
    lines.push(format!("requests    {}", entries.requests));
    if let Some(published) = &info.published {
        lines.push(format!("published   records with hash {}", published.records.escape_debug()));
    }
    let counts = &walked.counts;
    lines.push(format!("frames      {} in {} segments", counts.frames, counts.segments));
    lines.push(format!("ending      {}", ending(walked.ending)));
    lines.push(format!("hash        {}", walked.hash));
    lines.push(String::new());
    lines.join("\n")
}

/// A directory for a new tape, opened before the run.
///
/// # Errors
/// It holds a tape, or cannot be written.
pub fn create(dir: &Option<PathBuf>) -> Result<Option<crate::tape::Writer>, TapeError> {
    dir.as_deref().map(|dir| crate::tape::Writer::create(dir, <_>::default())).transpose()
}

impl Classify for TapeError {
    fn status(&self) -> ExitStatus {
        match self {
            Self::Taken(_) | Self::None(_) | Self::Foreign(_) => ExitStatus::Usage,
            Self::Damaged { .. } => ExitStatus::Invalid,
            _ => ExitStatus::Failed,
        }
    }
}

impl Classify for ReplayError {
    fn status(&self) -> ExitStatus {
        match self {
            Self::Tape(error) => error.status(),
            Self::Taken(_) | Self::Special(_) => ExitStatus::Usage,
            Self::Empty | Self::Books(_) | Self::Write(_) => ExitStatus::Failed,
        }
    }
}
