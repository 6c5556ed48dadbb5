//! Field offsets from the kernel's BTF.
//!
//! `/sys/kernel/btf/vmlinux` describes every type of the running kernel. This reads just enough of it to
//! say at which byte a field of a struct lies, looking through anonymous members, what an enumerator's number is and which
//! parameter of a function has a name. Format:
//! Documentation/bpf/btf.rst. It knows nothing of what the offsets are for.

use std::path::Path;

/// Why an offset could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}; a kernel with CONFIG_DEBUG_INFO_BTF=y is needed")]
    Read {
        /// File.
        path: String,
        /// Cause.
        source: std::io::Error,
    },
    /// The file is not BTF.
    #[error("the kernel's type information is damaged at byte {0}")]
    Format(usize),
    /// A field, enumerator or function that this kernel does not have.
    #[error("this kernel has no {0}.{1}; it is not supported")]
    Missing(&'static str, &'static str),
}

const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;

/// The kernel's types.
pub(super) struct Btf {
    data: Vec<u8>,
    strings: usize,
    /// Byte offset of each type; type ids count from 1.
    types: Vec<u32>,
}

impl Btf {
    /// Reads a BTF file.
    ///
    /// # Errors
    ///
    /// When it cannot be read or is no little-endian BTF.
    pub(super) fn read(path: &Path) -> Result<Self, BtfError> {
        let data = std::fs::read(path)
            .map_err(|source| BtfError::Read { path: path.display().to_string(), source })?;
        Self::parse(data)
    }

    /// Takes the bytes of a BTF file.
    ///
    /// # Errors
    ///
    /// When they are no little-endian BTF.
    pub(super) fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let word = |at| word(&data, at);
        if data.get(..2) != Some(&[0x9f, 0xeb]) {
            return Err(BtfError::Format(0));
        }
        let header = word(4)? as usize;
        let begin = header.saturating_add(word(8)? as usize);
        let end = begin.saturating_add(word(12)? as usize).min(data.len());
        let strings = header.saturating_add(word(16)? as usize);
        let mut types = Vec::new();
        let mut at = begin;
        while at < end {
            types.push(u32::try_from(at).map_err(|_| BtfError::Format(at))?);
            at += 12 + trailer(word(at + 4)?);
        }
        Ok(Self { data, strings, types })
    }

    /// Byte offset of `structure.field`.
    ///
    /// # Errors
    ///
    /// When this kernel does not have it.
    pub(super) fn offset(
        &self,
        structure: &'static str,
        field: &'static str,
    ) -> Result<u32, BtfError> {
        for at in self.named(KIND_STRUCT, structure) {
            if let Some((bits, _)) = self.member(at, field, 0)? {
                return Ok(bits / 8);
            }
        }
        Err(BtfError::Missing(structure, field))
    }

    /// Byte offset of `structure.field.inner`, where the field is a structure of its own.
    ///
    /// # Errors
    ///
    /// When this kernel does not have it.
    pub(super) fn offset_within(
        &self,
        structure: &'static str,
        field: &'static str,
        inner: &'static str,
    ) -> Result<u32, BtfError> {
        for at in self.named(KIND_STRUCT, structure) {
            if let Some((bits, ty)) = self.member(at, field, 0)?
                && let Some(within) = self.structure(ty)?
                && let Some((more, _)) = self.member(within, inner, 0)?
            {
                return Ok((bits + more) / 8);
            }
        }
        Err(BtfError::Missing(structure, inner))
    }

    /// The number of an enumerator of a named enumeration of 32 bits.
    ///
    /// # Errors
    ///
    /// When this kernel does not have it.
    pub(super) fn enumerator(
        &self,
        enumeration: &'static str,
        name: &'static str,
    ) -> Result<u32, BtfError> {
        for at in self.named(KIND_ENUM, enumeration) {
            for i in 0..(word(&self.data, at + 4)? & 0xffff) as usize {
                let entry = at + 12 + 8 * i;
                if self.name_is(word(&self.data, entry)?, name) {
                    return word(&self.data, entry + 4);
                }
            }
        }
        Err(BtfError::Missing(enumeration, name))
    }

    /// Which of a function's parameters, counted from 0, has this name.
    ///
    /// # Errors
    ///
    /// When this kernel does not have it.
    pub(super) fn parameter(
        &self,
        function: &'static str,
        name: &'static str,
    ) -> Result<u32, BtfError> {
        let missing = || BtfError::Missing(function, name);
        let at = self.named(KIND_FUNC, function).next().ok_or_else(missing)?;
        let proto = word(&self.data, at + 8)? as usize;
        let at = *proto.checked_sub(1).and_then(|i| self.types.get(i)).ok_or_else(missing)?;
        for i in 0..word(&self.data, at as usize + 4)? & 0xffff {
            if self.name_is(word(&self.data, (at + 12 + 8 * i) as usize)?, name) {
                return Ok(i);
            }
        }
        Err(missing())
    }

    /// Whether the kernel itself, not one of its modules, has a tracepoint; `name` as its type has it, `btf_trace_` and
    /// the tracepoint's.
    pub(super) fn has_tracepoint(&self, name: &str) -> bool {
        self.named(KIND_TYPEDEF, name).next().is_some()
    }

    /// Where the types of this kind and name stand.
    fn named<'a>(&'a self, of: u32, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        let is = move |at: usize| {
            let (info, text) = (word(&self.data, at + 4).ok()?, word(&self.data, at).ok()?);
            (kind(info) == of && self.name_is(text, name)).then_some(at)
        };
        self.types.iter().filter_map(move |at| is(*at as usize))
    }

    /// Bit offset and type of a member, looked for in anonymous members too.
    fn member(&self, at: usize, field: &str, depth: u32) -> Result<Option<(u32, u32)>, BtfError> {
        let info = word(&self.data, at + 4)?;
        let flagged = info >> 31 == 1;
        for i in 0..(info & 0xffff) as usize {
            let entry = at + 12 + 12 * i;
            let (name, ty) = (word(&self.data, entry)?, word(&self.data, entry + 4)?);
            let raw = word(&self.data, entry + 8)?;
            let bits = if flagged { raw & 0x00ff_ffff } else { raw };
            if self.name_is(name, field) {
                return Ok(Some((bits, ty)));
            }
            let anonymous = self.name_is(name, "");
            if anonymous
                && depth < 8
                && let Some(inner) = self.structure(ty)?
                && let Some((inner_bits, ty)) = self.member(inner, field, depth + 1)?
            {
                return Ok(Some((bits + inner_bits, ty)));
            }
        }
        Ok(None)
    }

    fn structure(&self, id: u32) -> Result<Option<usize>, BtfError> {
        let Some(&at) = (id as usize).checked_sub(1).and_then(|i| self.types.get(i)) else {
            return Ok(None);
        };
        let kind = kind(word(&self.data, at as usize + 4)?);
        Ok((kind == KIND_STRUCT || kind == KIND_UNION).then_some(at as usize))
    }

    fn name_is(&self, offset: u32, name: &str) -> bool {
        let rest = self.data.get(self.strings.saturating_add(offset as usize)..).unwrap_or(&[]);
        rest.starts_with(name.as_bytes()) && rest.get(name.len()) == Some(&0)
    }
}

