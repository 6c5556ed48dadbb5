//! The simulator itself: is its truth true?

mod steps;
mod told;

use super::*;

/// A host and a load that use everything, short.
fn everything(seed: u64) -> (Host, Load) {
    let host = Host {
        packages: 2,
        cores: 4,
        gpu: Some(Gpu::default()),
        rapl: Rapl { near_wrap: seed.is_multiple_of(2), ..Rapl::default() },
        ticks: Ticks { lost: 0.05, ..Ticks::default() },
        pollers: vec![methods::POLL_NS],
        ..Host::default()
    };
    let server = Server {
        requests: 12,
        gpu_mw: 150_000,
        slots: 3,
        arrivals: Arrivals::Closed { clients: 5, think_ns: 3_000_000 },
        completion: Tokens { mean: 10, spread: 0.5 },
        ..Server::default()
    };
    let other = Server {
        threads: 3,
        requests: 6,
        arrivals: Arrivals::Poisson { every_ns: 40_000_000 },
        completion: Tokens { mean: 5, spread: 0.5 },
        ..Server::default()
    };
    let hot = Use { activity: 1_300, memory_mw: 700 };
    let neighbour = Neighbour { does: hot, on_ns: 30_000_000, off_ns: 20_000_000 };
    let neighbours = vec![neighbour; 6];
    (host, Load { servers: vec![server, other], neighbours, ..Load::default() })
}

/// One server with one request on a machine where nothing else ever runs.
fn alone(server: Server) -> (Host, Load) {
    let host = Host {
        smt: false,
        scheduler: Scheduler { restless: 0.0, ..<_>::default() },
        ..Host::default()
    };
    let load = Load { servers: vec![server], kernel: Kernel::silent(), ..Load::default() };
    (host, load)
}

