//! The plain final summary: what each request cost, then the books and whether they close.
//!
//! Printed once, at the end, to a stream that may be a file or a pipe. Only the last requests are
//! kept, so that a probe that ran for a month prints and remembers no more than one that ran a minute.

pub mod closing;
pub mod layout;
pub mod ledger;
pub mod requests;

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;

use self::requests::Totals;
use super::{ExportError, Sink};
use crate::record::{Kind, RequestRecord};
use crate::snapshot::Snapshot;

/// Requests shown.
pub const KEEP: usize = 200;

/// The last requests and the totals of all.
#[derive(Debug)]
pub struct Recent {
    keep: usize,
    records: VecDeque<Arc<RequestRecord>>,
    totals: Totals,
}

impl Recent {
    /// Remembers the last `keep` requests.
    #[must_use]
    pub fn new(keep: usize) -> Self {
        Self { keep, records: VecDeque::new(), totals: Totals::default() }
    }

    /// Adds one, forgetting the oldest when full. Checks are counted and not remembered: they would push the others out.
    pub fn push(&mut self, record: &Arc<RequestRecord>) {
        self.totals.add(record);
        if record.kind == Kind::Check {
            return;
        }
        if self.records.len() == self.keep {
            self.records.pop_front();
        }
        if self.keep > 0 {
            self.records.push_back(Arc::clone(record));
        }
    }

    /// The last `n`, oldest first.
    pub fn last(&self, n: usize) -> impl Iterator<Item = &RequestRecord> {
        self.records.iter().skip(self.records.len().saturating_sub(n)).map(Arc::as_ref)
    }

    /// Sums over all requests ever pushed.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }
}

/// Prints the summary for people at the end of the run.
pub struct Table {
    out: Box<dyn Write + Send>,
    place: &'static str,
    recent: Recent,
}

impl Table {
    /// To `out`, which messages call `place`. No width limits its lines.
    pub fn new(out: impl Write + Send + 'static, place: &'static str) -> Self {
        Self { out: Box::new(out), place, recent: Recent::new(KEEP) }
    }
}

impl Sink for Table {
    fn request(&mut self, record: &Arc<RequestRecord>) -> Result<(), ExportError> {
        self.recent.push(record);
        Ok(())
    }

    fn snapshot(&mut self, _: &Arc<Snapshot>) -> Result<(), ExportError> {
        Ok(())
    }

    fn finish(&mut self, summary: &Snapshot) -> Result<(), ExportError> {
        let text = report(&self.recent, summary, None);
        self.out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
            .map_err(|source| ExportError::Write { place: self.place.to_owned(), source })
    }
}

/// The whole final report.
#[must_use]
pub fn report(recent: &Recent, summary: &Snapshot, width: Option<usize>) -> String {
    let mut parts = Vec::new();
    let shown: Vec<&RequestRecord> = recent.last(usize::MAX).collect();
    let hidden = recent.totals().rows().saturating_sub(shown.len() as u64);
    if hidden > 0 {
        parts.push(format!(
            "The last {} requests; {hidden} earlier ones are in the totals only (--requests FILE keeps all).",
            shown.len()
        ));
    }
    if !shown.is_empty() {
        parts.push(requests::table(&shown, &summary.started, width));
    }
    parts.push(requests::totals_line(recent.totals()));
    parts.push(ledger::domains(summary, width));
    parts.push(ledger::consumers(summary, width));
    parts.push(ledger::targets(summary, width));
    parts.push(closing::not_understood(summary));
    parts.push(closing::cost(summary, width));
    parts.push(closing::verdict(summary));
    parts.retain(|part| !part.is_empty());
    let mut text = String::from("\n");
    text.push_str(&parts.join("\n\n"));
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    fn example_report(requests: u64, keep: usize, width: Option<usize>) -> String {
        let mut recent = Recent::new(keep);
        for number in 1..=requests {
            recent.push(&Arc::new(example::record(number)));
            recent.push(&Arc::new(example::check(number)));
        }
        report(&recent, &example::snapshot(10.0), width)
    }

    #[test]
    fn the_report_of_a_run_is_this_text() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/export/table/report.txt");
        let text = example_report(12, KEEP, None);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(golden, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(golden).unwrap(), "BLESS=1 renews {golden}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [60, 80, 100, 132] {
            let text = example_report(12, KEEP, Some(width));
            let table = text.lines().take_while(|l| !l.contains("requests:"));
            let widest = table.map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width, "{widest} > {width}\n{text}");
            assert!(text.contains("[J]"), "the energy is the last thing to go");
        }
    }

    #[test]
    fn memory_and_output_are_bounded_by_the_requests_kept() {
        let text = example_report(1000, 5, None);
        assert!(text.contains("The last 5 requests; 995 earlier ones"), "{text}");
        assert_eq!(
            text.lines()
                .filter(|line| line.contains("/v1/chat") || line.contains("/completion"))
                .count(),
            5
        );
        assert!(text.contains("1 000 requests"), "{text}");
    }

    #[test]
    fn what_was_not_measured_is_a_dash_and_never_zero() {
        let mut recent = Recent::new(5);
        recent.push(&Arc::new(example::record(6)));
        let text = report(&recent, &example::snapshot(10.0), None);
        let row = text.lines().find(|line| line.contains("aborted")).unwrap();
        assert_eq!(row.matches('–').count(), 10, "{row}");
    }

    #[test]
    fn a_stream_that_is_gone_is_called_by_its_name() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let error = Table::new(full, "standard error").finish(&example::snapshot(1.0));
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("writing to standard error failed: "), "{error}");
    }

    #[test]
    fn a_run_without_requests_still_shows_the_books() {
        let text = example_report(0, KEEP, None);
        assert!(text.contains("package-0") && text.contains("Books close"), "{text}");
    }
}
