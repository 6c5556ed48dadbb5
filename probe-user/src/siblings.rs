//! Which CPUs are two threads of one core, for the weight `smt`: a thread beside a busy one does less in its time.
//!
//! It must not know what is done with that. Facility: `topology/thread_siblings_list` of each CPU (any kernel).

use crate::{roots::Roots, source::core_perf, topology::Topology};

/// What is known of this machine's cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Siblings {
    /// Every online CPU is a core of its own.
    None,
    /// The cores of which two CPUs are online.
    Pairs(Vec<(u32, u32)>),
    /// They cannot be told, or there are more than two to a core: why, and after a semicolon the remedy.
    Unknown(String),
}

impl Siblings {
    /// Looks at the online CPUs.
    #[must_use]
    pub fn read(roots: &Roots, topology: &Topology) -> Self {
        let mut pairs = Vec::new();
        for cpu in topology.online() {
            match core_perf::threads(roots, topology, cpu) {
                Ok(threads) => {
                    if let [one, two] = threads[..]
                        && one < two
                    {
                        pairs.push((one, two));
                    }
                }
                Err(error) => return Self::Unknown(error.to_string()),
            }
        }
        if pairs.is_empty() { Self::None } else { Self::Pairs(pairs) }
    }

    /// The two CPUs of each core, for the kernel side.
    #[must_use]
    pub fn pairs(&self) -> &[(u32, u32)] {
        match self {
            Self::Pairs(pairs) => pairs,
            Self::None | Self::Unknown(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::Tree;

    fn of(cpus: &[u32], cores: &[&str]) -> Siblings {
        let tree = Tree::new().cpus(cpus).siblings(cores);
        Siblings::read(&tree.roots(), &tree.topology())
    }

    #[test]
    fn each_core_of_two_threads_is_told_once() {
        assert_eq!(of(&[0; 4], &["0,2", "1,3"]), Siblings::Pairs(vec![(0, 2), (1, 3)]));
        assert_eq!(of(&[0; 3], &["0-1", "2"]).pairs(), [(0, 1)]);
    }

    #[test]
    fn cores_of_one_thread_have_no_siblings_whether_the_machine_says_so_or_not() {
        assert_eq!(of(&[0, 0], &["0", "1"]), Siblings::None);
        assert_eq!(of(&[0, 0], &[]), Siblings::None);
        assert_eq!(of(&[0], &["0,9"]), Siblings::None, "the other one is offline");
    }

    #[test]
    fn more_than_two_threads_to_a_core_are_unknown_and_it_is_said_why() {
        let Siblings::Unknown(why) = of(&[0; 4], &["0-3"]) else { panic!("known") };
        assert!(why.contains("4 hardware threads, 2 are supported"), "{why}");
    }
}
