//! Target `chunked`: the chunked coding. What was encoded comes back as it was; any other bytes mean what
//! a plain reading of the grammar says; a cut changes nothing.

use wattprobe::boundary::fuzzing::{Dechunked, chunked};

/// Decodes: how to cut, then the bytes.
pub fn run(bytes: &[u8]) {
    let [size, bytes @ ..] = bytes else { return };
    let size = usize::from(*size).max(1);
    decode(bytes, size);
    let encoded = encode(bytes, size);
    let body = decode(&encoded, size);
    let expected =
        Dechunked { content: bytes.to_vec(), end: Some(encoded.len()), malformed: false };
    assert_eq!(body, expected, "what was encoded comes back");
    let next = [&encoded[..], b"GET / HTTP/1.1\r\n"].concat();
    assert_eq!(decode(&next, size), expected, "what follows is not of it");
}

fn decode(bytes: &[u8], size: usize) -> Dechunked {
    let body = chunked([bytes]);
    assert_eq!(body, chunked(bytes.chunks(size)), "a cut changes nothing");
    assert_eq!(body, plain(bytes));
    body
}

fn encode(content: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (i, chunk) in content.chunks(size).enumerate() {
        let extension = ["", ";name", ";a=\"b\"", " "][i % 4];
        bytes.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    let trailer = if content.len() % 2 == 0 { "" } else { "Checksum: 1\r\n" };
    bytes.extend(format!("0\r\n{trailer}\r\n").bytes());
    bytes
}

/// The grammar read over a whole buffer.
fn plain(bytes: &[u8]) -> Dechunked {
    let mut body = Dechunked::default();
    let mut rest = bytes;
    loop {
        let digits = rest.iter().take(17).take_while(|c| c.is_ascii_hexdigit()).count();
        let Some(behind) = rest.get(digits) else {
            body.malformed = digits > 16;
            return body;
        };
        if digits == 0 || digits > 16 || !matches!(behind, b';' | b' ' | b'\t' | b'\r' | b'\n') {
            body.malformed = true;
            return body;
        }
        let Some(end) = rest.iter().position(|c| *c == b'\n') else { return body };
        let left = str::from_utf8(&rest[..digits]).map(|size| u64::from_str_radix(size, 16));
        let Ok(Ok(left)) = left else { unreachable!("they are hexadecimal digits") };
        rest = &rest[end + 1..];
        if left == 0 {
            break;
        }
        let n = left.min(rest.len() as u64) as usize;
        body.content.extend(&rest[..n]);
        rest = &rest[n..];
        if (n as u64) < left {
            return body;
        }
        let returns = rest.iter().take_while(|c| **c == b'\r').count();
        match rest.get(returns) {
            None => return body,
            Some(b'\n') => rest = &rest[returns + 1..],
            Some(_) => {
                body.malformed = true;
                return body;
            }
        }
    }
    // The trailer ends with a line that holds nothing but carriage returns.
    while let Some(end) = rest.iter().position(|c| *c == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.iter().all(|c| *c == b'\r') {
            body.end = Some(bytes.len() - rest.len());
            break;
        }
    }
    body
}
