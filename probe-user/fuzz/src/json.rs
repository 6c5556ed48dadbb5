//! Target `json`: the JSON scanner against serde_json, and what is read of a document's end against the
//! whole of it.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use wattprobe::boundary::fuzzing::{
    ATOM, DEPTH, ITEM, KEPT, KeyNumber, OTHER, Place, Told, UNSEEN, json, json_tail, key,
};

/// What the tracker keeps behind a gap.
const WINDOW: usize = 2048;
/// Ends of a document that are tried, about.
const ENDS: usize = 256;

/// Scans a document: two bytes say where it is cut, the rest is the document.
pub fn run(bytes: &[u8]) {
    let [a, b, document @ ..] = bytes else { return };
    let cuts =
        [usize::from(*a), usize::from(*a) + usize::from(*b)].map(|at| at.min(document.len()));
    let (told, done) = json([document]);
    let parts = [&document[..cuts[0]], &document[cuts[0]..cuts[1]], &document[cuts[1]..]];
    assert_eq!(json(parts), (told.clone(), done), "a cut changes nothing");

    let window = document.len().saturating_sub(WINDOW)..document.len();
    let starts = window.step_by(1 + document.len() / ENDS);
    let Some(expected) = expected(document) else {
        starts.for_each(|from| drop(json_tail(&document[from..])));
        return;
    };
    assert!(done, "valid, and not read to its end");
    assert_eq!(told.len(), expected.len(), "{told:?} for {expected:?}");
    for (told, expected) in told.iter().zip(&expected) {
        assert!(expected.is(told), "{told:?} for {expected:?}");
    }
    for from in starts {
        let end = json_tail(&document[from..]);
        let whole = &told[told.len() - end.len().min(told.len())..];
        assert_eq!(whole.len(), end.len(), "an end says more than the whole");
        for (end, whole) in end.iter().zip(whole) {
            assert!(is_or_unknown(&end.0, &whole.0) && end.1 == whole.1, "{end:?} for {whole:?}");
        }
    }
}

/// Whether a place at the end is the one in the whole, as far as its keys are known.
fn is_or_unknown(end: &Place, whole: &Place) -> bool {
    end.len() == whole.len() && end.iter().zip(whole).all(|(e, w)| e == w || *e == UNSEEN)
}

/// What serde_json says that a scanner must tell.
#[derive(Debug)]
struct Expected {
    place: Place,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Opens,
    Text,
    /// The text, where it has no escapes.
    Kept(Option<Vec<u8>>),
    /// Exactly these bytes.
    Literal(String),
    Float(f64),
}

impl Expected {
    fn is(&self, (place, told): &(Place, Told)) -> bool {
        *place == self.place
            && match (&self.value, told) {
                (Value::Opens, Told::Opens) | (Value::Text, Told::Text) => true,
                (Value::Kept(None), Told::Kept(_)) => true,
                (Value::Kept(Some(text)), Told::Kept(kept)) => {
                    text[..text.len().min(KEPT)] == kept[..]
                }
                (Value::Literal(text), Told::Atom(atom)) => text.as_bytes() == atom,
                (Value::Float(_), Told::Atom(atom)) if atom.len() == ATOM => true, // cut off
                (Value::Float(value), Told::Atom(atom)) => {
                    str::from_utf8(atom).is_ok_and(|atom| atom.parse() == Ok(*value))
                }
                _ => false,
            }
    }
}

/// In document order, if it is a valid object.
fn expected(document: &[u8]) -> Option<Vec<Expected>> {
    if document.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let mut all = Vec::new();
    let mut serde = serde_json::Deserializer::from_slice(document);
    let root = Walk { place: Vec::new(), depth: 0, all: &mut all };
    root.deserialize(&mut serde).ok()?;
    serde.end().ok()?;
    Some(all)
}

/// Walks a value that stands at `place`, in `depth` containers.
struct Walk<'a> {
    place: Place,
    depth: usize,
    all: &'a mut Vec<Expected>,
}

impl Walk<'_> {
    fn say(self, value: Value) {
        if self.depth <= DEPTH {
            self.all.push(Expected { place: self.place, value });
        }
    }

    /// Begins a container; returns the depth inside it.
    fn open(&mut self) -> usize {
        if (1..DEPTH).contains(&self.depth) {
            self.all.push(Expected { place: self.place.clone(), value: Value::Opens });
        }
        self.depth + 1
    }

    fn text(self, text: &str, plain: bool) {
        let Self { place, depth, all } = self;
        let says = |all: &mut Vec<_>, value| Walk { place: place.clone(), depth, all }.say(value);
        if !text.is_empty() {
            says(all, Value::Text);
        }
        if place.last() == Some(&key(b"model")) {
            says(all, Value::Kept(plain.then(|| text.as_bytes().to_vec())));
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.say(Value::Literal("null".into()));
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.say(Value::Literal(value.to_string()));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.say(Value::Literal(value.to_string()));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.say(Value::Literal(value.to_string()));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.say(Value::Float(value));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.text(text, false);
        Ok(())
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.text(text, true);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let depth = self.open();
        loop {
            let place = [&self.place[..], &[ITEM]].concat();
            if seq.next_element_seed(Walk { place, depth, all: self.all })?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let depth = self.open();
        while let Some(Name(name)) = map.next_key()? {
            let place = [&self.place[..], &[name]].concat();
            map.next_value_seed(Walk { place, depth, all: self.all })?;
        }
        Ok(())
    }
}

/// A key, whose escaped spellings are not recognised.
struct Name(KeyNumber);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Plain;
        impl<'de> Visitor<'de> for Plain {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, _: &str) -> Result<Name, E> {
                Ok(Name(OTHER))
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name, E> {
                Ok(Name(key(name.as_bytes())))
            }
        }
        deserializer.deserialize_str(Plain)
    }
}
