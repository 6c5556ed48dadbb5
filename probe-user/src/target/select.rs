//! From what the user said to processes, listening sockets and open connections.

use std::{collections::BTreeSet, io};

use super::{
    Selector, TargetError,
    process::{Held, Socket, Table},
    socket::{Address, Sockets},
};
use crate::roots::Roots;

/// A target as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// All its processes.
    pub processes: BTreeSet<u32>,
    /// Inodes of the listening sockets whose connections are watched.
    pub listeners: BTreeSet<u64>,
    /// Connections already open: process and file descriptor.
    pub connections: Vec<(u32, i32)>,
    /// Name of its first process.
    pub name: String,
}

/// Looks for a target.
///
/// # Errors
///
/// When there is none, with the remedy.
pub fn find(selector: &Selector, roots: &Roots) -> Result<Found, TargetError> {
    let table = Table::read(roots)?;
    match selector {
        Selector::Port(port) => by_address(&Address::Port(*port), selector, &table, roots),
        Selector::UnixPath(path) => {
            by_address(&Address::Unix(path.clone()), selector, &table, roots)
        }
        Selector::Pid(pid) => {
            if table.get(*pid).is_none() {
                return Err(TargetError::NoProcess(*pid));
            }
            Ok(by_processes(&BTreeSet::from([*pid]), &table, roots))
        }
        Selector::Unit(unit) => by_cgroup(|path| in_unit(path, unit), &table, roots)
            .ok_or_else(|| TargetError::NoUnit(unit.clone())),
        Selector::Cgroup(path) => {
            let mount = roots.sys("fs/cgroup");
            let wanted = path.strip_prefix(&mount).unwrap_or(path);
            let wanted = wanted.strip_prefix("/").unwrap_or(wanted).to_string_lossy();
            by_cgroup(|have| in_cgroup(have, &wanted), &table, roots)
                .ok_or_else(|| TargetError::NoCgroup(path.clone()))
        }
    }
}

/// The sockets that listen where the user said, without looking who holds them; `None` where the user
/// named no address.
#[must_use]
pub fn listening(selector: &Selector, roots: &Roots) -> Option<BTreeSet<u64>> {
    let address = match selector {
        Selector::Port(port) => Address::Port(*port),
        Selector::UnixPath(path) => Address::Unix(path.clone()),
        Selector::Pid(_) | Selector::Unit(_) | Selector::Cgroup(_) => return None,
    };
    Some(Sockets::read(roots, None).listeners(&address))
}

/// Whether the file descriptors of a process can be looked at from here; true where it is gone.
#[must_use]
pub fn visible(pid: u32, roots: &Roots) -> bool {
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match std::fs::read_dir(roots.proc(pid.to_string()).join("fd")) {
        Ok(mut entries) => {
            let first = entries.next().and_then(Result::ok);
            !first.is_some_and(|fd| std::fs::read_link(fd.path()).is_err_and(|e| refused(&e)))
        }
        Err(error) => !refused(&error),
    }
}

/// Whoever holds a socket that listens there, with all descendants.
fn by_address(
    address: &Address,
    selector: &Selector,
    table: &Table,
    roots: &Roots,
) -> Result<Found, TargetError> {
    let sockets = Sockets::read(roots, None);
    if sockets.listening.is_empty() && sockets.connected.is_empty() {
        let path = roots.proc("self/net/tcp");
        if let Err(source) = std::fs::metadata(&path) {
            return Err(TargetError::Sockets { path, source });
        }
    }
    let listeners = sockets.listeners(address);
    if listeners.is_empty() {
        return Err(TargetError::NoListener(selector.to_string()));
    }
    let held = table.sockets(table.pids());
    let holds = |sockets: &[Socket]| sockets.iter().any(|s| listeners.contains(&s.inode));
    let owners: BTreeSet<u32> =
        held.iter().filter(|(_, sockets)| holds(sockets)).map(|(pid, _)| *pid).collect();
    if owners.is_empty() {
        return Err(TargetError::NoOwner(selector.to_string()));
    }
    let processes = table.tree(&owners);
    let addresses = BTreeSet::from([address.clone()]);
    let connections = connections(&processes, &sockets, &addresses, &held);
    let name = name_of(&owners, table);
    Ok(Found { processes, listeners, connections, name })
}

/// The processes with such a cgroup path, with all descendants; `None` when there are none.
fn by_cgroup(member: impl Fn(&str) -> bool, table: &Table, roots: &Roots) -> Option<Found> {
    let belongs = |pid: &u32| table.cgroups(*pid).iter().any(|path| member(path));
    let members: BTreeSet<u32> = table.pids().filter(belongs).collect();
    (!members.is_empty()).then(|| by_processes(&members, table, roots))
}

/// The given processes with all descendants; watched are the sockets that the given ones listen on, or,
/// if they listen on none, those of the descendants: of a proxy and its worker only the proxy counts.
fn by_processes(members: &BTreeSet<u32>, table: &Table, roots: &Roots) -> Found {
    let processes = table.tree(members);
    let sockets = Sockets::read(roots, members.first().copied());
    let held = table.sockets(processes.iter().copied());
    let all: BTreeSet<u64> = sockets.listening.iter().map(|(_, inode)| *inode).collect();
    let listening = |of: &BTreeSet<u32>| -> BTreeSet<u64> {
        held_by(of, &held).map(|socket| socket.inode).filter(|inode| all.contains(inode)).collect()
    };
    let mut listeners = listening(members);
    if listeners.is_empty() {
        listeners = listening(&processes);
    }
    let addresses: BTreeSet<Address> = sockets
        .listening
        .iter()
        .filter(|(_, inode)| listeners.contains(inode))
        .map(|(address, _)| address.clone())
        .collect();
    let connections = connections(&processes, &sockets, &addresses, &held);
    Found { connections, listeners, name: name_of(members, table), processes }
}

