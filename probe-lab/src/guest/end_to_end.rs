//! End-to-end tests of the probe on the guest's kernel: the host puts the tests' own binary here, with all that it starts.

use std::fs;
use std::process::{Command, Stdio};

use super::machine;
use super::report::Findings;
use super::scenario::EndToEnd;

const TESTS: &str = "/bin/e2e";
/// Where the tests find out what parts there are.
const CACHE: &str = "/cache";

/// Runs them one after another. Figures: how many passed and failed.
///
/// # Errors
/// When they cannot be run to their end.
pub fn run(tests: &EndToEnd, emulated: bool, found: &mut Findings) -> anyhow::Result<()> {
    machine::loopback_up()?;
    fs::create_dir_all("/tmp")?;
    let (mut passed, mut failed) = (0.0, 0.0);
    for test in &tests.tests {
        let mut command = Command::new(TESTS);
        command.args(["--ignored", "--test-threads=1", "--nocapture", test]);
        command.args(tests.skip.iter().flat_map(|name| ["--skip", name]));
        command.env("WATTPROBE_CACHE", CACHE).env("WATTPROBE_BOUNDARY", &tests.boundary);
        if emulated {
            command.env("WATTPROBE_EMULATED", "1");
        }
        command.env("PATH", "/bin:/usr/bin").env("HOME", "/tmp").stdin(Stdio::null());
        let out = command.stderr(Stdio::inherit()).output()?;
        let said = String::from_utf8_lossy(&out.stdout);
        eprintln!("{said}");
        let Some((good, bad)) = counts(&said) else {
            anyhow::bail!("the tests {test} did not come to their end: {}", out.status);
        };
        anyhow::ensure!(good + bad > 0.0, "no test is called {test}");
        (passed, failed) = (passed + good, failed + bad);
    }
    found.figure(format!("{}.passed", tests.name), passed);
    found.figure(format!("{}.failed", tests.name), failed);
    Ok(())
}

/// `test result: ok. 3 passed; 0 failed; …`
fn counts(said: &str) -> Option<(f64, f64)> {
    let line = said.lines().find_map(|line| line.strip_prefix("test result: "))?;
    let count = |word: &str| {
        let before = line.split(word).next()?.split_whitespace().next_back()?;
        before.parse::<f64>().ok()
    };
    Some((count(" passed")?, count(" failed")?))
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn the_counts_are_those_of_the_last_line() {
        let said = "running 2 tests\ntest a ... ok\n\ntest result: FAILED. 12 passed; 1 failed; 0 ignored; 0 measured\n";
        assert_eq!(counts(said), Some((12.0, 1.0)));
        assert_eq!(counts("thread panicked"), None);
    }
}
