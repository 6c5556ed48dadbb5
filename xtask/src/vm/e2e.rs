//! The end-to-end tests inside a guest: the very binaries that this machine would run, with the servers that they start, at
//! the very paths that they expect.
//!
//! Nothing is built for the guest: python and node go there with all of their folders. Where its processor is emulated, a
//! tiny model lies where the real one is expected.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::pack::{Files, Pack, inside, read};
use crate::built;
use crate::paths::Paths;
use crate::process::{output, which};
use crate::provision;
use crate::test::NEEDS;

/// Where the guest finds the tests.
const TESTS: &str = "bin/e2e";
/// Where the tests find out what parts there are.
const LIST: &str = "cache/provisioned.json";

/// Files by their path in the guest, for these tests (the beginnings of their names).
pub(super) fn files(paths: &Paths, tests: &[String], emulated: bool) -> Result<Files> {
    let mut pack = Pack::new(paths.target.join("vm"))?;
    built::programs(paths)?;
    pack.program_as(&built::one_of_tests(paths, "--test", "e2e")?, TESTS)?;
    pack.program(&paths.binary("debug", "wattprobe"))?;
    for name in ["lab-server", "lab-load"] {
        pack.program(&paths.binary("release", name))?;
    }
    pack.program_as(&which("sh").context("there is no sh")?, "bin/sh")?;
    pack.folder(&paths.root.join("probe-lab/servers"))?;
    let needed: BTreeSet<&str> = NEEDS
        .iter()
        .filter(|(server, _)| tests.iter().any(|test| test.starts_with(server)))
        .flat_map(|(_, parts)| *parts)
        .copied()
        .collect();
    if !needed.is_empty() {
        let have = provision::tests(paths)?;
        for name in &needed {
            let place = have.parts.get(name).with_context(|| format!("{name} is missing"))?;
            part(&mut pack, name, place)?;
        }
        let model = have.parts.get("model").filter(|_| emulated && needed.contains("model"));
        if let Some(model) = model {
            // Last, in the place of the real one, which came with the folder of python.
            pack.content(&inside(model), read(&provision::tiny_model(paths, model)?)?);
        }
        pack.content(LIST, serde_json::to_vec(&have)?);
    }
    pack.linked()
}

fn part(pack: &mut Pack, name: &str, place: &Path) -> Result<()> {
    match name {
        "python" => {
            let environment = place.parent().and_then(Path::parent).context("no environment")?;
            pack.folder(environment)?;
            let library = "import sysconfig; print(sysconfig.get_path('stdlib'))";
            let library = output(Command::new(place).args(["-c", library]))?;
            pack.folder(Path::new(library.trim()))?;
            pack.program(place)?;
            let itself = fs::canonicalize(place)?;
            // By its plain name, too: so the tests start what needs no packages.
            pack.program_as(&itself, "bin/python3")?;
            pack.program(&itself)
        }
        "node" => pack.program(place),
        _ if place.is_dir() => pack.folder(place),
        _ => pack.file(place),
    }
}
