use super::*;

#[derive(Default)]
struct Log(Vec<String>);

impl Visitor for Log {
    fn opens(&mut self, path: &[Key]) {
        self.0.push(format!("open {path:?}"));
    }
    fn text(&mut self, path: &[Key], key: Key) {
        self.0.push(format!("text {path:?} {key:?}"));
    }
    fn keeps(&self, _: &[Key], key: Key) -> bool {
        key == Key::Model
    }
    fn kept(&mut self, _: &[Key], _: Key, text: &[u8]) {
        self.0.push(format!("kept {}", String::from_utf8_lossy(text)));
    }
    fn atom(&mut self, path: &[Key], key: Key, text: &[u8]) {
        self.0.push(format!("atom {path:?} {key:?} {}", String::from_utf8_lossy(text)));
    }
}

fn scan(parts: &[&[u8]]) -> (Vec<String>, bool) {
    let (mut scanner, mut log) = (Scanner::default(), Log::default());
    for part in parts {
        scanner.feed(part, &mut log);
    }
    (log.0, scanner.done())
}

const DOC: &[u8] = br#" {"model":"or\"g\/m","choices":[{"delta":{"content":"h\\"}},2],"usage":{"prompt_tokens":12 , "x":null},"stream":true}"#;

#[test]
fn values_are_reported_with_the_keys_that_lead_to_them() {
    let (log, done) = scan(&[DOC]);
    assert!(done);
    assert_eq!(
        log,
        [
            "text [] Model",
            "kept or\"g/m",
            "open [Choices]",
            "open [Choices, Item]",
            "open [Choices, Item, Delta]",
            "text [Choices, Item, Delta] Content",
            "atom [Choices] Item 2",
            "open [Usage]",
            "atom [Usage] PromptTokens 12",
            "atom [Usage] Other null",
            "atom [] Stream true",
        ]
    );
}

#[test]
fn a_cut_at_any_byte_changes_nothing() {
    let whole = scan(&[DOC]);
    for i in 0..DOC.len() {
        assert_eq!(scan(&[&DOC[..i], &DOC[i..]]), whole, "cut at {i}");
    }
    let bytes: Vec<&[u8]> = DOC.chunks(1).collect();
    assert_eq!(scan(&bytes), whole);
}

#[test]
fn what_a_string_says_is_not_believed() {
    let (log, done) = scan(&[br#"{"content":"\"usage\":{\"prompt_tokens\":9}, \\","a":"}"}"#]);
    assert!(done);
    assert_eq!(log, ["text [] Content", "text [] Other"]);
}

#[test]
fn nesting_beyond_the_depth_is_skipped_and_found_back_from() {
    let mut doc = b"{\"a\":".to_vec();
    doc.extend([b'['; 40]);
    doc.extend(b"\"]]\\\"[[\"");
    doc.extend([b']'; 40]);
    doc.extend(b",\"stream\":false}");
    let (log, done) = scan(&[&doc]);
    assert!(done);
    assert_eq!(log.last().map(String::as_str), Some("atom [] Stream false"));
}

#[test]
fn a_broken_structure_ends_the_scan() {
    for doc in [&b"1"[..], b"[1}", b"{]", b"{\"a\" 1}", b"{\"a\":1]", b"{1:2}"] {
        let (_, done) = scan(&[doc, b",\"stream\":true}"]);
        assert!(!done, "{doc:?}");
    }
}

#[test]
fn resuming_in_an_object_knows_its_top_level_keys() {
    let mut scanner = Scanner::resume(&[true]).unwrap();
    let mut log = Log::default();
    scanner.feed(br#""stream":true}"#, &mut log);
    assert!(scanner.done());
    assert_eq!(log.0, ["atom [] Stream true"]);
    assert!(Scanner::resume(&[]).is_none() && Scanner::resume(&[false]).is_none());
}

#[test]
fn an_element_of_a_root_array_has_a_path_of_its_own() {
    let (log, done) = scan(&[br#"[{"stream":true,"usage":{"prompt_tokens":1}},2]"#]);
    assert!(done);
    let usage = ["open [Item, Usage]", "atom [Item, Usage] PromptTokens 1"];
    assert_eq!(log[..2], ["open [Item]", "atom [Item] Stream true"]);
    assert_eq!(
        (&log[2..4], &log[4..]),
        (&usage.map(str::to_owned)[..], &["atom [] Item 2".to_owned()][..])
    );
}

#[test]
fn an_escape_that_was_cut_is_left_out() {
    let name = |digits: &str| format!("{}\\u{digits}", "x".repeat(KEPT - 2 - digits.len()));
    for (text, kept) in [
        (name("00e"), "x".repeat(KEPT - 5)),
        (name("00e9"), format!("{}é", "x".repeat(KEPT - 6))),
        // Half of a pair is no character: as it was written.
        (r"\ud83d and more text".to_owned(), r"\ud83d and more text".to_owned()),
    ] {
        let document = format!(r#"{{"model":"{text}"}}"#);
        let (log, _) = scan(&[document.as_bytes()]);
        assert_eq!(log[1], format!("kept {kept}"));
    }
}
