//! From what the user said to processes, listening sockets and open connections.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use super::{
    Place, Selector, TargetError, address, container, label,
    process::{Socket, Table},
    socket::Address,
    tree::by_processes,
};
use crate::roots::Roots;

/// A target as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// All its processes.
    pub processes: BTreeSet<u32>,
    /// Inodes of the listening sockets whose connections are watched.
    pub listeners: BTreeSet<u64>,
    /// Connections already open.
    pub connections: Vec<Socket>,
    /// What its control group calls it, where that says more than the selector does.
    pub label: Option<String>,
    /// Where it was found.
    pub place: Place,
}

/// Looks for a target; `place` is where it was found before.
///
/// # Errors
///
/// When there is none, or more than one, with the remedy.
pub fn find(selector: &Selector, place: &Place, roots: &Roots) -> Result<Found, TargetError> {
    let table = Table::read(roots)?;
    match selector {
        Selector::Port(_) | Selector::UnixPath(_) => {
            let Some(address) = address_of(selector) else { return Ok(Found::default()) };
            address::find(&address, selector, place, &table, roots)
        }
        Selector::Pid(pid) => {
            if table.get(*pid).is_none() {
                return Err(TargetError::NoProcess(*pid));
            }
            let label = label::of_process(&table.cgroups(*pid));
            Ok(Found { label, ..by_processes(&BTreeSet::from([*pid]), &table, roots) })
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
        Selector::Container(wanted) => by_container(wanted, place, &table, roots),
    }
}

/// The sockets that listen where the user said, without looking who holds them; `None` where the user
/// named no address. `place` and `processes` are what was found of the target.
#[must_use]
pub fn listening(
    selector: &Selector,
    place: &Place,
    processes: &BTreeSet<u32>,
    roots: &Roots,
) -> Option<BTreeSet<u64>> {
    let address = address_of(selector)?;
    Some(address::listening(&address, place, processes, roots))
}

fn address_of(selector: &Selector) -> Option<Address> {
    match selector {
        Selector::Port(port) => Some(Address::Port(*port)),
        Selector::UnixPath(path) => Some(Address::Unix(path.clone())),
        _ => None,
    }
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

/// The processes with such a cgroup path, with all descendants; `None` when there are none.
fn by_cgroup(member: impl Fn(&str) -> bool, table: &Table, roots: &Roots) -> Option<Found> {
    let belongs = |pid: &u32| table.cgroups(*pid).iter().any(|path| member(path));
    let members: BTreeSet<u32> = table.pids().filter(belongs).collect();
    (!members.is_empty()).then(|| by_processes(&members, table, roots))
}

/// The processes of the one container whose id, or LXC name, is the wanted one, else begins with it. One that was found before is
/// known by its whole id.
fn by_container(
    wanted: &str,
    place: &Place,
    table: &Table,
    roots: &Roots,
) -> Result<Found, TargetError> {
    let wanted = place.container.as_deref().unwrap_or(wanted);
    let mut containers: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for pid in table.pids() {
        let groups = table.cgroups(pid);
        let meant = |id: &&str| *id == wanted || container::begins(id, wanted);
        for id in groups.iter().flat_map(|path| container::ids(path)).filter(meant) {
            containers.entry(id.to_owned()).or_default().insert(pid);
        }
    }
    if containers.contains_key(wanted) {
        containers.retain(|id, _| id == wanted);
    }
    let mut all = containers.into_iter();
    match (all.next(), all.len()) {
        (None, _) => Err(TargetError::NoContainer(wanted.to_owned())),
        (Some((id, members)), 0) => {
            let label = Some(label::of_container(&id));
            let place = Place { container: Some(id), ..Place::default() };
            Ok(Found { label, place, ..by_processes(&members, table, roots) })
        }
        (Some((id, _)), _) => {
            let ids = std::iter::once(id).chain(all.map(|(id, _)| id));
            Err(TargetError::SeveralContainers { wanted: wanted.to_owned(), ids: ids.collect() })
        }
    }
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

    fn find_new(selector: &Selector, roots: &Roots) -> Result<Found, TargetError> {
        find(selector, &Place::default(), roots)
    }

    #[test]
    fn a_listening_port_leads_to_this_process_and_its_open_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let _client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (_server, _) = listener.accept().unwrap();
        let found = find_new(&Selector::Port(port), &Roots::default()).unwrap();
        assert!(found.processes.contains(&std::process::id()));
        assert_eq!(found.listeners.len(), 1);
        assert_eq!(found.connections.len(), 1, "the client's end is not the server's");
    }

    #[test]
    fn an_ipv6_port_and_a_unix_socket_are_found_too() {
        let six = TcpListener::bind("[::1]:0").unwrap();
        let port = six.local_addr().unwrap().port();
        assert!(find_new(&Selector::Port(port), &Roots::default()).is_ok());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let unix = UnixListener::bind(&path).unwrap();
        let found = find_new(&Selector::UnixPath(path.clone()), &Roots::default()).unwrap();
        assert_eq!(found.listeners.len(), 1);
        // Written another way.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let _server = unix.accept().unwrap();
        let again = find_new(&Selector::UnixPath(link.join("s.sock")), &Roots::default());
        let again = again.unwrap();
        assert_eq!((again.listeners, again.connections.len()), (found.listeners, 1));
    }

    #[test]
    fn a_bound_datagram_socket_does_not_listen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.sock");
        let _bound = UnixDatagram::bind(&path).unwrap();
        let selector = Selector::UnixPath(path);
        let error = find_new(&selector, &Roots::default()).unwrap_err().to_string();
        assert!(error.starts_with("nothing listens on socket "), "{error}");
        let found = Found::default();
        let now = listening(&selector, &found.place, &found.processes, &Roots::default());
        assert_eq!(now, Some(BTreeSet::new()));
    }

    #[test]
    fn a_process_by_its_number_has_its_listeners_and_its_open_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let found = find_new(&Selector::Pid(std::process::id()), &Roots::default()).unwrap();
        assert!(!found.listeners.is_empty());
        let ours = (std::process::id(), server.as_raw_fd());
        assert!(found.connections.iter().any(|socket| (socket.tgid, socket.fd) == ours));
    }

    #[test]
    fn nobody_there_is_an_error_with_the_remedy() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = find_new(&Selector::Port(free), &Roots::default()).unwrap_err().to_string();
        assert!(error.contains(&format!("nothing listens on port {free}")), "{error}");
        let error = find_new(&Selector::Pid(u32::MAX), &Roots::default()).unwrap_err().to_string();
        assert!(error.contains("there is no process"), "{error}");
        assert!(find_new(&Selector::Unit("no-such-unit".into()), &Roots::default()).is_err());
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
