//! A host whose every joule is known: it tells a ledger what the kernel would, and keeps the truth.
//!
//! [`run`] simulates a [`Host`] under a [`Load`] and hands every [`Input`] to the caller in the order of
//! instants: samples of the energy counters with all clocks, boundaries of requests with the target's clocks, facts of
//! finished requests, and what programs that poll from user space would see. It returns the [`Truth`].
//! Nothing is read from the machine it runs on: the same seed gives the same run, bit for bit.
//!
//! It must not know the ledger: what a method makes of the inputs is compared elsewhere.
//!
//! # How it works
//!
//! Power is constant between two events, in whole milliwatts; time is whole nanoseconds; so energy is whole
//! picojoules and every sum is exact. Events are slices, steps of servers, frequency changes, counters' updates, ticks. An
//! integral is kept for each consumer and domain, not for each CPU, so an event costs a handful of additions.
//!
//! # Whose energy it is
//!
//! | energy | belongs to |
//! |---|---|
//! | the package's uncore, every core's deepest idle state, refresh of memory, an idle GPU | idle, always |
//! | a shallow idle state's power above the deepest, while nobody is on the core | idle |
//! | a busy core above its deepest idle state | the task on it; with two threads, in proportion to their activity |
//! | traffic of memory | the task that causes it |
//! | a server's energy from one step's begin to its end | the sequences in the step: what a sequence needs for itself goes to it, what the step needs however many there are (reading the weights) goes to all in equal parts. What each needs is, of a package, its work by activity; of memory, its traffic; of a device, its work |
//! | a server's energy from a step's end to the next step's begin (sampling, writing) | the sequences of the step that ended, in equal parts |
//! | a server's energy while nothing is resident (spinning after the last byte) | the server's background |
//!
//! A queued request is in no step, and costs nothing.

mod counter;
mod dice;
mod domain;
mod engine;
mod host;
mod input;
mod load;
mod machine;
mod meter;
pub mod methods;
mod power;
mod truth;
mod world;

#[cfg(test)]
mod tests;

pub use domain::{Domain, Scope};
pub use host::{CorePower, Gpu, Host, Rapl, Scheduler, Ticks};
pub use input::{Change, Facts, Input, Poller, Users, Weights};
pub use load::{Arrivals, Costs, Kernel, Load, Neighbour, Server, Tokens, Use};
pub use truth::{DomainTruth, Energy, RequestTruth, Truth};

/// Simulates, tells `tell` everything in order, returns the truth.
#[must_use]
pub fn run(host: &Host, load: &Load, seed: u64, tell: &mut impl FnMut(Input<'_>)) -> Truth {
    world::World::new(host, load, seed).run(tell)
}
