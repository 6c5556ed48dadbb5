//! What is told of a choice: why each domain was taken, and what every number of the run should say.

use super::{Choice, Outcome};
use crate::source::{Filtering, Note, Reading};

impl Choice<'_> {
    pub(super) fn explain_chosen(&mut self) {
        for domain in &self.domains {
            let sum = if domain.additive { "summed" } else { "beside, not summed" };
            let how = match &domain.reading {
                Reading::Kernel(e) => format!("read by the kernel on CPU {}", e.cpu),
                Reading::Cores(counters) => counters.to_string(),
                Reading::Polled(polled) => polled.to_string(),
                Reading::Model(m) => format!(
                    "{} threads, {} W idle and {} W busy each, ±{:.0} %",
                    m.threads,
                    m.min_watts,
                    m.max_watts,
                    domain.class_ratio * 100.0
                ),
            };
            self.notes.push(Note {
                source: domain.source.clone(),
                outcome: Outcome::Chosen,
                text: format!("{}: {how}; {sum}", domain.name),
            });
        }
    }

    /// Whether the CPU adds noise to what RAPL reports.
    pub(super) fn filtering(&mut self, cpus: &[u32]) -> Vec<String> {
        let Some(rapl) = self.domains.iter().find(|d| d.is_rapl()) else { return vec![] };
        let source = rapl.source.clone();
        let looks = cpus.iter().map(|cpu| Filtering::look(self.roots, *cpu));
        let Some(worst) = looks.max() else { return vec![] };
        if let Some(text) = worst.text() {
            self.note(&source, Outcome::Chosen, text.to_owned());
        }
        worst.flag().map(str::to_owned).into_iter().collect()
    }
}
