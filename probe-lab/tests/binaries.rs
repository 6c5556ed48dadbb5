//! The two programs as a shell would run them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use probe_lab::load::{End, Seen, Totals};
use rustix::process::{Pid, Signal, kill_process};

/// A server that is killed if its test panics.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server on a free port; the server and its URL.
fn server(args: &[&str]) -> (Server, String) {
    let mut server = Server(
        Command::new(env!("CARGO_BIN_EXE_lab-server"))
            .args(["--port", "0"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    (server, url)
}

fn terminate(server: &Server) {
    let pid = Pid::from_raw(server.0.id().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
}

#[test]
fn the_client_logs_every_request_and_sigterm_ends_the_server_with_status_0() {
    let (mut server, url) = server(&["--slots", "2"]);
    let output = Command::new(env!("CARGO_BIN_EXE_lab-load"))
        .args(["--url", &url, "--requests", "12", "--aborts", "1", "--max-tokens", "5"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    let seen: Vec<Seen> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let totals: Totals = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((seen.len(), totals.requests), (12, 12));
    assert_eq!(seen.iter().filter(|s| s.end == End::Complete).count(), 11);
    assert_eq!((totals.complete, totals.aborted, totals.error), (11, 1, 0));
    let ids: std::collections::BTreeSet<u64> = seen.iter().map(|s| s.id).collect();
    assert_eq!(ids, (0..12).collect());

    terminate(&server);
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
}

/// The body of what is answered to a `POST`, which ends with the connection.
fn post(url: &str, path: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let length = body.len();
    write!(socket, "POST {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// A long answer was begun and its client left: the engine hears of it through the other process.
fn an_abandoned_answer_is_stopped(url: &str) {
    let address = url.strip_prefix("http://").unwrap();
    let body = r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":2000,"stream":true}"#;
    let mut socket = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        socket,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    socket.read_exact(&mut [0; 12]).unwrap();
    drop(socket);
    let aborted = || metrics(url).contains("lab_requests_total{end=\"aborted\"} 1\n");
    assert!((0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        aborted()
    }));
}

fn metrics(url: &str) -> String {
    let mut socket = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    socket.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn two_processes_answer_as_one_does_and_end_together() {
    let body = r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":9,"temperature":0}"#;
    let text = |url: &str| {
        let answer = post(url, "/v1/chat/completions", body);
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["usage"]["completion_tokens"], 9);
        answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    };
    let (_one, url) = server(&[]);
    let alone = text(&url);
    for topology in ["proxy", "engine"] {
        let (mut server, url) = server(&["--topology", topology]);
        assert_eq!(text(&url), alone, "{topology}");
        an_abandoned_answer_is_stopped(&url);
        terminate(&server);
        assert_eq!(server.0.wait().unwrap().code(), Some(0), "{topology}");
    }
}

#[test]
fn a_proxy_speaks_ollamas_dialect() {
    let (_server, url) = server(&["--topology", "proxy"]);
    let chat = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"options":{"num_predict":4,"temperature":0}}"#;
    let lines = post(&url, "/api/chat", chat);
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, pieces) = lines.split_last().unwrap();
    assert!(pieces.iter().all(|piece| piece["done"] == false && piece["model"] == "m"));
    assert_eq!((&last["done"], &last["done_reason"]), (&true.into(), &"length".into()));
    let prompt = 1 + "user: x\nassistant: ".len();
    assert_eq!((&last["prompt_eval_count"], &last["eval_count"]), (&prompt.into(), &4.into()));
    let spent: Vec<u64> = ["prompt_eval_duration", "eval_duration", "total_duration"]
        .map(|name| last[name].as_u64().unwrap())
        .into();
    assert!(spent[0] > 0 && spent[0] + spent[1] <= spent[2], "{spent:?}");

    let text: String = pieces.iter().filter_map(|p| p["message"]["content"].as_str()).collect();
    let generate =
        r#"{"model":"m","prompt":"x","stream":false,"options":{"num_predict":4,"temperature":0}}"#;
    let whole: serde_json::Value =
        serde_json::from_str(&post(&url, "/api/generate", generate)).unwrap();
    assert_eq!((whole["response"].as_str(), &whole["done"]), (Some(&*text), &true.into()));
}

#[test]
fn a_taken_port_and_an_absent_server_get_one_line_and_status_1() {
    let (server, url) = server(&[]);
    let port = url.rsplit_once(':').unwrap().1;
    let second = Command::new(env!("CARGO_BIN_EXE_lab-server")).args(["--port", port]).output();
    let second = second.unwrap();
    let error = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(error.starts_with("lab-server: cannot listen on 127.0.0.1 port"), "{error}");
    assert_eq!(error.lines().count(), 1);

    terminate(&server);
    drop(server);
    let client = Command::new(env!("CARGO_BIN_EXE_lab-load")).args(["--url", &url]).output();
    let client = client.unwrap();
    let error = String::from_utf8(client.stderr).unwrap();
    assert_eq!(client.status.code(), Some(1));
    assert!(error.starts_with("lab-load: cannot reach the server"), "{error}");
    assert_eq!(error.lines().count(), 1);
}
