//! The real llama.cpp server.

use crate::harness::server::{Recipe, Transport};
use crate::harness::{accounting, hostile, life, matrix, tape};

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn every_request_of_a_mixed_load_is_seen_once_and_agrees_with_the_client() {
    matrix::sees_every_request(&Recipe::llamacpp(), Transport::Four);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn the_same_over_ipv6() {
    matrix::sees_every_request(&Recipe::llamacpp(), Transport::Six);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn the_same_over_a_unix_socket() {
    matrix::sees_every_request(&Recipe::llamacpp(), Transport::Unix);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn cpu_seconds_books_and_slices_agree_with_the_kernel() {
    accounting::agrees_with_the_kernel(&Recipe::llamacpp(), 0);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn cpu_seconds_agree_beside_eight_busy_processes() {
    accounting::agrees_with_the_kernel(&Recipe::llamacpp(), 8);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn garbage_huge_bodies_and_thousands_of_connections_break_nothing() {
    hostile::survives(&Recipe::llamacpp());
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_killed_server_resets_its_request_and_its_successor_is_attached() {
    life::follows_a_restart(&Recipe::llamacpp());
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_stream_without_usage_is_counted_by_its_timings() {
    life::counts_by_timings(&Recipe::llamacpp());
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_connection_open_before_the_probe_is_seen() {
    life::sees_connections_open_before(&Recipe::llamacpp());
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_tape_is_whole_and_replays_to_the_same_bytes() {
    tape::says_what_the_run_said(&Recipe::llamacpp());
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_probe_that_is_killed_has_published_nothing_that_its_tape_does_not_show() {
    tape::survives_kills(&Recipe::llamacpp());
}
