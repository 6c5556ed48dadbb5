//! `lab-load`: drives an inference server and writes down what a client sees.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use probe_lab::load::{
    Attack, End, Options, Seen, Shape, Target, Totals, Until, attack, mix, raise_open_files,
    sustain,
};

/// Drive an inference server and write one JSON line per request as the client saw it; sums go to
/// standard error.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Where the server is
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Connect to a unix socket instead
    #[arg(long, conflicts_with = "url")]
    unix: Option<PathBuf>,
    /// Requests of the mix
    #[arg(long, default_value_t = 60)]
    requests: usize,
    /// Concurrent connections of the overlapping phase
    #[arg(long, default_value_t = 4)]
    overlap: usize,
    /// Streams that the client leaves in the middle
    #[arg(long, default_value_t = 3)]
    aborts: usize,
    /// Tokens of an answer
    #[arg(long, default_value_t = 32)]
    max_tokens: u32,
    /// Characters of a prompt, roughly
    #[arg(long, default_value_t = 160)]
    prompt_chars: usize,
    /// Seed of the order, the prompts and the server's sampling
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Pause after every request, like 20ms or 1s
    #[arg(long, default_value = "0ms", value_parser = duration)]
    pause: Duration,
    /// The `model` field of requests
    #[arg(long, default_value = "default")]
    model: String,
    /// Path of completions
    #[arg(long, default_value = "/v1/chat/completions")]
    path: String,
    /// Do not ask streams for their usage
    #[arg(long)]
    no_usage: bool,
    /// Write the records to this file instead of standard output
    #[arg(long)]
    out: Option<PathBuf>,
    /// Instead of a mix: keep `--overlap` connections busy for so long, and print totals
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// Instead of a mix: so many requests in all, the same ones whatever `--overlap` is, so many at a time
    #[arg(long, value_name = "N", conflicts_with = "duration")]
    count: Option<u64>,
    #[command(flatten)]
    hostile: Hostile,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Hostile {
    /// Instead of a mix: eight connections of random bytes
    #[arg(long)]
    garbage: bool,
    /// Instead of a mix: a body of so many megabytes
    #[arg(long, value_name = "MB")]
    big_body: Option<usize>,
    /// Instead of a mix: open so many connections, then close them
    #[arg(long, value_name = "N")]
    churn: Option<usize>,
    /// Instead of a mix: a request sent byte by byte
    #[arg(long)]
    slow: bool,
    /// Instead of a mix: a body that waits for `100 Continue`
    #[arg(long = "continue")]
    wait_for_continue: bool,
}

impl Hostile {
    fn attack(&self) -> Option<Attack> {
        if self.garbage {
            return Some(Attack::Garbage(8));
        }
        if self.slow {
            return Some(Attack::Slow(Duration::from_millis(1)));
        }
        if self.wait_for_continue {
            return Some(Attack::Continue);
        }
        self.big_body.map(Attack::BigBody).or(self.churn.map(Attack::Churn))
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("lab-load: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<ExitCode> {
    raise_open_files();
    let target = match &args.unix {
        Some(path) => Target::unix(path.clone()),
        None => Target::parse(&args.url)?,
    };
    let options = Options {
        shape: Shape {
            path: args.path.clone(),
            model: args.model.clone(),
            max_tokens: args.max_tokens,
            prompt_chars: args.prompt_chars,
            seed: args.seed,
            usage: !args.no_usage,
        },
        requests: args.requests,
        overlap: args.overlap,
        aborts: args.aborts,
        pause: args.pause,
    };
    let mut out = output(args)?;
    let mut failed = None;
    let mut write = |seen: Seen| {
        let line = serde_json::to_string(&seen).map_err(std::io::Error::from);
        if let Err(e) = line.and_then(|line| writeln!(out, "{line}")) {
            failed = Some(e);
        }
    };
    let until = args.duration.map(Until::Elapsed).or(args.count.map(Until::Requests));
    let totals = if let Some(what) = args.hostile.attack() {
        let mut totals = Totals::default();
        for seen in attack(&target, &options.shape, what) {
            totals.add(&seen);
            write(seen);
        }
        totals
    } else if let Some(until) = until {
        sustain(&target, &options, until, |seen| {
            if args.out.is_some() || seen.end == End::Error {
                write(seen);
            }
        })?
    } else {
        mix(&target, &options, &mut write)?
    };
    out.flush().context("cannot write the records")?;
    if let Some(e) = failed {
        return Err(e).context("cannot write the records");
    }
    eprintln!("{}", serde_json::to_string(&totals)?);
    let broken = args.hostile.attack().is_none() && totals.error > 0;
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn output(args: &Args) -> anyhow::Result<Box<dyn Write>> {
    Ok(match &args.out {
        None => Box::new(std::io::stdout().lock()),
        Some(path) => {
            let file = File::create(path)
                .with_context(|| format!("cannot write the records to {}", path.display()))?;
            Box::new(BufWriter::new(file))
        }
    })
}

/// Reads `20ms`, `1.5s`, `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" => 60.0,
        unit => return Err(format!("unknown unit `{unit}`, write ms, s or m")),
    };
    let number: f64 = digits.parse().map_err(|_| format!("`{digits}` is no number"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_nonsense_is_refused() {
        assert_eq!(duration("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "-1s", "3h", "1e400s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
