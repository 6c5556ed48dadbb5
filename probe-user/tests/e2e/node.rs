//! node: libuv, `read` and `writev`, and compute threads that live for one token.

use crate::harness::server::{Recipe, Transport};
use crate::harness::{accounting, matrix, tls};

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn every_request_of_a_mixed_load_is_seen_once_and_agrees_with_the_client() {
    matrix::sees_every_request(&Recipe::node(1), Transport::Four);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn the_same_over_ipv6() {
    matrix::sees_every_request(&Recipe::node(1), Transport::Six);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn the_same_over_a_unix_socket() {
    matrix::sees_every_request(&Recipe::node(1), Transport::Unix);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn every_request_is_seen_through_tls_in_the_executable() {
    tls::sees_every_request(&Recipe::node(1).with_tls("node-tls"));
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn requests_through_tls_that_has_no_hooks_are_seen_by_size_and_time() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = Recipe::node(1).with_tls("node-opaque").nameless(dir.path());
    tls::sees_sizes_and_times(&server, &[]);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn requests_through_tls_1_2_that_has_no_hooks_are_seen_by_size_and_time() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = Recipe::node(1).with_tls("node-opaque12").nameless(dir.path());
    tls::sees_sizes_and_times(&server, &["--tls12"]);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn cpu_seconds_agree_where_every_token_has_a_new_thread() {
    accounting::agrees_with_the_kernel(&Recipe::node(2), 0);
}
