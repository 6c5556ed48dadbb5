//! Counts results from the test harness's own output lines: `test NAME ... ok`.

/// What ran.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: usize,
    /// Names of those that failed.
    pub(crate) failed: Vec<String>,
}

impl Tally {
    /// From the harness's closing line of each binary, and its line for each failure.
    pub(crate) fn of(lines: &[String]) -> Self {
        let mut tally = Self::default();
        for line in lines {
            if let Some(counts) = line.strip_prefix("test result: ") {
                tally.passed += count(counts, "passed");
            } else if let Some(name) = failure(line) {
                tally.failed.push(name.to_owned());
            }
        }
        tally
    }

    /// Adds another run's counts.
    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed.extend_from_slice(&other.failed);
    }
}

/// `ok. 3 passed; 0 failed; …` → 3.
fn count(counts: &str, what: &str) -> usize {
    let words: Vec<_> = counts.split_whitespace().collect();
    words
        .windows(2)
        .find(|pair| pair[1].trim_end_matches(';') == what)
        .and_then(|pair| pair[0].parse().ok())
        .unwrap_or(0)
}

/// `test NAME ... FAILED` → NAME.
fn failure(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_over_several_binaries_and_failures_keep_their_names() {
        let lines: Vec<String> = "\
running 2 tests
test a::works ... ok
test a::breaks_here ... FAILED

failures:

---- a::breaks_here stdout ----
thread 'a::breaks_here' panicked at x.rs:1:1:

failures:
    a::breaks_here

test result: FAILED. 1 passed; 1 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s"
            .lines()
            .map(str::to_owned)
            .collect();
        let tally = Tally::of(&lines);
        assert_eq!(tally, Tally { passed: 8, failed: vec!["a::breaks_here".to_owned()] });
    }
}
