//! A server's own counters, read from its `/metrics` as anybody may.

use std::ops::{Add, Sub};
use std::thread;
use std::time::Duration;

use super::ask::{Ask, Seen};
use super::client::Address;
use super::{clock, patience};

/// How long a busy server is left alone before it is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// Tokens a server has computed since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Of prompts.
    pub(crate) prompt: u64,
    /// Of answers.
    pub(crate) completion: u64,
}

impl Add for Count {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        let (prompt, completion) = (self.prompt + more.prompt, self.completion + more.completion);
        Self { prompt, completion }
    }
}

impl Sub for Count {
    type Output = Self;

    fn sub(self, less: Self) -> Self {
        let (prompt, completion) = (self.prompt - less.prompt, self.completion - less.completion);
        Self { prompt, completion }
    }
}

/// Reads them. Every reading is a request that the probe sees like any other.
pub(crate) struct Meter<'a> {
    server: &'a Address,
    /// The readings as requests.
    pub(crate) seen: Vec<Seen>,
}

impl<'a> Meter<'a> {
    /// Of this server.
    pub(crate) fn new(server: &'a Address) -> Self {
        Self { server, seen: Vec::new() }
    }

    /// The counters once the server has nothing to do: three times in a row, as a request that it has not
    /// read yet is not in its counters.
    pub(crate) fn at_rest(&mut self) -> Count {
        let mut quiet = 0;
        let mut count = None;
        let rests = clock::wait_until(patience(), || {
            let text = self.read();
            let busy = value(&text, "requests_processing").expect("it says whether it works")
                + value(&text, "requests_deferred").unwrap_or(0);
            quiet = if busy == 0 { quiet + 1 } else { 0 };
            if busy > 0 {
                thread::sleep(AGAIN);
            }
            let completion = value(&text, "tokens_predicted_total")
                .or_else(|| value(&text, "predicted_tokens_total"));
            let prompt = value(&text, "prompt_tokens_total");
            count = prompt.zip(completion);
            quiet == 3
        });
        assert!(rests, "the server comes to rest");
        let (prompt, completion) = count.expect("the server counts its tokens");
        Count { prompt, completion }
    }

    fn read(&mut self) -> String {
        let ask = Ask::get(format!("metrics-{}", self.seen.len()), "/metrics");
        let mut connection = self.server.connect().expect("the server listens");
        let (seen, response) = connection.fetch(&ask).expect("an answer");
        self.seen.push(seen);
        response.text()
    }
}

/// The value of the line whose name ends so, whatever comes before (`llamacpp:`, `lab_`).
fn value(page: &str, name: &str) -> Option<u64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let mut named = lines.filter_map(|line| line.rsplit_once(' '));
    let (_, value) = named.find(|(key, _)| key.ends_with(name))?;
    value.parse::<f64>().ok().map(|value| value as u64)
}
