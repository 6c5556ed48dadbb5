//! What goes into a guest: programs, modules, perf with its libraries, the scenario.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cpio::Archive;
use super::module;
use super::pack::{Files, Pack, read};
use crate::built;
use crate::paths::Paths;
use crate::process::which;
use crate::provision::Kernel;

/// The kernel's own drivers, which simrapl stands beneath; a kernel that lacks one has it built in.
const DRIVERS: [&str; 5] = ["iosf_mbi", "intel_rapl_common", "intel_rapl_msr", "rapl", "msr"];

/// Programs and modules by their path in the guest.
pub(super) struct Parts {
    programs: Files,
    perf: std::result::Result<Files, String>,
}

impl Parts {
    /// The programs of this machine, with their libraries.
    pub(super) fn build(paths: &Paths) -> Result<Self> {
        built::programs(paths)?;
        let verify = built::one_of_tests(paths, "--example", "verify")?;
        let work = paths.target.join("vm");
        let mut pack = Pack::new(work.clone())?;
        pack.program_as(&paths.binary("release", "lab-guest"), "init")?;
        pack.program_as(&paths.binary("release", "wattprobe"), "bin/wattprobe")?;
        pack.program_as(&paths.binary("release", "lab-flood"), "bin/lab-flood")?;
        pack.program_as(&verify, "bin/verify")?;
        let perf = perf(work).map_err(|e| format!("{e:#}"));
        Ok(Self { programs: pack.linked()?, perf })
    }

    /// Why there is no perf, if there is none.
    pub(super) fn without_perf(&self) -> Option<&str> {
        self.perf.as_ref().err().map(String::as_str)
    }

    /// The initramfs of one run.
    pub(super) fn initramfs(
        &self,
        modules: Option<&Files>,
        perf: bool,
        more: &Files,
        scenario: Vec<u8>,
    ) -> Result<Vec<u8>> {
        let perf = self.perf.as_ref().ok().filter(|_| perf);
        let parts = [Some(&self.programs), perf, modules, Some(more)];
        // A library that several of them bring is there once.
        let all: BTreeMap<_, _> = parts.into_iter().flatten().flatten().collect();
        let mut archive = Archive::default();
        for (path, content) in all {
            archive.add(path, content.clone());
        }
        archive.add("scenario.json", scenario);
        archive.bytes()
    }
}

/// Why a kernel has no modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unbuilt {
    /// This machine has not what it takes.
    Lacking(String),
    /// It has, and the module does not build or cannot be read all the same.
    Broken(String),
}

impl Unbuilt {
    pub(super) fn why(&self) -> &str {
        let (Self::Lacking(why) | Self::Broken(why)) = self;
        why
    }
}

/// The modules of one kernel: ours, built for it, and its own.
pub(super) fn modules(paths: &Paths, cache: &Path, kernel: &Kernel) -> Result<Files, Unbuilt> {
    let files = DRIVERS.iter().filter_map(|name| kernel.module(name));
    let unpackers: Vec<_> = files.filter_map(|file| unpacker(&file)).collect();
    let needed = ["make", "gcc", "strip"].into_iter().chain(unpackers);
    if let Some(why) = lacking(needed, |name| which(name).is_some()) {
        return Err(Unbuilt::Lacking(why));
    }
    build(paths, cache, kernel).map_err(|e| Unbuilt::Broken(format!("{e:#}")))
}

/// The first of these programs that is not there.
fn lacking<'a>(
    mut needed: impl Iterator<Item = &'a str>,
    there: impl Fn(&str) -> bool,
) -> Option<String> {
    let name = needed.find(|name| !there(name))?;
    Some(format!("{name} is not installed, which the simulated RAPL needs; install it"))
}

fn build(paths: &Paths, cache: &Path, kernel: &Kernel) -> Result<Files> {
    let mut all = BTreeMap::new();
    let ours = module::build(&paths.root.join("probe-lab/simrapl"), cache, kernel)?;
    all.insert("m/simrapl.ko".to_owned(), read(&ours)?);
    for name in DRIVERS {
        if let Some(file) = kernel.module(name) {
            all.insert(format!("m/{name}.ko"), plain(&file)?);
        }
    }
    Ok(all)
}

/// The program that decompresses a module's file, if it is compressed.
fn unpacker(file: &Path) -> Option<&'static str> {
    match file.extension().and_then(|e| e.to_str()) {
        Some("xz") => Some("xz"),
        Some("zst") => Some("zstd"),
        Some("gz") => Some("gzip"),
        _ => None,
    }
}

/// The content of a module's file, decompressed.
fn plain(file: &Path) -> Result<Vec<u8>> {
    let Some(program) = unpacker(file) else { return read(file) };
    let out = Command::new(program).arg("-dc").arg(file).output();
    let out = out.with_context(|| format!("cannot start {program}; install it"))?;
    if !out.status.success() {
        bail!("{program} cannot read {}", file.display());
    }
    Ok(out.stdout)
}

/// The machine's perf.
fn perf(work: PathBuf) -> Result<Files> {
    let program = which("perf").context("perf is not installed; apt-get install linux-perf")?;
    let mut pack = Pack::new(work)?;
    pack.program_as(&program, "bin/perf")?;
    pack.linked()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_named_and_a_present_one_is_no_excuse() {
        let needed = || ["make", "gcc", "xz"].into_iter();
        assert!(lacking(needed(), |name| name != "xz").unwrap().contains("xz is not installed"));
        assert_eq!(lacking(needed(), |_| true), None);
        assert_eq!(unpacker(Path::new("msr.ko.zst")), Some("zstd"));
        assert_eq!(unpacker(Path::new("msr.ko")), None);
    }
}
