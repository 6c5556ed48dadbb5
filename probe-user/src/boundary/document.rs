//! One JSON document that comes in pieces: a request's body, or a response's.
//!
//! While every byte is captured the scanner reads through. After a gap the bytes behind it are kept in a
//! bounded window, and what stands at the document's end is read from there once it is over.

use super::{
    json_scan::{Scanner, Visitor},
    json_tail,
    tail::Tail,
};

/// The scan of one document.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    scanner: Scanner,
    /// Since a gap: the bytes after it.
    tail: Option<Box<Tail>>,
}

impl Document {
    pub(super) fn push(&mut self, bytes: &[u8], visitor: &mut impl Visitor) {
        match &mut self.tail {
            Some(tail) => tail.push(bytes),
            None => self.scanner.feed(bytes, visitor),
        }
    }

    /// Bytes are missing here. Behind a document that is over, or that is none, nothing is missed.
    pub(super) fn gap(&mut self) {
        if self.tail.is_some() || self.scanner.listens() {
            self.tail.get_or_insert_default().clear();
        }
    }

    /// Reads what is left to read, if the document ends here. Whether all of it was read.
    pub(super) fn finish(&self, visitor: &mut impl Visitor) -> bool {
        match &self.tail {
            Some(tail) => {
                json_tail::scan(tail.bytes(), visitor);
                false
            }
            None => self.scanner.done(),
        }
    }

    /// Heap bytes held.
    pub(super) fn retained(&self) -> usize {
        self.tail.as_ref().map_or(0, |t| t.retained() + size_of::<Tail>())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::json_key::Key, *};

    #[derive(Default)]
    struct Stream(Vec<String>);

    impl Visitor for Stream {
        fn atom(&mut self, path: &[Key], key: Key, text: &[u8]) {
            if path.is_empty() && key == Key::Stream {
                self.0.push(String::from_utf8_lossy(text).into_owned());
            }
        }
    }

    /// What was read of the parts (`None`: a gap), whether that was all, and the bytes held.
    fn read(parts: &[Option<&str>]) -> (Vec<String>, bool, usize) {
        let (mut document, mut visitor) = (Document::default(), Stream::default());
        for part in parts {
            match part {
                Some(text) => document.push(text.as_bytes(), &mut visitor),
                None => document.gap(),
            }
        }
        let whole = document.finish(&mut visitor);
        (visitor.0, whole, document.retained())
    }

    #[test]
    fn a_document_without_a_gap_is_read_whole_and_nothing_is_held() {
        let (stream, whole, retained) = read(&[Some(r#"{"stream":tr"#), Some("ue}")]);
        assert_eq!((stream, whole, retained), (vec!["true".to_owned()], true, 0));
    }

    #[test]
    fn only_what_follows_the_last_gap_is_read_and_it_is_never_the_whole() {
        let parts = [Some(r#"{"a":"x"#), None, Some(r#"","stream":false,"b":"y"#), None];
        let (stream, whole, retained) =
            read(&[&parts[..], &[Some(r#"","n":1,"stream":true}"#)]].concat());
        assert_eq!((stream, whole), (vec!["true".to_owned()], false));
        assert!(retained > 0 && retained < 4096, "{retained}");
    }

    #[test]
    fn a_gap_behind_the_end_of_a_document_or_of_no_document_keeps_nothing() {
        let (stream, whole, retained) = read(&[Some(r#"{"stream":true}"#), None, Some("xx")]);
        assert_eq!((stream, whole, retained), (vec!["true".to_owned()], true, 0));
        assert_eq!(read(&[Some("plain"), None, Some(r#","stream":true}"#)]), (vec![], false, 0));
    }
}
