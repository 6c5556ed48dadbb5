//! What a machine tells of its consumers besides their time, against what they did.

use super::*;

/// Two servers, one of which draws half as much, each with so many threads on a machine of four cores.
fn unlike(threads: usize, smt: bool) -> (Host, Load) {
    let host = Host { cores: 4, smt, ..Host::default() };
    let server = |activity: u64, memory_mw: u64| {
        let does = Use { activity, memory_mw };
        Server {
            threads,
            requests: 60,
            decode: does,
            prefill: does,
            spin: does,
            arrivals: Arrivals::Closed { clients: 2, think_ns: 1_000 },
            ..Server::default()
        }
    };
    let servers = vec![server(1_400, 300), server(700, 2_400)];
    (host, Load { servers, kernel: Kernel::silent(), ..Load::default() })
}

/// By how much the first one's part of both, in weights, is above its true part.
fn too_much(host: &Host, load: &Load, domain: usize, of: impl Fn(Weights<'_>) -> [u64; 2]) -> f64 {
    let mut last = [0; 2];
    let truth = run(host, load, 3, &mut |input| {
        if let Input::Sample { domain: 0, weights, .. } = input {
            last = of(weights);
        }
    });
    let part = |[one, two]: [f64; 2]| one / (one + two);
    let drew = &truth.domains[domain].active_pj;
    part(last.map(|w| w as f64)) / part([drew[0] as f64, drew[1] as f64]) - 1.0
}

#[test]
fn cores_counters_tell_who_drew_what_to_two_percent_apart_and_to_eight_taking_turns() {
    let drawn = |weights: Weights<'_>| [weights.drawn[0], weights.drawn[1]];
    let time = |weights: Weights<'_>| [weights.smt[0], weights.smt[1]];
    let (host, load) = unlike(2, false);
    assert!(too_much(&host, &load, 0, drawn).abs() < 0.02, "{}", too_much(&host, &load, 0, drawn));
    // By time the one that draws twice as much has a quarter too little.
    assert!(too_much(&host, &load, 0, time) < -0.2, "{}", too_much(&host, &load, 0, time));
    let (host, load) = unlike(4, false);
    assert!(too_much(&host, &load, 0, drawn).abs() < 0.08, "{}", too_much(&host, &load, 0, drawn));
}

#[test]
fn misses_are_memorys_traffic() {
    let (host, load) = unlike(4, true);
    let misses = |weights: Weights<'_>| [weights.misses[0], weights.misses[1]];
    assert!(too_much(&host, &load, 1, misses).abs() < 1e-9);
}

#[test]
fn a_second_beside_a_busy_sibling_is_six_tenths_and_has_all_its_cycles() {
    // Two threads that never rest, on one core.
    let does = Use { activity: 1_000, memory_mw: 0 };
    let neighbours = vec![Neighbour { does, on_ns: 1, off_ns: 0 }; 2];
    let mut host = Host { cores: 1, ..Host::default() };
    host.core.low_mhz = 3_000;
    let kernel = Kernel::silent();
    let load = Load { neighbours, kernel, least_ns: 1_000_000_000, ..Load::default() };
    let mut seen = None;
    let _ = run(&host, &load, 1, &mut |input| {
        if let Input::Sample { domain: 0, clocks, weights, .. } = input {
            seen = Some((clocks[0], weights.smt[0], weights.cycles[0]));
        }
    });
    let (ns, smt, cycles) = seen.expect("there were samples");
    let per = |weight: u64| weight as f64 / ns as f64;
    assert!((per(smt) - 6.0).abs() < 0.01, "{}", per(smt));
    assert!((per(cycles) - 3_000.0).abs() < 1e-9, "{}", per(cycles));
}

/// Time on the device of two consumers by its driver, how that is known at the end, and the truth.
fn device(gpu_mw: [u64; 2]) -> ([u64; 2], Option<Users>, Truth) {
    let server = |gpu_mw: u64, clients: usize| Server {
        threads: 1,
        requests: 40,
        gpu_mw,
        arrivals: Arrivals::Closed { clients, think_ns: 100_000_000 },
        ..Server::default()
    };
    let host = Host { gpu: Some(Gpu::default()), ..Host::default() };
    let servers = vec![server(gpu_mw[0], 1), server(gpu_mw[1], 1)];
    let (mut told, mut known) = ([0; 2], None);
    let truth = run(&host, &Load { servers, ..Load::default() }, 3, &mut |input| {
        if let Input::Device { clocks, users, .. } = input {
            (told, known) = ([clocks[0], clocks[1]], Some(users));
        }
    });
    (told, known, truth)
}

#[test]
fn a_driver_gives_a_process_that_is_alone_all_the_time_and_nobody_else_any() {
    let (told, known, truth) = device([100_000, 0]);
    assert_eq!(known, Some(Users::Exclusive));
    assert_eq!(told, [truth.end - truth.begin, 0]);
    assert_eq!(device([0, 0]).1, Some(Users::Nobody));
}

#[test]
fn of_two_processes_a_driver_tells_percentages_that_hold_on_average() {
    let (told, known, truth) = device([100_000, 200_000]);
    assert_eq!(known, Some(Users::Utilisation));
    for (told, (pj, mw)) in told.iter().zip([(0, 100_000), (1, 200_000)]) {
        let used = truth.domains[2].active_pj[pj] / mw;
        let ratio = *told as f64 / used as f64;
        assert!((0.8..1.2).contains(&ratio), "{told} ns of {used}");
    }
}
