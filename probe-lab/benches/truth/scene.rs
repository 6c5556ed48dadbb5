//! What a row of the table simulates, and what is promised of it.

use crate::policies::{CORES, CYCLES, EQUAL, SMT, WORK};

/// The machine, the server, and what runs beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    /// Nothing beside the server but the kernel and the probe.
    Nothing,
    /// Threads on half the cores, on and off, that do to the machine what the server does, whose own threads are as many
    /// as the other half.
    Apart,
    /// Likewise, but the server has a thread for each core: they share cores.
    Alike,
    /// Likewise, with threads whose power a nanosecond is another: 0.6 to 1.4 times, as their run draws it.
    Unlike,
    /// Nothing beside a server whose work does not cost what the ledger's prices can say: prompt tokens cost more the more stand
    /// before them, and reading the weights hides behind arithmetic.
    Misfit,
    /// A server that computes on a GPU, alone there.
    Device,
    /// Two of them on one GPU, of which the other draws less.
    Devices,
}

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Of requests that are alone.
    Alone,
    /// Of those that overlap.
    Overlapping,
    /// Against today's methods as they are used.
    Better,
    /// Against them with idle power taken off, where requests overlap.
    BetterLessIdle,
    /// Likewise, one at a time.
    BetterLessIdleAlone,
}

/// How much of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Full,
    /// What continuous integration looks at: claimed bounds, fewer and shorter runs.
    Short,
}

/// Runs of a cell, each with a seed of its own: requests of one run share what was learned, and so their errors.
const RUNS: u64 = 16;
/// Where nothing is claimed of them,
const UNCLAIMED_RUNS: u64 = 8;
/// where requests are alone, and share nothing, and where there is little time.
const FEW_RUNS: u64 = 4;

impl Extent {
    pub(crate) fn scenes(self) -> &'static [Scene] {
        match self {
            Self::Full => &Scene::ALL,
            Self::Short => &[Scene::Nothing, Scene::Apart],
        }
    }

    pub(crate) fn lengths_ms(self, scene: Scene) -> &'static [u64] {
        match (self, scene) {
            (Self::Short, _) => &[200, 1_000],
            (_, Scene::Misfit | Scene::Device | Scene::Devices) => &[200, 1_000, 10_000],
            _ => &[50, 200, 1_000, 10_000],
        }
    }

    /// Clients that each wait for their answer.
    pub(crate) fn overlaps(self, scene: Scene) -> &'static [usize] {
        match (self, scene) {
            (Self::Short, _) | (_, Scene::Device | Scene::Devices) => &[1, 4, 16],
            _ => &[1, 4, 16, 64],
        }
    }

    pub(crate) fn runs(self, scene: Scene, overlap: usize) -> u64 {
        match (self, overlap) {
            (Self::Short, _) | (_, 1) => FEW_RUNS,
            _ if scene.claimed(Bound::Overlapping) => RUNS,
            _ => UNCLAIMED_RUNS,
        }
    }
}

impl Scene {
    pub(crate) const ALL: [Self; 7] = [
        Self::Nothing,
        Self::Apart,
        Self::Alike,
        Self::Unlike,
        Self::Misfit,
        Self::Device,
        Self::Devices,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no neighbours",
            Self::Apart => "neighbours on half the cores, the server on the other half",
            Self::Alike => "neighbours on half the cores, the server on all",
            Self::Unlike => {
                "neighbours on half the cores, the server on all, other power a nanosecond"
            }
            Self::Misfit => "a server whose costs the prices cannot say",
            Self::Device => "a server alone on a GPU",
            Self::Devices => "two servers on one GPU",
        }
    }

    pub(crate) fn gpu(self) -> bool {
        matches!(self, Self::Device | Self::Devices)
    }

    /// Whether the ledger with that place is opened there: where nobody else runs it does not matter what a nanosecond weighs, and
    /// what CPUs tell says nothing of a GPU.
    pub(crate) fn has(self, ledger: usize) -> bool {
        match self {
            Self::Nothing => ![CYCLES, CORES].contains(&ledger),
            Self::Apart | Self::Alike | Self::Unlike => {
                [WORK, SMT, CYCLES, CORES].contains(&ledger)
            }
            Self::Misfit | Self::Device | Self::Devices => [EQUAL, WORK].contains(&ledger),
        }
    }

    /// Whether a bound is claimed there. One counter covers all of a package's cores: whose nanosecond drew more, no
    /// clock can see. On cores of its own a server that is alone errs little by that; else the table says how much.
    /// One at a time a counter that is read at a request's ends, with the same idle power taken off, is as good as any.
    pub(crate) fn claimed(self, bound: Bound) -> bool {
        match (self, bound) {
            (_, Bound::BetterLessIdleAlone) => false,
            (Self::Nothing, _) => true,
            (Self::Apart, Bound::Alone | Bound::Better) => true,
            (Self::Alike | Self::Unlike, Bound::Better) => true,
            _ => false,
        }
    }
}
