//! Tapes on disk, through the real binary and under `kill -9`.

mod cli;
mod forged;
mod kill;
mod made;
