//! Where the fetched parts lie: `provisioned.json`, written by `cargo xtask provision`.

use std::env;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace member").to_path_buf()
}

/// A fetched part: `python`, `model`, `node`, `node_modules`, `prometheus`, `llama_server`.
pub(crate) fn part(name: &str) -> PathBuf {
    let cache = env::var_os("WATTPROBE_CACHE").map_or_else(|| root().join(".cache"), PathBuf::from);
    let file = cache.join("provisioned.json");
    let text = std::fs::read_to_string(&file)
        .unwrap_or_else(|e| panic!("{}: {e}: run `cargo xtask provision`", file.display()));
    let list: Value = serde_json::from_str(&text).expect("xtask writes JSON");
    match &list["parts"][name] {
        Value::String(path) => path.into(),
        _ => panic!("{name} is missing: {}", list["missing"][name]),
    }
}

/// A script of `probe-lab/servers`.
pub(crate) fn script(name: &str) -> PathBuf {
    root().join("probe-lab/servers").join(name)
}

/// A binary of `probe-lab`, of the release build.
pub(crate) fn lab_binary(name: &str) -> PathBuf {
    let ours = Path::new(env!("CARGO_BIN_EXE_wattprobe"));
    let target = ours.ancestors().nth(2).expect("cargo's target directory");
    let file = target.join("release").join(name);
    assert!(file.is_file(), "{} is missing: run `cargo xtask test`", file.display());
    file
}
