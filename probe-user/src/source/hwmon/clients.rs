//! Who used a graphics card: DRM's usage statistics in `/proc/PID/fdinfo/FD` (drm-usage-stats.rst, Linux 5.19).
//!
//! A client is an open `/dev/dri` file. It tells cumulative nanoseconds for each engine, or (xe) cycles of
//! each and of all time; descriptors may share a client, which is counted once. Processes are looked
//! through once a second, their clients read at every reading. What a client did before it was first seen
//! is nobody's. The card's energy is shared by those who were seen, in proportion; for the time that nobody was seen
//! on it the ledger widens their bars, since somebody may have been.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Card;
use crate::files;
use crate::source::{Split, Users};

/// How often processes are looked through, ns.
const LOOK_NS: u64 = 1_000_000_000;
/// Processes looked through, descriptors of each, files of clients read in all.
const PROCESSES: usize = 32_768;
const DESCRIPTORS: usize = 4_096;
const FILES: usize = 16_384;
/// Clients of the card, places of each (one may be closed before the next look), engines of a client, bytes of a file.
const CLIENTS: usize = 256;
const PLACES: usize = 4;
const ENGINES: usize = 64;
const BYTES: u64 = 16 << 10;

/// The clients of one card.
#[derive(Debug)]
pub(super) struct Clients {
    card: Card,
    known: BTreeMap<u64, Vec<Place>>,
    looked: Option<u64>,
    read: u64,
    /// By client id: what it told last.
    last: BTreeMap<u64, Engines>,
}

/// A process and its file that tells of a client.
type Place = (u32, PathBuf);

/// Engine by name: busy, and out of what; 0 where busy is in nanoseconds.
type Engines = BTreeMap<String, (u64, u64)>;

impl Clients {
    pub(super) fn of(card: &Card) -> Self {
        Self {
            card: card.clone(),
            known: <_>::default(),
            looked: None,
            read: 0,
            last: <_>::default(),
        }
    }

    /// Time on the card of each process since the call before, ns; `t` is now.
    pub(super) fn used_until(&mut self, t: u64) -> Users {
        let Some(address) = &self.card.address else { return Users::Device(Split::Clocks, vec![]) };
        if self.looked.is_none_or(|at| t.saturating_sub(at) >= LOOK_NS) {
            self.looked = Some(t);
            self.known = look(&self.card.procfs, address);
        }
        let elapsed = t.saturating_sub(self.read);
        let mut told = BTreeMap::new();
        let mut used = BTreeMap::<u32, u64>::new();
        for (client, places) in &self.known {
            // A number may have been closed, and be another client's by now.
            let told_at = |(tgid, path): &Place| {
                let (found, engines) = tells(path, address)?;
                (found == *client).then_some((*tgid, engines))
            };
            let Some((tgid, engines)) = places.iter().find_map(told_at) else { continue };
            if let Some(before) = self.last.get(client) {
                let ns = since(before, &engines, elapsed);
                let sum = used.entry(tgid).or_default();
                *sum = sum.saturating_add(ns);
            }
            told.insert(*client, engines);
        }
        (self.last, self.read) = (told, t);
        // Without a client nobody used it, or the driver tells nothing: its energy is charged to nobody.
        let split = if self.last.is_empty() { Split::Clocks } else { Split::Utilisation };
        Users::Device(split, used.into_iter().filter(|(_, ns)| *ns > 0).collect())
    }
}

/// Time on all engines.
fn since(before: &Engines, now: &Engines, elapsed: u64) -> u64 {
    let engine = |(name, (busy, all)): (&String, &(u64, u64))| {
        let (busy_before, all_before) = before.get(name).copied().unwrap_or((*busy, *all));
        let busy = busy.saturating_sub(busy_before);
        match all.saturating_sub(all_before) {
            _ if *all == 0 => busy,
            0 => 0,
            all => {
                let part = u128::from(busy.min(all)) * u128::from(elapsed) / u128::from(all);
                u64::try_from(part).unwrap_or(u64::MAX)
            }
        }
    };
    now.iter().map(engine).fold(0, u64::saturating_add)
}

