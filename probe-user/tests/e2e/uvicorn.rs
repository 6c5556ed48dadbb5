//! uvicorn: asyncio, head and body in separate system calls, the head of a stream before prefill.

use crate::harness::life;
use crate::harness::server::Recipe;

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn every_request_of_a_mixed_load_is_seen_once_and_agrees_with_the_client() {
    life::sees_every_request(&Recipe::uvicorn());
}
