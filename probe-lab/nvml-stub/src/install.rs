//! Puts the library and its script where a test wants them.

use std::io;
use std::path::{Path, PathBuf};

use crate::SCRIPT;
use crate::script::Script;

/// The name under which the driver installs it.
const LIBRARY: &str = "libnvidia-ml.so.1";
/// What cargo calls it.
const BUILT: &str = "libnvml_stub.so";

/// A library with its script.
#[derive(Debug)]
pub struct Installed {
    /// The shared library.
    pub library: PathBuf,
}

/// Copies the library that cargo has built beside the running test into a directory, with this script.
/// Each copy has a state of its own. The C functions named in `missing` are not found in it.
///
/// # Errors
/// When the library was not built, or the directory cannot be written.
pub fn install(dir: &Path, script: &Script, missing: &[&str]) -> io::Result<Installed> {
    let mut bytes = std::fs::read(built()?)?;
    for name in missing {
        rename(&mut bytes, name)?;
    }
    let installed = Installed { library: dir.join(LIBRARY) };
    installed.rewrite(script)?;
    std::fs::write(&installed.library, bytes)?;
    Ok(installed)
}

impl Installed {
    /// Gives it another script; what was counted until now is counted by the new one's power.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn rewrite(&self, script: &Script) -> io::Result<()> {
        let (new, file) = (self.library.with_extension("new"), self.library.with_file_name(SCRIPT));
        std::fs::write(&new, serde_json::to_vec(script)?)?;
        std::fs::rename(&new, &file)
    }
}

/// Beside the test, or in the directory of dependencies below or above it.
fn built() -> io::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let beside = test.parent().unwrap_or(Path::new("."));
    let places = [beside.to_path_buf(), beside.join("deps"), beside.join("..")];
    let found = places.iter().map(|dir| dir.join(BUILT)).find(|file| file.is_file());
    found.ok_or_else(|| {
        let text = format!("{BUILT} is not near {}: cargo build -p nvml-stub", test.display());
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}

/// Changes a symbol's name where the dynamic linker compares it: its hash still leads there, and the
/// name is another's.
fn rename(bytes: &mut [u8], name: &str) -> io::Result<()> {
    let whole = [&[0], name.as_bytes(), &[0]].concat();
    let mut at = 0;
    let mut found = false;
    while let Some(place) = bytes.get(at..).and_then(|rest| find(rest, &whole)) {
        at += place + 1;
        if let Some(first) = bytes.get_mut(at) {
            *first = b'X';
            found = true;
        }
    }
    let absent = || io::Error::new(io::ErrorKind::NotFound, format!("no symbol {name}"));
    found.then_some(()).ok_or_else(absent)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
