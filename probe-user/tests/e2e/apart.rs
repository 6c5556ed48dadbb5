//! Two processes, as in vLLM: the one that owns the sockets computes nothing, the one that computes has none.

use crate::harness::matrix;
use crate::harness::server::{Recipe, Transport};

fn the_engine_is_counted(transport: Transport) {
    let spent = matrix::sees_every_request(&Recipe::apart(), transport);
    assert!(spent.others_s > spent.first_s, "the engine computes");
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn every_request_of_a_mixed_load_is_seen_once_and_agrees_with_the_client() {
    the_engine_is_counted(Transport::Four);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn the_same_over_ipv6() {
    the_engine_is_counted(Transport::Six);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn the_same_over_a_unix_socket() {
    the_engine_is_counted(Transport::Unix);
}
