//! node: libuv, `read` and `writev`, and compute threads that live for one token.

use crate::harness::server::Recipe;
use crate::harness::{accounting, life};

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn every_request_of_a_mixed_load_is_seen_once_and_agrees_with_the_client() {
    life::sees_every_request(&Recipe::node(1));
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn cpu_seconds_agree_where_every_token_has_a_new_thread() {
    accounting::agrees_with_the_kernel(&Recipe::node(2), 0);
}
