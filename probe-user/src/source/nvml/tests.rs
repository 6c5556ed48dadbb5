//! Through the real binding, against a real shared library that follows a script.

use std::cell::Cell;

use nvml_stub::{GPU_IS_LOST, Hang, Installed, Instance, NO_PERMISSION, NOT_SUPPORTED, Process};
use nvml_stub::{Script, install};
use probe_ledger::Split;
use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::source::{Pace, ReadError, Sensed, Sensor, Users};

const ENERGY: &str = "nvmlDeviceGetTotalEnergyConsumption";
const S: u64 = 1_000_000_000;

struct Stub {
    installed: Installed,
    _dir: TempDir,
}

fn stub(gpus: Vec<nvml_stub::Gpu>, missing: &[&str]) -> Stub {
    let dir = tempfile::tempdir().unwrap();
    Stub { installed: install(dir.path(), &Script::of(gpus), missing).unwrap(), _dir: dir }
}

impl Stub {
    fn find(&self) -> Result<Found, NvmlError> {
        domains(Some(&self.installed.library))
    }

    fn sensors(&self) -> Vec<GpuSensor> {
        self.find().unwrap().domains.iter().map(|domain| gpu(domain).open()).collect()
    }
}

fn steady() -> nvml_stub::Gpu {
    nvml_stub::Gpu::steady(200.0, 50.0)
}

fn gpu(domain: &Domain) -> Gpu {
    match &domain.reading {
        Reading::Polled(Polled::Nvml(gpu)) => *gpu,
        other => panic!("{other:?}"),
    }
}

fn real(sensor: &mut GpuSensor) -> Result<Sensed, ReadError> {
    let clock = Clock::start();
    sensor.read(&|| clock.now())
}

/// Reads at an instant of our choice.
fn at(sensor: &mut GpuSensor, t: u64) -> Users {
    sensor.read(&|| t).unwrap().users
}

fn mig() -> nvml_stub::Gpu {
    let mut gpu = steady();
    gpu.mig = Some(vec![Instance { id: 1, slices: 3 }, Instance { id: 5, slices: 1 }]);
    let on = |pid, instance| Process {
        pid,
        utilisation: 90,
        sampled_after_ms: 0.0,
        graphics: false,
        instance,
    };
    gpu.processes = vec![on(71, Some(1)), on(72, Some(5))];
    gpu
}

#[test]
fn each_gpu_is_read_by_the_best_it_can_do() {
    let mut average = steady().failing(ENERGY, NOT_SUPPORTED);
    average.instant = false;
    let instant = steady().failing(ENERGY, NOT_SUPPORTED);
    let found = stub(vec![steady(), instant, average, mig()], &[]).find().unwrap();
    assert!(found.refused.is_empty());
    let rows: Vec<_> =
        found.domains.iter().map(|d| (d.name.as_str(), d.quality, d.additive, d.scope)).collect();
    assert_eq!(
        rows,
        [
            ("gpu-0", Quality::Measured, true, Scope::Device),
            ("gpu-1", Quality::Integrated, true, Scope::Device),
            ("gpu-2", Quality::Integrated, true, Scope::Device),
            ("gpu-3", Quality::Measured, true, Scope::Device),
        ]
    );
    let of = |index: usize| gpu(&found.domains[index]);
    assert!(matches!(of(0).meter, Meter::Energy { seen: true, .. }));
    assert_eq!((of(1).meter, of(2).meter), (Meter::Instant, Meter::Average));
    assert_eq!((of(0).mig, of(3).mig), (false, true));
    assert_eq!(found.domains[1].period_ns, 150_000_000);
    assert_eq!(found.domains[2].period_ns, 1_050_000_000);
    assert!(of(2).to_string().ends_with("power averaged over up to 1 s integrated"));
}

