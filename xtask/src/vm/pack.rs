//! Programs with the libraries that `ldd` names, and whole folders, by their paths in a guest.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::output;

/// Files by their path in the guest.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// What is being packed.
pub(super) struct Pack {
    /// Where programs are stripped.
    work: PathBuf,
    files: Files,
    /// Programs and libraries of which the libraries are still missing; and whether it is known that they run here.
    unlinked: Vec<(PathBuf, bool)>,
}

impl Pack {
    pub(super) fn new(work: PathBuf) -> Result<Self> {
        fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
        Ok(Self { work, files: BTreeMap::new(), unlinked: Vec::new() })
    }

    pub(super) fn content(&mut self, place: &str, content: Vec<u8>) {
        self.files.insert(place.to_owned(), content);
    }

    /// At the very path that it has here.
    pub(super) fn file(&mut self, path: &Path) -> Result<()> {
        self.content(&inside(path), read(path)?);
        Ok(())
    }

    /// The same of a program.
    pub(super) fn program(&mut self, path: &Path) -> Result<()> {
        self.program_as(path, &inside(path))
    }

    /// Without what only a debugger reads.
    pub(super) fn program_as(&mut self, path: &Path, place: &str) -> Result<()> {
        let stripped = self.work.join("stripped");
        output(Command::new("strip").arg("-o").arg(&stripped).arg(path))?;
        self.content(place, read(&stripped)?);
        self.unlinked.push((path.to_owned(), true));
        Ok(())
    }

    /// Everything beneath; links are followed.
    pub(super) fn folder(&mut self, folder: &Path) -> Result<()> {
        let entries =
            fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !["__pycache__", "test", "pip"].contains(&name) {
                    self.folder(&path)?;
                }
            } else if path.is_file() {
                if name.contains(".so") || name.ends_with(".node") {
                    self.unlinked.push((path.clone(), false));
                }
                self.file(&path)?;
            }
        }
        Ok(())
    }

    /// With the libraries of all programs.
    pub(super) fn linked(mut self) -> Result<Files> {
        for (path, runs) in self.unlinked {
            let said = output(Command::new("ldd").arg(&path));
            // What is static, or a library for another system, has none.
            let said = match said {
                Err(error) if runs => return Err(error),
                Err(_) => continue,
                Ok(said) => said,
            };
            let lacks = said.lines().find(|line| line.ends_with("=> not found"));
            if let Some(line) = lacks.filter(|_| runs) {
                bail!("{} needs {}", path.display(), line.trim());
            }
            for library in libraries(&said) {
                if let Entry::Vacant(place) = self.files.entry(inside(&library)) {
                    place.insert(read(&library)?);
                }
            }
        }
        Ok(self.files)
    }
}

/// A path of this machine as one in the guest.
pub(super) fn inside(path: &Path) -> String {
    path.display().to_string().trim_start_matches('/').to_owned()
}

/// The files in what `ldd` prints.
fn libraries(ldd: &str) -> Vec<PathBuf> {
    let words = ldd.lines().filter_map(|line| line.split_whitespace().find(|w| w.starts_with('/')));
    words.map(PathBuf::from).collect()
}

pub(super) fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_is_among_the_libraries_and_the_kernels_own_is_not() {
        let said = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld-linux.so.2 (0x3)\n";
        assert_eq!(
            libraries(said),
            ["/lib/x/libc.so.6", "/lib64/ld-linux.so.2"].map(PathBuf::from)
        );
    }

    #[test]
    fn a_program_comes_with_its_libraries() {
        let dir = std::env::temp_dir().join(format!("pack-{}", std::process::id()));
        let mut pack = Pack::new(dir.clone()).unwrap();
        pack.program_as(Path::new("/bin/sh"), "bin/own").unwrap();
        let files = pack.linked().unwrap();
        fs::remove_dir_all(dir).unwrap();
        assert!(files["bin/own"].starts_with(b"\x7fELF"));
        assert!(files.keys().any(|path| path.contains("libc.so")), "{:?}", files.keys());
    }
}
