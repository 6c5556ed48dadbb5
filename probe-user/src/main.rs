//! The wattprobe command: everything is in [`wattprobe::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    wattprobe::cli::main(std::env::args_os())
}
