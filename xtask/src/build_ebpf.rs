//! Builds the committed eBPF object, the same bytes wherever it is built.
//!
//! The compiler is Debian's (its `core` for BPF is prebuilt); paths are remapped, debug sections are
//! stripped (BTF stays), and the lock file pins every crate. What remains to differ is the compiler's
//! own version, so that is what a mismatch names.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths::Paths;
use crate::process::{self, output};

const RUSTC: &str = "/usr/bin/rustc";
const STRIP: &str = "/usr/lib/llvm-22/bin/llvm-strip";
const OBJECT: &str = "probe-ebpf/wattprobe.bpf.o";
/// The debug information is what BTF is made from.
const FLAGS: &str = "-C debuginfo=2 -C link-arg=--btf";

/// Builds it; with `check`, elsewhere, and fails when the bytes differ from the committed ones.
pub(crate) fn run(paths: &Paths, check: bool) -> Result<()> {
    let linker = crate::provision::ebpf_chain(paths)?;
    let built = build(paths, &linker)?;
    let bytes = std::fs::read(&built)?;
    if let Some(name) = mangled(&bytes) {
        bail!(
            "the object has a function {name}, whose name depends on the checkout's path; inline it or export it"
        );
    }
    let committed = paths.root.join(OBJECT);
    if !check {
        std::fs::copy(&built, &committed).context("cannot write the object")?;
        println!("built {OBJECT} with {}", version()?);
        return Ok(());
    }
    if bytes != std::fs::read(&committed)? {
        bail!(
            "{OBJECT} is not what its source gives with {}; run `cargo xtask build-ebpf` and commit it",
            version()?
        );
    }
    println!("{OBJECT} is what its source gives");
    Ok(())
}

fn version() -> Result<String> {
    Ok(output(Command::new(RUSTC).arg("--version"))?.trim().to_owned())
}

/// Builds into the cache and returns the stripped object.
fn build(paths: &Paths, linker: &std::path::Path) -> Result<PathBuf> {
    let root = paths.root.display().to_string();
    let cargo_home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    let target = paths.cache.join("ebpf");
    process::run(Command::new("cargo").current_dir(paths.root.join("probe-ebpf")).args([
        "fetch",
        "--quiet",
        "--locked",
        "--target",
        "bpfel-unknown-none",
    ]))?;
    let mut flags = format!("{FLAGS} -C linker={} --remap-path-prefix={root}=.", linker.display());
    // Each registry has a directory of its own, whose name depends on where the crates came from.
    let registries = std::path::Path::new(&cargo_home).join("registry/src");
    for registry in std::fs::read_dir(&registries).into_iter().flatten().flatten() {
        flags += &format!(" --remap-path-prefix={}=crates", registry.path().display());
    }
    process::run(
        Command::new("cargo")
            .current_dir(paths.root.join("probe-ebpf"))
            .env("RUSTC", RUSTC)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", flags)
            .env("CARGO_TARGET_DIR", &target)
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("RUSTUP_TOOLCHAIN")
            .args(["build", "--quiet", "--locked", "--release", "--target", "bpfel-unknown-none"]),
    )
    .context("cannot build the eBPF crate")?;
    let built = target.join("bpfel-unknown-none/release/wattprobe-ebpf");
    let stripped = target.join("wattprobe.bpf.o");
    process::run(Command::new(STRIP).arg("--strip-debug").arg("-o").arg(&stripped).arg(&built))
        .context("cannot strip the object")?;
    Ok(stripped)
}

/// A name that Rust made up: it holds a hash of the package's path, so another checkout would give other bytes.
fn mangled(object: &[u8]) -> Option<String> {
    let names = object.split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    let mut made_up = names.filter(|name| name.starts_with("_RN") || name.starts_with("_ZN"));
    made_up.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_depend_on_the_path_are_found() {
        let object = b"\x7fELF\0tick\0_RNvNtCs_14wattprobe_ebpf4tick13read_counters\0\xff_RN";
        assert!(mangled(object).is_some_and(|name| name.ends_with("read_counters")));
        assert_eq!(mangled(b"\x7fELF\0tick\0read_RN\0"), None);
    }
}
