//! The README's first command.
use crate::paths::Paths;
use anyhow::{Result, bail};
/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {}
/// Runs it.
pub(crate) fn run(_: &Paths, _: &Args) -> Result<()> {
    bail!("soon")
}
