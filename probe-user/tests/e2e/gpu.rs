//! GPUs that follow a script behind a real `libnvidia-ml.so.1`, with the demo server as who uses them: known power
//! in, joules of requests out.

use std::path::Path;
use std::time::Duration;

use nvml_stub::{GPU_IS_LOST, Gpu, Hang, Installed, Instance, NOT_SUPPORTED, Process, Script};
use wattprobe::record::Quality;
use wattprobe::snapshot::DomainBook;

use crate::harness::ask::Ask;
use crate::harness::client::once;
use crate::harness::probe::{Outcome, Probe, wattprobe};
use crate::harness::server::{Recipe, Server};
use crate::harness::{alone, books, clock};

const ENERGY: &str = "nvmlDeviceGetTotalEnergyConsumption";

fn server(dir: &Path) -> Server {
    Recipe::lab().start(dir, "127.0.0.1", 0)
}

fn install(dir: &Path, gpus: Vec<Gpu>) -> Installed {
    nvml_stub::install(dir, &Script::of(gpus), &[]).expect("the library was built")
}

fn attach(dir: &Path, server: &Server, stub: &Installed, more: &[&str]) -> Probe {
    let library = stub.library.to_string_lossy();
    let options = [&["--source", "nvml", "--nvml-library", &library], more].concat();
    Probe::on_port(dir, &server.address.port(), &options)
}

fn book<'a>(outcome: &'a Outcome, name: &str) -> &'a DomainBook {
    &outcome.summary.domains[name]
}

