//! What was said goes nowhere: a mark in everything a client sends and a server answers, and in nothing
//! that the probe writes or serves.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use wattprobe::record::RequestRecord;

use crate::harness::alone;
use crate::harness::client::Address;
use crate::harness::parts::script;
use crate::harness::probe::{Probe, wattprobe};
use crate::harness::process::Running;
use crate::harness::server::tunnel;

/// Found nowhere by chance.
const MARK: &str = "Zq9vMarkedXw7";

/// A request with the mark wherever text may stand.
fn marked(path: &str, id: &str, stream: bool) -> String {
    // Longer than what is captured of a call, so that it is cut at both ends.
    let prompt = format!("{MARK} ").repeat(1500);
    let tool = json!({"type": "function", "function": {"name": "look_up", "description": MARK}});
    let called =
        json!({"function": {"name": "look_up", "arguments": json!({"what": MARK}).to_string()}});
    let body = json!({
        "model": "echo", "stream": stream, "user": MARK, "tools": [tool], "metadata": {"key": MARK},
        "messages": [{"role": "assistant", "tool_calls": [called]}, {"role": "user", "content": prompt}],
    });
    let body = body.to_string();
    format!(
        "POST {path}?key={MARK} HTTP/1.1\r\nHost: test\r\nx-request-id: {id}\r\nAuthorization: Bearer {MARK}\r\n\
         Cookie: session={MARK}\r\nX-Title: {MARK}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// What a server at this address answers until it closes.
fn answer(to: &Address, request: &str) -> Vec<u8> {
    let mut socket = to.open().expect("it listens");
    socket.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    answer
}

/// Every way to send it, and what comes back; how many are requests.
fn talk(server: &Address) -> usize {
    let mut sent = 0;
    for path in ["/v1/chat/completions", "/api/chat", "/refuse"] {
        for stream in [false, true] {
            let request = marked(path, &format!("marked-{sent}"), stream);
            let answered = String::from_utf8_lossy(&answer(server, &request)).into_owned();
            assert!(answered.contains(MARK), "the server says it again: {} bytes", answered.len());
            sent += 1;
        }
    }
    // What is no HTTP, and what never comes to its end.
    answer(server, &format!("{MARK} {MARK}\r\n\r\n"));
    let cut = marked("/v1/chat/completions", &format!("marked-{sent}"), true);
    let mut socket = server.open().expect("it listens");
    socket.write_all(&cut.as_bytes()[..cut.len() / 2]).expect("it reads");
    sent + 1
}

/// Every file beneath a folder that holds the mark, in any case of letters.
fn marked_files(dir: &Path, looked_at: &mut usize) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(marked_files(&path, looked_at));
            continue;
        }
        *looked_at += 1;
        let bytes = fs::read(&path).expect("a file").to_ascii_lowercase();
        let mark = MARK.to_ascii_lowercase();
        if bytes.windows(mark.len()).any(|window| window == mark.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_marked_prompt_and_its_answer_are_in_no_file_log_metric_or_tape() {
    keeps_to_itself(false);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn neither_are_those_that_were_read_through_tls() {
    keeps_to_itself(true);
}

fn keeps_to_itself(secure: bool) {
    let _alone = alone();
    let (theirs, ours) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let mut command = Command::new("python3");
    command.arg(script("echo_server.py"));
    if secure {
        command.arg("--certificate").arg(script("tls/cert.pem"));
        command.arg("--key").arg(script("tls/key.pem"));
    }
    let mut server = Running::start(&mut command, theirs.path(), "echo");
    let address = Address::parse(&server.line("listening on ", Duration::from_secs(30)));
    let door = secure.then(|| tunnel(theirs.path(), &address, &[]));
    let place = |name: &str| ours.path().join(name).to_string_lossy().into_owned();
    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let metrics = free.to_string();
    let (tape, slices) = (place("tape"), place("slices.jsonl"));
    let port = address.port();
    let options = ["-vv", "--metrics", &metrics, "--tape", &tape, "--slices", &slices];
    let probe = Probe::on_port(ours.path(), &port, &options);

    let sent = talk(door.as_ref().map_or(&address, |door| &door.address));
    // Records are there a moment after the requests.
    std::thread::sleep(Duration::from_secs(1));
    for (name, path) in
        [("metrics", "/metrics"), ("records", "/v1/requests"), ("health", "/healthz")]
    {
        let page = answer(
            &Address::parse(&metrics),
            &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        );
        assert!(page.starts_with(b"HTTP/1.1 200"), "{path}");
        fs::write(place(name), page).expect("our folder");
    }
    let outcome = probe.finish();
    let ids = outcome.records.iter().filter_map(|record| record.external_id.as_deref());
    assert_eq!(ids.filter(|id| id.starts_with("marked-")).count(), sent, "all were seen");
    assert!(outcome.records.iter().any(|record| record.completion_tokens == Some(2)), "and read");
    let through_tls = |record: &RequestRecord| record.flags.contains(&"tls".to_owned());
    assert!(outcome.records.iter().all(|record| through_tls(record) == secure));

    for (name, words) in [
        ("verified", &["verify"][..]),
        ("info", &["info", "--json"]),
        ("replayed", &["replay"]),
        ("json", &["export", "--format", "jsonl", "--output", &place("export.jsonl")]),
        ("parquet", &["export", "--format", "parquet", "--output", &place("export.parquet")]),
    ] {
        let said = wattprobe(&["tape"]).args(words).arg(&tape).output().expect("the binary starts");
        assert!(said.status.success(), "{name}: {}", String::from_utf8_lossy(&said.stderr));
        fs::write(place(name), [said.stdout, said.stderr].concat()).expect("our folder");
    }
    let mut looked_at = 0;
    assert_eq!(marked_files(ours.path(), &mut looked_at), Vec::<String>::new());
    println!("{sent} marked requests, {looked_at} files without the mark");
    assert!(looked_at >= 15, "{looked_at} files: something was not written");
}
