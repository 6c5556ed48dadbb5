//! The demo server: hyper, first read of 24 bytes, `writev`, no provisioning.

use crate::harness::server::{Recipe, Transport};
use crate::harness::{hostile, life, matrix, tape};

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn every_request_of_a_mixed_load_is_seen_once_and_agrees_with_the_client() {
    matrix::sees_every_request(&Recipe::lab(), Transport::Four);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn the_same_over_ipv6() {
    matrix::sees_every_request(&Recipe::lab(), Transport::Six);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn the_same_over_a_unix_socket() {
    matrix::sees_every_request(&Recipe::lab(), Transport::Unix);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn garbage_huge_bodies_and_thousands_of_connections_break_nothing() {
    hostile::survives(&Recipe::lab());
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_killed_server_resets_its_request_and_its_successor_is_attached() {
    life::follows_a_restart(&Recipe::lab());
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_run_that_ends_under_load_interrupts_what_was_under_way_and_invents_nothing() {
    life::ends_under_load(&Recipe::lab());
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_tape_is_whole_and_replays_to_the_same_bytes() {
    tape::says_what_the_run_said(&Recipe::lab());
}