/// Milliseconds between two moves of the counter, as the probe says it saw them.
fn period_ms(probe: &Probe) -> f64 {
    let said = probe.process.stderr();
    let (_, rest) = said.split_once("seen to move every ").expect("it was seen");
    rest.split(' ').next().and_then(|ms| ms.parse().ok()).expect("a number")
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_request_includes_its_gpu_and_its_bar_covers_the_period_of_the_counter() {
    const WATTS: f64 = 250.0;
    const MOVES_EVERY: f64 = 0.025;
    const REQUESTS: usize = 12;
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = server(dir.path());
    // It computes alone; so what the GPU used is the server's.
    let stub = install(
        dir.path(),
        vec![Gpu::steady(WATTS, MOVES_EVERY * 1e3).process(server.process.id(), 0)],
    );
    let probe = attach(dir.path(), &server, &stub, &["-v"]);
    let period = period_ms(&probe) / 1e3;
    assert!(period >= 0.020, "{period}");
    println!("the counter is seen to move every {:.1} ms", period * 1e3);
    let ask = |number| once(&server.address, &Ask::stream(format!("stream-{number}"), 128));
    let seen: Vec<_> = (0..REQUESTS).map(|number| ask(number).expect("an answer")).collect();
    let outcome = probe.finish();

    books::close(&outcome);
    let by_id = books::by_id(&outcome);
    let mut outside = 0;
    for (number, seen) in seen.iter().enumerate() {
        let record = by_id[format!("stream-{number}").as_str()];
        let (low, high) =
            (record.joules_low.expect("measured"), record.joules_high.expect("measured"));
        let joules = record.joules.expect("measured");
        assert_eq!((record.gpu_j, record.cpu_j), (Some(joules), None));
        assert_eq!(
            (record.quality, &record.sources),
            (Quality::Measured, &["gpu-0=nvml".to_owned()].into())
        );
        assert!(record.flags.contains(&"gpu-exclusive".to_owned()), "{:?}", record.flags);
        // The client waited a little longer than the server worked.
        let waited = (seen.end - seen.start) as f64 / 1e9;
        assert!(record.duration_s <= waited);
        let truth = WATTS * record.duration_s;
        println!("{joules:.2} J ({low:.2} to {high:.2}) of {truth:.2} J in {waited:.3} s");
        // A count is one move old at most, at either end; a reading may be torn from its instant once more.
        assert!((joules - truth).abs() < 2.0 * WATTS * MOVES_EVERY, "{joules} J of {truth} J");
        outside += usize::from(truth < low || high < truth);
        // Two ends in quadrature: no less than the counter's true period; the measured one is seen between two looks and
        // may be a little longer, and the windows next to the ends may hold one move too many.
        let edges = |period: f64| (high - joules) / (0.689 * 2.0_f64.sqrt() * WATTS * period);
        assert!(edges(MOVES_EVERY) >= 0.95, "{} of a true period", edges(MOVES_EVERY));
        assert!(edges(period) < 2.1, "{} of a measured period", edges(period));
    }
    // A bar is of 95 %: three of twelve lie outside in 2 % of all runs even if each is as narrow as it may be.
    assert!(outside <= 2, "{outside} of {REQUESTS} truths lie outside");
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn of_four_gpus_one_is_lost_one_has_no_counter_and_one_is_in_mig_mode() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = server(dir.path());
    let (ours, other) = (server.process.id(), std::process::id());
    let plain = || Gpu::steady(200.0, 50.0).process(ours, 60);
    let no_counter = Gpu::steady(100.0, 50.0).process(ours, 75).process(other, 25);
    let mut mig = Gpu::steady(300.0, 50.0);
    mig.mig = Some(vec![Instance { id: 1, slices: 3 }, Instance { id: 2, slices: 1 }]);
    let on = |pid, instance| Process {
        pid,
        utilisation: 0,
        sampled_after_ms: 0.0,
        graphics: false,
        instance,
    };
    mig.processes = vec![on(ours, Some(1)), on(other, Some(2))];
    let mut gpus = vec![plain(), plain(), no_counter.failing(ENERGY, NOT_SUPPORTED), mig];
    let stub = install(dir.path(), gpus.clone());

    let before = clock::now();
    let probe = attach(dir.path(), &server, &stub, &["--source", "model"]);
    let began = clock::now();
    let mut connection = server.address.connect().expect("it listens");
    let (_, begun) = connection.begin(&Ask::stream("spans", 400), 3).expect("an answer");
    gpus[1] = gpus[1].clone().failing("*", GPU_IS_LOST);
    stub.rewrite(&Script::of(gpus)).expect("our own directory");
    let lost = clock::now();
    assert!(connection.drain(begun).is_complete());
    let after = once(&server.address, &Ask::stream("after", 128)).expect("an answer");
    let ended = clock::now();
    let outcome = probe.finish();
    let over = clock::now();

    books::close(&outcome);
    let seconds = |from: u64, to: u64| (to - from) as f64 / 1e9;
    let joules = |name: &str| book(&outcome, name).measured_nj as f64 / 1e9;
    // A counter stands for its last move, power for its last reading.
    for (name, watts) in [("gpu-0", 200.0), ("gpu-2", 100.0), ("gpu-3", 300.0)] {
        let measured = joules(name);
        let (least, most) = (watts * (seconds(began, ended) - 0.1), watts * seconds(before, over));
        println!("{name}: {measured:.2} J, {least:.2} to {most:.2} J by power and time");
        assert!(measured >= least && measured <= most, "{name}: {measured} J");
        assert_eq!(book(&outcome, name).void_windows, 0, "{name}");
    }
    assert!(joules("gpu-1") <= 200.0 * seconds(before, lost) + 1.0, "nothing after it was lost");
    let splits = |name: &str| book(&outcome, name).splits.clone();
    assert_eq!(splits("gpu-0"), ["gpu-exclusive"]);
    // Before the driver's first sample nobody knows who does what.
    assert_eq!(splits("gpu-2"), ["gpu-shared", "gpu-shared-equal"]);
    assert_eq!(splits("gpu-3"), ["gpu-mig"]);
    assert_eq!(book(&outcome, "gpu-2").quality, Quality::Integrated);
    assert_eq!(book(&outcome, "gpu-3").quality, Quality::Measured);
    let target = outcome.target().0;
    let part = |name: &str| {
        let book = book(&outcome, name);
        book.consumers[target].active_nj as f64 / book.measured_nj as f64
    };
    assert!((0.5..0.751).contains(&part("gpu-2")), "half at first: {}", part("gpu-2"));
    for (name, expected) in [("gpu-0", 1.0), ("gpu-3", 0.75)] {
        assert!((part(name) - expected).abs() < 1e-3, "{name}: {}", part(name));
    }
    for flag in ["gpu-mig", "gpu-shared", "counter-unreadable"] {
        assert!(outcome.summary.flags.iter().any(|f| f == flag), "{flag}");
    }
    let by_id = books::by_id(&outcome);
    for id in ["spans", "after"] {
        let record = by_id[id];
        let has = |flag: &str| record.flags.iter().any(|f| f == flag);
        assert!(has("gpu-mig") && has("gpu-shared") && has("gpu-exclusive"), "{:?}", record.flags);
        assert!(
            has("partial"),
            "{id} was not covered by the one that was lost: {:?}",
            record.flags
        );
        assert_eq!(record.quality, Quality::Modelled, "the CPU has no counter here");
    }
    let record = by_id["after"];
    let truth = (200.0 + 75.0 + 225.0) * record.duration_s;
    let gpu = record.gpu_j.expect("three of them were measured");
    // Counters and powers are 50 ms old at both ends, and read every 50 ms.
    let off = (200.0 + 75.0 + 225.0) * 0.15;
    println!("{gpu:.2} J of GPUs in {:.3} s, {truth:.2} J by power", record.duration_s);
    assert!((gpu - truth).abs() <= off, "{gpu} J, {truth} J");
    assert!(record.joules.expect("measured") > gpu, "and the CPU's");
    assert!(after.complete);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_driver_that_hangs_does_not_hang_the_probe() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = server(dir.path());
    let mut gpu = Gpu::steady(200.0, 50.0).process(server.process.id(), 0);
    let stub = install(dir.path(), vec![gpu.clone()]);
    let probe = attach(dir.path(), &server, &stub, &[]);
    once(&server.address, &Ask::stream("before", 64)).expect("an answer");
    std::thread::sleep(Duration::from_millis(300));
    gpu.hangs.push(Hang { call: ENERGY.to_owned(), from_s: 0.0, for_s: 3600.0 });
    stub.rewrite(&Script::of(vec![gpu])).expect("our own directory");
    std::thread::sleep(Duration::from_millis(300));
    let seen = once(&server.address, &Ask::stream("while", 64)).expect("an answer");
    assert!(seen.complete);
    // Ends within the harness's patience although a thread never comes back.
    let outcome = probe.finish();
    books::close(&outcome);
    let by_id = books::by_id(&outcome);
    assert!(by_id["before"].gpu_j.is_some(), "{:?}", by_id["before"]);
    assert_eq!(by_id["while"].gpu_j, None, "not measured is not zero");
    assert!(by_id["while"].flags.contains(&"unfinished-window".to_owned()));
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn gpus_that_were_asked_for_and_are_not_there_are_refused() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = server(dir.path());
    let lost = install(dir.path(), vec![Gpu::steady(1.0, 50.0).failing("*", GPU_IS_LOST)]);
    let lost = lost.library.to_string_lossy();
    for (library, word) in [("/nonexistent.so", "install the NVIDIA driver"), (&*lost, "GPU 0")] {
        let port = server.address.port();
        let options = ["attach", "--port", &port, "--source", "nvml", "--nvml-library", library];
        let output = wattprobe(&options).output().expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains(word), "{said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
    }
}
