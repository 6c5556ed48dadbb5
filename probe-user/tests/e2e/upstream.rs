//! The upstream `llama-server`, where it has been built: `WATTPROBE_LLAMA_SERVER` names it.

use crate::harness::matrix;
use crate::harness::server::{Recipe, Transport};

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn every_request_of_a_mixed_load_is_seen_once_and_agrees_with_the_client() {
    matrix::sees_every_request(&Recipe::upstream(), Transport::Four);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn the_same_over_ipv6() {
    matrix::sees_every_request(&Recipe::upstream(), Transport::Six);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn the_same_over_a_unix_socket() {
    matrix::sees_every_request(&Recipe::upstream(), Transport::Unix);
}