/// Connections that were accepted on the given addresses.
fn connections(
    processes: &BTreeSet<u32>,
    sockets: &Sockets,
    addresses: &BTreeSet<Address>,
    held: &Held,
) -> Vec<(u32, i32)> {
    let wanted: BTreeSet<u64> = sockets
        .connected
        .iter()
        .filter(|(address, _)| addresses.contains(address))
        .map(|(_, inode)| *inode)
        .collect();
    let ours = held_by(processes, held).filter(|socket| wanted.contains(&socket.inode));
    ours.map(|socket| (socket.tgid, socket.fd)).collect()
}

fn held_by<'a>(of: &'a BTreeSet<u32>, held: &'a Held) -> impl Iterator<Item = &'a Socket> {
    of.iter().filter_map(|pid| held.get(pid)).flatten()
}

fn name_of(pids: &BTreeSet<u32>, table: &Table) -> String {
    let first = pids.first().and_then(|pid| table.get(*pid));
    first.map(|entry| entry.name.clone()).unwrap_or_default()
}

/// Whether a cgroup path lies in a unit's: a component equals the unit's name.
fn in_unit(path: &str, unit: &str) -> bool {
    let full = if unit.contains('.') { unit.to_owned() } else { format!("{unit}.service") };
    path.split('/').any(|part| part == full)
}

/// Whether a process's cgroup path is the wanted one or beneath it. On cgroup v1 the wanted path may
/// begin with the hierarchy's name (`cpu/a/b`), which the process's path does not.
fn in_cgroup(have: &str, wanted: &str) -> bool {
    let beneath = |wanted: &str| {
        let have = have.trim_matches('/');
        !wanted.is_empty() && (have == wanted || have.starts_with(&format!("{wanted}/")))
    };
    let wanted = wanted.trim_matches('/');
    beneath(wanted) || wanted.split_once('/').is_some_and(|(_, rest)| beneath(rest))
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        os::{
            fd::AsRawFd,
            unix::net::{UnixDatagram, UnixListener},
        },
    };

    use super::*;

    #[test]
    fn a_listening_port_leads_to_this_process_and_its_open_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let _client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (_server, _) = listener.accept().unwrap();
        let found = find(&Selector::Port(port), &Roots::default()).unwrap();
        assert!(found.processes.contains(&std::process::id()));
        assert_eq!(found.listeners.len(), 1);
        assert_eq!(found.connections.len(), 1, "the client's end is not the server's");
    }

    #[test]
    fn an_ipv6_port_and_a_unix_socket_are_found_too() {
        let six = TcpListener::bind("[::1]:0").unwrap();
        let port = six.local_addr().unwrap().port();
        assert!(find(&Selector::Port(port), &Roots::default()).is_ok());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let _unix = UnixListener::bind(&path).unwrap();
        let found = find(&Selector::UnixPath(path), &Roots::default()).unwrap();
        assert_eq!(found.listeners.len(), 1);
    }

    #[test]
    fn a_bound_datagram_socket_does_not_listen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.sock");
        let _bound = UnixDatagram::bind(&path).unwrap();
        let selector = Selector::UnixPath(path);
        assert!(matches!(find(&selector, &Roots::default()), Err(TargetError::NoListener(_))));
        assert_eq!(listening(&selector, &Roots::default()), Some(BTreeSet::new()));
    }

    #[test]
    fn a_process_by_its_number_has_its_listeners_and_its_open_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let found = find(&Selector::Pid(std::process::id()), &Roots::default()).unwrap();
        assert!(!found.listeners.is_empty());
        assert!(found.connections.contains(&(std::process::id(), server.as_raw_fd())));
    }

    #[test]
    fn nobody_there_is_an_error_with_the_remedy() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = find(&Selector::Port(free), &Roots::default()).unwrap_err().to_string();
        assert!(error.contains(&format!("nothing listens on port {free}")), "{error}");
        let error = find(&Selector::Pid(u32::MAX), &Roots::default()).unwrap_err().to_string();
        assert!(error.contains("there is no process"), "{error}");
        assert!(find(&Selector::Unit("no-such-unit".into()), &Roots::default()).is_err());
    }

    #[test]
    fn cgroup_paths_match_themselves_and_what_is_beneath_in_both_versions() {
        assert!(in_cgroup("/a/b", "a/b"));
        assert!(in_cgroup("/a/b/c", "/a/b"));
        assert!(in_cgroup("/a/b", "cpu/a/b"));
        assert!(!in_cgroup("/a/bc", "a/b"));
        assert!(!in_cgroup("/a", ""));
        assert!(in_unit("/system.slice/ollama.service", "ollama"));
        assert!(in_unit("/system.slice/ollama.service/x", "ollama.service"));
        assert!(!in_unit("/system.slice/ollama2.service", "ollama"));
    }
}
