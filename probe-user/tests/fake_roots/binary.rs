//! The real binary on a fake machine. It must answer in time, whatever is in the tree.

use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::tree::Tree;

/// An answer takes milliseconds; a hang would take forever.
const LIMIT: Duration = Duration::from_secs(60);

fn answer(tree: &Tree, args: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wattprobe"))
        .args(args)
        .arg("--sysfs-root")
        .arg(tree.root.sysfs())
        .arg("--procfs-root")
        .arg(if args[0] == "attach" { "/proc".into() } else { tree.root.procfs() })
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    #[expect(clippy::disallowed_methods, reason = "a test may ask what time it is")]
    let begin = Instant::now();
    while child.try_wait().expect("it is ours").is_none() {
        if begin.elapsed() > LIMIT {
            child.kill().expect("it is ours");
            panic!("no answer to {args:?}");
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().expect("it has ended")
}

/// Exit status and quality.
pub(crate) fn doctor(tree: &Tree) -> (i32, String) {
    let output = answer(tree, &["doctor", "--json"]);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
    let quality = report["quality"].as_str().expect("a quality").to_owned();
    (output.status.code().expect("it exits"), quality)
}

/// Exit status and what it says when powercap is asked for; `None` where this user may not attach at all.
pub(crate) fn attach(tree: &Tree) -> Option<(Option<i32>, String)> {
    let pid = std::process::id().to_string();
    let args = ["attach", "--pid", &pid, "--for", "1s", "--source", "rapl-powercap"];
    let output = answer(tree, &args);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if text.contains("privilege") && !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root may attach");
        return None;
    }
    Some((output.status.code(), text))
}
