//! Targets that are named by an address: who listens on a port or a unix socket, in which network namespace.
//!
//! The probe's own namespace comes first. Where nobody listens there, those of all other processes are looked at, each once, through
//! one of its processes: a container's server need not be published to be found.

use std::collections::BTreeSet;
use std::fs::metadata;

use super::{
    Found, Place, Selector, TargetError, container, label,
    namespace::{Networks, network},
    place::Network,
    process::{Held, Socket, Table},
    socket::{Address, Sockets},
    tree::connections,
};
use crate::roots::Roots;

/// Processes that hold a published port for a container's engine and only pass connections on, by the beginning of
/// their names; names end after 15 bytes.
const FORWARDERS: [&str; 6] =
    ["docker-proxy", "rootlessport", "rootlesskit", "conmon", "slirp4netns", "pasta"];

/// Sockets that listen there, in one network namespace.
struct Hit {
    network: Network,
    sockets: Sockets,
    listeners: BTreeSet<u64>,
}

/// Whoever holds a socket that listens there, with all descendants.
pub(super) fn find(
    address: &Address,
    selector: &Selector,
    place: &Place,
    table: &Table,
    roots: &Roots,
) -> Result<Found, TargetError> {
    let mut hits = seek(address, selector, place, table, roots)?;
    let held = table.sockets(table.pids());
    // Another container on the same port is another server; in the same network, a container may have been made anew.
    let same = |hit: &Hit| {
        hit.network == place.network || container_of(&owners(hit, &held), table) == place.container
    };
    if matches!(place.network, Network::Other(_)) {
        hits.retain(same);
    }
    let hit = match <[Hit; 1]>::try_from(hits) {
        Ok([hit]) => hit,
        Err(hits) if hits.is_empty() => {
            return Err(TargetError::NoListener(selector.to_string()));
        }
        Err(hits) => {
            let names = hits.iter().map(|hit| name(&owners(hit, &held), table)).collect();
            return Err(TargetError::SeveralListeners { address: selector.to_string(), names });
        }
    };
    let owners = owners(&hit, &held);
    if owners.is_empty() {
        return Err(TargetError::NoOwner(selector.to_string()));
    }
    if let Some(by) = forwarder(&owners, table) {
        return Err(TargetError::Forwarded { address: selector.to_string(), by });
    }
    let processes = table.tree(&owners);
    let bound = hit.sockets.as_bound(address);
    let connections = connections(&processes, &hit.sockets, &BTreeSet::from([bound]), &held);
    let container = container_of(&owners, table);
    let first = owners.first().map(|pid| table.cgroups(*pid)).unwrap_or_default();
    Ok(Found {
        processes,
        listeners: hit.listeners,
        connections,
        label: label::of_process(&first),
        place: Place { network: hit.network, container },
    })
}

/// The sockets that listen there now, where the target was found before; none when nobody can see that network any more.
pub(super) fn listening(
    address: &Address,
    place: &Place,
    processes: &BTreeSet<u32>,
    roots: &Roots,
) -> BTreeSet<u64> {
    let through = match place.network {
        Network::Unknown | Network::Own => None,
        Network::Other(net) => {
            match processes.iter().find(|pid| network(roots, pid) == Some(net)) {
                None => return BTreeSet::new(),
                pid => pid.copied(),
            }
        }
    };
    Sockets::read(roots, through).listeners(address)
}

/// Where somebody listens there; at least one.
fn seek(
    address: &Address,
    selector: &Selector,
    place: &Place,
    table: &Table,
    roots: &Roots,
) -> Result<Vec<Hit>, TargetError> {
    let hit = |network, through| {
        let sockets = Sockets::read(roots, through);
        let listeners = sockets.listeners(address);
        (!listeners.is_empty()).then_some(Hit { network, sockets, listeners })
    };
    if !matches!(place.network, Network::Other(_)) {
        if let Some(hit) = hit(Network::Own, None) {
            return Ok(vec![hit]);
        }
        if place.network == Network::Own {
            return Err(TargetError::NoListener(selector.to_string()));
        }
    }
    let own = network(roots, "self");
    let networks = Networks::of(table.pids(), roots);
    let look = |net: &u64| hit(Network::Other(*net), networks.member.get(net).copied());
    if let Network::Other(net) = &place.network
        && let Some(hit) = networks.member.get(net).and_then(|_| look(net))
    {
        return Ok(vec![hit]);
    }
    let others = networks.member.keys().filter(|net| Some(**net) != own);
    let hits: Vec<Hit> = others.filter_map(look).collect();
    if !hits.is_empty() {
        return Ok(hits);
    }
    let listed = |process: &str| roots.proc(process).join("net/tcp");
    if let (true, Err(source)) = (networks.member.is_empty(), metadata(listed("self"))) {
        return Err(TargetError::Sockets { path: listed("self"), source });
    }
    // Whose namespace is not told may let its sockets be seen all the same.
    if networks.hidden.iter().any(|pid| hit(Network::Unknown, Some(*pid)).is_some()) {
        return Err(TargetError::NoOwner(selector.to_string()));
    }
    let blind = |pid: &&u32| metadata(listed(&pid.to_string())).is_err();
    match networks.hidden.iter().filter(blind).count() {
        0 => Err(TargetError::NoListener(selector.to_string())),
        processes => Err(TargetError::Hidden { address: selector.to_string(), processes }),
    }
}

fn owners(hit: &Hit, held: &Held) -> BTreeSet<u32> {
    let holds = |sockets: &[Socket]| sockets.iter().any(|s| hit.listeners.contains(&s.inode));
    held.iter().filter(|(_, sockets)| holds(sockets)).map(|(pid, _)| *pid).collect()
}

/// The innermost container of the first of them.
fn container_of(owners: &BTreeSet<u32>, table: &Table) -> Option<String> {
    let groups = table.cgroups(*owners.first()?);
    groups.iter().find_map(|path| container::ids(path).last()).map(str::to_owned)
}

/// What to call one of several in an error: by its control group, else by its process.
fn name(owners: &BTreeSet<u32>, table: &Table) -> String {
    let Some(pid) = owners.first() else { return "a process that cannot be seen".to_owned() };
    let comm = table.get(*pid).map(|entry| entry.name.as_str()).unwrap_or_default();
    match label::of_process(&table.cgroups(*pid)) {
        Some(label) => format!("{label} (pid {pid}, {comm})"),
        None => format!("pid {pid} ({comm})"),
    }
}

/// The name of the first, if all of them only pass connections on.
fn forwarder(owners: &BTreeSet<u32>, table: &Table) -> Option<String> {
    let name = |pid: &u32| table.get(*pid).map_or("", |entry| entry.name.as_str());
    let passes = |pid: &u32| FORWARDERS.iter().any(|begin| name(pid).starts_with(begin));
    owners.iter().all(passes).then(|| owners.first().map(|pid| name(pid).to_owned())).flatten()
}
