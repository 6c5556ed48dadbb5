//! Everything that must hold without running a test. Runs all of it, then says what failed.

use std::process::Command;

use anyhow::{Result, bail};

use crate::paths::Paths;
use crate::{build_ebpf, process, provision};

/// Runs every lint.
pub(crate) fn run(paths: &Paths) -> Result<()> {
    let cargo = |arguments: &str| {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(&paths.root).args(arguments.split(' '));
        cargo
    };
    let mut failed = Vec::new();
    let mut note = |name: &str, result: Result<()>| {
        if let Err(error) = result {
            eprintln!("lint: {name}: {error:#}");
            failed.push(name.to_owned());
        }
    };

    note("format", process::run(&mut cargo("fmt --all --check")));
    for apart in ["probe-ebpf", "probe-user/fuzz"] {
        note(&format!("format of {apart}"), process::run(&mut format_apart(paths, apart)));
    }
    note(
        "clippy",
        process::run(&mut cargo("clippy --quiet --workspace --all-targets -- -D warnings")),
    );
    note(
        "documentation",
        process::run(
            cargo("doc --quiet --workspace --no-deps --document-private-items")
                .env("RUSTDOCFLAGS", "-D warnings"),
        ),
    );
    note("eBPF object", build_ebpf::run(paths, true));
    match provision::cargo_deny(paths) {
        // Advisories need a database from the network; the other checks read the lock file and the manifests of all
        // crates, also of those for other systems, which no build has fetched.
        Ok(deny) => note(
            "dependencies",
            process::run(&mut cargo("fetch --quiet --locked")).and_then(|()| {
                let checks = ["--offline", "check", "bans", "licenses", "sources"];
                process::run(Command::new(deny).current_dir(&paths.root).args(checks))
            }),
        ),
        Err(why) => println!("lint: not run: dependencies, because {why:#}"),
    }

    if failed.is_empty() {
        println!("lint: clean");
        return Ok(());
    }
    bail!("lint: {} failed", failed.join(", "))
}

/// Of a crate that is no member of the workspace.
fn format_apart(paths: &Paths, folder: &str) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(paths.root.join(folder)).args(["fmt", "--check"]);
    cargo
}
