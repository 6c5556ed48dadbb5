//! Whether a process still runs, told by procfs in a way that fits the exit hook.
//!
//! The hook speaks once, when the last thread begins to exit. Each thread is marked `PF_EXITING` before
//! that, and a process stays in procfs for long after: first its memory is freed, then its parent must
//! wait for it. So whoever sees a thread here that is neither exiting nor a zombie knows that the hook is
//! still to come. It must not know maps or targets.

use procfs::process::{Process, Stat};

use crate::roots::Roots;

/// `PF_EXITING` of the kernel's `include/linux/sched.h`.
const EXITING: u32 = 0x4;

/// Whether a thread of the process has not begun to exit. False also when it cannot be seen.
#[must_use]
pub fn alive(tgid: u32, roots: &Roots) -> bool {
    let tasks = Process::new_with_root(roots.proc(tgid.to_string())).and_then(|p| p.tasks());
    let Ok(tasks) = tasks else { return false };
    tasks.filter_map(Result::ok).filter_map(|task| task.stat().ok()).any(|stat| runs(&stat))
}

fn runs(stat: &Stat) -> bool {
    !matches!(stat.state, 'Z' | 'X' | 'x') && stat.flags & EXITING == 0
}

#[cfg(test)]
mod tests {
    use std::{process::Command, thread::sleep, time::Duration};

    use super::*;

    #[test]
    fn a_process_is_alive_until_it_exits_and_not_as_a_zombie() {
        let roots = Roots::default();
        assert!(alive(std::process::id(), &roots));
        let mut child = Command::new("sleep").arg("30").spawn().unwrap();
        assert!(alive(child.id(), &roots));
        child.kill().unwrap();
        for _ in 0..1000 {
            if !alive(child.id(), &roots) {
                break;
            }
            sleep(Duration::from_millis(1));
        }
        // Nobody has waited for it: it is in procfs all the same.
        assert!(roots.proc(child.id().to_string()).exists() && !alive(child.id(), &roots));
        child.wait().unwrap();
        assert!(!alive(child.id(), &roots));
    }
}
