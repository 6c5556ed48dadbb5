//! The bytes of headers and frame heads, and the hashes. No IO.

use super::error::Damage;
use super::reader::Counts;

/// Version of the format.
pub(super) const VERSION: u32 = 1;
/// A segment's first bytes.
const MAGIC: [u8; 8] = *b"WPTAPE\r\n";
/// Bytes of a segment's header.
pub(super) const HEADER: usize = 48;
/// Bytes of a frame before its packed bytes.
pub(super) const HEAD: usize = 13;
/// Bytes of a hash.
pub(super) const HASH: usize = 32;
/// Most bytes of items in a frame.
pub(super) const MAX_PLAIN: usize = 1 << 20;
/// Most bytes of a packed frame: LZ4 at its worst.
pub(super) const MAX_PACKED: usize = MAX_PLAIN + MAX_PLAIN / 255 + 32;
/// Bytes of an end record.
pub(super) const END: usize = 24;

/// A link of the chain.
pub(super) type Link = [u8; HASH];

/// What the note of a tape that was ended says.
pub(super) fn note(counts: &Counts, link: &Link) -> String {
    let Counts { frames, items, segments } = counts;
    let hash = hex(link);
    format!("wattprobe tape: {segments} segments, {frames} frames, {items} entries, hash {hash}\n")
}

/// A link in hexadecimal digits.
pub(super) fn hex(link: &Link) -> String {
    blake3::Hash::from_bytes(*link).to_hex().to_string()
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Items,
    End,
}

/// A frame's kind and lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) packed: usize,
    pub(super) plain: usize,
}

/// The header of a segment that follows `before`.
pub(super) fn header(number: u32, before: &Link) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..16].copy_from_slice(&number.to_le_bytes());
    out[16..].copy_from_slice(before);
    out
}

/// The link that the first frame continues, if the header is that of segment `number` after `before`.
pub(super) fn check_header(
    bytes: &[u8; HEADER],
    number: u32,
    before: &Link,
) -> Result<Link, Damage> {
    if bytes[..8] != MAGIC {
        return Err(Damage::Header);
    }
    let version = word(&bytes[8..12]);
    if version != VERSION {
        return Err(Damage::Version(version));
    }
    if *bytes != header(number, before) {
        return Err(Damage::Order);
    }
    Ok(first_link(bytes))
}

/// What a segment's first frame continues.
pub(super) fn first_link(header: &[u8; HEADER]) -> Link {
    blake3::hash(header).into()
}

/// A frame's head after `before`. Lengths are within the bounds: the writer has seen to it.
pub(super) fn head(kind: Kind, packed: u32, plain: u32, before: &Link) -> [u8; HEAD] {
    let mut out = [0; HEAD];
    out[0] = match kind {
        Kind::Items => 1,
        Kind::End => 2,
    };
    out[1..5].copy_from_slice(&packed.to_le_bytes());
    out[5..9].copy_from_slice(&plain.to_le_bytes());
    let check = check(&out, before);
    out[9..].copy_from_slice(&check);
    out
}

/// Kind and lengths, if they are as they were written, in this place, and within bounds.
pub(super) fn read_head(bytes: &[u8; HEAD], before: &Link) -> Result<Head, Damage> {
    if bytes[9..] != check(bytes, before) {
        return Err(Damage::Head);
    }
    let kind = match bytes[0] {
        1 => Kind::Items,
        2 => Kind::End,
        _ => return Err(Damage::Content),
    };
    let (packed, plain) = (length(&bytes[1..5]), length(&bytes[5..9]));
    let fits = match kind {
        Kind::Items => packed <= MAX_PACKED && plain <= MAX_PLAIN,
        Kind::End => packed == END && plain == END,
    };
    if fits { Ok(Head { kind, packed, plain }) } else { Err(Damage::Content) }
}

/// The link that a frame makes.
pub(super) fn link(before: &Link, head: &[u8; HEAD], packed: &[u8]) -> Link {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(head).update(packed);
    hasher.finalize().into()
}

fn check(head: &[u8; HEAD], before: &Link) -> [u8; 4] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(&head[..9]);
    let mut out = [0; 4];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..4]);
    out
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte))
}

fn length(bytes: &[u8]) -> usize {
    usize::try_from(word(bytes)).unwrap_or(usize::MAX)
}
