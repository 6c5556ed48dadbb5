//! The hash of what a run publishes request by request: of the bytes that `--requests` writes, whether it does or not.

use crate::record::RequestRecord;

/// A hash that records are added to.
#[derive(Default)]
pub struct Digest {
    hasher: blake3::Hasher,
    line: Vec<u8>,
}

impl Digest {
    /// Adds the next record.
    pub fn record(&mut self, record: &RequestRecord) {
        self.line.clear();
        // Nothing of a record fails to be JSON; if it did, no line of it was published either.
        if serde_json::to_writer(&mut self.line, record).is_ok() {
            self.line.push(b'\n');
            self.hasher.update(&self.line);
        }
    }

    /// The hash so far, in hexadecimal digits, as `b3sum` prints it of the file.
    #[must_use]
    pub fn hex(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::example;

    #[test]
    fn it_is_the_hash_of_the_file_that_the_records_make() {
        let (mut digest, mut file) = (Digest::default(), String::new());
        assert_eq!(digest.hex(), blake3::hash(b"").to_hex().to_string());
        for record in (0..3).map(example::record) {
            digest.record(&record);
            file += &serde_json::to_string(&record).unwrap();
            file.push('\n');
        }
        assert_eq!(digest.hex(), blake3::hash(file.as_bytes()).to_hex().to_string());
    }
}
