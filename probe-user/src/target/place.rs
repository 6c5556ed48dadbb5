//! Where a target was found: what a later look holds on to.
//!
//! A port of another network namespace, and the first digits of a container's id, name one server when the probe attaches. Later
//! another may answer to the same; it must not take the place of the first.

/// Where a target was found last; the default: nowhere yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The network that it listens in, of a target that is named by its address.
    pub(super) network: Network,
    /// The full id of its container.
    pub(super) container: Option<String>,
}

/// A network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Network {
    /// Not found yet.
    #[default]
    Unknown,
    /// The probe's own. It is not looked for anywhere else then.
    Own,
    /// Another, by its inode number. A container that comes back is in a new one, but has its id.
    Other(u64),
}
