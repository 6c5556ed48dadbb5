//! Text from the network and times as people read them.
//!
//! Paths and model names come from clients: control characters would reach the reader's terminal,
//! so nothing but visible ASCII is shown. Times are RFC 3339 in records; tables show differences.

use jiff::Timestamp;

/// Visible ASCII of at most `longest` characters; the middle is cut, since both ends tell more.
#[must_use]
pub fn visible(text: &str, longest: usize) -> String {
    let clean: Vec<char> =
        text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    if clean.len() <= longest {
        return clean.into_iter().collect();
    }
    let kept = longest.saturating_sub(1);
    let (front, back) = (kept.div_ceil(2), kept / 2);
    let mut cut: String = clean[..front].iter().collect();
    cut.push('…');
    cut.extend(&clean[clean.len() - back..]);
    cut
}

/// Seconds from one RFC 3339 instant to another; `None` when either is not one.
#[must_use]
pub fn seconds_between(from: &str, to: &str) -> Option<f64> {
    let (from, to) = (from.parse::<Timestamp>().ok()?, to.parse::<Timestamp>().ok()?);
    Some((to.as_nanosecond() - from.as_nanosecond()) as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(visible("/a\x1b[2Jb\u{9b}31m", 40), "/a?[2Jb?31m");
    }

    #[test]
    fn a_long_path_keeps_both_ends() {
        assert_eq!(visible("/v1/chat/completions", 11), "/v1/c…tions");
        assert_eq!(visible("abc", 0).chars().count(), 1);
    }

    #[test]
    fn differences_of_instants_keep_their_nanoseconds() {
        let from = "2026-01-02T03:04:05.000000001Z";
        assert_eq!(seconds_between(from, "2026-01-02T03:04:06.500000001Z"), Some(1.5));
        assert_eq!(seconds_between(from, "yesterday"), None);
    }
}
