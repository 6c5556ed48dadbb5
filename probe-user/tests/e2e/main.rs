//! End to end: real servers, the real kernel, the real binary.
//!
//! Every test is marked `#[ignore]`, because it needs root and parts that `cargo xtask test` fetches;
//! that command runs them one at a time and names those it could not run. The first component of a
//! test's name says which server it needs: `llamacpp`, `uvicorn` and `node` are fetched, `upstream` is built
//! by whoever wants it, `lab`, `proxy`, `apart`, `privacy`, `powercap`, `hwmon`, `gpu`, `privileges`, `alone`,
//! `containers`, `flood`, `reborn`, `segments` and `io_uring` need nothing more.
//!
//! Every server, over IPv4, IPv6 and unix sockets, is held against the same load and the same assertions
//! (`harness::matrix`): 50 requests, 200 with `cargo xtask test --long`.
//!
//! The probe is a black box here: it is started as a user starts it and judged by the records and the
//! summary it writes, against what the client saw on its own clock and what the kernel counted.

mod alone;
mod apart;
mod containers;
mod flood;
mod gpu;
mod harness;
mod hwmon;
mod io_uring;
mod lab;
mod llamacpp;
mod node;
mod powercap;
mod privacy;
mod privileges;
mod prometheus;
mod proxy;
mod reborn;
mod segments;
mod upstream;
mod uvicorn;
