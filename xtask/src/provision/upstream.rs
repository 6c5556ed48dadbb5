//! llama.cpp's own `llama-server`, where somebody has built it: it compiles for ten minutes, so it is not
//! built here.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// The variable that names it.
const NAMED_BY: &str = "WATTPROBE_LLAMA_SERVER";

/// The binary that the environment names.
pub(crate) fn server() -> Result<PathBuf> {
    let named = env::var_os(NAMED_BY).map(PathBuf::from);
    let file =
        named.with_context(|| format!("not built here: name a llama-server in {NAMED_BY}"))?;
    ensure!(file.is_file(), "{NAMED_BY} names {}, which is no file", file.display());
    file.canonicalize().with_context(|| format!("cannot find {}", file.display()))
}
