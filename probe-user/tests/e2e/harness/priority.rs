//! Who runs first on a machine that has other things to do.
//!
//! A client that waits for a CPU reads its clock late, and a server that waits for one reads its request
//! late; either would be blamed on the probe. So where clocks are compared both run before whatever else is
//! there, and the probe runs as everywhere. Where sessions are scheduled as groups (autogroup), the session of
//! the test is put first too: within it, threads count by their own priority.

use std::fs;

use rustix::process::{getpriority_process, setpriority_process};

/// The priority of a session's group.
const GROUP: &str = "/proc/self/autogroup";

/// This thread, and what it starts, run first until this is dropped.
pub(crate) struct First {
    process: i32,
    /// As the kernel takes it back; `None`: it cannot be read.
    group: Option<String>,
}

impl First {
    /// From now on; without the privilege everything stays as it is.
    pub(crate) fn now() -> Self {
        let process = getpriority_process(None).unwrap_or(0);
        let group = fs::read_to_string(GROUP).ok().and_then(|said| nice(&said));
        let _ = setpriority_process(None, -20);
        let _ = fs::write(GROUP, "-20");
        Self { process, group }
    }
}

impl Drop for First {
    fn drop(&mut self) {
        if let Some(group) = &self.group {
            let _ = fs::write(GROUP, group);
        }
        let _ = setpriority_process(None, self.process);
    }
}

/// `/autogroup-75 nice 0` → `0`.
fn nice(said: &str) -> Option<String> {
    said.trim().rsplit_once("nice ").map(|(_, nice)| nice.to_owned())
}

#[test]
fn a_groups_priority_is_read_as_it_is_written() {
    assert_eq!(nice("/autogroup-75 nice -3\n").as_deref(), Some("-3"));
    assert_eq!(nice("").as_deref(), None);
}
