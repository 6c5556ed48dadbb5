//! The two programs as a shell would run them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader};
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
