//! End to end: real servers, the real kernel, the real binary.
//!
//! Every test is marked `#[ignore]`, because it needs root and parts that `cargo xtask test` fetches;
//! that command runs them one at a time and names those it could not run. The first component of a
//! test's name says which server it needs: `llamacpp`, `uvicorn` and `node` are fetched, `lab`, `powercap`,
//! `hwmon`, `gpu`, `privileges`, `alone` and `reborn` need nothing more.
//!
//! The probe is a black box here: it is started as a user starts it and judged by the records and the
//! summary it writes, against what the client saw on its own clock and what the kernel counted.

mod alone;
mod gpu;
mod harness;
mod hwmon;
mod lab;
mod llamacpp;
mod node;
mod powercap;
mod privileges;
mod prometheus;
mod reborn;
mod uvicorn;
