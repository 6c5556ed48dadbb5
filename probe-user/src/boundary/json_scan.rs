//! A JSON scanner that is pushed bytes as they come and remembers no text.
//!
//! It follows strings, escapes and nesting exactly, so that what a model or a user *says* (a string with
//! `\"usage\":{…}` in it) is never taken for what a server *reports*. Its state is a path of [`Key`]s, one
//! short buffer for the key or number being read, and one for a `model` name. It tolerates what it need
//! not judge (wrong literals, trailing commas), and gives up on a document whose structure breaks.

use std::{borrow::Cow, fmt};

use super::json_key::Key;

/// Containers whose keys are followed; deeper ones are skipped.
pub(super) const DEPTH: usize = 12;
/// Bytes kept of a key, a number or a literal.
pub(super) const ATOM: usize = 32;
/// Bytes kept of a string that a visitor asks for.
pub(super) const KEPT: usize = 128;

/// Who wants to know. `path` holds the keys of the containers inside the document's root: of an element of a root array it
/// begins with [`Key::Item`].
pub(super) trait Visitor {
    /// A container with this path began.
    fn opens(&mut self, _path: &[Key]) {}
    /// The string at `key` has at least one byte.
    fn text(&mut self, _path: &[Key], _key: Key) {}
    /// Whether the string at `key` is to be kept for [`Visitor::kept`].
    fn keeps(&self, _path: &[Key], _key: Key) -> bool {
        false
    }
    /// A kept string ended: what at most [`KEPT`] bytes of it say.
    fn kept(&mut self, _path: &[Key], _key: Key, _text: &[u8]) {}
    /// A number, `true`, `false` or `null`.
    fn atom(&mut self, _path: &[Key], _key: Key, _text: &[u8]) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the root, an object or an array.
    Start,
    /// Before a key or the object's end.
    Key,
    InKey,
    Colon,
    /// Before a value or the array's end.
    Value,
    InText,
    InAtom,
    /// After a value.
    After,
    /// In containers too deep to follow.
    Deep,
    InDeepText,
    Done,
    Broken,
}

/// The scanner of one document.
#[derive(Clone)]
pub(super) struct Scanner {
    state: State,
    /// The byte before was a backslash in a string.
    escaped: bool,
    /// The string being read is kept.
    keeping: bool,
    /// The string being read had a byte.
    has_text: bool,
    depth: u8,
    /// Containers open beyond [`DEPTH`].
    deep: u32,
    /// Whether container `i` is an object.
    object: [bool; DEPTH],
    /// The key container `i` stands at.
    path: [Key; DEPTH],
    /// The key of the value being read.
    key: Key,
    small_len: u8,
    small: [u8; ATOM],
    kept_len: u8,
    kept: [u8; KEPT],
}

impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The buffers may hold a stranger's words.
        f.debug_struct("Scanner")
            .field("state", &self.state)
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            state: State::Start,
            escaped: false,
            keeping: false,
            has_text: false,
            depth: 0,
            deep: 0,
            object: [false; DEPTH],
            path: [Key::Other; DEPTH],
            key: Key::Other,
            small_len: 0,
            small: [0; ATOM],
            kept_len: 0,
            kept: [0; KEPT],
        }
    }
}

impl Scanner {
    /// A scanner that stands after a comma in containers of these kinds (`true`: object), outermost
    /// first, whose keys are not known: they are [`Key::Unseen`].
    pub(super) fn resume(containers: &[bool]) -> Option<Self> {
        let mut scanner = Self::default();
        if containers.len() > DEPTH || containers.first() != Some(&true) {
            return None;
        }
        scanner.object[..containers.len()].copy_from_slice(containers);
        scanner.path[..containers.len()].fill(Key::Unseen);
        scanner.depth = containers.len() as u8;
        scanner.next_element();
        Some(scanner)
    }

    /// Forgets the document, for the next one.
    pub(super) fn reset(&mut self) {
        self.state = State::Start;
        self.depth = 0;
        self.deep = 0;
        self.escaped = false;
    }

    /// Whether a document has begun and neither ended nor broken.
    pub(super) fn inside(&self) -> bool {
        !matches!(self.state, State::Start | State::Done | State::Broken)
    }

    /// Whether more bytes could still say something.
    pub(super) fn listens(&self) -> bool {
        !matches!(self.state, State::Done | State::Broken)
    }

    /// Whether the root was read to its end.
    pub(super) fn done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads on.
    pub(super) fn feed(&mut self, bytes: &[u8], visitor: &mut impl Visitor) {
        let mut rest = bytes;
        while let [c, tail @ ..] = rest {
            match self.state {
                State::InText => rest = self.text(rest, visitor),
                State::InDeepText => rest = self.deep_text(rest),
                State::InKey => {
                    self.in_key(*c);
                    rest = tail;
                }
                State::InAtom if !ends_atom(*c) => {
                    self.push_small(*c);
                    rest = tail;
                }
                State::InAtom => {
                    let n = usize::from(self.small_len).min(ATOM);
                    visitor.atom(path(&self.path, self.depth), self.key, &self.small[..n]);
                    self.state = State::After;
                }
                State::Done | State::Broken => return,
                _ => {
                    self.structure(*c, visitor);
                    rest = tail;
                }
            }
        }
    }

