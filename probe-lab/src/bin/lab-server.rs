//! `lab-server`: an OpenAI-compatible server that computes a real transformer on the CPU.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use probe_lab::engine::{Engine, Options, Remote, work};
use probe_lab::model::{Model, gguf, noise};
use probe_lab::server::{self, Address, Bound, child, proxy};
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
    /// A noise model that costs next to nothing: where requests matter and joules do not
    #[arg(long, conflicts_with = "model")]
    tiny: bool,
    /// Seed of the noise model's weights
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which processes serve
    #[arg(long, value_enum, default_value_t)]
    topology: Topology,
    /// What this process is to the one that started it
    #[arg(long, value_enum, hide = true)]
    role: Option<Role>,
}

/// Which processes serve.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Topology {
    /// One does it all
    #[default]
    One,
    /// One listens and passes on to a runner, which listens on loopback, as Ollama
    Proxy,
    /// One listens and passes tokens to an engine, which does not listen, as vLLM
    Engine,
}

/// The second process of a topology.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    Runner,
    Engine,
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
    if args.role.is_some() {
        child::end_with_parent()?;
    }
    let runtime = server::runtime()?;
    if let Some(Role::Engine) = args.role {
        return Ok(runtime.block_on(work(child::parent()?, engine(args)?))?);
    }
    let address = match args.unix.clone() {
        Some(path) => Address::Unix(path),
        None => Address::Tcp(args.host.clone(), args.port),
    };
    // Listen first: a taken port should not cost a model load.
    let bound = server::bind(&address)?;
    runtime.block_on(async {
        let (app, child) = app(args).await?;
        let served = serve(bound, app).await;
        if let Some(mut child) = child {
            child.kill().and_then(|()| child.wait()).context("cannot end the second process")?;
        }
        served
    })
}

/// The routes, and the second process if there is one.
async fn app(args: &Args) -> anyhow::Result<(axum::Router, Option<Child>)> {
    Ok(match args.topology {
        Topology::One => (server::router(engine(args)?), None),
        Topology::Proxy => {
            let (child, address) = child::runner(&mut second(args, Role::Runner)?)?;
            (proxy::router(address), Some(child))
        }
        Topology::Engine => {
            let (child, socket) = child::engine(&mut second(args, Role::Engine)?)?;
            let remote = Remote::new(model(args)?, socket)?;
            // It answers once it is warm.
            remote.totals().await.context("the engine process ended")?;
            (server::router(remote), Some(child))
        }
    })
}

/// This program once more, for the part that computes.
fn second(args: &Args, role: Role) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    let role = if let Role::Runner = role { "runner" } else { "engine" };
    command.args(["--role", role, "--port", "0"]);
    for (option, value) in [
        ("--slots", args.slots.to_string()),
        ("--threads", args.threads.to_string()),
        ("--context", args.context.to_string()),
        ("--prefill-chunk", args.prefill_chunk.to_string()),
        ("--seed", args.seed.to_string()),
    ] {
        command.args([option, &value]);
    }
    if let Some(model) = &args.model {
        command.arg("--model").arg(model);
    }
    command.args(args.tiny.then_some("--tiny"));
    Ok(command)
}

fn engine(args: &Args) -> anyhow::Result<Engine> {
    let (slots, threads) = (args.slots.into(), args.threads.into());
    Ok(Engine::start(model(args)?, Options { slots, threads, prefill_chunk: args.prefill_chunk })?)
}

/// Until a signal; then open answers may finish.
async fn serve(bound: Bound, app: axum::Router) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    println!("listening on {}", bound.url());
    let serving = server::serve(bound, app, async {
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
}

fn model(args: &Args) -> anyhow::Result<Model> {
    match &args.model {
        None if args.tiny => Ok(noise::model(noise::TINY, args.seed)?),
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
