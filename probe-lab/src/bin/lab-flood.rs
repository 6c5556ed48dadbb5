//! `lab-flood`: a server and a client that do nothing but HTTP, for the bench of boundaries.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use probe_lab::flood::{Ask, Each, Load, Serving, calls, drive, others, serve};
use probe_lab::load::raise_open_files;

/// Flood a server with requests, or be such a server.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer every request alike; says where it listens
    Serve {
        /// Port on loopback; 0: any
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// Pieces of content in a stream
        #[arg(long, default_value_t = 40)]
        events: u32,
        /// Milliseconds between two of them
        #[arg(long, default_value_t = 50)]
        every: u64,
    },
    /// Keep connections busy, then print what was answered as one JSON object
    Drive {
        /// Where the server is
        address: SocketAddr,
        /// Connections, all open before the first request
        #[arg(long, default_value_t = 32)]
        connections: usize,
        /// Milliseconds
        #[arg(long, default_value_t = 5000)]
        time: u64,
        /// Instead of a time: requests of each connection
        #[arg(long)]
        each: Option<u64>,
        /// Ask for what
        #[arg(long, value_enum, default_value_t = Ask::Plain)]
        ask: Ask,
    },
    /// Time system calls: once for each line on standard input, as one JSON object. Says where it listens
    Calls,
    /// Time system calls with a probe and without it, and print a table
    Others {
        /// The probe
        #[arg(long, value_name = "FILE")]
        probe: PathBuf,
        /// Times each
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
}

fn main() -> ExitCode {
    match run(&Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("lab-flood: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    raise_open_files();
    match *command {
        Command::Serve { port, events, every } => {
            let listener = TcpListener::bind(("127.0.0.1", port))
                .with_context(|| format!("cannot listen on port {port}; is it taken?"))?;
            println!("listening on http://{}", listener.local_addr()?);
            serve(&listener, Serving { events, every: Duration::from_millis(every) })?;
        }
        Command::Drive { address, connections, time, each, ask } => {
            let time = Each::For(Duration::from_millis(time));
            let each = each.map_or(time, Each::Requests);
            let sum = drive(address, &Load { connections, each, ask })?;
            println!("{}", serde_json::to_string(&sum)?);
        }
        Command::Calls => {
            let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
            println!("listening on http://{}", listener.local_addr()?);
            for line in io::stdin().lines() {
                line?;
                println!("{}", serde_json::to_string(&calls::measure(&listener)?)?);
            }
        }
        Command::Others { ref probe, rounds } => {
            let others = others::measure(&std::env::current_exe()?, probe, rounds)?;
            println!("{others}");
            others.judge()?;
        }
    }
    Ok(())
}
