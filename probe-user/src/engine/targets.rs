//! The targets of a run: which processes each has now, whether it is there, when to look for it again.

use std::collections::{BTreeMap, BTreeSet};

use probe_common::{FIRST_TARGET, OTHER, SELF};

use crate::{
    event::{Process, ProcessChange},
    target::{Found, Place, Selector, Socket},
};

/// How often a target that is gone is looked for.
const SEARCH_NS: u64 = 200_000_000;
/// How often a target that is there is looked at again where the kernel cannot tell: a process moved into
/// a cgroup, a server that does not listen yet.
const REFRESH_NS: u64 = 2_000_000_000;
/// How often it is asked whether the same sockets still listen, and of a process named by its number,
/// whether it is still there, should its exit have been lost: reading `/proc/net/tcp` walks the kernel's
/// whole table, however few connections are in it.
const LISTENERS_NS: u64 = 10_000_000_000;

/// One target.
pub struct Target {
    /// Its name in every output.
    pub name: String,
    /// What the user said.
    pub selector: Selector,
    /// Its consumer index.
    pub who: u32,
    /// Its processes.
    pub processes: BTreeSet<u32>,
    /// Inodes of its listening sockets.
    pub listeners: BTreeSet<u64>,
    /// Where it was found last.
    pub place: Place,
    next_look: u64,
    next_listeners: u64,
    /// A process of it called exec, listened or ended: it may listen elsewhere now.
    changed: bool,
    /// It had a process, and its end was not told yet.
    untold: bool,
}

/// How closely to look at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Whether the same sockets still listen.
    Listeners,
    /// At everything.
    All,
}

/// What to tell the kernel side after a look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Processes to adopt.
    pub adopt: Vec<u32>,
    /// Listening sockets to watch.
    pub listen: Vec<u64>,
    /// Listening sockets that are gone.
    pub unlisten: Vec<u64>,
    /// Connections already open.
    pub watch: Vec<Socket>,
}

impl Target {
    /// A target that was not found yet.
    #[must_use]
    pub fn new(index: usize, name: String, selector: Selector) -> Self {
        let who = FIRST_TARGET + u32::try_from(index).unwrap_or(0);
        let (processes, listeners) = (BTreeSet::new(), BTreeSet::new());
        Self {
            name,
            selector,
            who,
            processes,
            listeners,
            place: Place::default(),
            next_look: 0,
            next_listeners: 0,
            changed: false,
            untold: false,
        }
    }

    /// The same, found there.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// Whether it has a process.
    #[must_use]
    pub fn present(&self) -> bool {
        !self.processes.is_empty()
    }

    /// Whether it is gone for good.
    #[must_use]
    pub fn over(&self) -> bool {
        !self.present() && !self.selector.can_return()
    }

    /// Whether it is time to look at it, and how closely.
    pub fn due(&mut self, now: u64) -> Option<Look> {
        if self.over() || now < self.next_look {
            return None;
        }
        self.next_look = now + if self.present() { REFRESH_NS } else { SEARCH_NS };
        let addressed = matches!(self.selector, Selector::Port(_) | Selector::UnixPath(_));
        let grouped = matches!(
            self.selector,
            Selector::Unit(_) | Selector::Cgroup(_) | Selector::Container(_)
        );
        let changed = std::mem::take(&mut self.changed);
        if !self.present() || self.listeners.is_empty() || grouped || changed {
            return Some(Look::All);
        }
        if now < self.next_listeners {
            return None;
        }
        self.next_listeners = now + LISTENERS_NS;
        Some(if addressed { Look::Listeners } else { Look::All })
    }

    /// A look found nobody at the address: whoever is left of it does not listen.
    pub fn silent(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.listeners).into_iter().collect()
    }

    /// Forgets processes that have ended, whose exit may never have been told: it was lost, or they were
    /// gone when they were to be adopted.
    pub fn prune(&mut self, alive: impl Fn(u32) -> bool) {
        self.processes.retain(|pid| alive(*pid));
    }

    /// Takes over what a look found and says what is new.
    pub fn found(&mut self, found: &Found) -> Change {
        let change = Change {
            adopt: found.processes.difference(&self.processes).copied().collect(),
            listen: found.listeners.difference(&self.listeners).copied().collect(),
            unlisten: self.listeners.difference(&found.listeners).copied().collect(),
            watch: found.connections.clone(),
        };
        self.processes.extend(&found.processes);
        self.untold |= self.present();
        self.listeners.clone_from(&found.listeners);
        self.place.clone_from(&found.place);
        change
    }
}

/// All targets of a run.
#[derive(Default)]
pub struct Targets(pub Vec<Target>);

impl Targets {
    /// Names by consumer index.
    #[must_use]
    pub fn names(&self) -> BTreeMap<u32, String> {
        self.0.iter().map(|target| (target.who, target.name.clone())).collect()
    }

