//! uvicorn: asyncio, head and body in separate system calls, the head of a stream before prefill.

use crate::harness::server::{Recipe, Transport};
use crate::harness::{matrix, tls};

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn every_request_of_a_mixed_load_is_seen_once_and_agrees_with_the_client() {
    matrix::sees_every_request(&Recipe::uvicorn(), Transport::Four);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn the_same_over_ipv6() {
    matrix::sees_every_request(&Recipe::uvicorn(), Transport::Six);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn the_same_over_a_unix_socket() {
    matrix::sees_every_request(&Recipe::uvicorn(), Transport::Unix);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn every_request_is_seen_through_tls_whose_library_has_no_socket() {
    tls::sees_every_request(&Recipe::uvicorn().with_tls("uvicorn-tls"));
}
