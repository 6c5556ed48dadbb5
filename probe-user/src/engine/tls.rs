//! Hooks the TLS libraries of targets as they are found, and says what of TLS is seen and what is not.

use std::collections::{BTreeMap, BTreeSet};

use super::Engine;
use crate::target::{Code, code, functions, recognise};

/// A process is not looked into again before that: what it maps changes seldom, and a connection that is not
/// understood makes it be looked into at once.
const AGAIN_NS: u64 = 10_000_000_000;

/// Nor is it for another such connection: strangers may open as many as they like.
const MISSED_NS: u64 = 1_000_000_000;
/// Files that are hooked at most: each takes a dozen descriptors.
const FILES: usize = 32;
/// Files that are known at most not to be hooked.
const OTHERS: usize = 4096;

/// What is known of targets' TLS.
#[derive(Default)]
pub(super) struct Tls {
    /// Files that were looked into; whether their functions are hooked.
    files: BTreeMap<(i32, i32, u64), bool>,
    /// When a process was looked into.
    looked: BTreeMap<u32, u64>,
    /// When a connection of a process was not understood.
    missed: BTreeMap<u32, u64>,
    /// Names of hooked files, by consumer.
    hooked: BTreeMap<u32, BTreeSet<String>>,
    /// Consumers of which it was said that plaintext is not had.
    told: BTreeSet<u32>,
}

impl Tls {
    /// What the line about a target says of its TLS.
    pub(super) fn seen(&self, who: u32) -> String {
        let names: Vec<&str> =
            self.hooked.get(&who).into_iter().flatten().map(String::as_str).collect();
        if names.is_empty() {
            String::new()
        } else {
            format!(", TLS through {}", names.join(" and "))
        }
    }
}

impl Engine<'_> {
    /// Hooks what these processes of a target have of TLS.
    pub(super) fn hook_tls(&mut self, who: u32, pids: impl IntoIterator<Item = u32>) {
        let now = self.clock.now();
        for pid in pids {
            if self.tls.looked.get(&pid).is_none_or(|t| now.saturating_sub(*t) > AGAIN_NS) {
                self.tls.looked.insert(pid, now);
                self.hook_process(who, pid);
            }
        }
        self.tls.looked.retain(|_, t| now.saturating_sub(*t) <= AGAIN_NS);
    }

    /// True when it runs code that is hooked.
    fn hook_process(&mut self, who: u32, pid: u32) -> bool {
        let mut any = false;
        for code in code(pid, &self.roots) {
            let known = self.tls.files.get(&code.id).copied();
            let hooked = known.unwrap_or_else(|| self.hook_file(&code));
            if self.tls.files.len() >= OTHERS {
                self.tls.files.retain(|_, hooked| *hooked);
            }
            self.tls.files.insert(code.id, hooked);
            if hooked {
                any = true;
                let name = code.name.file_name().unwrap_or_default().to_string_lossy();
                self.tls.hooked.entry(who).or_default().insert(name.into_owned());
            }
        }
        if any && let Err(error) = self.probe.expect_tls(who) {
            (self.report)(&format!("TLS is not read: {error}"));
        }
        any
    }

    fn hook_file(&mut self, code: &Code) -> bool {
        let name = code.name.display();
        let file = code.open().map(|file| (functions(&file), file));
        let hooked = match file {
            Ok((functions, _)) if functions.is_empty() => return false,
            Ok(_) if self.tls.files.values().filter(|hooked| **hooked).count() >= FILES => {
                Err(format!("{FILES} files are hooked already"))
            }
            Ok((functions, file)) => {
                self.probe.hook_tls(&file, &functions).map_err(|e| e.to_string())
            }
            // Most files that cannot be read were replaced while they are in use.
            Err(_) if !name.to_string().contains("ssl") => return false,
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = &hooked {
            (self.report)(&format!(
                "{name} cannot be hooked: {error}; of TLS through it only sizes and times are seen; if it was replaced, \
                 restart the server, else start wattprobe as root"
            ));
        }
        hooked.is_ok()
    }

    /// A connection speaks TLS and its plaintext is not had: the library may be new.
    pub(super) fn missed_tls(&mut self, who: u32, pid: u32) {
        let now = self.clock.now();
        let missed = self.tls.missed.get(&pid);
        if missed.is_some_and(|t| now.saturating_sub(*t) <= MISSED_NS) {
            return;
        }
        self.tls.missed.retain(|_, t| now.saturating_sub(*t) <= MISSED_NS);
        self.tls.missed.insert(pid, now);
        let before = self.tls.seen(who);
        let hooked = self.hook_process(who, pid);
        let name = self.core.targets.names().remove(&who).unwrap_or_default();
        if hooked && self.tls.seen(who) != before {
            (self.report)(&format!(
                "{name} has loaded a TLS library: its next connections are read"
            ));
        } else if self.tls.told.insert(who) {
            let why = match recognise(pid, &self.roots) {
                _ if hooked => "a connection that matches no session of its library".to_owned(),
                Some(library) => format!("{}, which has no hooks", library.as_str()),
                None => "a library that is not known".to_owned(),
            };
            (self.report)(&format!("{name} speaks TLS through {why}: sizes and times only"));
        }
    }
}
