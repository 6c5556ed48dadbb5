//! From what was seen of a request and what it cost to its record.
//!
//! A request is recorded once it has both ended and settled, that is when every domain has closed the
//! window of its last byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use probe_ledger::{Account, DomainId, DomainShare, ErrorParts, Nanojoules};

use crate::{
    boundary::Facts,
    clock::Clock,
    engine::phases,
    record::{Quality, RequestRecord, SCHEMA},
    snapshot::Policies,
};

/// What a record says of the domains it sums.
#[derive(Clone)]
pub struct DomainLabel {
    /// Name: `package-0`.
    pub name: String,
    /// Source: `rapl-perf`.
    pub source: String,
    /// How it is obtained.
    pub quality: Quality,
    /// Whether it is summed.
    pub additive: bool,
    /// The domain and source that its energy is shared by, such as `core-0=amd-core-perf`; `None`: time.
    pub shared_by: Option<String>,
}

/// The domains that were summed, then those that their energy was shared by.
fn sources<'a>(used: impl Iterator<Item = &'a DomainLabel> + Clone) -> Arc<[String]> {
    let summed = used.clone().map(|label| format!("{}={}", label.name, label.source));
    let mut sources: Vec<String> = summed.collect();
    for by in used.filter_map(|label| label.shared_by.as_ref()) {
        if !sources.contains(by) {
            sources.push(by.clone());
        }
    }
    sources.into()
}

/// Requests that have ended and wait for their account.
pub struct Records {
    labels: Vec<DomainLabel>,
    names: BTreeMap<u32, Arc<str>>,
    policies: Policies,
    clock: Clock,
    waiting: BTreeMap<u64, Box<Facts>>,
    /// Of the run, and of every record made now.
    marks: BTreeSet<String>,
    /// The domains that measured the last request, and how records call them: most are measured by the same.
    measured_by: (Vec<DomainId>, Arc<[String]>),
}

impl Records {
    /// `names` are the targets' by consumer index; `labels` the domains' in the ledger's order.
    #[must_use]
    pub fn new(
        labels: Vec<DomainLabel>,
        names: BTreeMap<u32, String>,
        policies: Policies,
        clock: Clock,
    ) -> Self {
        Self {
            labels,
            names: names.into_iter().map(|(who, name)| (who, name.into())).collect(),
            policies,
            clock,
            waiting: BTreeMap::new(),
            marks: BTreeSet::new(),
            measured_by: <_>::default(),
        }
    }

    /// The domains, in the ledger's order.
    #[must_use]
    pub fn labels(&self) -> &[DomainLabel] {
        &self.labels
    }

    /// Every record made from now on carries this flag, or no longer.
    pub fn mark(&mut self, flag: &str, on: bool) {
        if on && !self.marks.contains(flag) {
            self.marks.insert(flag.to_owned());
        } else if !on {
            self.marks.remove(flag);
        }
    }

    /// A request has ended; its account comes later.
    pub fn ended(&mut self, facts: Box<Facts>) {
        self.waiting.insert(facts.request.0, facts);
    }

    /// A request has settled. `None` if it never ended, which cannot be.
    pub fn settled(&mut self, account: &Account) -> Option<RequestRecord> {
        let facts = self.waiting.remove(&account.request.0)?;
        Some(self.record(*facts, Some(account)))
    }

    /// A request that was never resident: it has no account, so no joules.
    pub fn without_account(&mut self, facts: Facts) -> RequestRecord {
        self.record(facts, None)
    }

    fn record(&mut self, facts: Facts, account: Option<&Account>) -> RequestRecord {
        let sources = self.sources(account);
        let energy = account.and_then(|a| a.energy);
        let part = |of: fn(ErrorParts) -> Nanojoules| energy.map(|e| of(e.parts).joules());
        let sum = |class: &str| self.sum(account, class);
        let (prefill, decode) = self.phases(account);
        let used = account.into_iter().flat_map(|account| self.measured(account));
        let quality = used.map(|(label, _)| label.quality).max().unwrap_or(Quality::Absent);
        let mut flags: Vec<String> = facts.flags.iter().map(|f| f.as_str().to_owned()).collect();
        match account {
            Some(account) => flags.extend(account.flags.iter().map(|f| f.name().to_owned())),
            None => flags.push("never_resident".to_owned()),
        }
        flags.extend(self.marks.iter().filter(|_| account.is_some()).cloned());
        let seconds = |ns: u64| ns as f64 / 1e9;
        let since = |t: u64| seconds(t.saturating_sub(facts.start.t));
        let spans = phases::spans(&facts);
        RequestRecord {
            schema: SCHEMA,
            request: facts.request.0,
            target: self.names.get(&facts.who).cloned().unwrap_or_default(),
            pid: facts.tgid,
            kind: facts.kind(),
            path: facts.path,
            status: facts.status,
            model: facts.model,
            stream: facts.stream,
            unread_s: facts.arrived.map(|t| seconds(facts.start.t.saturating_sub(t))),
            start: self.clock.rfc3339(facts.start.t),
            duration_s: since(facts.end.t),
            ttft_s: facts.first.map(|first| since(first.t)),
            queue_s: spans.queue.map(seconds),
            prefill_s: spans.prefill.map(seconds),
            decode_s: spans.decode.map(seconds),
            itl_p50_s: facts.gaps.map(|gaps| seconds(gaps.p50)),
            itl_p99_s: facts.gaps.map(|gaps| seconds(gaps.p99)),
            end: facts.outcome,
            prompt_tokens: facts.prompt_tokens,
            cached_tokens: facts.prompt_cached,
            completion_tokens: facts.completion_tokens,
            token_source: facts.token_source,
            joules: energy.map(|e| e.energy.joules()),
            joules_low: energy.map(|e| e.low.joules()),
            joules_high: energy.map(|e| e.high.joules()),
            error_edges_j: part(|parts| parts.edges),
            error_quantum_j: part(|parts| parts.quantum),
            error_idle_j: part(|parts| parts.idle),
            error_weight_j: part(|parts| parts.weight),
            error_class_j: part(|parts| parts.class),
            error_policy_j: part(|parts| parts.policy),
            error_gap_j: part(|parts| parts.gap),
            error_split_j: part(|parts| parts.split),
            cpu_j: sum("package"),
            dram_j: sum("dram"),
            gpu_j: sum("gpu"),
            idle_j: account.and_then(|a| a.idle).map(Nanojoules::joules),
            prefill_j: prefill.map(Nanojoules::joules),
            decode_j: decode.map(Nanojoules::joules),
            cpu_s: account.map(|a| a.cpu.seconds()),
            mean_residents: account.map(|a| a.mean_residents),
            quality,
            sources,
            weight: self.policies.weight.clone(),
            share: self.policies.share.clone(),
            idle: self.policies.idle.clone(),
            flags,
            external_id: facts.external_id,
        }
    }