#[test]
fn the_period_of_a_counter_is_what_was_seen_of_it() {
    let gpus = [20.0, 100.0, 500.0, 5_000.0].map(|ms| nvml_stub::Gpu::steady(200.0, ms));
    let found = stub(gpus.to_vec(), &[]).find().unwrap();
    let period = |index: usize| found.domains[index].period_ns as f64 / 1e6;
    // Never shorter than it is but for the step of looking; longer where this machine was slow to look.
    assert!((15.0..350.0).contains(&period(0)), "{}", period(0));
    assert!((95.0..350.0).contains(&period(1)), "{}", period(1));
    assert!(period(2) >= 495.0, "one or two moves: {}", period(2));
    assert_eq!(period(3), 1_000.0, "it did not move");
}

#[test]
fn known_power_gives_known_joules() {
    let stub = stub(vec![steady(), steady().failing(ENERGY, NOT_SUPPORTED)], &[]);
    let mut sensors = stub.sensors();
    let first: Vec<_> = sensors.iter_mut().map(|s| real(s).unwrap()).collect();
    let mut last = first.clone();
    for _ in 0..8 {
        std::thread::sleep(std::time::Duration::from_millis(40));
        last = sensors.iter_mut().map(|s| real(s).unwrap()).collect();
    }
    let seconds = |i: usize| (last[i].t() - first[i].t()) as f64 / 1e9;
    let counts = |i: usize| (last[i].count - first[i].count) as f64;
    // The counter stands for its last update, at both ends.
    let counted = counts(0) / 1e3;
    let width = |sensed: &Sensed| (sensed.end - sensed.begin) as f64 / 1e9;
    let stale = 0.051 + width(&first[0]) + width(&last[0]);
    assert!((counted - 200.0 * seconds(0)).abs() <= 200.0 * stale, "{counted} J");
    let integrated = counts(1) / 1e9;
    assert!((integrated - 200.0 * seconds(1)).abs() < 1e-3, "{integrated} J");
}

#[test]
fn a_gpu_that_is_lost_is_an_error_and_the_others_go_on() {
    let stub = stub(vec![steady(), steady()], &[]);
    let mut sensors = stub.sensors();
    assert!(sensors.iter_mut().all(|sensor| real(sensor).is_ok()));
    let script = Script::of(vec![steady(), steady().failing("*", GPU_IS_LOST)]);
    stub.installed.rewrite(&script).unwrap();
    let error = real(&mut sensors[1]).unwrap_err();
    assert!(matches!(error, ReadError::Gpu { index: 1, .. }));
    assert!(error.to_string().contains("fell off the bus"), "{error}");
    let before = real(&mut sensors[0]).unwrap();
    assert!(before.count > 7_000_000);
    stub.installed.rewrite(&Script::of(vec![steady(), steady()])).unwrap();
    assert!(real(&mut sensors[1]).is_ok(), "it came back");
}

#[test]
fn power_that_was_not_read_for_long_starts_a_count_that_the_ledger_voids() {
    let mut sensor = stub(vec![steady().failing(ENERGY, NOT_SUPPORTED)], &[]).sensors().remove(0);
    let mut count = |t| sensor.read(&|| t).unwrap().count;
    let (first, second) = (count(S), count(S + 50_000_000));
    assert_eq!(second - first, 10_000_000_000, "200 W for 50 ms");
    assert!(count(3 * S) < first);
}

#[test]
fn a_library_that_lacks_a_function_is_used_without_it() {
    let found = stub(vec![steady()], &[ENERGY]).find().unwrap();
    assert_eq!(gpu(&found.domains[0]).meter, Meter::Instant);
    // As libraries before 2022, and one so old that it knows nothing but power.
    let old =
        ["nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v3"];
    let mut sensor = stub(vec![steady().process(9, 50)], &old).sensors().remove(0);
    at(&mut sensor, S);
    assert_eq!(at(&mut sensor, 2 * S), Users::Device(Split::Exclusive, vec![(9, S)]));
    let ancient =
        [&old[..], &[ENERGY, "nvmlDeviceGetFieldValues", "nvmlDeviceGetMigMode"]].concat();
    let ancient = [&ancient[..], &["nvmlDeviceGetComputeRunningProcesses_v2"]].concat();
    let stub = stub(vec![steady().process(9, 50)], &ancient);
    assert_eq!(gpu(&stub.find().unwrap().domains[0]).meter, Meter::Average);
    let users = at(&mut stub.sensors()[0], S);
    assert_eq!(users, Users::Device(Split::Unknown, vec![]), "whoever it was");
}

