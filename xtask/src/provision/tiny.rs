//! A model that an emulated processor can run, made from the vocabulary of the servers' own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::paths::Paths;
use crate::process::run;

/// llama.cpp's own library for model files, and what it needs.
const LIBRARY: [&str; 2] = ["gguf==0.19.0", "numpy==2.4.6"];

/// The path of the model.
pub(crate) fn model(paths: &Paths, vocabulary: &Path) -> Result<PathBuf> {
    let venv = paths.cache.join("gguf");
    let (python, tiny) = (venv.join("bin/python"), venv.join("tiny.gguf"));
    let script = paths.root.join("probe-lab/servers/tiny_model.py");
    let recipe =
        fs::read_to_string(&script).with_context(|| format!("cannot read {}", script.display()))?;
    super::once(&venv, &format!("{}\n{recipe}", LIBRARY.join(" ")), || {
        super::wheel::install(&venv, &LIBRARY)?;
        run(Command::new(&python).arg(&script).arg(vocabulary).arg(&tiny))
    })?;
    Ok(tiny)
}