    /// How records call the domains that measured the request.
    fn sources(&mut self, account: Option<&Account>) -> Arc<[String]> {
        let Some(account) = account else { return <_>::default() };
        let used = || self.measured(account).map(|(_, share)| share.domain);
        if !used().eq(self.measured_by.0.iter().copied()) {
            let names = sources(self.measured(account).map(|(label, _)| label));
            self.measured_by = (used().collect(), names);
        }
        self.measured_by.1.clone()
    }

    /// The additive domains that measured the request, and what they say of it.
    fn measured<'a>(
        &'a self,
        account: &'a Account,
    ) -> impl Iterator<Item = (&'a DomainLabel, &'a DomainShare)> + Clone {
        let of = |share: &'a DomainShare| Some((self.labels.get(share.domain.0)?, share));
        let known = account.domains.iter().filter_map(of);
        known.filter(|(label, share)| label.additive && share.active.is_some())
    }

    /// Joules of the additive domains of one class; `None` where there is none.
    fn sum(&self, account: Option<&Account>, class: &str) -> Option<f64> {
        let of_class = |label: &DomainLabel| label.name.split('-').next() == Some(class);
        let measured = self.measured(account?).filter(|(label, _)| of_class(label));
        measured
            .filter_map(|(_, share)| share.active.map(|estimate| estimate.energy))
            .reduce(Nanojoules::saturating_add)
            .map(Nanojoules::joules)
    }

    /// Energy before and after the end of prefill, over the additive domains; `None` where that is not known.
    fn phases(&self, account: Option<&Account>) -> (Option<Nanojoules>, Option<Nanojoules>) {
        let Some(account) = account else { return (None, None) };
        let total = |phase: fn(&DomainShare) -> Option<Nanojoules>| {
            let mut parts = self.measured(account).map(|(_, share)| phase(share)).peekable();
            parts.peek()?;
            parts.try_fold(Nanojoules(0), |sum, part| Some(sum.saturating_add(part?)))
        };
        (total(|share| share.prefill), total(|share| share.decode))
    }
}

#[cfg(test)]
mod tests {
    use probe_ledger::{ConsumerId, Estimate, Flags, Nanos};

    use super::*;
    use crate::engine::phases::tests::facts;

    /// A second of 2 J, each part of the bar another.
    fn account() -> Account {
        let mj = |n: u64| Nanojoules(n * 1_000_000);
        let parts = ErrorParts {
            edges: mj(1),
            quantum: mj(2),
            idle: mj(3),
            weight: mj(4),
            class: mj(5),
            policy: mj(6),
            gap: mj(7),
            split: mj(8),
        };
        Account {
            request: probe_ledger::RequestId(1),
            target: ConsumerId(3),
            domains: vec![],
            energy: Some(Estimate { energy: mj(2000), low: mj(1900), high: mj(2200), parts }),
            idle: None,
            cpu: Nanos(1),
            resident: Nanos(1),
            mean_residents: 1.0,
            flags: Flags::default(),
        }
    }

    fn parts(record: &RequestRecord) -> [Option<f64>; 8] {
        [
            record.error_edges_j,
            record.error_quantum_j,
            record.error_idle_j,
            record.error_weight_j,
            record.error_class_j,
            record.error_policy_j,
            record.error_gap_j,
            record.error_split_j,
        ]
    }

    #[test]
    fn every_part_of_the_error_bar_is_in_the_record_and_none_is_zero_without_energy() {
        let policies = probe_ledger::Policies::default().into();
        let mut records = Records::new(vec![], BTreeMap::new(), policies, Clock::at(0));
        let record = records.record(facts(), Some(&account()));
        assert_eq!(parts(&record), [1, 2, 3, 4, 5, 6, 7, 8].map(|mj| Some(f64::from(mj) / 1e3)));
        let unmeasured = Account { energy: None, ..account() };
        assert_eq!(parts(&records.record(facts(), Some(&unmeasured))), [None; 8]);
        assert_eq!(parts(&records.without_account(facts())), [None; 8]);
    }
}