#[test]
fn a_library_that_cannot_be_used_says_what_helps() {
    let said = |found: Result<Found, NvmlError>| found.unwrap_err().to_string();
    let none = said(domains(None));
    assert!(none.contains("; name one with --nvml-library"), "{none}");
    let absent = said(domains(Some(Path::new("/nonexistent/libnvidia-ml.so.1"))));
    assert!(
        absent.contains("/nonexistent/") && absent.contains("; install the NVIDIA"),
        "{absent}"
    );
    assert!(said(stub(vec![], &[]).find()).contains("knows no GPU"));
    assert!(said(stub(vec![steady()], &["nvmlInit_v2"]).find()).contains("cannot load"));
    let broken = stub(vec![steady()], &[]);
    std::fs::write(broken.installed.library.with_file_name(nvml_stub::SCRIPT), "{").unwrap();
    assert!(said(broken.find()).contains("driver is not loaded"));
}

#[test]
fn a_gpu_that_cannot_be_read_is_named_beside_those_that_can() {
    let lost = steady().failing("*", GPU_IS_LOST);
    let closed = steady().failing("*", NO_PERMISSION);
    let found = stub(vec![lost, steady(), closed], &[]).find().unwrap();
    assert_eq!(found.domains.len(), 1);
    assert_eq!(found.domains[0].name, "gpu-1");
    let refused: Vec<_> = found.refused.iter().map(ToString::to_string).collect();
    assert!(refused[0].starts_with("GPU 0 cannot be read: device fell off the bus"), "{refused:?}");
    assert!(refused[1].starts_with("GPU 2 cannot be read: the current user"), "{refused:?}");
}

#[test]
fn a_driver_that_hangs_is_given_up_on() {
    let stub = stub(vec![steady()], &[]);
    let script = Script { init_s: 3600.0, ..Script::of(vec![steady()]) };
    stub.installed.rewrite(&script).unwrap();
    let error = open::open(&stub.installed.library, 50_000_000).unwrap_err();
    assert!(matches!(error, NvmlError::Hangs { .. }), "{error}");
    let mut hanging = steady();
    hanging.hangs.push(Hang { call: ENERGY.to_owned(), from_s: 0.0, for_s: 3600.0 });
    let stub = self::stub(vec![hanging], &[]);
    let error = open::open(&stub.installed.library, 50_000_000).unwrap_err();
    assert!(error.to_string().contains("leave the source nvml out"), "{error}");
}

#[test]
fn one_process_alone_has_all_of_it_and_nobody_nothing() {
    let stub = stub(vec![steady()], &[]);
    let mut sensor = stub.sensors().remove(0);
    let nobody = Users::Device(Split::Clocks, vec![]);
    assert_eq!(at(&mut sensor, S), nobody);
    stub.installed.rewrite(&Script::of(vec![steady().process(41, 0)])).unwrap();
    assert_eq!(at(&mut sensor, 3 * S), Users::Device(Split::Exclusive, vec![(41, 2 * S)]));
    stub.installed.rewrite(&Script::of(vec![steady()])).unwrap();
    assert_eq!(at(&mut sensor, 4 * S), nobody);
}

#[test]
fn the_driver_says_how_busy_a_gpu_is_but_not_in_mig_mode() {
    let idle = steady().process(41, 0);
    let gpus = vec![idle.clone(), steady().process(41, 30).process(42, 25), mig()];
    let silent = idle.failing("nvmlDeviceGetUtilizationRates", NOT_SUPPORTED);
    let stub = stub([gpus, vec![silent]].concat(), &[]);
    let busy: Vec<_> = stub.sensors().iter_mut().map(Sensor::busy).collect();
    assert_eq!(busy, [Some(0.0), Some(0.55), None, None]);
}

