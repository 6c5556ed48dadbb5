//! Targets that are named by their processes: which of their sockets are watched.

use std::collections::BTreeSet;

use super::{
    Found, Place,
    namespace::Networks,
    process::{Held, Socket, Table},
    socket::{Address, Sockets},
};
use crate::roots::Roots;

/// The given processes with all descendants; watched are the sockets that the outermost of them listen on. Of a proxy and the
/// worker that it started only the proxy counts: else each request would be seen twice.
pub(super) fn by_processes(members: &BTreeSet<u32>, table: &Table, roots: &Roots) -> Found {
    let processes = table.tree(members);
    let held = table.sockets(processes.iter().copied());
    let spaces = spaces(&processes, roots);
    let all: BTreeSet<u64> =
        spaces.iter().flat_map(|sockets| &sockets.listening).map(|(_, inode)| *inode).collect();
    let listens = |pid: &u32| {
        held.get(pid).is_some_and(|held| held.iter().any(|socket| all.contains(&socket.inode)))
    };
    let beneath = |pid: &u32| {
        table.ancestors(*pid).take_while(|above| processes.contains(above)).any(|pid| listens(&pid))
    };
    let outermost: BTreeSet<u32> =
        processes.iter().filter(|pid| listens(pid) && !beneath(pid)).copied().collect();
    let listeners: BTreeSet<u64> = held_by(&outermost, &held)
        .map(|socket| socket.inode)
        .filter(|inode| all.contains(inode))
        .collect();
    let connections = spaces.iter().flat_map(|sockets| {
        let ours = sockets.listening.iter().filter(|(_, inode)| listeners.contains(inode));
        let addresses = ours.map(|(address, _)| address.clone()).collect();
        connections(&processes, sockets, &addresses, &held)
    });
    let connections = connections.collect();
    Found { connections, listeners, label: None, place: Place::default(), processes }
}

/// The sockets of every network namespace that these processes are in, each once. Where it cannot be seen which one a process is
/// in, its sockets still can.
fn spaces(processes: &BTreeSet<u32>, roots: &Roots) -> Vec<Sockets> {
    let networks = Networks::of(processes.iter().copied(), roots);
    let hidden =
        if networks.member.is_empty() { processes.first() } else { networks.hidden.first() };
    let through = networks.member.values().chain(hidden);
    through.map(|pid| Sockets::read(roots, Some(*pid))).collect()
}

/// Connections that were accepted on the given addresses.
pub(super) fn connections(
    processes: &BTreeSet<u32>,
    sockets: &Sockets,
    addresses: &BTreeSet<Address>,
    held: &Held,
) -> Vec<Socket> {
    let wanted: BTreeSet<u64> = sockets
        .connected
        .iter()
        .filter(|(address, _)| addresses.contains(address))
        .map(|(_, inode)| *inode)
        .collect();
    held_by(processes, held).filter(|socket| wanted.contains(&socket.inode)).copied().collect()
}

fn held_by<'a>(of: &'a BTreeSet<u32>, held: &'a Held) -> impl Iterator<Item = &'a Socket> {
    of.iter().filter_map(|pid| held.get(pid)).flatten()
}
