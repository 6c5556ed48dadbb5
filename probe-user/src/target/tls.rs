//! Where a process's TLS library has its functions, or which library it is that has none to hook.
//!
//! OpenSSL and what is compatible with it (BoringSSL, LibreSSL) is looked for in every file the process maps as code, by the
//! names of its functions: as a library of its own, or inside of another or of the executable where that exports them.
//! Libraries of other interfaces are recognised for the report only. Files are read through `/proc/PID/root`, so those
//! of a container are found too. It must not know eBPF.

use std::{fs::File, path::PathBuf};

use object::{
    Endianness, Object, ObjectSection, ObjectSegment, ReadCache,
    elf::{STT_FUNC, Sym64},
    pod::slice_from_all_bytes,
};
use probe_common::TlsHook;
use procfs::process::{MMPermissions, MMapPath, Process};

use crate::{files, roots::Roots};

/// Names of the functions that are hooked.
const FUNCTIONS: [(&[u8], TlsHook); 7] = [
    (b"SSL_read", TlsHook::Read),
    (b"SSL_read_ex", TlsHook::ReadEx),
    (b"SSL_write", TlsHook::Write),
    (b"SSL_write_ex", TlsHook::WriteEx),
    (b"SSL_do_handshake", TlsHook::Handshake),
    (b"SSL_set_connect_state", TlsHook::Connect),
    (b"SSL_free", TlsHook::Free),
];
/// A section that is larger is not read.
const LARGEST: u64 = 64 << 20;
/// What libraries that are linked into a binary leave there: rustls the path of its source, for its panics; OpenSSL and
/// BoringSSL their names.
const MARKS: [(&[u8], Library); 3] = [
    (b"/rustls-", Library::Rustls),
    (b"OpenSSL 3.", Library::OpenSsl),
    (b"BoringSSL", Library::OpenSsl),
];

/// A file that a process runs code of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// As the probe reaches it.
    pub path: PathBuf,
    /// As the process names it.
    pub name: PathBuf,
    /// Device and inode number.
    pub id: (i32, i32, u64),
}

/// A TLS library, by how a server got its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// OpenSSL or BoringSSL, linked into something that hides the names of its functions.
    OpenSsl,
    /// Rust's.
    Rustls,
    /// Go's.
    Go,
    /// GNU's.
    GnuTls,
    /// Mozilla's.
    Nss,
}

impl Library {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenSsl => "OpenSSL without symbols",
            Self::Rustls => "rustls",
            Self::Go => "Go",
            Self::GnuTls => "GnuTLS",
            Self::Nss => "NSS",
        }
    }
}

/// The files that a process runs code of; none when it is gone or may not be looked into.
#[must_use]
pub fn code(pid: u32, roots: &Roots) -> Vec<Code> {
    let place = roots.proc(pid.to_string());
    let Ok(maps) = Process::new_with_root(place.clone()).and_then(|process| process.maps()) else {
        return Vec::new();
    };
    let mut found: Vec<Code> = Vec::new();
    for map in maps {
        let MMapPath::Path(name) = map.pathname else { continue };
        let id = (map.dev.0, map.dev.1, map.inode);
        let runs = map.perms.contains(MMPermissions::EXECUTE);
        if runs && found.iter().all(|known| known.id != id) {
            let path = place.join("root").join(name.strip_prefix("/").unwrap_or(&name));
            found.push(Code { path, name, id });
        }
    }
    found
}

impl Code {
    /// Opens the file. What is read of it and what is hooked in it must be one file: by its path a process could have another
    /// one there at any time, of the probe's own root even.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn open(&self) -> std::io::Result<File> {
        files::open(&self.path)
    }
}

/// The functions to hook in a file, with the bytes of it before each; none unless it reads and writes, and none of what is
/// no ELF file of this machine.
#[must_use]
pub fn functions(file: &File) -> Vec<(TlsHook, u64)> {
    let cache = ReadCache::new(file);
    let Ok(elf) = object::File::parse(&cache) else { return Vec::new() };
    for (symbols, strings) in [(".dynsym", ".dynstr"), (".symtab", ".strtab")] {
        let found = named(&elf, symbols, strings);
        let has = |hook| found.iter().any(|(known, _)| *known == hook);
        if has(TlsHook::Read) && has(TlsHook::Write) {
            return found;
        }
    }
    Vec::new()
}

