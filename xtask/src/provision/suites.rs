//! Packages of other Debian suites, without root: an apt configuration of our own, with its own lists.
//!
//! The machine's sources and its package state are not touched, and its proxies are used. Packages are
//! unpacked, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{output, which};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const MIRROR: &str = "http://deb.debian.org";

/// Some suites and what they hold.
pub(crate) struct Suites {
    dir: PathBuf,
}

impl Suites {
    /// Fetches the lists of `suites` into `dir`, or takes those that are there.
    pub(crate) fn open(dir: &Path, suites: &[&str]) -> Result<Self> {
        ensure!(which("apt-get").is_some() && which("dpkg").is_some(), "not a Debian system");
        ensure!(
            Path::new(KEYRING).is_file(),
            "{KEYRING} is missing: install debian-archive-keyring"
        );
        for part in ["lists/partial", "archives/partial"] {
            let part = dir.join(part);
            fs::create_dir_all(&part)
                .with_context(|| format!("cannot create {}", part.display()))?;
        }
        let this = Self { dir: dir.to_owned() };
        let list = sources(suites, &mirror());
        super::once(dir, &list, || {
            fs::write(dir.join("sources.list"), &list)?;
            fs::write(dir.join("status"), "")?;
            this.update()
        })?;
        Ok(this)
    }

    fn update(&self) -> Result<()> {
        output(self.command("apt-get").args(["update", "-qq", "-o", "APT::Update::Error-Mode=any"]))
            .map(drop)
            .context("cannot fetch the package lists")
    }

    /// The packages that this one depends on.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<String>> {
        let said = output(self.command("apt-cache").args(["depends", package]))?;
        Ok(dependencies(&said))
    }

    /// Names of packages that begin so.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let said = output(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    /// Downloads packages into a folder of their own and unpacks them into `root`.
    pub(crate) fn unpack(&self, packages: &[String], root: &Path) -> Result<()> {
        // Beside where they go, so that nobody else's lie among them; what an earlier run left is not taken.
        let files = root.with_extension("debs");
        let _ = fs::remove_dir_all(&files);
        fs::create_dir_all(&files).with_context(|| format!("cannot create {}", files.display()))?;
        let get =
            || output(self.command("apt-get").current_dir(&files).arg("download").args(packages));
        if get().is_err() {
            // The lists may be older than the mirror's packages.
            self.update()?;
            get()?;
        }
        fs::create_dir_all(root).with_context(|| format!("cannot create {}", root.display()))?;
        for file in debs(&files)? {
            output(Command::new("dpkg").arg("-x").arg(&file).arg(root))?;
        }
        fs::remove_dir_all(&files)?;
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let place = |key: &str, part: &str| format!("{key}={}", self.dir.join(part).display());
        let mut command = Command::new(program);
        for option in [
            place("Dir::Etc::sourcelist", "sources.list"),
            "Dir::Etc::sourceparts=/dev/null".into(),
            place("Dir::State", ""),
            place("Dir::State::status", "status"),
            place("Dir::Cache", ""),
            "Acquire::Languages=none".into(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
            "Acquire::Retries=3".into(),
            "APT::Sandbox::User=".into(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }
}

fn debs(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "deb") {
            found.push(path);
        }
    }
    if found.is_empty() {
        bail!("apt-get download left no package");
    }
    found.sort();
    Ok(found)
}

/// The host and folder that the machine's own sources name, else Debian's.
fn mirror() -> String {
    let mut texts = vec![fs::read_to_string("/etc/apt/sources.list").unwrap_or_default()];
    for entry in fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten() {
        texts.push(fs::read_to_string(entry.path()).unwrap_or_default());
    }
    texts.iter().find_map(|text| mirror_in(text)).unwrap_or_else(|| MIRROR.to_owned())
}

/// `http://host/debian` in a sources file → `http://host`.
fn mirror_in(text: &str) -> Option<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut words = lines.flat_map(str::split_whitespace).filter(|word| word.starts_with("http"));
    words.find_map(|word| Some(word.trim_end_matches('/').strip_suffix("/debian")?.to_owned()))
}

fn sources(suites: &[&str], mirror: &str) -> String {
    let line = |suite: &&str| {
        let archive = if suite.ends_with("-security") { "debian-security" } else { "debian" };
        format!("deb [arch=amd64 signed-by={KEYRING}] {mirror}/{archive} {suite} main\n")
    };
    suites.iter().map(line).collect()
}

/// What `apt-cache depends` lists as needed.
fn dependencies(said: &str) -> Vec<String> {
    let needed = said.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    needed.filter(|name| !name.starts_with('<')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_packages_that_are_needed_are_dependencies() {
        let said = "linux-headers-7\n |Depends: dracut\n  Depends: <linux-initramfs-tool>\n    dracut\n  \
                    Depends: linux-kbuild-7\n  Depends: linux-headers-7-common\n  Suggests: linux-doc-7\n";
        assert_eq!(dependencies(said), ["linux-kbuild-7", "linux-headers-7-common"]);
    }

    #[test]
    fn security_suites_lie_in_an_archive_of_their_own() {
        let list = sources(&["bookworm", "bookworm-security"], "http://m");
        let places: Vec<_> = list.lines().map(|line| line.split("] ").nth(1).unwrap()).collect();
        assert_eq!(
            places,
            ["http://m/debian bookworm main", "http://m/debian-security bookworm-security main"]
        );
    }

    #[test]
    fn the_mirror_is_the_one_that_the_machine_uses() {
        let text = "Types: deb\n# http://snapshot.debian.org/archive/debian/\nURIs: http://near.example/debian\n";
        assert_eq!(mirror_in(text).unwrap(), "http://near.example");
        assert_eq!(mirror_in("deb https://other.example/ubuntu noble main"), None);
    }
}
