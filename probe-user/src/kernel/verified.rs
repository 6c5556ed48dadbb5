//! What the kernel's verifier made of each loaded program.

use super::probe::Probe;

/// A program that passed the verifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its name in the object.
    pub program: String,
    /// Instructions that the verifier walked, over all paths; `None` before Linux 5.16, which does not tell.
    pub instructions: Option<u32>,
    /// Bytes after the kernel's rewriting; `None` where it does not tell.
    pub translated: Option<u32>,
    /// Bytes of machine code; 0 without a JIT compiler.
    pub jitted: u32,
}

impl Probe {
    /// The loaded programs in order of name; those that are not attached are not loaded.
    #[must_use]
    pub fn verified(&self) -> Vec<Verified> {
        let verified = |(name, program): (&str, &aya::programs::Program)| {
            let info = program.info().ok()?;
            Some(Verified {
                program: name.to_owned(),
                instructions: info.verified_instruction_count(),
                translated: info.size_translated(),
                jitted: info.size_jitted(),
            })
        };
        let mut all: Vec<_> = self.bpf.programs().filter_map(verified).collect();
        all.sort_by(|a, b| a.program.cmp(&b.program));
        all
    }
}