fn named<'a>(
    elf: &object::File<'a, &'a ReadCache<&'a File>>,
    symbols: &str,
    strings: &str,
) -> Vec<(TlsHook, u64)> {
    let (Some(symbols), Some(strings)) = (section(elf, symbols), section(elf, strings)) else {
        return Vec::new();
    };
    let Ok(symbols) = slice_from_all_bytes::<Sym64<Endianness>>(symbols) else {
        return Vec::new();
    };
    let endian = elf.endianness();
    let mut found = Vec::new();
    for symbol in symbols {
        let at = symbol.st_name.get(endian) as usize;
        let Some(name) = strings.get(at..).filter(|name| name.starts_with(b"SSL_")) else {
            continue;
        };
        let end = name.iter().position(|c| *c == 0).unwrap_or(name.len());
        let address = symbol.st_value.get(endian);
        let Some((_, hook)) = FUNCTIONS.iter().find(|(known, _)| *known == &name[..end]) else {
            continue;
        };
        let defined = symbol.st_info & 0xf == STT_FUNC && address != 0;
        if defined && found.iter().all(|(known, _)| known != hook) {
            found.extend(offset(elf, address).map(|offset| (*hook, offset)));
        }
    }
    found
}

fn section<'a>(elf: &object::File<'a, &'a ReadCache<&'a File>>, name: &str) -> Option<&'a [u8]> {
    let section = elf.section_by_name(name)?;
    if section.size() > LARGEST { None } else { section.data().ok() }
}

/// Where in the file an address of its code is.
fn offset<'a>(elf: &object::File<'a, &'a ReadCache<&'a File>>, address: u64) -> Option<u64> {
    elf.segments().find_map(|segment| {
        let within = address.checked_sub(segment.address())?;
        let (begin, size) = segment.file_range();
        (within < size).then_some(begin + within)
    })
}

/// The TLS library of a process that has none to hook; `None` where it is not known.
#[must_use]
pub fn recognise(pid: u32, roots: &Roots) -> Option<Library> {
    let code = code(pid, roots);
    let file =
        |code: &Code| code.name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for (prefix, library) in [("libgnutls.so", Library::GnuTls), ("libssl3.so", Library::Nss)] {
        if code.iter().any(|code| file(code).starts_with(prefix)) {
            return Some(library);
        }
    }
    // It says OpenSSL too, whoever uses it for something else.
    code.iter().filter(|code| !file(code).starts_with("libcrypto.so")).find_map(inside)
}

/// The library that was linked into a file.
fn inside(code: &Code) -> Option<Library> {
    let file = code.open().ok()?;
    let cache = ReadCache::new(&file);
    let elf = object::File::parse(&cache).ok()?;
    if elf.section_by_name(".go.buildinfo").is_some() {
        return Some(Library::Go);
    }
    let text = section(&elf, ".rodata")?;
    let mut marks = MARKS.into_iter();
    marks
        .find(|(mark, _)| text.windows(mark.len()).any(|at| at == *mark))
        .map(|(_, library)| library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_code_and_speaks_no_tls() {
        let roots = Roots::default();
        let code = code(std::process::id(), &roots);
        assert!(code.len() >= 2, "the test and libc");
        for code in &code {
            // Another test may have loaded a library that is deleted by now.
            let found = code.open().map(|file| functions(&file)).unwrap_or_default();
            assert_eq!(found, [], "{}", code.name.display());
        }
        assert!(super::code(0, &roots).is_empty(), "there is no process 0");
    }

    #[test]
    fn the_library_of_this_machine_has_every_function_at_code_of_its_own() {
        let path = PathBuf::from("/usr/lib/x86_64-linux-gnu/libssl.so.3");
        if !path.is_file() {
            eprintln!("not run: {} is not there", path.display());
            return;
        }
        let found = functions(&File::open(&path).unwrap());
        assert_eq!(found.len(), FUNCTIONS.len(), "{found:?}");
        let mut offsets: Vec<_> = found.iter().map(|(_, offset)| *offset).collect();
        offsets.sort_unstable();
        offsets.dedup();
        assert_eq!(offsets.len(), FUNCTIONS.len(), "{offsets:x?}");
    }

    #[test]
    fn what_is_no_elf_file_has_no_functions_and_what_is_missing_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("libssl.so");
        let code = Code { path: path.clone(), name: "/libssl.so".into(), id: (0, 0, 1) };
        assert!(code.open().is_err());
        for bytes in [&b""[..], b"\x7fELF", &[0; 4096]] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!((functions(&code.open().unwrap()), inside(&code)), (vec![], None));
        }
    }
}