/// Processes by number, use and when they were sampled, ms: each once, and not again in the time of a test.
fn sampled(processes: &[(u32, u32, f64)]) -> Script {
    let mut gpu = steady();
    gpu.utilisation_ms = Some(3_600_000.0);
    for (pid, percent, after) in processes {
        gpu = gpu.process(*pid, *percent);
        gpu.processes.last_mut().unwrap().sampled_after_ms = *after;
    }
    Script::of(vec![gpu])
}

fn shares(list: &[(u32, u64)]) -> Users {
    Users::Device(Split::Utilisation, list.to_vec())
}

fn halves(of: u64) -> Users {
    Users::Device(Split::Equal, vec![(41, of / 2), (42, of / 2)])
}

#[test]
fn several_share_by_what_the_driver_says_each_used() {
    let of = |after| {
        let mut script = sampled(&[(41, 60, after), (42, 20, after), (43, 0, after)]);
        script.gpus[0].processes[1].graphics = true;
        script
    };
    let stub = stub(of(0.0).gpus, &[]);
    let mut sensor = stub.sensors().remove(0);
    at(&mut sensor, S);
    stub.installed.rewrite(&of(1.0)).unwrap();
    assert_eq!(at(&mut sensor, 2 * S), shares(&[(41, S / 10 * 6), (42, S / 10 * 2)]));
}

#[test]
fn processes_that_are_sampled_in_turns_keep_their_parts() {
    let stub = stub(sampled(&[(41, 60, 0.0), (42, 20, 0.0)]).gpus, &[]);
    let mut sensor = stub.sensors().remove(0);
    at(&mut sensor, S);
    let turns = [((1.0, 0.0), None), ((1.0, 2.0), Some(20)), ((3.0, 2.0), Some(20))];
    for (turn, ((a, b), other)) in (1..).zip(turns) {
        stub.installed.rewrite(&sampled(&[(41, 60, a), (42, 20, b)])).unwrap();
        let both = [Some((41, S / 10 * 6)), other.map(|percent| (42, S / 100 * percent))];
        let both: Vec<_> = both.into_iter().flatten().collect();
        assert_eq!(at(&mut sensor, (turn + 1) * S), shares(&both), "{turn}");
    }
    // A sample that comes after a later one of the other.
    stub.installed.rewrite(&sampled(&[(41, 60, 3.0), (42, 80, 2.5)])).unwrap();
    assert_eq!(at(&mut sensor, 5 * S), shares(&[(41, S / 10 * 6), (42, S / 10 * 8)]));
    // One falls silent while the other goes on: what it did then says nothing any more.
    for turn in 0..4 {
        let after = 4.0 + f64::from(turn);
        stub.installed.rewrite(&sampled(&[(41, 60, 3.0), (42, 80, after)])).unwrap();
        at(&mut sensor, (6 + u64::from(turn as u32)) * S);
    }
    assert_eq!(at(&mut sensor, 10 * S), shares(&[(42, S / 10 * 8)]));
}

#[test]
fn what_was_used_before_the_first_reading_says_nothing() {
    let stub = stub(sampled(&[(41, 60, 0.0), (42, 20, 0.0)]).gpus, &[]);
    let mut sensor = stub.sensors().remove(0);
    at(&mut sensor, S);
    assert_eq!(at(&mut sensor, 2 * S), halves(S));
}

#[test]
fn what_was_used_long_ago_says_nothing() {
    let stub = stub(sampled(&[(41, 60, 0.0), (42, 20, 0.0)]).gpus, &[]);
    let mut sensor = stub.sensors().remove(0);
    at(&mut sensor, S);
    stub.installed.rewrite(&sampled(&[(41, 60, 1.0), (42, 20, 1.0)])).unwrap();
    let used = |ns: u64| shares(&[(41, ns / 10 * 6), (42, ns / 10 * 2)]);
    assert_eq!(at(&mut sensor, 2 * S), used(S));
    assert_eq!(at(&mut sensor, 5 * S), used(3 * S), "three seconds old");
    assert_eq!(at(&mut sensor, 6 * S), halves(S), "older");
}