#[test]
fn every_picojoule_is_somebodys() {
    for seed in 0..30 {
        let (host, load) = everything(seed);
        let truth = run(&host, &load, seed, &mut |_| {});
        assert_eq!(truth.requests.len(), 18);
        assert!(truth.closes(), "seed {seed}: {:?}", truth.domains);
        assert!(truth.domains.iter().all(|d| d.total_pj > 0 && d.idle_pj > 0));
        assert!(truth.requests.iter().all(|r| r.domains[0].pj() + r.domains[1].pj() > 0));
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let (host, load) = everything(1);
    let record = |seed: u64| {
        let mut seen = String::new();
        let truth = run(&host, &load, seed, &mut |input| seen += &format!("{input:?}\n"));
        (seen, truth)
    };
    let (first, again, other) = (record(7), record(7), record(8));
    assert_eq!(first, again);
    assert_ne!(first.0, other.0);
}

#[test]
fn counters_show_the_truth_of_their_last_update_in_whole_units() {
    for seed in 0..4 {
        let (host, load) = everything(seed);
        let domains = host.domains();
        let mut ends: Vec<Option<(u64, u64)>> = vec![None; domains.len()];
        let truth = run(&host, &load, seed, &mut |input| {
            let (Input::Sample { domain, counter, .. } | Input::Device { domain, counter, .. }) =
                input
            else {
                return;
            };
            let mask = u64::MAX >> (64 - domains[domain].bits);
            let (last, units) = ends[domain].unwrap_or((counter, 0));
            ends[domain] = Some((counter, units + (counter.wrapping_sub(last) & mask)));
        });
        for ((domain, end), truth) in domains.iter().zip(&ends).zip(&truth.domains) {
            let shown = end.unwrap().1 as f64 * domain.joules_per_count;
            let total = truth.total_pj as f64 * 1e-12;
            // Stale by a period at most, at most at its greatest power, and by a unit.
            let late = domain.max_mw as f64 * 1e-3 * domain.period_ns as f64 * 1e-9;
            assert!(shown <= total, "{}: {shown} of {total}", domain.name);
            assert!(
                total - shown < late + domain.joules_per_count,
                "{}: {shown} of {total}",
                domain.name
            );
        }
    }
}

#[test]
fn a_counter_near_its_wrap_wraps_once_and_loses_nothing() {
    let (host, load) = everything(0);
    let mut wraps = 0;
    let mut last = None;
    let _ = run(&host, &load, 0, &mut |input| {
        if let Input::Sample { domain: 0, counter, .. } = input {
            assert!(counter < 1 << 32);
            wraps += u64::from(last.is_some_and(|last| counter < last));
            last = Some(counter);
        }
    });
    assert_eq!(wraps, 1);
}

#[test]
fn inputs_come_in_order_and_no_clock_goes_back_or_runs_faster_than_its_cpus() {
    let (host, load) = everything(3);
    let mut now = 0;
    let mut last: Vec<Option<(u64, Vec<u64>)>> = vec![None; 2];
    let _ = run(&host, &load, 3, &mut |input| {
        let t = match input {
            Input::Sample { t, .. }
            | Input::Device { t, .. }
            | Input::Boundary { t, .. }
            | Input::Chunk { t, .. }
            | Input::Poll { t, .. } => t,
            Input::Finished(facts) => facts.end,
        };
        assert!(t >= now, "{t} after {now}");
        now = t;
        let Input::Sample { domain, clocks, .. } = input else { return };
        let Some(last) = last.get_mut(domain) else { return };
        if let Some((before, old)) = last {
            let ran: u64 =
                clocks.iter().zip(old.iter()).map(|(a, b)| a.checked_sub(*b).unwrap()).sum();
            assert!(ran <= (t - *before) * 8, "{ran} ns on 8 CPUs in {} ns", t - *before);
        }
        *last = Some((t, clocks.to_vec()));
    });
}

#[test]
fn clocks_are_the_time_that_was_scheduled() {
    // Three threads that never sleep on a machine of 8 CPUs run all the time; 20 share them.
    for (threads, cpus) in [(3, 3), (20, 8)] {
        let does = Use { activity: 1_000, memory_mw: 0 };
        let neighbours = vec![Neighbour { does, on_ns: 1, off_ns: 0 }; threads];
        let host = Host { smt: false, pollers: vec![1_000_000_000], ..Host::default() };
        let load = Load {
            neighbours,
            kernel: Kernel::silent(),
            least_ns: 1_000_000_000,
            ..Load::default()
        };
        let mut clock = 0;
        let truth = run(&host, &load, 5, &mut |input| {
            if let Input::Poll { clocks, .. } = input {
                clock = clocks[0];
            }
        });
        let expected = (truth.end - truth.begin) * cpus;
        // They begin within the first millisecond.
        assert!(clock <= expected && expected - clock < 1_000_000 * cpus, "{clock} of {expected}");
    }
}

#[test]
fn a_request_alone_costs_what_a_hand_calculation_gives() {
    let quiet = Use { activity: 1_000, memory_mw: 1_000 };
    let server = Server {
        threads: 4,
        requests: 1,
        decode: quiet,
        prefill: quiet,
        spin: quiet,
        spin_ns: 7_000_000,
        costs: Costs { context: 0, ..Costs::default() },
        prompt: Tokens { mean: 50, spread: 0.0 },
        completion: Tokens { mean: 21, spread: 0.0 },
        ..Server::default()
    };
    let (mut host, load) = alone(server);
    // One frequency: 3,000 MHz at 1.05 V.
    host.core.low_mhz = 3_000;
    host.core.low_volts = 1.05;
    let truth = run(&host, &load, 11, &mut |_| {});
    let [request] = &truth.requests[..] else { panic!("{:?}", truth.requests) };
    // Leakage 322 mW/V × 1.05 V and 1.976 × 3,000 × 1.05² mW, less the deepest idle state.
    let core_w = (338.0 + 6_536.0 - 100.0) * 1e-3;
    // 21 steps: 32 ms of one thread each; 50 prompt tokens and 20 others of 0.8 ms; then 105 µs of writing and a
    // thread's 5 µs more in each gap, on four cores.
    let thread_s = 21.0 * 0.032 + 70.0 * 0.0008;
    let gap_s = 21.0 * (100.0 + 5.0 + 5.0) * 1e-6;
    let expected = core_w * (thread_s + 4.0 * gap_s);
    let got = request.domains[0].pj() as f64 * 1e-12;
    // Threads get equal parts to within 2 in a hundred, and wait for the last.
    assert!((got / expected - 1.0).abs() < 0.02, "{got} J, by hand {expected} J");
    assert!(got > expected * 0.99);
    // Memory: 1 W a thread.
    let memory = request.domains[1].pj() as f64 * 1e-12;
    assert!((memory / (got / core_w) - 1.0).abs() < 1e-3, "{memory} J of memory");
    // Spinning: 7 ms on four cores, and it is nobody's.
    let spun = truth.background[0][0] as f64 * 1e-12;
    assert!((spun / (core_w * 4.0 * 0.007) - 1.0).abs() < 1e-3, "{spun} J of background");
    // Prefill is one step of 21, and 50 of 70 tokens.
    let step = core_w * (0.032 + 50.0 * 0.0008 + 4.0 * 110e-6);
    let prefill = request.domains[0].prefill_pj as f64 * 1e-12;
    assert!((prefill / step - 1.0).abs() < 0.03, "{prefill} J of prefill, by hand {step} J");
}

#[test]
fn idle_power_is_the_floor_once_the_cores_sleep() {
    let load = Load { kernel: Kernel::silent(), least_ns: 1_000_000_000, ..Load::default() };
    let host = Host::default();
    let truth = run(&host, &load, 0, &mut |_| {});
    let ns = truth.end - truth.begin;
    assert_eq!(host.floor_mw(), 30_800);
    assert_eq!(truth.domains[0].total_pj, 30_800 * ns);
    assert_eq!(truth.domains[0].idle_pj, 30_800 * ns);
    assert_eq!(truth.domains[1].total_pj, 5_500 * ns);
}

#[test]
fn a_batch_shares_its_common_cost_in_equal_parts() {
    // Two requests at once, one with twice the tokens; steps cost nothing but what is shared.
    let server = |clients: usize| Server {
        requests: 2,
        arrivals: Arrivals::Closed { clients, think_ns: 1 },
        costs: Costs { token: 0, context: 0, prompt: 0, ..Costs::default() },
        prompt: Tokens { mean: 1, spread: 0.0 },
        completion: Tokens { mean: 100, spread: 0.0 },
        ..Server::default()
    };
    let cost = |clients: usize| {
        let (host, load) = alone(server(clients));
        let truth = run(&host, &load, 2, &mut |_| {});
        truth.requests.iter().map(RequestTruth::joules).collect::<Vec<_>>()
    };
    let (one, two) = (cost(1), cost(2));
    // Together they cost half each, but for the first step, which the earlier one had alone.
    assert!((one[0] / two[0] - 2.0).abs() < 0.06, "{one:?} {two:?}");
    assert!((two[0] / two[1] - 1.0).abs() < 0.06, "{two:?}");
}

#[test]
fn a_sibling_or_a_lower_frequency_changes_what_a_nanosecond_costs() {
    let levels = power::Levels::new(&CorePower::default());
    let top = levels.top();
    let (alone, [own, _]) = levels.busy(top, 1_000, None);
    let (both, [a, b]) = levels.busy(top, 1_000, Some(1_000));
    assert_eq!((alone, own), (6_874, 6_774));
    assert_eq!(a + b + 100, both);
    assert_eq!(both, 338 + 6_536 * 12 / 10);
    // 1 W at the lowest, 4 W at 2,200 MHz.
    let (low, _) = levels.busy(0, 1_000, None);
    let (nominal, _) = levels.busy(levels.at_least(2_200, top), 1_000, None);
    assert!((990..=1_010).contains(&low) && (3_970..=4_030).contains(&nominal), "{low} {nominal}");
}

#[test]
fn lost_ticks_are_missing_and_the_last_reading_still_shows_everything() {
    let (mut host, load) = everything(9);
    host.rapl.near_wrap = false;
    let samples = |host: &Host| {
        let (mut n, mut counters) = (0.0, Vec::new());
        let truth = run(host, &load, 9, &mut |input| {
            if let Input::Sample { domain: 0, counter, .. } = input {
                n += 1.0;
                counters.push(counter);
            }
        });
        let shown = counters.last().unwrap().wrapping_sub(counters[0]) & u64::from(u32::MAX);
        (n, shown as f64 / 16_384.0, truth.domains[0].total_pj as f64 * 1e-12)
    };
    host.ticks.lost = 0.0;
    let all = samples(&host);
    host.ticks.lost = 0.5;
    let half = samples(&host);
    assert!((0.4..0.6).contains(&(half.0 / all.0)), "{} of {}", half.0, all.0);
    for (_, shown, total) in [all, half] {
        assert!(shown <= total && shown > total - 0.2, "{shown} J of {total} J");
    }
}

#[test]
fn a_request_enters_has_its_first_content_its_chunks_its_facts_and_leaves() {
    let server =
        Server { requests: 1, completion: Tokens { mean: 5, spread: 0.0 }, ..Server::default() };
    let (host, load) = alone(server);
    let mut seen = Vec::new();
    let _ = run(&host, &load, 4, &mut |input| match input {
        Input::Boundary { change, .. } => seen.push(format!("{change:?}")),
        Input::Chunk { tokens, .. } => seen.push(tokens.to_string()),
        Input::Finished(facts) => {
            assert!(facts.queue == facts.prefill && facts.prefill < facts.decode);
            assert!(facts.decode < facts.end);
            seen.push(format!("{} tokens", facts.completion_tokens));
        }
        Input::Sample { .. } | Input::Device { .. } | Input::Poll { .. } => {}
    });
    assert_eq!(seen, ["Enter", "First", "2", "3", "4", "5 tokens", "Leave"]);
}

#[test]
fn a_core_that_is_woken_often_stays_in_the_shallow_state() {
    let idle_mw = |every_ns: u64| {
        let kernel = Kernel { every_ns, probe_every_ns: 0, ..Kernel::default() };
        let load = Load { kernel, least_ns: 2_000_000_000, ..Load::default() };
        let host = Host { smt: false, ..Host::default() };
        let truth = run(&host, &load, 1, &mut |_| {});
        let above = truth.domains[0].idle_pj / (truth.end - truth.begin) - host.floor_mw();
        above as f64 / host.cores as f64
    };
    // Every 50 ms: next to nothing of the 1,340 mW between the two states; every 300 µs: most of it.
    assert!(idle_mw(50_000_000) < 30.0, "{}", idle_mw(50_000_000));
    assert!(idle_mw(300_000) > 700.0, "{}", idle_mw(300_000));
}

#[test]
fn a_prompt_waits_in_the_queue_until_a_step_has_room_for_it() {
    // Two prompts of 100 tokens, at once, in steps of 100: the later one begins when the earlier one is read.
    let server = Server {
        requests: 2,
        arrivals: Arrivals::Closed { clients: 2, think_ns: 1 },
        chunk: 100,
        prompt: Tokens { mean: 100, spread: 0.0 },
        completion: Tokens { mean: 3, spread: 0.0 },
        ..Server::default()
    };
    let (host, load) = alone(server);
    let truth = run(&host, &load, 2, &mut |_| {});
    let [one, two] = &truth.requests[..] else { panic!("{:?}", truth.requests) };
    assert_eq!(one.facts.prefill, one.facts.queue);
    assert!(two.facts.queue < one.facts.queue + 1_000);
    assert!(two.facts.prefill > one.facts.decode, "{two:?}");
    assert!(two.facts.prefill < one.facts.decode + 1_000_000, "{two:?}");
}
