//! Target `lines`: streams of documents. A line is read as the document in it would be by itself, wherever
//! the writes are cut; behind bytes that were not seen nothing is said that the whole contradicts.

use wattprobe::boundary::fuzzing::{documents, lines};

/// Bytes held for a broken line at most: the window and what holds it.
const HELD: usize = 2048 + 64;

/// Reads a stream: the kind of it, where it is cut, how much is lost there; then the stream.
pub fn run(bytes: &[u8]) {
    let [kind, a, b, stream @ ..] = bytes else { return };
    let events = kind & 1 == 0;
    let (at, lost) = (usize::from(*a) * (1 + usize::from(kind >> 4)), usize::from(*b));
    let cut = at.min(stream.len());
    let behind = (cut + lost).min(stream.len());

    let (whole, held) = lines(events, [Some(stream)]);
    assert_eq!(held, 0, "nothing is held while nothing is missing");
    let cuts = [&stream[..cut], &stream[cut..behind], &stream[behind..]];
    assert_eq!(lines(events, cuts.map(Some)).0, whole, "a cut changes nothing");
    let single = stream.chunks(1).map(Some);
    assert_eq!(lines(events, single).0, whole, "byte by byte it is the same");

    let (rest, held) = lines(events, [Some(cuts[0]), None, Some(cuts[2])]);
    assert!(held <= HELD, "{held} bytes are held");
    let Some(by_itself) = documents_of(stream, events) else { return };
    assert_eq!(whole, documents(by_itself.iter().copied()), "a line is the document in it");
    // A line whose beginning is missing is taken for a document.
    if by_itself.len() == lines_of(stream, events).filter(|line| !line.is_empty()).count() {
        assert!(rest.texts <= whole.texts, "{} of {} texts", rest.texts, whole.texts);
        let models: Vec<_> = by_itself.iter().map(|one| documents([*one]).model).collect();
        let known = rest.model.is_none() || models.contains(&rest.model);
        assert!(known || by_itself.iter().any(|one| names_models(one)), "{:?}", rest.model);
    }
}

/// Whether a document has the key more than once: the first one counts, which may be among what was not seen.
fn names_models(document: &[u8]) -> bool {
    const KEY: &[u8] = b"\"model\"";
    document.windows(KEY.len()).filter(|window| *window == KEY).count() > 1
}

/// Lines of events also end with a carriage return alone.
fn lines_of(stream: &[u8], events: bool) -> impl Iterator<Item = &[u8]> {
    stream.split(move |c| *c == b'\n' || (events && *c == b'\r'))
}

/// The documents of a stream in which every line that has one is one: `None` where a line has none.
fn documents_of(stream: &[u8], events: bool) -> Option<Vec<&[u8]>> {
    let mut documents = Vec::new();
    for line in lines_of(stream, events) {
        let document = match line.strip_prefix(b"data:") {
            Some(document) if events => document,
            None if events => continue,
            _ => line,
        };
        let document = document.trim_ascii();
        if document.is_empty() || document == b"[DONE]" {
            continue;
        }
        let parsed: serde_json::Value = serde_json::from_slice(document).ok()?;
        parsed.as_object()?;
        documents.push(document);
    }
    Some(documents)
}
