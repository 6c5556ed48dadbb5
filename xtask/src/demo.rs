//! The README's first command: a server, the probe, a mix of requests, the table and the books.
//!
//! Needs root (or CAP_BPF and CAP_PERFMON) for the probe, a Rust toolchain and nothing else. The table
//! is printed by `wattprobe` itself; here the books are checked once more, from the summary it wrote.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::books;
use crate::built;
use crate::paths::Paths;
use crate::process::{self, Running, line_after, wait_for};

/// Options of the demo.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Serve this GGUF model instead of the embedded one.
    #[arg(long, value_name = "FILE.gguf")]
    model: Option<PathBuf>,
    /// Keep the records, the summary and the logs.
    #[arg(long)]
    keep: bool,
}

/// Requests the demo sends, at least.
const REQUESTS: usize = 12;

/// Runs the demo; an error if a request was missed or the books do not close.
pub(crate) fn run(paths: &Paths, args: &Args) -> Result<()> {
    built::programs(paths)?;
    let dir = paths.target.join("demo");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let done = serve_and_measure(paths, args, &dir).and_then(|()| report(&dir));
    if args.keep || done.is_err() {
        eprintln!("kept: {}", dir.display());
    } else {
        fs::remove_dir_all(&dir)?;
    }
    done
}

fn serve_and_measure(paths: &Paths, args: &Args, dir: &Path) -> Result<()> {
    let model = args.model.as_ref().map(|file| [Path::new("--model"), file]);
    let mut server = Command::new(paths.binary("release", "lab-server"));
    server.args(["--port", "0"]).args(model.into_iter().flatten());
    let mut server = Running(start(&mut server, dir, "server")?);
    let address = listening(&mut server.0, dir, "server")?;

    let mut probe = attach(paths, dir, port_of(&address)?)?;
    let load = Command::new(paths.binary("release", "lab-load"))
        .args(["--url", &address, "--requests", &REQUESTS.to_string(), "--aborts", "1"])
        .arg("--out")
        .arg(dir.join("load.jsonl"))
        .stderr(File::create(dir.join("load.err"))?)
        .status()
        .context("cannot start lab-load")?;
    let end = end_probe(&mut probe.0, dir);
    ensure!(load.success(), "lab-load ended with {load}");
    end
}

fn attach(paths: &Paths, dir: &Path, port: &str) -> Result<Running> {
    let mut probe = Command::new(paths.binary("release", "wattprobe"));
    probe.args(["attach", "--name", "demo", "--port", port]);
    probe.arg("--requests").arg(dir.join("requests.jsonl"));
    probe.arg("--summary").arg(dir.join("summary.json"));
    // Its table belongs on this terminal; its messages are watched for the line that it is ready.
    let probe = probe
        .stdin(Stdio::null())
        .stderr(File::create(dir.join("probe.err"))?)
        .spawn()
        .context("cannot start wattprobe")?;
    // Before the wait: a probe that does not get ready must not keep the machine's lock.
    let mut probe = Running(probe);
    attached(&mut probe.0, dir)?;
    Ok(probe)
}

fn report(dir: &Path) -> Result<()> {
    let requests = fs::read_to_string(dir.join("requests.jsonl"))?.lines().count();
    let summary: Value = serde_json::from_str(&fs::read_to_string(dir.join("summary.json"))?)?;
    let lines = books::check(&summary)?;
    println!("\nchecked again from the summary, in nanojoules:");
    for line in lines {
        println!("  {line}");
    }
    ensure!(requests >= REQUESTS, "{requests} requests were seen, {REQUESTS} were sent");
    println!("{requests} requests, the books close");
    Ok(())
}

/// Starts it with its output in `DIR/NAME.out` and `DIR/NAME.err`.
pub(crate) fn start(command: &mut Command, dir: &Path, name: &str) -> Result<Child> {
    command
        .stdin(Stdio::null())
        .stdout(File::create(dir.join(format!("{name}.out")))?)
        .stderr(File::create(dir.join(format!("{name}.err")))?)
        .spawn()
        .with_context(|| format!("cannot start `{}`", process::show(command)))
}

/// The address a server says it listens on.
pub(crate) fn listening(server: &mut Child, dir: &Path, name: &str) -> Result<String> {
    let said = dir.join(format!("{name}.out"));
    let what = format!("`listening on` in {}", said.display());
    wait_for(server, &what, Duration::from_secs(60), || line_after(&said, "listening on "))
}

/// Waits until the probe sees everything.
pub(crate) fn attached(probe: &mut Child, dir: &Path) -> Result<()> {
    let said = dir.join("probe.err");
    wait_for(probe, "`attached:`", Duration::from_secs(30), || line_after(&said, "attached:"))
        .map(drop)
        .map_err(|error| match fs::read_to_string(&said) {
            Ok(words) if !words.trim().is_empty() => error.context(words.trim().to_owned()),
            _ => error,
        })
}

/// Ctrl-C, and the exit status must be 0.
pub(crate) fn end_probe(probe: &mut Child, dir: &Path) -> Result<()> {
    process::interrupt(probe)?;
    let status = probe.wait()?;
    let said = fs::read_to_string(dir.join("probe.err")).unwrap_or_default();
    ensure!(status.success(), "wattprobe ended with {status}: {}", said.trim());
    Ok(())
}

/// `http://127.0.0.1:80` → `80`.
pub(crate) fn port_of(address: &str) -> Result<&str> {
    let (_, port) = address.rsplit_once(':').context("an address has a port")?;
    Ok(port.trim_end_matches('/'))
}
