//! Names that come from the network, made harmless: bounded, printable, valid UTF-8.

/// `bytes` as text of at most `max` bytes without control characters; `None` when nothing is left.
pub(super) fn name(bytes: &[u8], max: usize) -> Option<String> {
    // Text longer than the bound is cut before decoding, so that a megabyte is never copied.
    let bytes = bytes.get(..max).unwrap_or(bytes);
    let mut text: String =
        String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).collect();
    while text.len() > max {
        text.pop();
    }
    text.truncate(text.trim_end().len());
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn control_characters_are_dropped_and_the_length_is_bounded() {
        assert_eq!(name(b"a\x1b[31mb\n", 128).as_deref(), Some("a[31mb"));
        assert_eq!(name(&[b'x'; 500], 128).map(|n| n.len()), Some(128));
        assert_eq!(name(b"\x00\x01", 128), None);
    }

    #[test]
    fn a_cut_inside_a_character_stays_within_the_bound() {
        let emoji = "🙂".repeat(40);
        let kept = name(emoji.as_bytes(), 126).unwrap();
        assert!(kept.len() <= 126 && kept.starts_with("🙂🙂"));
    }
}
