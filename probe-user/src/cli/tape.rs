//! `wattprobe tape`: what a tape holds, whether it is whole, its records once more.

use std::{
    fs::Permissions,
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    args::TapeCommand,
    exit::{Classify, ExitStatus, Failure},
    log::Log,
};
use crate::{
    export::parquet::Parquet,
    record::RequestRecord,
    replay::{self, Info, Others, ReplayError, Walked},
    tape::{Ending, TapeError},
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
        TapeCommand::Replay { dir, summary, weight, share, idle } => {
            let others = Others { weight, share, idle };
            let replayed = to_lines(&dir, others, Box::new(io::stdout().lock()))?;
            if let (Some(path), Some(energy)) = (summary, &replayed.energy) {
                let mut text = serde_json::to_vec_pretty(energy)
                    .map_err(io::Error::from)
                    .map_err(ReplayError::Write)?;
                text.push(b'\n');
                std::fs::write(path, text).map_err(ReplayError::Write)?;
            }
            Ok(ExitStatus::Done)
        }
        TapeCommand::Export { dir, format, output, force } => {
            export(&dir, format, &output, force)?;
            Ok(ExitStatus::Done)
        }
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
fn export(dir: &Path, format: Format, output: &Path, force: bool) -> Result<(), ReplayError> {
    let taken = || ReplayError::Taken(output.to_owned());
    if !force && output.symlink_metadata().is_ok() {
        return Err(taken());
    }
    let beside = output.parent().filter(|parent| !parent.as_os_str().is_empty());
    // As any new file; the umask holds.
    let mode = Permissions::from_mode(0o666);
    let file = tempfile::Builder::new()
        .prefix(".wattprobe-")
        .permissions(mode)
        .tempfile_in(beside.unwrap_or(Path::new(".")))?;
    match format {
        Format::Jsonl => to_lines(dir, Others::default(), Box::new(file.as_file())).map(drop)?,
        Format::Parquet => {
            let mut rows = Parquet::begin(BufWriter::new(file.as_file()))?;
            replay::replay(dir, Others::default(), |record| Ok(rows.record(record)?))?;
            rows.finish()?.flush()?;
        }
    }
    file.as_file().sync_all()?;
    let kept = if force { file.persist(output) } else { file.persist_noclobber(output) };
    kept.map(drop).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => taken(),
        _ => error.error.into(),
    })
}

fn verify(dir: &Path, require_end: bool, log: Log) -> Result<ExitStatus, Failure> {
    let replayed = replay::replay(dir, Others::default(), |_| Ok(()))?;
    let Walked { counts, ending, last, hash } = replayed.walked;
    let what = format!(
        "{} frames with {} entries in {} segments; the books close; hash {hash}",
        counts.frames, counts.items, counts.segments
    );
    let (segment, frame) = last;
    match ending {
        Ending::Ended(_) => super::emit(format!("whole: {what}\n").as_bytes())?,
        Ending::Open { unfinished_bytes } => {
            let line = format!(
                "no end: whole up to segment {segment}, frame {frame}: {what}; {unfinished_bytes} bytes of an unfinished frame follow\n"
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
fn to_lines(
    dir: &Path,
    others: Others,
    out: Box<dyn Write + '_>,
) -> Result<replay::Replayed, ReplayError> {
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

fn as_text(walked: &Walked, info: &Info) -> String {
    let mut lines = Vec::new();
    if let Some(host) = &info.host {
        lines.push(format!("wattprobe   {}", host.version));
        lines.push(format!("kernel      {}", host.kernel));
        lines.push(format!("packages    {}", host.packages));
        for domain in &host.domains {
            lines.push(format!("domain      {} from {}", domain.name, domain.source));
        }
        for name in host.targets.values() {
            lines.push(format!("target      {name}"));
        }
        let policies = &host.policies;
        let (weight, share, idle) = (&policies.weight, &policies.share, &policies.idle);
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
            Self::Taken(_) | Self::None(_) => ExitStatus::Usage,
            Self::Damaged { .. } => ExitStatus::Invalid,
            _ => ExitStatus::Failed,
        }
    }
}

impl Classify for ReplayError {
    fn status(&self) -> ExitStatus {
        match self {
            Self::Tape(error) => error.status(),
            Self::Taken(_) => ExitStatus::Usage,
            Self::Books(_) | Self::Write(_) => ExitStatus::Failed,
        }
    }
}