/// The client and its engines, if it is one of the card at `address`.
fn parse(text: &str, address: &str) -> Option<(u64, Engines)> {
    let (mut client, mut here, mut engines) = (None, false, Engines::new());
    for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        let number = || value.split_whitespace().next()?.parse::<u64>().ok();
        let (name, of_all) = match key {
            "drm-pdev" => {
                here = value == address;
                continue;
            }
            "drm-client-id" => {
                client = number();
                continue;
            }
            _ if key.starts_with("drm-engine-capacity-") => continue,
            _ => match (key.strip_prefix("drm-engine-"), key.strip_prefix("drm-total-cycles-")) {
                (Some(name), _) => (name.to_owned(), false),
                // Both kinds of numbers may be shown for an engine; they are kept apart.
                (_, Some(name)) => (format!("{name} cycles"), true),
                _ => match key.strip_prefix("drm-cycles-") {
                    Some(name) => (format!("{name} cycles"), false),
                    None => continue,
                },
            },
        };
        if engines.len() >= ENGINES && !engines.contains_key(&name) {
            continue;
        }
        let Some(number) = number() else { continue };
        let (busy, all) = engines.entry(name).or_default();
        *(if of_all { all } else { busy }) = number;
    }
    engines.retain(|name, (_, all)| *all > 0 || !name.ends_with(" cycles"));
    let told = |name: &str| engines.keys().any(|other| other == name);
    let twice: Vec<_> = engines
        .keys()
        .filter(|name| name.strip_suffix(" cycles").is_some_and(told))
        .cloned()
        .collect();
    engines.retain(|name, _| !twice.contains(name));
    here.then_some(())?;
    Some((client?, engines))
}

/// The clients of the card at `address` among the open files below `/dev/dri` of all processes.
fn look(procfs: &Path, address: &str) -> BTreeMap<u64, Vec<Place>> {
    let mut found: BTreeMap<u64, Vec<Place>> = BTreeMap::new();
    let mut files_left = FILES;
    let Ok(processes) = std::fs::read_dir(procfs) else { return found };
    for process in processes.flatten().take(PROCESSES) {
        let name = process.file_name();
        let Some(tgid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may be gone by now, or not to be looked into.
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else { continue };
        for file in files.flatten().take(DESCRIPTORS) {
            if !std::fs::read_link(file.path()).is_ok_and(|to| to.starts_with("/dev/dri")) {
                continue;
            }
            let Some(left) = files_left.checked_sub(1) else { return found };
            files_left = left;
            let path = process.path().join("fdinfo").join(file.file_name());
            let Some((client, _)) = tells(&path, address) else { continue };
            if found.len() < CLIENTS || found.contains_key(&client) {
                let places = found.entry(client).or_default();
                if places.len() < PLACES {
                    places.push((tgid, path));
                }
            }
        }
    }
    found
}

/// The client of the card at `address` that a file tells of.
fn tells(path: &Path, address: &str) -> Option<(u64, Engines)> {
    parse(&files::beginning(path, BYTES).ok()?, address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = "0000:03:00.0";

    #[test]
    fn nanoseconds_and_cycles_are_both_time_on_the_card() {
        let text = |ns: u64, busy: u64, all: u64| {
            format!(
                "pos:\t0\ndrm-driver:\txe\ndrm-client-id:\t7\ndrm-pdev:\t{CARD}\n\
                 drm-engine-gfx:\t{ns} ns\ndrm-engine-capacity-gfx:\t4\n\
                 drm-cycles-rcs:\t{busy}\ndrm-total-cycles-rcs:\t{all}\n"
            )
        };
        let (client, a) = parse(&text(1_000, 50, 100), CARD).unwrap();
        let (_, b) = parse(&text(1_500, 75, 200), CARD).unwrap();
        assert_eq!(client, 7);
        // 500 ns, and 25 of 100 cycles of 10,000 ns.
        assert_eq!(since(&a, &b, 10_000), 500 + 2_500);
        assert_eq!(since(&b, &a, 10_000), 0, "numbers that go back are no time");
        assert_eq!(parse(&text(1, 1, 1), "0000:04:00.0"), None, "another card's client");
    }

    #[test]
    fn garbage_is_no_time() {
        for text in ["", "drm-pdev:\t0000:03:00.0", "drm-client-id: x\ndrm-pdev: 0000:03:00.0"] {
            assert_eq!(parse(text, CARD), None, "{text:?}");
        }
        let text = format!("drm-client-id:1\ndrm-pdev:{CARD}\ndrm-engine-gfx: -5 ns\n:\n");
        assert_eq!(parse(&text, CARD), Some((1, Engines::new())));
        let both = format!(
            "drm-client-id:1\ndrm-pdev:{CARD}\ndrm-engine-a:5 ns\ndrm-cycles-a:3\ndrm-total-cycles-a:9\n"
        );
        assert_eq!(parse(&both, CARD).unwrap().1.len(), 1, "an engine told twice is counted once");
    }
}
