//! Whose a step's energy is: by hand, where a prompt is read and tokens are generated in one step.

use super::*;

/// Two requests at once: while the first one generates four tokens, the second one's prompt is read in as many steps. A token is
/// 40 ms of work, a chunk of a prompt 80 ms.
fn mixed(costs: Costs) -> [RequestTruth; 2] {
    let server = Server {
        requests: 2,
        arrivals: Arrivals::Closed { clients: 2, think_ns: 1 },
        chunk: 100,
        costs: Costs { token: 40_000_000, context: 0, ..costs },
        decode: Use { activity: 800, memory_mw: 2_000 },
        prefill: Use { activity: 1_200, memory_mw: 500 },
        spin: Use { activity: 0, memory_mw: 0 },
        gpu_mw: 100_000,
        prompt: Tokens { mean: 400, spread: 0.0 },
        completion: Tokens { mean: 5, spread: 0.0 },
        ..Server::default()
    };
    let (mut host, load) = alone(server);
    host.gpu = Some(Gpu::default());
    let truth = run(&host, &load, 2, &mut |_| {});
    assert!(truth.closes());
    truth.requests.try_into().expect("two requests")
}

/// The first one's decode over the second one's prefill, by domain.
fn ratios(of: &[RequestTruth; 2]) -> [f64; 3] {
    let [first, second] = of;
    let pj = |d: usize| (first.domains[d].decode_pj as f64, second.domains[d].prefill_pj as f64);
    [0, 1, 2].map(|d| pj(d).0 / pj(d).1)
}

#[test]
fn a_package_is_cut_by_heat_memory_by_traffic_and_a_device_by_work() {
    let [package, memory, device] = ratios(&mixed(Costs { step: 0, ..Costs::default() }));
    // Four tokens are half the work of four chunks.
    let close = |got: f64, expected: f64| (got / expected - 1.0).abs() < 0.01;
    assert!(close(package, 0.5 * 800.0 / 1_200.0), "{package}");
    assert!(close(memory, 0.5 * 2_000.0 / 500.0), "{memory}");
    assert!(close(device, 0.5), "{device}");
}

#[test]
fn what_a_step_costs_however_many_there_are_is_in_equal_parts_in_every_domain() {
    // 120 ms, drawing what decode draws: 60 ms of it each.
    let [package, memory, device] = ratios(&mixed(Costs { step: 120_000_000, ..Costs::default() }));
    let close = |got: f64, expected: f64| (got / expected - 1.0).abs() < 0.01;
    let of = |decode: f64, prefill: f64| 100.0 * decode / (60.0 * decode + 80.0 * prefill);
    assert!(close(package, of(800.0, 1_200.0)), "{package}");
    assert!(close(memory, of(2_000.0, 500.0)), "{memory}");
    assert!(close(device, of(1.0, 1.0)), "{device}");
}

#[test]
fn reading_weights_hides_behind_arithmetic_and_its_traffic_does_not() {
    // Two tokens, or a token and a chunk, are 80 and 120 ms of arithmetic; the weights take 100 ms.
    let hidden = Costs { step: 100_000_000, hidden: true, ..Costs::default() };
    let [package, memory, device] = ratios(&mixed(hidden));
    let close = |got: f64, expected: f64| (got / expected - 1.0).abs() < 0.01;
    assert!(close(package, 0.5 * 800.0 / 1_200.0), "nobody waits for weights: {package}");
    assert!(close(device, 0.5), "{device}");
    let weights = 50.0 * 2_000.0;
    assert!(close(memory, (80_000.0 + weights) / (40_000.0 + weights)), "{memory}");
}

#[test]
fn a_prompt_token_may_cost_more_the_more_stand_before_it() {
    let prefill = |attend: u64| {
        let server = Server {
            requests: 1,
            chunk: 50,
            costs: Costs { step: 0, attend, ..Costs::default() },
            prompt: Tokens { mean: 200, spread: 0.0 },
            ..Server::default()
        };
        let (host, load) = alone(server);
        run(&host, &load, 1, &mut |_| {}).requests[0].domains[1].prefill_pj as f64
    };
    // 0.8 ms each; on average 99.5 stand before a token.
    let more = prefill(8_000) / prefill(0);
    assert!((more - (1.0 + 0.0995 * 8.0 / 0.8)).abs() < 0.02, "{more}");
}

#[test]
fn in_the_quiet_time_at_first_nobody_comes() {
    let (host, mut load) = everything(1);
    load.quiet_ns = 2_000_000_000;
    let mut first = u64::MAX;
    let mut quiet = 0;
    let _ = run(&host, &load, 1, &mut |input| match input {
        Input::Boundary { t, .. } => first = first.min(t),
        Input::Sample { t, clocks, .. } if t < 3_000_000_000 => {
            quiet = quiet.max(clocks[..3].iter().sum::<u64>());
        }
        _ => {}
    });
    // A run begins at one second.
    assert!(first >= 3_000_000_000 && quiet == 0, "{first}, {quiet} ns on CPUs");
}
