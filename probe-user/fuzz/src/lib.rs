//! What the fuzz targets of wattprobe run, and what they check.
//!
//! A target is a function of bytes that panics when something that must hold does not. Each reads what
//! strangers write: socket calls, records of the kernel side, message bodies, tapes.

#![forbid(unsafe_code)]

pub mod chunked;
pub mod exchanges;
pub mod json;
pub mod lines;
pub mod message;
pub mod records;
pub mod script;
pub mod seeds;
#[path = "../../tests/boundary_cases/trace.rs"]
mod trace;
pub mod tracker;
pub mod watch;
pub mod wire;
