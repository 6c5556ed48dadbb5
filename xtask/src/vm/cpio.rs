//! An initramfs: a cpio archive in the `newc` format, the same bytes for the same files.
//!
//! It is not compressed: an emulated CPU would take longer to inflate it than the disk to read it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

const FILE: u32 = 0o100_755;
const FOLDER: u32 = 0o040_755;
const DEVICE: u32 = 0o020_600;

/// Files by their path without the leading slash; folders come by themselves.
#[derive(Default)]
pub(super) struct Archive {
    files: BTreeMap<String, Vec<u8>>,
}

impl Archive {
    /// Adds a file that everyone may execute.
    pub(super) fn add(&mut self, path: &str, content: Vec<u8>) {
        self.files.insert(path.trim_start_matches('/').to_owned(), content);
    }

    /// The archive: in order of path, of user 0 and time 0.
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut serial = 0;
        let folders: BTreeSet<&str> =
            self.files.keys().flat_map(|path| parents(path)).chain(["dev"]).collect();
        let mut put = |name: &str, mode, device, content: &[u8]| {
            serial += 1;
            entry(&mut out, serial, name, mode, device, content)
        };
        for folder in folders {
            put(folder, FOLDER, (0, 0), &[])?;
        }
        // The kernel opens it for the first process before anything is mounted.
        put("dev/console", DEVICE, (5, 1), &[])?;
        for (path, content) in &self.files {
            put(path, FILE, (0, 0), content)?;
        }
        put("TRAILER!!!", 0, (0, 0), &[])?;
        Ok(out)
    }
}

/// `a/b/c` → `a`, `a/b`.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

fn entry(
    out: &mut Vec<u8>,
    serial: u32,
    name: &str,
    mode: u32,
    device: (u32, u32),
    content: &[u8],
) -> Result<()> {
    let size = u32::try_from(content.len()).with_context(|| format!("{name} is too large"))?;
    let name_size = u32::try_from(name.len() + 1)?;
    // inode, mode, uid, gid, links, time, size, device of the file, device it is, length of name, sum
    let fields = [serial, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0];
    out.extend_from_slice(b"070701");
    for field in fields {
        out.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(content);
    pad(out);
    Ok(())
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_in_another_order_are_the_same_bytes() {
        let (mut a, mut b) = (Archive::default(), Archive::default());
        a.add("/init", b"x".to_vec());
        a.add("/bin/p", b"yz".to_vec());
        b.add("bin/p", b"yz".to_vec());
        b.add("init", b"x".to_vec());
        assert_eq!(a.bytes().unwrap(), b.bytes().unwrap());
    }

    #[test]
    fn headers_are_as_the_kernel_reads_them() {
        let mut archive = Archive::default();
        archive.add("/m/a.ko", vec![7; 5]);
        let bytes = archive.bytes().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let at = bytes.windows(7).position(|w| w == b"m/a.ko\0").unwrap() - 110;
        let header = std::str::from_utf8(&bytes[at..at + 110]).unwrap();
        assert_eq!(at % 4, 0);
        assert!(header.starts_with("070701"), "{header}");
        assert_eq!(&header[14..22], "000081ED");
        assert_eq!(&header[54..62], "00000005", "its size");
        assert_eq!(&header[94..102], "00000007", "the length of its name");
        assert_eq!(&bytes[at + 120..at + 128], &[7, 7, 7, 7, 7, 0, 0, 0]);
        // Its folder comes before it.
        assert!(bytes.windows(2).position(|w| w == b"m\0").unwrap() < at);
        assert_eq!(parents("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
    }
}