#[test]
fn who_left_just_now_had_its_part() {
    let stub = stub(sampled(&[(41, 60, 0.0), (42, 20, 0.0), (43, 10, 0.0)]).gpus, &[]);
    let mut sensor = stub.sensors().remove(0);
    at(&mut sensor, S);
    stub.installed.rewrite(&sampled(&[(41, 60, 1.0), (42, 20, 1.0), (43, 10, 1.0)])).unwrap();
    at(&mut sensor, 2 * S);
    stub.installed.rewrite(&sampled(&[(41, 60, 1.0), (42, 20, 1.0)])).unwrap();
    let (a, b, c) = ((41, S / 10 * 6), (42, S / 10 * 2), (43, S / 10));
    assert_eq!(at(&mut sensor, 3 * S), shares(&[a, b, c]));
    assert_eq!(at(&mut sensor, 4 * S), shares(&[a, b]));
}

#[test]
fn each_gpu_is_read_on_a_thread_of_its_own() {
    let found = stub(vec![steady(), steady()], &[]).find().unwrap();
    let group = |domain: &Domain| match &domain.reading {
        Reading::Polled(polled) => match polled.pace() {
            Pace::Thread { group, every_ns } => (group, every_ns),
            Pace::Loop => panic!("it may hang"),
        },
        other => panic!("{other:?}"),
    };
    let groups: Vec<_> = found.domains.iter().map(group).collect();
    assert_eq!(groups, [("nvml-0".to_owned(), EVERY_NS), ("nvml-1".to_owned(), EVERY_NS)]);
}

#[test]
fn several_of_whom_nothing_is_known_share_in_equal_parts() {
    let mut gpu = steady().process(41, 90).process(42, 0);
    gpu.utilisation_ms = None;
    let mut sensor = stub(vec![gpu], &[]).sensors().remove(0);
    at(&mut sensor, S);
    let halves = vec![(41, S / 2), (42, S / 2)];
    assert_eq!(at(&mut sensor, 2 * S), Users::Device(Split::Equal, halves));
}

#[test]
fn in_mig_mode_the_size_of_the_instance_weighs() {
    let mut sensor = stub(vec![mig()], &[]).sensors().remove(0);
    at(&mut sensor, S);
    let slices = vec![(71, S / 4 * 3), (72, S / 4)];
    assert_eq!(at(&mut sensor, 2 * S), Users::Device(Split::Partition, slices));
    let mut crowded = mig();
    let third = Process { pid: 73, instance: Some(1), ..crowded.processes[0] };
    crowded.processes.push(third);
    let mut sensor = stub(vec![crowded], &[]).sensors().remove(0);
    at(&mut sensor, S);
    let slices = vec![(71, S / 8 * 3), (72, S / 4), (73, S / 8 * 3)];
    assert_eq!(at(&mut sensor, 2 * S), Users::Device(Split::Partition, slices));
    // Nothing is known of the instances.
    let mut sensor = stub(vec![mig()], &["nvmlDeviceGetMaxMigDeviceCount"]).sensors().remove(0);
    at(&mut sensor, S);
    let halves = vec![(71, S / 2), (72, S / 2)];
    assert_eq!(at(&mut sensor, 2 * S), Users::Device(Split::Partition, halves));
}

#[test]
fn a_failed_reading_leaves_its_time_to_the_next() {
    let stub = stub(vec![steady().process(41, 0)], &[]);
    let mut sensor = stub.sensors().remove(0);
    let t = Cell::new(S);
    sensor.read(&|| t.get()).unwrap();
    let lost = Script::of(vec![steady().process(41, 0).failing(ENERGY, GPU_IS_LOST)]);
    stub.installed.rewrite(&lost).unwrap();
    t.set(2 * S);
    assert!(sensor.read(&|| t.get()).is_err());
    stub.installed.rewrite(&Script::of(vec![steady().process(41, 0)])).unwrap();
    assert_eq!(at(&mut sensor, 3 * S), Users::Device(Split::Exclusive, vec![(41, 2 * S)]));
}
