//! A `libnvidia-ml.so.1` without a GPU: it answers the calls that a power meter makes by a script.
//!
//! The script is a JSON file beside the library ([`SCRIPT`]), written by a test through `install` and
//! [`Installed::rewrite`], and read anew whenever it changes: a test can lose a GPU at the moment it chooses.
//! Power is known at every instant, so that energy is its exact integral, at the last update of the
//! counter. Time is `CLOCK_MONOTONIC` since the library was first initialised.
//!
//! | file | what it is |
//! |---|---|
//! | `script` | what the GPUs do |
//! | `install` | puts the library and its script into a directory, with symbols missing if wanted |
//! | `state` | the script in force, time |
//! | `abi` | the C structures and codes of `nvml.h` that are used |
//! | `exports` | the C functions |
//!
//! **Invariant:** nothing here knows the probe or its bindings: the structures are written down a second time
//! from NVIDIA's published header, so that a mistake in either shows.

mod abi;
mod exports;
pub mod install;
pub mod script;
mod state;

pub use abi::{GPU_IS_LOST, NO_PERMISSION, NOT_SUPPORTED};
pub use install::{Installed, install};
pub use script::{Fault, Gpu, Hang, Instance, Process, Script, Step};

/// Name of the script's file beside the library.
pub const SCRIPT: &str = "nvml-stub.json";