    fn structure(&mut self, c: u8, visitor: &mut impl Visitor) {
        if c.is_ascii_whitespace() {
            return;
        }
        match (self.state, c) {
            (State::Start, b'{') => self.open(true, visitor),
            (State::Start, b'[') => self.open(false, visitor),
            (State::Key, b'"') => {
                self.small_len = 0;
                self.state = State::InKey;
            }
            (State::Key | State::After, b'}') => self.close(true),
            (State::Value | State::After, b']') => self.close(false),
            (State::Colon, b':') => self.state = State::Value,
            (State::Value, b'"') => self.open_text(visitor),
            (State::Value, b'{') => self.open(true, visitor),
            (State::Value, b'[') => self.open(false, visitor),
            (State::Value, b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') => {
                self.small_len = 0;
                self.push_small(c);
                self.state = State::InAtom;
            }
            (State::After, b',') => self.next_element(),
            (State::Deep, b'"') => self.state = State::InDeepText,
            (State::Deep, b'{' | b'[') => self.deep = self.deep.saturating_add(1),
            (State::Deep, b'}' | b']') => {
                self.deep -= 1;
                if self.deep == 0 {
                    self.state = State::After;
                }
            }
            (State::Deep, _) => {}
            _ => self.state = State::Broken,
        }
    }

    fn next_element(&mut self) {
        if self.in_object() {
            self.state = State::Key;
        } else {
            self.key = Key::Item;
            self.state = State::Value;
        }
    }

    fn in_object(&self) -> bool {
        self.depth > 0 && self.object[usize::from(self.depth) - 1]
    }

    fn open(&mut self, object: bool, visitor: &mut impl Visitor) {
        let depth = usize::from(self.depth);
        if depth == DEPTH {
            self.deep = 1;
            self.state = State::Deep;
            return;
        }
        self.object[depth] = object;
        self.path[depth] = self.key;
        self.depth += 1;
        if depth > 0 {
            visitor.opens(path(&self.path, self.depth));
        }
        self.next_element();
    }

    fn close(&mut self, object: bool) {
        if self.depth == 0 || self.in_object() != object {
            self.state = State::Broken;
            return;
        }
        self.depth -= 1;
        self.state = if self.depth == 0 { State::Done } else { State::After };
    }

    fn open_text(&mut self, visitor: &impl Visitor) {
        self.state = State::InText;
        self.escaped = false;
        self.has_text = false;
        self.kept_len = 0;
        self.keeping = visitor.keeps(path(&self.path, self.depth), self.key);
    }

    /// Reads a string's bytes; returns what follows them.
    fn text<'a>(&mut self, bytes: &'a [u8], visitor: &mut impl Visitor) -> &'a [u8] {
        let (inside, rest, ended) = split_text(bytes, &mut self.escaped, |c, escaped| {
            if self.keeping {
                if escaped {
                    keep(&mut self.kept, &mut self.kept_len, b'\\');
                }
                keep(&mut self.kept, &mut self.kept_len, c);
            }
        });
        if inside > 0 && !self.has_text {
            self.has_text = true;
            visitor.text(path(&self.path, self.depth), self.key);
        }
        if ended {
            if self.keeping {
                let kept = unescaped(&self.kept[..usize::from(self.kept_len)]);
                visitor.kept(path(&self.path, self.depth), self.key, &kept);
            }
            self.state = State::After;
        }
        rest
    }

    fn deep_text<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (_, rest, ended) = split_text(bytes, &mut self.escaped, |_, _| {});
        if ended {
            self.state = State::Deep;
        }
        rest
    }

    fn in_key(&mut self, c: u8) {
        if self.escaped {
            self.escaped = false;
            self.small_len = u8::MAX;
        } else if c == b'"' {
            let name = self.small.get(..usize::from(self.small_len));
            self.key = name.map_or(Key::Other, Key::of);
            self.state = State::Colon;
        } else if c == b'\\' {
            self.escaped = true;
        } else {
            self.push_small(c);
        }
    }

    fn push_small(&mut self, c: u8) {
        if let Some(slot) = self.small.get_mut(usize::from(self.small_len)) {
            *slot = c;
        }
        self.small_len = self.small_len.saturating_add(1);
    }
}

/// The keys of the containers inside the root.
fn path(keys: &[Key; DEPTH], depth: u8) -> &[Key] {
    keys.get(1..usize::from(depth)).unwrap_or_default()
}

fn ends_atom(c: u8) -> bool {
    matches!(c, b',' | b'}' | b']') || c.is_ascii_whitespace()
}

/// Bytes up to an unescaped quote: how many, what follows the quote, whether it was there.
fn split_text<'a>(
    bytes: &'a [u8],
    escaped: &mut bool,
    mut each: impl FnMut(u8, bool),
) -> (usize, &'a [u8], bool) {
    for (i, c) in bytes.iter().enumerate() {
        if *escaped {
            *escaped = false;
            each(*c, true);
        } else if *c == b'"' {
            return (i, &bytes[i + 1..], true);
        } else if *c == b'\\' {
            *escaped = true;
        } else {
            each(*c, false);
        }
    }
    (bytes.len(), &[], false)
}

fn keep(kept: &mut [u8; KEPT], len: &mut u8, c: u8) {
    if let Some(slot) = kept.get_mut(usize::from(*len)) {
        *slot = c;
        *len += 1;
    }
}

/// What a string says whose beginning was kept: all of it, or as far as its escapes are whole.
fn unescaped(kept: &[u8]) -> Cow<'_, [u8]> {
    if !kept.contains(&b'\\') {
        return kept.into();
    }
    let text = String::from_utf8_lossy(kept);
    // The longest escape, a pair of surrogates, has twelve bytes.
    let shorter = (0..12).filter_map(|n| text.get(..text.len().checked_sub(n)?));
    let mut read = shorter.filter_map(|text| serde_json::from_str(&format!("\"{text}\"")).ok());
    read.next().map_or(kept.into(), |text: String| text.into_bytes().into())
}

#[cfg(test)]
mod tests;
