//! What wattprobe's tests and its demo need and no user does.
//!
//! | part | what it is |
//! |---|---|
//! | [`model`], [`engine`], [`server`] | `lab-server`: an OpenAI-compatible server that computes a real transformer (feature `server`) |
//! | [`load`] | `lab-load`: a client that drives a mixed load and writes down what *it* saw, on the kernel's clock |
//! | [`flood`] | `lab-flood`: a server and a client that do nothing but HTTP, as fast as they can |
//! | [`fakeroot`] | small `/sys` and `/proc` trees in a directory |
//! | [`sim`] | a simulated host whose every joule is known: what a ledger is told, and the truth |
//! | [`guest`] | `lab-guest`: process 1 of the truth machine, a virtual machine whose joules are known |
//!
//! **Invariant:** nothing here knows about the probe. The server must look to the kernel like any
//! other server, and the client's log is the other side of the story, so neither may share code
//! with what is being tested. `wattprobe` depends on this crate in tests only, for the fake trees.

pub mod clock;
pub mod fakeroot;
pub mod flood;
pub mod guest;
pub mod load;
pub mod rng;
pub mod sim;

#[cfg(feature = "server")]
pub mod engine;
#[cfg(feature = "server")]
pub mod model;
#[cfg(feature = "server")]
pub mod server;
