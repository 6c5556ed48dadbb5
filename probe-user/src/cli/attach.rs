//! `wattprobe attach`.

use super::config::AttachConfig;
use super::exit::{ExitStatus, Failure};
use crate::roots::Roots;
use crate::source::select;
use crate::topology::Topology;

/// Chooses the sources; the rest is wired when the kernel side lands.
///
/// # Errors
/// When no source can be used as asked.
pub fn run(config: &AttachConfig, roots: &Roots) -> Result<ExitStatus, Failure> {
    let topology = Topology::read(roots)?;
    let selection = select(roots, &topology, &config.sources)?;
    for note in &selection.notes {
        config.log.info(&format!("{}: {}", note.source, note.text));
    }
    Err(Failure::new(ExitStatus::Failed, anyhow::anyhow!("attach is not wired yet")))
}