fn word(data: &[u8], at: usize) -> Result<u32, BtfError> {
    data.get(at..)
        .and_then(|rest| rest.first_chunk::<4>())
        .map(|bytes| u32::from_le_bytes(*bytes))
        .ok_or(BtfError::Format(at))
}

fn kind(info: u32) -> u32 {
    (info >> 24) & 0x1f
}

/// Bytes that follow the three words of a type.
fn trailer(info: u32) -> usize {
    let entries = (info & 0xffff) as usize;
    match kind(info) {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * entries,
        KIND_ENUM | KIND_FUNC_PROTO => 8 * entries,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernels_fields_are_found_also_in_anonymous_members() {
        let btf = Btf::read(Path::new("/sys/kernel/btf/vmlinux")).unwrap();
        assert!(btf.offset("task_struct", "tgid").unwrap() > 0);
        assert_eq!(
            btf.offset("task_struct", "tgid").unwrap(),
            btf.offset("task_struct", "pid").unwrap() + 4
        );
        assert_eq!(btf.offset("list_head", "prev").unwrap(), 8);
        let on_rq =
            btf.offset("task_struct", "se").unwrap() + btf.offset("sched_entity", "on_rq").unwrap();
        assert_eq!(btf.offset_within("task_struct", "se", "on_rq").unwrap(), on_rq);
        assert!(btf.offset_within("task_struct", "pid", "on_rq").is_err());
        assert!(matches!(btf.offset("task_struct", "no_such"), Err(BtfError::Missing(..))));
    }

    #[test]
    fn enumerators_have_the_numbers_of_the_kernels_own_interface_and_functions_their_parameters() {
        let btf = Btf::read(Path::new("/sys/kernel/btf/vmlinux")).unwrap();
        assert_eq!(btf.enumerator("bpf_map_type", "BPF_MAP_TYPE_RINGBUF").unwrap(), 27);
        assert!(btf.enumerator("bpf_map_type", "no_such").is_err());
        assert_eq!(btf.parameter("tcp_sendmsg", "size").unwrap(), 2);
        assert!(btf.parameter("tcp_sendmsg", "no_such").is_err());
        assert!(btf.parameter("no_such_function", "size").is_err());
        assert!(btf.has_tracepoint("btf_trace_sched_switch"));
        assert!(!btf.has_tracepoint("btf_trace_no_such"));
    }

    #[test]
    fn damaged_type_information_is_an_error_and_no_panic() {
        assert!(Btf::parse(vec![]).is_err());
        assert!(Btf::parse(vec![0; 64]).is_err());
        let mut data = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
        data.truncate(100_000);
        if let Ok(btf) = Btf::parse(data) {
            assert!(btf.offset("task_struct", "tgid").is_err());
        }
    }
}
