//! The servers under test, each a process of its own that says `listening on ADDRESS` when it is ready.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::client::Address;
use super::parts::{lab_binary, part, script};
use super::process::Running;

/// How to start a server.
pub(crate) struct Recipe {
    /// Name for messages and output files.
    pub(crate) name: &'static str,
    program: std::path::PathBuf,
    arguments: Vec<String>,
}

impl Recipe {
    /// The real llama.cpp server.
    pub(crate) fn llamacpp() -> Self {
        Self::script("llamacpp", "python", "xllamacpp_server.py", &[])
    }

    /// uvicorn.
    pub(crate) fn uvicorn() -> Self {
        Self::script("uvicorn", "python", "uvicorn_server.py", &[])
    }

    /// node, with so many compute threads; from two on every token gets a new thread.
    pub(crate) fn node(threads: u32) -> Self {
        let modules = part("node_modules");
        let threads = threads.to_string();
        let more = ["--modules", &modules.to_string_lossy(), "--threads", &threads];
        Self::script("node", "node", "node_server.mjs", &more)
    }

    /// The demo server on its embedded weights.
    pub(crate) fn lab() -> Self {
        Self { name: "lab", program: lab_binary("lab-server"), arguments: Vec::new() }
    }

    fn script(name: &'static str, runtime: &str, file: &str, more: &[&str]) -> Self {
        let words = [script(file), "--model".into(), part("model")];
        let words = words.iter().map(|w| w.to_string_lossy().into_owned());
        let arguments = words.chain(more.iter().map(|w| (*w).to_owned())).collect();
        Self { name, program: part(runtime), arguments }
    }

    /// Starts it on an address; port 0 lets it choose.
    pub(crate) fn start(&self, dir: &Path, host: &str, port: u16) -> Server {
        let port = port.to_string();
        // 5,000 connections at once need more descriptors than the usual soft limit.
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n $(ulimit -Hn); exec \"$0\" \"$@\""]);
        command.arg(&self.program).args(&self.arguments).args(["--host", host, "--port", &port]);
        let mut process = Running::start(&mut command, dir, self.name);
        let said = process.line("listening on ", Duration::from_secs(60));
        Server { address: Address::parse(&said), process }
    }
}

/// A running server.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: Address,
    /// Its process.
    pub(crate) process: Running,
}
