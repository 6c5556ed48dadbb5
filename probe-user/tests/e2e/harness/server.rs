//! The servers under test, each a process of its own that says `listening on ADDRESS` when it is ready.

use std::path::Path;
use std::process::Command;

use super::client::Address;
use super::parts::{lab_binary, part, script};
use super::process::Running;
use super::{emulated, patience};

/// How to start a server.
pub(crate) struct Recipe {
    /// Name for messages and output files.
    pub(crate) name: &'static str,
    program: std::path::PathBuf,
    arguments: Vec<String>,
    /// The option that takes the path of a unix socket.
    unix: &'static str,
    /// Where it says that it listens.
    says: fn(&Running) -> String,
}

/// What a server listens on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transport {
    /// IPv4.
    Four,
    /// IPv6.
    Six,
    /// A unix socket.
    Unix,
}

impl Transport {
    /// An address of this kind, free for a server of this test.
    pub(crate) fn host(self, dir: &Path) -> String {
        match self {
            Self::Four => "127.0.0.1".into(),
            Self::Six => "::1".into(),
            Self::Unix => dir.join("server.sock").to_string_lossy().into_owned(),
        }
    }
}

impl Recipe {
    /// The real llama.cpp server, as a library.
    pub(crate) fn llamacpp() -> Self {
        Self::script("llamacpp", "python", "xllamacpp_server.py", &[])
    }

    /// The real llama.cpp server, as its authors ship it.
    pub(crate) fn upstream() -> Self {
        let model = part("model").to_string_lossy().into_owned();
        let options = "--alias smollm2 -np 4 -c 8192 -t 1 -ngl 0 --metrics --slots";
        let arguments = ["-m", &model].into_iter().chain(options.split(' '));
        Self {
            name: "upstream",
            program: part("llama_server"),
            arguments: arguments.map(str::to_owned).collect(),
            unix: "--host",
            says: Running::stderr,
        }
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
        Self::demo("lab", &[])
    }

    /// The demo server as Ollama does it: a proxy listens, and so does the runner behind it.
    pub(crate) fn proxy() -> Self {
        Self::demo("proxy", &["--topology", "proxy"])
    }

    /// The demo server as vLLM does it: who listens does not compute, who computes does not listen.
    pub(crate) fn apart() -> Self {
        Self::demo("apart", &["--topology", "engine"])
    }

    fn demo(name: &'static str, more: &[&str]) -> Self {
        let tiny = emulated().then_some("--tiny");
        let arguments = more.iter().copied().chain(tiny).map(str::to_owned).collect();
        Self {
            name,
            program: lab_binary("lab-server"),
            arguments,
            unix: "--unix",
            says: Running::stdout,
        }
    }

    /// The same server, which speaks TLS.
    pub(crate) fn with_tls(mut self, name: &'static str) -> Self {
        let file = |name| script(name).to_string_lossy().into_owned();
        self.name = name;
        self.arguments.extend(["--certificate".into(), file("tls/cert.pem")]);
        self.arguments.extend(["--key".into(), file("tls/key.pem")]);
        self
    }

    /// The same server, run from a copy of its program in which the functions of its TLS library have other names.
    pub(crate) fn nameless(mut self, dir: &Path) -> Self {
        let mut bytes = std::fs::read(&self.program).expect("the program can be read");
        let name = b"\0SSL_write\0";
        let at: Vec<_> = places_of(&bytes, name).collect();
        assert!(!at.is_empty(), "{} exports SSL_write", self.program.display());
        at.into_iter().for_each(|at| bytes[at + 1] = b'X');
        self.program = dir.join("nameless");
        std::fs::write(&self.program, bytes).expect("a copy");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&self.program, mode).expect("it can be run");
        self
    }

    fn script(name: &'static str, runtime: &str, file: &str, more: &[&str]) -> Self {
        let words = [script(file), "--model".into(), part("model")];
        let words = words.iter().map(|w| w.to_string_lossy().into_owned());
        let arguments = words.chain(more.iter().map(|w| (*w).to_owned())).collect();
        Self { name, program: part(runtime), arguments, unix: "--unix", says: Running::stdout }
    }

    /// Starts it on an address, or on a unix socket; port 0 lets it choose.
    pub(crate) fn start(&self, dir: &Path, host: &str, port: u16) -> Server {
        let port = port.to_string();
        // 5,000 connections at once need more descriptors than the usual soft limit.
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n $(ulimit -Hn); exec \"$0\" \"$@\""]);
        command.arg(&self.program).args(&self.arguments);
        if host.starts_with('/') {
            command.args([self.unix, host]);
        } else {
            command.args(["--host", host, "--port", &port]);
        }
        let mut process = Running::start(&mut command, dir, self.name);
        let said = process.line_of(self.says, "listening on ", patience());
        Server { address: Address::parse(&said), process }
    }
}

/// A plain door to a server that speaks TLS; `more` are options of the tunnel.
pub(crate) fn tunnel(dir: &Path, server: &Address, more: &[&str]) -> Server {
    let Address::Tcp(to) = server else { panic!("TLS is spoken over TCP: {server:?}") };
    let (host, port) = (to.ip().to_string(), to.port().to_string());
    let mut command = Command::new("python3");
    command.arg(script("tls_tunnel.py")).args(["--host", &host, "--port", &port]);
    command.arg("--certificate").arg(script("tls/cert.pem")).args(more);
    let mut process = Running::start(&mut command, dir, "tunnel");
    let said = process.line("listening on ", patience());
    let address = said.trim().parse().unwrap_or_else(|e| panic!("address {said:?}: {e}"));
    Server { address: Address::Tunnel(address), process }
}

/// Where `what` stands.
fn places_of<'a>(bytes: &'a [u8], what: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let zeroes = bytes.iter().enumerate().filter(|(_, byte)| **byte == what[0]);
    zeroes.map(|(at, _)| at).filter(move |at| bytes[*at..].starts_with(what))
}

/// A running server.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: Address,
    /// Its process.
    pub(crate) process: Running,
}
