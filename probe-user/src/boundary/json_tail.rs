//! The end of a JSON document whose beginning was not captured.
//!
//! Read backwards from the document's last byte, where one surely stands outside every string: a quote
//! is real if an even number of backslashes precedes it, so each one toggles. The farthest comma outside
//! strings is then a place to read forwards from, with the containers around it known by kind, and those
//! directly in the root known by path. This is exact, whatever the strings say.

use super::json_scan::{DEPTH, Scanner, Visitor};

/// Scans what can be scanned of `window`, the last bytes of a document.
pub(super) fn scan(window: &[u8], visitor: &mut impl Visitor) {
    let window = window.trim_ascii_end();
    if let Some((from, mut scanner)) = resume_point(window) {
        scanner.feed(&window[from..], visitor);
    }
}

fn resume_point(window: &[u8]) -> Option<(usize, Scanner)> {
    let mut open = Containers::default();
    let mut best = None;
    let mut in_text = false;
    let mut i = window.len();
    while i > 0 {
        i -= 1;
        match window[i] {
            b'"' if in_text => {
                let slashes = window[..i].iter().rev().take_while(|c| **c == b'\\').count();
                if slashes == i {
                    break; // where the backslashes begin is not known
                }
                in_text = slashes % 2 == 1;
            }
            _ if in_text => {}
            b'"' => in_text = true,
            b'}' if !open.push(true) => break,
            b']' if !open.push(false) => break,
            b'{' if !open.pop(true) => break,
            b'[' if !open.pop(false) => break,
            b'{' if open.len == 0 => return Some((i, Scanner::default())),
            b',' => best = Some((i + 1, open)),
            _ => {}
        }
        if open.len == 0 {
            break;
        }
    }
    let (from, open) = best?;
    Scanner::resume(&open.object[..open.len]).map(|scanner| (from, scanner))
}

/// Containers that enclose the place reached, outermost first: their ends were met in that order.
#[derive(Clone, Copy, Default)]
struct Containers {
    object: [bool; DEPTH],
    len: usize,
}

impl Containers {
    fn push(&mut self, object: bool) -> bool {
        let Some(slot) = self.object.get_mut(self.len) else {
            return false;
        };
        *slot = object;
        self.len += 1;
        true
    }

    fn pop(&mut self, object: bool) -> bool {
        if self.len == 0 || self.object[self.len - 1] != object {
            return false;
        }
        self.len -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{super::json_key::Key, *};

    #[derive(Default)]
    struct Top(Vec<(Key, String)>);

    impl Visitor for Top {
        fn atom(&mut self, path: &[Key], key: Key, text: &[u8]) {
            if path.is_empty() {
                self.0.push((key, String::from_utf8_lossy(text).into_owned()));
            }
        }
    }

    fn top(window: &[u8]) -> Vec<(Key, String)> {
        let mut top = Top::default();
        scan(window, &mut top);
        top.0
    }

    const DOC: &[u8] =
        br#"{"messages":[{"content":"say \"stream\":false, \\"},{"a":[1,2]}],"n":1,"stream":true}  "#;

    #[test]
    fn every_suffix_that_holds_the_key_and_its_comma_gives_its_value() {
        let comma = DOC.windows(8).position(|w| w == b",\"stream").unwrap();
        for from in 0..DOC.len() {
            let found = top(&DOC[from..]);
            let stream: Vec<_> = found.iter().filter(|(k, _)| *k == Key::Stream).collect();
            if from <= comma {
                assert_eq!(stream, [&(Key::Stream, "true".to_owned())], "from {from}");
            } else {
                assert!(stream.is_empty(), "from {from}");
            }
        }
    }

    #[test]
    fn a_window_that_is_no_end_of_a_document_says_nothing() {
        for window in
            [&b""[..], b"plain text", b"]", b"\"stream\":true,", b"1,\"stream\":true]}", b"\\\\\"}"]
        {
            assert!(top(window).is_empty(), "{window:?}");
        }
    }

    #[test]
    fn too_deep_an_end_is_refused() {
        assert!(resume_point(&[b'}'; 100]).is_none());
    }
}
