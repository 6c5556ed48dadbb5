//! Targets on a fake machine: containers, their networks, their proxies and workers.

use std::collections::BTreeSet;

use super::{
    Found, Place, Selector, TargetError, find, listening,
    testing::{Process, Tree},
};

const A: &str = "3f4e8d1c9b7a6f5e4d3c2b1a09f8e7d6c5b4a3928170f6e5d4c3b2a190817263";
const B: &str = "3f4e0000000000000000000000000000000000000000000000000000000000b0";
const PORT: Selector = Selector::Port(8080);
/// The probe's own network namespace.
const OWN: u64 = 1;

/// What every machine here has, none of which listens.
const HOST: [Process<'_>; 2] =
    [(1, 0, "systemd", OWN, "/init.scope"), (90, 1, "containerd-shim", OWN, "/system.slice/x")];

fn docker(id: &str) -> String {
    format!("/system.slice/docker-{id}.scope")
}

/// A container's server, which listens on port 8080 with the inode 1000 + its number, in a network of the same number.
fn server(tree: Tree, pid: u32, group: &str) -> Tree {
    let net = u64::from(pid);
    let tree = tree.with(&[(pid, 90, "llama-server", net, group)]);
    tree.sockets(&pid.to_string(), &[(8080, 1000 + net)]);
    tree.holds(pid, 3, 1000 + net);
    tree
}

fn machine() -> Tree {
    let tree = Tree::new().with(&HOST);
    tree.own(OWN, &[]);
    tree
}

fn first(tree: &Tree, selector: &Selector) -> Result<Found, TargetError> {
    find(selector, &Place::default(), &tree.roots())
}

fn set<T: Ord, const N: usize>(of: [T; N]) -> BTreeSet<T> {
    of.into()
}

#[track_caller]
fn says(result: Result<Found, TargetError>, parts: &[&str]) {
    let error = result.unwrap_err().to_string();
    for part in parts {
        assert!(error.contains(part), "{part:?} is in: {error}");
    }
}

#[test]
fn a_port_that_nobody_has_here_is_found_in_a_container_s_network_and_called_after_it() {
    let tree = server(machine(), 100, &docker(A));
    let found = first(&tree, &PORT).unwrap();
    assert_eq!((found.processes.clone(), found.listeners.clone()), (set([100]), set([1100])));
    assert_eq!(found.label.as_deref(), Some("3f4e8d1c9b7a"));
    let now = || listening(&PORT, &found.place, &found.processes, &tree.roots());
    assert_eq!(now(), Some(set([1100])));
    tree.end(100);
    assert_eq!(now(), Some(BTreeSet::new()), "nobody can see that network any more");
    says(first(&tree, &PORT), &["nothing listens on port 8080; start the server"]);
}

#[test]
fn a_unix_socket_is_found_by_its_path_within_the_container() {
    let tree = server(machine(), 100, &docker(A));
    tree.unix("100", "/run/chat.sock", 7);
    tree.holds(100, 4, 7);
    let found = first(&tree, &Selector::UnixPath("/run/chat.sock".into())).unwrap();
    assert_eq!((found.processes, found.listeners), (set([100]), set([7])));
}

#[test]
fn who_listens_here_comes_before_containers_and_is_not_mistaken_for_one_later() {
    let tree = server(machine(), 100, &docker(A));
    let tree = tree.with(&[(50, 1, "llama-server", OWN, "/system.slice/llama.service")]);
    tree.own(OWN, &[(8080, 7)]);
    tree.holds(50, 3, 7);
    let found = first(&tree, &PORT).unwrap();
    assert_eq!((found.processes, found.label.as_deref()), (set([50]), Some("llama")));
    tree.end(50);
    tree.own(OWN, &[]);
    let later = find(&PORT, &found.place, &tree.roots());
    says(later, &["nothing listens on port 8080"]);
}

#[test]
fn a_port_in_several_containers_is_refused_with_their_names_and_what_to_say_instead() {
    let tree = server(server(machine(), 100, &docker(A)), 200, "/lxc.payload.web");
    says(
        first(&tree, &PORT),
        &[
            "2 network namespaces",
            "3f4e8d1c9b7a (pid 100, llama-server), web (pid 200",
            "--container",
        ],
    );
}

#[test]
fn a_container_that_was_found_keeps_its_port_and_comes_back_under_its_id() {
    let tree = server(machine(), 100, &docker(A));
    let place = first(&tree, &PORT).unwrap().place;
    let tree = server(tree, 200, &docker(B));
    let now = |place: &Place| find(&PORT, place, &tree.roots()).unwrap().processes;
    assert_eq!(now(&place), set([100]), "another came later");
    // Restarted: another process in another network.
    tree.end(100);
    let tree = server(tree, 300, &docker(A));
    let found = find(&PORT, &place, &tree.roots()).unwrap();
    assert_eq!(found.processes, set([300]));
}

#[test]
fn another_container_on_the_same_port_is_not_mistaken_for_one_that_has_ended() {
    let tree = server(machine(), 100, &docker(A));
    let place = first(&tree, &PORT).unwrap().place;
    tree.end(100);
    let tree = server(tree, 200, &docker(B));
    says(find(&PORT, &place, &tree.roots()), &["nothing listens on port 8080"]);
    // A pod keeps its network, and what is started anew in it has another id.
    let tree = tree.with(&[(101, 90, "llama-server", 100, &docker(B))]);
    tree.sockets("101", &[(8080, 1101)]);
    tree.holds(101, 3, 1101);
    assert_eq!(find(&PORT, &place, &tree.roots()).unwrap().processes, set([101]));
}

#[test]
fn an_engine_s_proxy_is_no_server() {
    for name in ["docker-proxy", "rootlessport", "conmon", "rootlesskit-doc"] {
        let tree = server(machine(), 100, &docker(A)).with(&[(50, 1, name, OWN, "/x")]);
        tree.own(OWN, &[(8080, 7)]);
        tree.holds(50, 3, 7);
        says(first(&tree, &PORT), &[name, "passes connections on", "--container ID"]);
    }
}

#[test]
fn a_container_is_found_by_its_id_and_by_the_first_digits_of_it() {
    let tree = server(server(machine(), 100, &docker(A)), 200, "/lxc.payload.3f4e");
    let by = |wanted: &str| first(&tree, &Selector::Container(wanted.to_owned()));
    for wanted in [A, &A[..12], "3f4e8"] {
        let found = by(wanted).unwrap();
        assert_eq!((found.processes, found.listeners), (set([100]), set([1100])), "{wanted}");
        assert_eq!(found.label.as_deref(), Some("3f4e8d1c9b7a"));
    }
    assert_eq!(by("3f4e").unwrap().processes, set([200]), "a name is meant as it is");
    says(by("3f"), &["container \"3f\"", "first 4 digits", "docker ps"]);
    says(by("web"), &["only LXC's containers are known by name"]);
}

#[test]
fn digits_that_two_containers_share_are_refused_unless_one_was_found_before() {
    let tree = server(machine(), 100, &docker(A));
    let wanted = Selector::Container("3f4e".into());
    let place = first(&tree, &wanted).unwrap().place;
    let tree = server(tree, 200, &docker(B));
    says(first(&tree, &wanted), &["several containers begin with 3f4e", A, B, "more digits"]);
    let again = |tree: &Tree| find(&wanted, &place, &tree.roots());
    assert_eq!(again(&tree).unwrap().processes, set([100]));
    tree.end(100);
    says(again(&tree), &["no running process", A]);
    let tree = server(tree, 300, &docker(A));
    assert_eq!(again(&tree).unwrap().processes, set([300]), "stopped and started it keeps its id");
}

#[test]
fn of_a_proxy_and_its_worker_in_one_container_or_unit_only_the_proxy_is_watched() {
    for (group, selector) in [
        (docker(A), Selector::Container(A.into())),
        ("/system.slice/ollama.service".into(), Selector::Unit("ollama.service".into())),
        ("/a/b".into(), Selector::Cgroup("a/b".into())),
    ] {
        let tree = machine().with(&[
            (100, 90, "sh", 2, &group),
            (101, 100, "ollama", 2, &group),
            (102, 101, "runner", 2, &group),
            (103, 100, "other", 2, &group),
        ]);
        // All in one network, which is seen through its first process.
        tree.sockets("100", &[(11434, 7), (40000, 8), (9000, 9)]);
        for (pid, inode) in [(101, 7), (102, 8), (103, 9)] {
            tree.holds(pid, 3, inode);
        }
        let found = first(&tree, &selector).unwrap();
        assert_eq!(found.processes, set([100, 101, 102, 103]), "{selector}");
        assert_eq!(found.listeners, set([7, 9]), "{selector}");
    }
}

#[test]
fn a_control_group_of_several_containers_has_the_sockets_of_all_their_networks() {
    let pod = |id: &str| format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope");
    let tree = server(server(machine(), 100, &pod(A)), 200, &pod(B));
    let group = Selector::Cgroup("kubepods.slice/kubepods-pod1.slice".into());
    let found = first(&tree, &group).unwrap();
    assert_eq!((found.processes, found.listeners), (set([100, 200]), set([1100, 1200])));
    assert_eq!((found.label, group.label().as_str()), (None, "kubepods-pod1.slice"));
}

#[test]
fn a_procfs_without_the_probe_itself_shows_containers_all_the_same() {
    let tree = server(Tree::new().with(&HOST), 100, &docker(A));
    assert_eq!(first(&tree, &PORT).unwrap().processes, set([100]));
    says(first(&tree, &Selector::Port(81)), &["nothing listens on port 81"]);
    let empty = Tree::new();
    empty.write("version", "");
    says(first(&empty, &PORT), &["self/net/tcp", "--procfs-root"]);
}
