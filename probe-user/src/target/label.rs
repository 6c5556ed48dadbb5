//! What a target is called where the user gives no name. Pure: it reads nothing.
//!
//! A name becomes a label of metrics. So it is bounded, of plain characters, lasts as long as the server, and says neither a
//! process's number nor its command line: a control group's name does, if it is a container's or a service's. Scopes
//! of systemd do not: their names hold numbers of processes and sessions.

use super::container;

/// Longest label made here; names that users give have the same bound.
const LONGEST: usize = 64;

/// By the control groups of a process: its innermost container, else its innermost service.
pub(super) fn of_process(groups: &[String]) -> Option<String> {
    let container = groups.iter().find_map(|path| container::ids(path).last());
    let service = || groups.iter().find_map(|path| path.rsplit('/').find_map(service));
    container.map(container::short).or_else(service).map(plain)
}

/// By a container's id, or LXC's name.
pub(super) fn of_container(id: &str) -> String {
    plain(container::short(id))
}

/// By the path of a control group: by its last part alone, since two beneath one service are two.
pub(super) fn of_path(path: &str) -> String {
    let path = path.trim_matches('/');
    let last = path.rsplit('/').next().unwrap_or(path);
    let above = path.len() - last.len();
    let above = path[..above].trim_matches('/').rsplit('/').next().unwrap_or_default();
    let end = format!("{above}/{last}");
    let container =
        container::ids(&end).last().filter(|id| last.contains(id)).map(container::short);
    plain(container.or_else(|| service(last)).unwrap_or(last))
}

/// A service of systemd; the one that holds all of a user's processes says nothing.
fn service(part: &str) -> Option<&str> {
    let name = part.strip_suffix(".service")?;
    (!name.is_empty() && !name.starts_with("user@")).then_some(name)
}

/// The same in plain characters, bounded: systemd writes `-` within a name as `\x2d`.
fn plain(name: &str) -> String {
    let sound = |c: char| if c.is_ascii_alphanumeric() || "._:@-".contains(c) { c } else { '_' };
    name.replace("\\x2d", "-").chars().map(sound).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3f4e8d1c9b7a6f5e4d3c2b1a09f8e7d6c5b4a3928170f6e5d4c3b2a190817263";

    fn of(paths: &[&str]) -> Option<String> {
        of_process(&paths.iter().map(|path| path.replace('A', A)).collect::<Vec<_>>())
    }

    #[test]
    fn a_container_is_called_by_twelve_digits_and_a_service_by_its_name() {
        for (paths, label) in [
            (&["/system.slice/docker-A.scope"][..], Some("3f4e8d1c9b7a")),
            (&["/", "/", "/docker/A"], Some("3f4e8d1c9b7a")),
            // A container outlasts the service that may have started it.
            (&["/system.slice/podman.service/libpod-A.scope"], Some("3f4e8d1c9b7a")),
            (&["/system.slice/ollama.service", "/docker/A"], Some("3f4e8d1c9b7a")),
            (&["/lxc.payload.web/system.slice/x.service"], Some("web")),
            (&["/", "/system.slice/ollama.service"], Some("ollama")),
            (&["/system.slice/ollama.service/child"], Some("ollama")),
            (&["/system.slice/system-llama.slice/llama@a\\x2db.service"], Some("llama@a-b")),
            (&["/user.slice/user-1000.slice/user@1000.service/app.slice/llm.service"], Some("llm")),
            // Numbers of processes and sessions.
            (&["/user.slice/user-1000.slice/user@1000.service/app.slice/app-x-4711.scope"], None),
            (&["/user.slice/user-1000.slice/session-3.scope"], None),
            (&["/"], None),
            (&[], None),
        ] {
            assert_eq!(of(paths).as_deref(), label, "{paths:?}");
        }
    }

    #[test]
    fn a_path_is_called_by_its_last_part() {
        for (path, label) in [
            ("/system.slice/docker-A.scope", "3f4e8d1c9b7a"),
            ("docker/A/", "3f4e8d1c9b7a"),
            ("lxc/web", "web"),
            ("/sys/fs/cgroup/system.slice/ollama.service", "ollama"),
            ("system.slice/ollama.service/a", "a"),
            ("docker/A/a", "a"),
            ("lxc/web/a", "a"),
            ("llm.slice", "llm.slice"),
            ("x", "x"),
        ] {
            assert_eq!(of_path(&path.replace('A', A)), label, "{path}");
        }
    }

    #[test]
    fn a_label_is_bounded_and_of_plain_characters() {
        let long = format!("/system.slice/{}.service", "x".repeat(200));
        assert_eq!(of(&[&long]).map(|label| label.len()), Some(64));
        assert_eq!(of(&["/lxc/a\"b\nc{é"]).as_deref(), Some("a_b_c__"));
    }
}
