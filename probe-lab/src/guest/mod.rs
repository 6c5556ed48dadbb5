//! The inside of the truth machine: what runs as process 1 of a virtual machine whose joules are known.
//!
//! | part | what it is |
//! |---|---|
//! | [`scenario`] | what to do, as data |
//! | [`truth`] | what the simulated RAPL (`probe-lab/simrapl`) says each process used |
//! | [`burn`] | processes that draw the watts in their name |
//! | [`machine`] | mounts, modules, CPUs, power off |
//! | [`measure`], [`figures`] | a run of the probe beside burners, and what came out of it in numbers |
//! | [`model`] | the simulated RAPL against itself |
//! | [`report`] | the lines that the host reads |
//! | [`run`] | the steps of a scenario, one after another |
//!
//! **Invariant:** nothing that is reported depends on anything but the guest's clock, so that two runs of
//! a deterministic machine say the same to the byte. Whether a figure is good is the host's to judge.

pub mod burn;
pub mod end_to_end;
pub mod figures;
pub mod machine;
pub mod measure;
pub mod model;
pub mod report;
pub mod run;
pub mod scenario;
pub mod truth;
