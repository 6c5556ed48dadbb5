//! The simulated RAPL, built for one kernel and kept by what it was built from.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::output;
use crate::provision::{Kernel, cc};

const NAME: &str = "simrapl.ko";

/// The path of `simrapl.ko`; builds it where source, kernel or compiler changed.
pub(super) fn build(source: &Path, cache: &Path, kernel: &Kernel) -> Result<PathBuf> {
    let compiler =
        output(Command::new("gcc").arg("--version")).context("a C compiler is needed")?;
    let files = sources(source)?;
    let mut hash = DefaultHasher::new();
    (&files, &kernel.release, &compiler).hash(&mut hash);
    let dir = cache.join("modules").join(format!("{}-{:016x}", kernel.release, hash.finish()));
    let built = dir.join(NAME);
    if built.is_file() {
        return Ok(built);
    }
    let work = dir.join("build");
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    for (name, content) in &files {
        fs::write(work.join(name), content)?;
    }
    // The kernel's own image is not there to take type information from, and nothing needs the module's.
    let made = Command::new("make")
        .arg("-C")
        .arg(kernel.headers())
        .arg(format!("M={}", work.display()))
        .arg(format!("CC={}", cc(&work)?.display()))
        .args(["HOSTCC=gcc", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"])
        .output()
        .context("cannot start make")?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr);
        bail!("simrapl does not build for {}: {}", kernel.release, last_error(&said));
    }
    output(Command::new("strip").arg("-g").arg(work.join(NAME)))?;
    fs::rename(work.join(NAME), &built)?;
    fs::remove_dir_all(&work)?;
    Ok(built)
}

/// The last line that says what is wrong; make's own only repeat that something is.
fn last_error(said: &str) -> &str {
    let lines = || said.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let telling = lines().find(|line| line.contains("error") && !line.starts_with("make"));
    telling.or_else(|| lines().next()).unwrap_or("it said nothing")
}

/// Name and content of each file, in order of name.
fn sources(dir: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "Makefile" || name.ends_with(".c") || name.ends_with(".h") {
            files.push((name, fs::read(entry.path())?));
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_last_error_is_told_and_not_makes() {
        let said = "a.c:1: warning: w\na.c:2:3: error: no such field\nmake[1]: *** [x] Error 1\nmake: *** error\n";
        assert_eq!(last_error(said), "a.c:2:3: error: no such field");
        assert_eq!(last_error("make: *** No rule\n\n"), "make: *** No rule");
        assert_eq!(last_error(""), "it said nothing");
    }
}
