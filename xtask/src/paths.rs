//! Where things lie: the repository, the cache of fetched parts, cargo's output.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folders every command works in.
pub(crate) struct Paths {
    /// The repository's root.
    pub(crate) root: PathBuf,
    /// Fetched and built tools; never committed. `WATTPROBE_CACHE` moves it.
    pub(crate) cache: PathBuf,
    /// Cargo's target directory.
    pub(crate) target: PathBuf,
}

impl Paths {
    /// From this crate's own place and the environment.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask lies in the root of the repository")?
            .to_path_buf();
        let from_env = |name: &str, default: &str| {
            let path = env::var_os(name).map_or_else(|| default.into(), PathBuf::from);
            root.join(path)
        };
        Ok(Self {
            cache: from_env("WATTPROBE_CACHE", ".cache"),
            target: from_env("CARGO_TARGET_DIR", "target"),
            root,
        })
    }

    /// A binary that cargo built.
    pub(crate) fn binary(&self, profile: &str, name: &str) -> PathBuf {
        self.target.join(profile).join(name)
    }

    /// Where `cargo install --root` puts tools.
    pub(crate) fn tools(&self) -> PathBuf {
        self.cache.join("tools")
    }
}
