//! Stock Debian kernels with their headers, by package name, unpacked into a cache outside the repository.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::kbuild;
use super::suites::Suites;

/// A kernel that the truth machine knows.
pub(crate) struct Known {
    /// What it is called: `6.1`.
    pub(crate) label: &'static str,
    suites: &'static [&'static str],
    /// Meta package of the image; without one the newest kernel whose version begins with the label.
    meta: Option<&'static str>,
}

/// All of them, oldest first.
pub(crate) const KNOWN: [Known; 6] = [
    Known {
        label: "5.10",
        suites: &["bullseye", "bullseye-security"],
        meta: Some("linux-image-cloud-amd64"),
    },
    Known {
        label: "6.1",
        suites: &["bookworm", "bookworm-security"],
        meta: Some("linux-image-cloud-amd64"),
    },
    Known {
        label: "6.12",
        suites: &["bookworm", "bookworm-security"],
        meta: Some("linux-image-6.12-cloud-amd64"),
    },
    Known { label: "6.18", suites: &["trixie", "trixie-backports"], meta: None },
    Known { label: "7.2", suites: &["trixie", "trixie-backports"], meta: None },
    Known { label: "7.3", suites: &["trixie", "trixie-backports"], meta: None },
];

/// Parts of a kernel; everything else that its packages need is for a running system.
const PARTS: [&str; 5] =
    ["linux-binary-", "linux-modules-", "linux-headers-", "linux-kbuild-", "linux-image-"];

/// An unpacked kernel.
#[derive(Clone)]
pub(crate) struct Kernel {
    /// What it calls itself: `6.1.0-56-cloud-amd64`.
    pub(crate) release: String,
    /// Where it is unpacked.
    pub(crate) root: PathBuf,
}

impl Kernel {
    /// Fetches it, or takes it from the cache.
    pub(crate) fn fetch(cache: &Path, known: &Known) -> Result<Self> {
        let home = cache.join("kernels").join(known.label);
        let (root, stamp) = (home.join("root"), home.join("release"));
        let kernel = |release: String| Self { release, root: root.clone() };
        if let Ok(release) = fs::read_to_string(&stamp) {
            let kernel = kernel(release);
            if kernel.image().is_file() {
                return Ok(kernel);
            }
        }
        let suites = Suites::open(&cache.join("apt").join(known.suites.join("+")), known.suites)?;
        let release = known.release(&suites)?;
        eprintln!("fetching Linux {release}");
        let first = ["image", "headers"].map(|part| format!("linux-{part}-{release}"));
        // What was cut short is never built upon: all of it is made beside, and takes its place at the end.
        let fresh = cache.join("kernels").join(format!("{}.{}", known.label, std::process::id()));
        remove(&fresh)?;
        let made = Self { release: release.clone(), root: fresh.join("root") };
        suites.unpack(&closure(&first, |name| suites.depends(name))?, &made.root)?;
        made.image()
            .metadata()
            .with_context(|| format!("its packages hold no {}", made.image().display()))?;
        made.relocate(&root)?;
        let foreign = kbuild::foreign(&made.root);
        if !foreign.is_empty() {
            let libraries = fresh.join(kbuild::BESIDE);
            suites.unpack(&kbuild::LIBRARIES.map(str::to_owned), &libraries)?;
            kbuild::adapt(&foreign, &fresh, &home)?;
        }
        fs::write(fresh.join("release"), &release)?;
        remove(&home)?;
        fs::rename(&fresh, &home)
            .with_context(|| format!("cannot move {} to {}", fresh.display(), home.display()))?;
        Ok(kernel(release))
    }

    /// The bootable image. Newer packages keep it beside the modules.
    pub(crate) fn image(&self) -> PathBuf {
        let beside = self.root.join("usr/lib/modules").join(&self.release).join("vmlinuz");
        if beside.is_file() {
            return beside;
        }
        self.root.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// Where modules are built.
    pub(crate) fn headers(&self) -> PathBuf {
        self.root.join("usr/src").join(format!("linux-headers-{}", self.release))
    }

    /// The file of a module, perhaps compressed; `None` when this kernel has it built in, or not at all.
    pub(crate) fn module(&self, name: &str) -> Option<PathBuf> {
        let folders = ["lib/modules", "usr/lib/modules"];
        folders.iter().find_map(|folder| find(&self.root.join(folder), name))
    }

    /// The headers name their shared part by an absolute path, which is below `later` once this is moved.
    fn relocate(&self, later: &Path) -> Result<()> {
        let file = self.headers().join("Makefile");
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let ours = later.join("usr/src").display().to_string();
        if !text.contains(&ours) {
            fs::write(&file, text.replace("/usr/src", &ours))?;
        }
        Ok(())
    }
}

impl Known {
    fn release(&self, suites: &Suites) -> Result<String> {
        let wanted = format!("linux-image-{}.", self.label);
        let found = match self.meta {
            Some(image) => {
                suites.depends(image)?.into_iter().find(|name| name.starts_with(&wanted))
            }
            None => newest(suites.names(&wanted)?),
        };
        let name =
            found.with_context(|| format!("no package {wanted}* in {}", self.suites.join(", ")))?;
        Ok(name.trim_start_matches("linux-image-").to_owned())
    }
}

/// The packages and what they need of [`PARTS`].
fn closure(first: &[String], depends: impl Fn(&str) -> Result<Vec<String>>) -> Result<Vec<String>> {
    let mut all = first.to_vec();
    let mut looked = 0;
    while let Some(name) = all.get(looked) {
        for needed in depends(name)? {
            if PARTS.iter().any(|part| needed.starts_with(part)) && !all.contains(&needed) {
                all.push(needed);
            }
        }
        looked += 1;
    }
    Ok(all)
}

/// The newest of the cloud images.
fn newest(names: Vec<String>) -> Option<String> {
    let version = |name: &String| -> Vec<u32> {
        let digits = name.split(|c: char| !c.is_ascii_digit());
        digits.filter_map(|part| part.parse().ok()).collect()
    };
    names.into_iter().filter(|name| name.ends_with("-cloud-amd64")).max_by_key(version)
}

/// A folder that may not be there.
fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let file = entry.file_name();
        let found = if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find(&path, name)
        } else {
            let rest = file.to_str().and_then(|file| file.strip_prefix(name));
            matches!(rest, Some(".ko" | ".ko.xz" | ".ko.zst" | ".ko.gz")).then_some(path)
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_by_number_and_a_cloud_kernel() {
        let names =
            ["6.18.9+deb13-cloud-amd64", "6.18.15+deb13-cloud-amd64", "6.18.20+deb13-amd64"];
        let names = names.map(|name| format!("linux-image-{name}")).to_vec();
        assert_eq!(newest(names).unwrap(), "linux-image-6.18.15+deb13-cloud-amd64");
    }

    #[test]
    fn a_kernel_is_its_parts_and_not_the_system_around_it() {
        let depends = |name: &str| {
            Ok(match name {
                "linux-image-7" => vec!["linux-binary-7".to_owned(), "kmod".to_owned()],
                "linux-headers-7" => vec!["linux-kbuild-7".to_owned(), "gcc-14".to_owned()],
                _ => Vec::new(),
            })
        };
        let first = ["linux-image-7".to_owned(), "linux-headers-7".to_owned()];
        let all = closure(&first, depends).unwrap();
        assert_eq!(all, ["linux-image-7", "linux-headers-7", "linux-binary-7", "linux-kbuild-7"]);
    }
}
