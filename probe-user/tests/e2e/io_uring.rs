//! A server that holds an io_uring.

use std::process::Command;
use std::time::Duration;

use crate::harness::ask::Ask;
use crate::harness::client::{Address, once};
use crate::harness::parts::script;
use crate::harness::probe::Probe;
use crate::harness::process::Running;
use crate::harness::{alone, books};

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn that_a_server_uses_io_uring_is_said_once_unless_the_hooks_see_through_it() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("python3");
    command.arg(script("io_uring_server.py"));
    let mut server = Running::start(&mut command, dir.path(), "ring");
    let address = Address::parse(&server.line("listening on ", Duration::from_secs(30)));
    if server.stdout().contains("ring -1") {
        eprintln!("not run: this kernel gives no io_uring");
        return;
    }
    let probe = Probe::on_port(dir.path(), &address.port(), &[]);
    let said = probe.process.stderr().matches("uses io_uring").count();
    once(&address, &Ask::health("seen")).expect("an answer");
    let outcome = probe.finish();
    assert_eq!(books::by_id(&outcome).len(), 1, "what comes by system calls is seen all the same");
    let unseen = outcome.summary.events.boundary == "tracepoint";
    assert_eq!(said, usize::from(unseen));
    assert_eq!(outcome.summary.flags.iter().any(|flag| flag == "io-uring"), unseen);
    assert_eq!(outcome.summary.not_understood["io_uring"], u64::from(unseen));
    books::close(&outcome);
}
