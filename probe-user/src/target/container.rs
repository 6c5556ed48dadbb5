//! Containers, as the paths of their control groups name them. Pure: it reads nothing.
//!
//! A runtime gives each container a control group whose last part holds the container's id, 64 hexadecimal
//! digits, beside which it may write its own name. LXC knows names only.
//!
//! | runtime | last parts of the path |
//! |---|---|
//! | Docker | `docker/ID`, `system.slice/docker-ID.scope` |
//! | Podman | `libpod_parent/libpod-ID`, `machine.slice/libpod-ID.scope`, beneath it `container` |
//! | containerd, CRI-O | `podUID/ID`, `podUID.slice/cri-containerd-ID.scope`, `crio-ID.scope`, `podUID.slice:cri-containerd:ID` |
//! | LXC | `lxc/NAME`, `lxc.payload/NAME`, `lxc.payload.NAME` |
//!
//! From within a control group namespace paths begin with `/..`; their ends are the same.

/// Digits of a full id.
const DIGITS: usize = 64;
/// Digits that a user may shorten an id to. Docker takes any number; of fewer than these a few containers soon share some.
const FEWEST: usize = 4;
/// Digits that runtimes show.
const SHOWN: usize = 12;

/// The containers that a control group's path lies in, the outermost first: their ids, or LXC's names.
pub(super) fn ids(path: &str) -> impl Iterator<Item = &str> {
    let parts = path.split('/');
    let above = std::iter::once("").chain(parts.clone());
    above.zip(parts).filter_map(|(above, part)| id(above, part))
}

/// An id as runtimes show it; LXC's names are whole.
pub(super) fn short(id: &str) -> &str {
    if is_id(id) { &id[..SHOWN] } else { id }
}

/// Whether a user may mean this container by these digits.
pub(super) fn begins(id: &str, digits: &str) -> bool {
    is_id(id) && digits.len() >= FEWEST && id.starts_with(digits)
}

fn id<'a>(above: &str, part: &'a str) -> Option<&'a str> {
    let beneath = ["lxc", "lxc.payload"].contains(&above).then_some(part);
    let name = part.strip_prefix("lxc.payload.").or(beneath);
    if name.is_some_and(|name| !name.is_empty()) {
        return name;
    }
    let last = part.rsplit(':').next().unwrap_or(part);
    let name = last.strip_suffix(".scope").unwrap_or(last);
    let (runtime, id) = name.rsplit_once('-').unwrap_or(("", name));
    // conmon sits beside a container, in a group of its own, and is none of it.
    (is_id(id) && !runtime.ends_with("conmon")).then_some(id)
}

fn is_id(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3f4e8d1c9b7a6f5e4d3c2b1a09f8e7d6c5b4a3928170f6e5d4c3b2a190817263";
    const B: &str = "0000000000000000000000000000000000000000000000000000000000000001";

    #[test]
    fn every_runtime_s_path_holds_its_container() {
        for path in [
            "/docker/A",
            "/docker/A/init.scope",
            "/system.slice/docker-A.scope",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-A.scope/container",
            "/machine.slice/libpod-A.scope",
            "/libpod_parent/libpod-A",
            "/system.slice/containerd.service/kubepods-besteffort-podx_y.slice:cri-containerd:A",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice/cri-containerd-A.scope",
            "/kubepods.slice/kubepods-podx.slice/crio-A.scope",
            "/kubepods/besteffort/podd6c7/A",
            "/../A",
            "/../../system.slice/docker-A.scope",
            "/../cri-containerd-A.scope",
            "/ecs/0b5d/A",
        ] {
            let path = path.replace('A', A);
            assert_eq!(ids(&path).collect::<Vec<_>>(), [A], "{path}");
        }
        for path in ["/lxc/web", "/lxc.payload/web", "/lxc.payload.web", "/lxc.payload.web/x.slice"]
        {
            assert_eq!(ids(path).collect::<Vec<_>>(), ["web"], "{path}");
        }
    }

    #[test]
    fn a_container_in_a_container_is_in_both_the_outermost_first() {
        let path =
            format!("/docker/{A}/kubelet.slice/kubelet-kubepods.slice/cri-containerd-{B}.scope");
        assert_eq!(ids(&path).collect::<Vec<_>>(), [A, B]);
    }

    #[test]
    fn what_is_beside_a_container_is_not_in_it() {
        let upper = A.to_uppercase();
        for path in [
            String::new(),
            "/".to_owned(),
            "/lxc".to_owned(),
            "/lxc/".to_owned(),
            "/lxc.payload.".to_owned(),
            "/lxc.monitor.web".to_owned(),
            "/system.slice/docker.service".to_owned(),
            format!("/machine.slice/libpod-conmon-{A}.scope"),
            format!("/system.slice/crio-conmon-{A}.scope"),
            format!("/docker/{}", &A[1..]),
            format!("/docker/0{A}"),
            format!("/docker/{upper}"),
            format!("/process_api/{}", &A[..32]),
        ] {
            assert_eq!(ids(&path).count(), 0, "{path}");
        }
    }

    #[test]
    fn four_digits_and_more_may_mean_a_container_and_a_name_is_never_shortened() {
        assert!(begins(A, "3f4e") && begins(A, &A[..12]) && begins(A, A));
        assert!(!begins(A, "3f4") && !begins(A, "3f4f") && !begins("webserver", "webs"));
        assert_eq!((short(A), short("web")), ("3f4e8d1c9b7a", "web"));
    }
}
