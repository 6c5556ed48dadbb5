//! `lab-server`: an OpenAI-compatible server that computes a real transformer on the CPU.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use probe_lab::engine::{Engine, Options};
use probe_lab::model::{Model, gguf, noise};
use probe_lab::server::{self, Address};
use tokio::signal::unix::{SignalKind, signal};

/// An OpenAI-compatible server that computes a real transformer on the CPU.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Listen on a unix socket at this path instead
    #[arg(long, conflicts_with_all = ["host", "port"])]
    unix: Option<PathBuf>,
    /// Requests computed together; more wait
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    slots: u16,
    /// Threads that compute
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// A llama-architecture GGUF file; without it, a small model made of seeded noise
    #[arg(long)]
    model: Option<PathBuf>,
    /// Longest sequence of a GGUF model, prompt and answer together
    #[arg(long, default_value_t = 2048)]
    context: usize,
    /// Prompt tokens computed per step
    #[arg(long, default_value_t = 64)]
    prefill_chunk: usize,
    /// Seed of the noise model's weights
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// How long open answers may take once the server is asked to stop.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("lab-server: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    settle_threads(args.threads)?;
    probe_lab::load::raise_open_files();
    let address = match args.unix.clone() {
        Some(path) => Address::Unix(path),
        None => Address::Tcp(args.host.clone(), args.port),
    };
    // Listen first: a taken port should not cost a model load.
    let bound = server::bind(&address)?;
    let engine = Engine::start(
        model(args)?,
        Options {
            slots: args.slots.into(),
            threads: args.threads.into(),
            prefill_chunk: args.prefill_chunk,
        },
    )?;
    server::runtime()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        println!("listening on {}", bound.url());
        let serving = server::serve(bound, engine, async {
            let _ = stopped.await;
        });
        let asked = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            drop(stop);
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            result = serving => result.map_err(anyhow::Error::from),
            () = asked => {
                eprintln!("answers still open after {GRACE:?} were cut off");
                Ok(())
            }
        }
    })
}

fn model(args: &Args) -> anyhow::Result<Model> {
    match &args.model {
        None => Ok(noise::model(noise::DEMO, args.seed)?),
        Some(path) => gguf::load(path, args.context)
            .with_context(|| format!("cannot load the model {}", path.display())),
    }
}

/// Candle takes its number of threads from the environment, and a program may not change its own
/// safely: so it starts itself once more, under the same process id, with the right one.
fn settle_threads(threads: u16) -> anyhow::Result<()> {
    let wanted = threads.to_string();
    let settled = |key: &str| std::env::var(key).is_ok_and(|v| v == wanted);
    if settled("CANDLE_NUM_THREADS") && settled("RAYON_NUM_THREADS") {
        return Ok(());
    }
    let error = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env("CANDLE_NUM_THREADS", &wanted)
        .env("RAYON_NUM_THREADS", &wanted)
        .exec();
    Err(error).context("cannot restart with the right number of threads")
}
