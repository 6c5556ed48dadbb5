//! What goes into a guest: static programs, modules, perf with its libraries, the scenario.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cpio::Archive;
use super::module;
use crate::paths::Paths;
use crate::process::{output, run, which};
use crate::provision::Kernel;

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The kernel's own drivers, which simrapl stands beneath; a kernel that lacks one has it built in.
const DRIVERS: [&str; 5] = ["iosf_mbi", "intel_rapl_common", "intel_rapl_msr", "rapl", "msr"];

/// Programs and modules by their path in the guest.
pub(super) struct Parts {
    programs: BTreeMap<String, Vec<u8>>,
    perf: std::result::Result<BTreeMap<String, Vec<u8>>, String>,
}

impl Parts {
    /// Builds the programs, statically, in a target folder of their own. Not in the cache that every checkout shares:
    /// cargo would take what another one built for this one's.
    pub(super) fn build(paths: &Paths) -> Result<Self> {
        let target = paths.target.join("vm");
        run(Command::new("cargo")
            .current_dir(&paths.root)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .args(["build", "--quiet", "--release", "--locked", "--target", TARGET, "--target-dir"])
            .arg(&target)
            .args(["-p", "wattprobe", "-p", "probe-lab", "--no-default-features"])
            .args(["--bin", "wattprobe", "--bin", "lab-guest", "--example", "verify"]))
        .context("cannot build the guest's programs")?;
        let release = target.join(TARGET).join("release");
        let mut programs = BTreeMap::new();
        for (to, from) in [
            ("init", "lab-guest"),
            ("bin/wattprobe", "wattprobe"),
            ("bin/verify", "examples/verify"),
        ] {
            programs.insert(to.to_owned(), read(&release.join(from))?);
        }
        Ok(Self { programs, perf: perf().map_err(|e| format!("{e:#}")) })
    }

    /// Why there is no perf, if there is none.
    pub(super) fn without_perf(&self) -> Option<&str> {
        self.perf.as_ref().err().map(String::as_str)
    }

    /// The initramfs of one run.
    pub(super) fn initramfs(
        &self,
        modules: Option<&BTreeMap<String, Vec<u8>>>,
        perf: bool,
        scenario: Vec<u8>,
    ) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        let perf = self.perf.as_ref().ok().filter(|_| perf);
        for (path, content) in self.programs.iter().chain(perf.into_iter().flatten()) {
            archive.add(path, content.clone());
        }
        for (path, content) in modules.into_iter().flatten() {
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
pub(super) fn modules(
    paths: &Paths,
    cache: &Path,
    kernel: &Kernel,
) -> Result<BTreeMap<String, Vec<u8>>, Unbuilt> {
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

fn build(paths: &Paths, cache: &Path, kernel: &Kernel) -> Result<BTreeMap<String, Vec<u8>>> {
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

/// The machine's perf with every library that it needs, by their paths.
fn perf() -> Result<BTreeMap<String, Vec<u8>>> {
    let program = which("perf").context("perf is not installed; apt-get install linux-perf")?;
    let libraries = output(Command::new("ldd").arg(&program))?;
    let mut all = BTreeMap::from([("bin/perf".to_owned(), read(&program)?)]);
    for path in library_paths(&libraries) {
        all.insert(path.display().to_string().trim_start_matches('/').to_owned(), read(&path)?);
    }
    Ok(all)
}

/// The files in what `ldd` prints.
fn library_paths(ldd: &str) -> Vec<PathBuf> {
    let words = ldd.lines().filter_map(|line| line.split_whitespace().find(|w| w.starts_with('/')));
    words.map(PathBuf::from).collect()
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
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

    #[test]
    fn the_loader_is_among_the_libraries_and_the_kernels_own_is_not() {
        let said = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld-linux.so.2 (0x3)\n";
        assert_eq!(
            library_paths(said),
            ["/lib/x/libc.so.6", "/lib64/ld-linux.so.2"].map(PathBuf::from)
        );
    }
}
