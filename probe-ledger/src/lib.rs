//! The accounting heart of wattprobe.
#![forbid(unsafe_code)]

mod account;
mod apportion;
mod bar;
mod book;
mod boundary;
mod config;
mod counter;
mod desk;
mod domain;
mod flag;
mod id;
mod kernel_books;
mod layout;
mod ledger;
mod meter;
mod policy;
mod sample;
mod scale;
mod tally;
mod target;
mod unit;

pub use account::{Account, DomainShare};
pub use bar::{ErrorParts, Estimate};
pub use book::{Anomalies, Book, ConsumerBook, TargetBook};
pub use boundary::{Boundary, Change, Refused};
pub use config::{Config, ConfigError};
pub use counter::{Delta, Range};
pub use domain::{DomainSpec, Scope};
pub use flag::{Flag, Flags};
pub use id::{ConsumerId, DomainId, RequestId};
pub use kernel_books::kernel_charge;
pub use ledger::Ledger;
pub use policy::{Idle, Policies, Share, Weight};
pub use sample::{Closed, Ignored, Sample, Void, Window};
pub use scale::{Scale, ScaleError};
pub use unit::{Nanojoules, Nanos, Nanowatts, Ratio};
