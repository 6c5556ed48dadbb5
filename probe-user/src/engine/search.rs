//! Looks for targets: their processes, listening sockets and open connections, at the beginning and whenever one may have changed.

use super::{
    Engine, EngineError,
    targets::{Change, Look},
};
use crate::{
    kernel::{alive, sweep},
    target::{find, listening},
};

impl Engine<'_> {
    /// Looks for a target and tells the kernel side what is new of it.
    pub(super) fn look(&mut self, index: usize, required: bool) -> Result<(), EngineError> {
        let Some(target) = self.core.targets.0.get_mut(index) else { return Ok(()) };
        let found = find(&target.selector, &target.place, &self.roots);
        target.prune(|pid| alive(pid, &self.roots));
        let found = match found {
            Ok(found) => found,
            Err(error) if required => return Err(error.into()),
            Err(_) => {
                for inode in target.silent() {
                    self.probe.unlisten(inode);
                }
                return Ok(());
            }
        };
        let (who, change) = (target.who, target.found(&found));
        self.look_for_rings(who, &found.processes);
        self.hook_tls(who, found.processes);
        self.apply(who, &change)
    }

    fn apply(&mut self, who: u32, change: &Change) -> Result<(), EngineError> {
        for pid in &change.adopt {
            if !self.probe.adopt(*pid, who)? {
                self.core.targets.gone(who, *pid);
            }
        }
        if !change.adopt.is_empty() {
            // A thread that runs without a break is known by its next slice only. A CPU that went offline since the last
            // look needs no sweep.
            let _ = sweep(&self.cpus);
        }
        for inode in &change.unlisten {
            self.probe.unlisten(*inode);
        }
        for inode in &change.listen {
            self.probe.listen(*inode, who)?;
        }
        for socket in &change.watch {
            if let Some(conn) = self.probe.watch(socket, who)? {
                self.core.found_open(conn, who, socket.tgid, self.clock.now());
            }
        }
        Ok(())
    }

    /// Looks for targets that are gone or not complete.
    pub(super) fn search(&mut self) -> Result<(), EngineError> {
        let now = self.clock.now();
        for index in 0..self.core.targets.0.len() {
            let Some(target) = self.core.targets.0.get_mut(index) else { continue };
            let was = target.present();
            let heard = !target.listeners.is_empty();
            match target.due(now) {
                None => continue,
                Some(Look::Listeners) => {
                    let listen =
                        listening(&target.selector, &target.place, &target.processes, &self.roots);
                    if listen.is_none_or(|inodes| inodes == target.listeners) {
                        let (who, pids) = (target.who, target.processes.clone());
                        self.look_for_rings(who, &pids);
                        continue;
                    }
                }
                Some(Look::All) => {}
            }
            if let Err(error) = self.look(index, false) {
                // A table of the kernel side is full: what is attached stays, and the loss is counted.
                (self.report)(&format!("a process or socket cannot be watched: {error}"));
            }
            let target = &self.core.targets.0[index];
            match (was, heard, target.present(), !target.listeners.is_empty()) {
                (false, _, true, _) | (true, false, true, true) => {
                    (self.report)(&format!("attached again: {}", target.name));
                }
                (true, true, true, false) => {
                    (self.report)(&format!(
                        "{} does not listen any more; waiting for it",
                        target.name
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
