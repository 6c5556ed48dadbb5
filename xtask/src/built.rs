//! What cargo builds here, and from which crates: cargo compiles a dependency anew wherever another choice of crates asks for
//! other features of it, so every command makes one of these choices. Those of release builds come to the same features, as
//! `one-build` in `probe-lab/Cargo.toml` sees to.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::paths::Paths;
use crate::process::{output, run};

/// The crates of release builds.
const RELEASED: [&str; 4] = ["--package", "wattprobe", "--package", "probe-lab"];

/// Those of debug builds.
const TESTED: [&str; 3] = ["--workspace", "--exclude", "probe-lab"];

/// The probe, the demo's server and the load client: release builds.
pub(crate) fn programs(paths: &Paths) -> Result<()> {
    run(cargo(paths, "build").args(["--release", "--quiet", "--bins"]).args(RELEASED))
}

/// A benchmark, of which the name is still to be said.
pub(crate) fn bench(paths: &Paths) -> Command {
    let mut cargo = cargo(paths, "bench");
    cargo.args(RELEASED);
    cargo
}

/// Tests of every crate but `probe-lab`, whose transformer takes long to build and crawls in a debug build: nobody else
/// needs it.
pub(crate) fn tests(paths: &Paths) -> Command {
    let mut cargo = cargo(paths, "test");
    cargo.args(TESTED);
    cargo
}

/// Those of `probe-lab`.
pub(crate) fn lab_tests(paths: &Paths) -> Command {
    let mut cargo = cargo(paths, "test");
    cargo.args(["--release", "--package", "probe-lab", "--no-fail-fast"]);
    cargo
}

/// A test or an example of those that [`tests`] builds.
pub(crate) fn one_of_tests(paths: &Paths, kind: &str, name: &str) -> Result<PathBuf> {
    // `cargo test` would put a test harness around an example that is named.
    let mut build = cargo(paths, "build");
    build.args(TESTED).args(["--quiet", "--message-format=json", kind, name]);
    let said = output(&mut build)?;
    executable(&said, name).with_context(|| format!("cargo named no executable {name}"))
}

fn cargo(paths: &Paths, command: &str) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&paths.root).arg(command);
    cargo
}

/// The last executable of this name in cargo's messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let of = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == name).then_some(())?;
        message["executable"].as_str().map(PathBuf::from)
    };
    messages.lines().filter_map(of).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_the_one_that_cargo_names_last() {
        let messages = "\
            {\"target\":{\"name\":\"wattprobe\"},\"executable\":null}\n\
            {\"target\":{\"name\":\"wattprobe\"},\"executable\":\"/t/wattprobe\"}\n\
            not json\n\
            {\"target\":{\"name\":\"e2e\"},\"executable\":\"/t/deps/e2e-1\"}\n";
        assert_eq!(executable(messages, "e2e"), Some("/t/deps/e2e-1".into()));
        assert_eq!(executable(messages, "wattprobe"), Some("/t/wattprobe".into()));
        assert_eq!(executable(messages, "other"), None);
    }
}
