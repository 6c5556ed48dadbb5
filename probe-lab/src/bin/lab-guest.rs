//! `lab-guest`: process 1 of the truth machine, and every burner in it.

use std::process::ExitCode;

use probe_lab::guest;

fn main() -> ExitCode {
    match guest::run::main(std::env::args()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("lab-guest: {e:#}");
            ExitCode::FAILURE
        }
    }
}
