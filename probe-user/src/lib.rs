//! wattprobe: what each request of a running inference server costs in joules.
//!
//! Data flows one way: [`kernel`] and [`source`] produce [`event`]s, [`boundary`] turns the socket
//! events into request boundaries, [`engine`] feeds both to the ledger and publishes a [`snapshot`],
//! [`export`] shows it. [`cli`] wires them together.

#![deny(unsafe_code)]

pub mod boundary;
pub mod calibration;
pub mod cli;
pub mod clock;
pub mod cycles;
pub mod engine;
pub mod event;
pub mod export;
mod files;
pub mod instance;
#[expect(unsafe_code, reason = "maps, rings and raw system calls live here")]
pub mod kernel;
pub mod privilege;
pub mod record;
pub mod replay;
pub mod roots;
pub mod siblings;
pub mod snapshot;
pub mod source;
pub mod tape;
pub mod target;
pub mod topology;