    /// Follows a process event. True when the target has lost its last process.
    pub fn process(&mut self, event: &Process) -> bool {
        let Some(target) = self.0.iter_mut().find(|t| t.who == event.who) else { return false };
        match event.change {
            ProcessChange::Fork(child) => {
                target.processes.insert(child);
                target.untold = true;
                false
            }
            ProcessChange::Exec => {
                target.changed = true;
                false
            }
            ProcessChange::Listen => {
                target.changed = true;
                target.next_look = event.t;
                false
            }
            ProcessChange::Exit => {
                target.changed = true;
                target.processes.remove(&event.tgid);
                if !target.present() {
                    target.next_look = target.next_look.min(event.t);
                }
                // A look may have seen its end before this event.
                !target.present() && std::mem::take(&mut target.untold)
            }
        }
    }

    /// A process that a look found had ended before it could be adopted.
    pub fn gone(&mut self, who: u32, pid: u32) {
        if let Some(target) = self.0.iter_mut().find(|t| t.who == who) {
            target.processes.remove(&pid);
        }
    }

    /// The consumer of a process.
    #[must_use]
    pub fn who(&self, tgid: u32) -> u32 {
        if tgid == std::process::id() {
            return SELF;
        }
        self.0.iter().find(|t| t.processes.contains(&tgid)).map_or(OTHER, |t| t.who)
    }

    /// Whether none can come back.
    #[must_use]
    pub fn over(&self) -> bool {
        self.0.iter().all(Target::over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(tgid: u32, change: ProcessChange) -> Process {
        Process { t: 1, who: FIRST_TARGET, tgid, change }
    }

    #[test]
    fn a_target_is_gone_with_its_last_process_and_a_port_can_come_back() {
        let mut targets = Targets(vec![Target::new(0, "a".into(), Selector::Port(80))]);
        let found = Found { processes: [10].into(), listeners: [7].into(), ..Found::default() };
        let change = targets.0[0].found(&found);
        assert_eq!((change.adopt, change.listen), (vec![10], vec![7]));
        assert_eq!(targets.0[0].due(0), Some(Look::Listeners));
        assert_eq!(targets.0[0].due(1), None);
        assert!(!targets.process(&event(10, ProcessChange::Fork(11))));
        assert!(!targets.process(&event(10, ProcessChange::Exit)));
        assert!(targets.process(&event(11, ProcessChange::Exit)));
        assert!(!targets.over());
        // At once, not when the present target would have been looked at again.
        assert_eq!(targets.0[0].due(1), Some(Look::All));
        let found = Found { processes: [20].into(), listeners: [8].into(), ..Found::default() };
        let change = targets.0[0].found(&found);
        assert_eq!((change.listen, change.unlisten), (vec![8], vec![7]));
        // Present: only its sockets are looked at, until it calls exec.
        assert_eq!(targets.0[0].due(u64::MAX / 4), Some(Look::Listeners));
        targets.process(&event(20, ProcessChange::Exec));
        assert_eq!(targets.0[0].due(u64::MAX / 2), Some(Look::All));
    }

    #[test]
    fn a_pid_that_ended_is_over() {
        let mut targets = Targets(vec![Target::new(0, "a".into(), Selector::Pid(10))]);
        targets.0[0].found(&Found { processes: [10].into(), ..Found::default() });
        assert!(targets.process(&event(10, ProcessChange::Exit)));
        assert!(targets.over() && targets.0[0].due(u64::MAX).is_none());
    }

    #[test]
    fn a_pid_is_looked_at_now_and_then_should_its_exit_have_been_lost() {
        let mut target = Target::new(0, "a".into(), Selector::Pid(10));
        target.found(&Found { processes: [10].into(), listeners: [7].into(), ..Found::default() });
        assert_eq!(target.due(SEARCH_NS), Some(Look::All));
        assert_eq!(target.due(SEARCH_NS + REFRESH_NS), None);
        assert_eq!(target.due(SEARCH_NS + LISTENERS_NS), Some(Look::All));
    }

    #[test]
    fn a_process_that_ended_unseen_is_pruned_and_the_end_of_a_target_is_told_once() {
        let mut targets = Targets(vec![Target::new(0, "a".into(), Selector::Pid(10))]);
        let found = Found { processes: [10, 11, 12].into(), ..Found::default() };
        assert_eq!(targets.0[0].found(&found).adopt, [10, 11, 12]);
        // 12 had ended before it could be adopted, 11 ended and nobody told.
        targets.gone(FIRST_TARGET, 12);
        targets.0[0].prune(|pid| pid == 10);
        assert_eq!(targets.0[0].processes, [10].into());
        // A look sees the end before the event does.
        targets.0[0].prune(|_| false);
        assert!(targets.over());
        assert!(targets.process(&event(10, ProcessChange::Exit)), "the end is told all the same");
        assert!(!targets.process(&event(11, ProcessChange::Exit)), "once");
    }
}
