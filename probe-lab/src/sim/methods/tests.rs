//! Each method by hand, on a machine of 10 W that draws 30 W while anything runs.

use super::*;
use crate::sim::domain::{Domain, Scope};
use crate::sim::input::{Facts, Input, Poller};

const MS: u64 = 1_000_000;

/// Reads every 50 ms and every 5 s; two requests overlap from 1,000 to 1,400 ms and 1,200 to 1,600 ms; the server has
/// three quarters of the CPU time.
fn seen() -> Observed {
    let domain = Domain {
        name: "package-0".to_owned(),
        joules_per_count: 1e-3,
        bits: 16,
        scope: Scope::Package(0),
        period_ns: MS,
        max_mw: 100_000,
    };
    let mut seen = Observed::new(vec![domain], 10.0);
    let facts = |request: u64, begin: u64, end: u64, tokens: u64| Facts {
        request,
        consumer: 0,
        prompt_tokens: 1,
        completion_tokens: tokens,
        queue: begin * MS,
        prefill: begin * MS,
        decode: begin * MS,
        end: end * MS,
    };
    let busy = |ms: u64| ms.clamp(1_000, 1_600) - 1_000;
    // Near its wrap at first: 65,536 mJ.
    let counter = |ms: u64| (60_000 + 10 * ms + 20 * busy(ms)) % 65_536;
    let clocks = |ms: u64| [3 * busy(ms) * MS, busy(ms) * MS];
    let mut poll = |poller: Poller, ms: u64| {
        let (counters, clocks) = ([counter(ms)], clocks(ms));
        seen.see(&Input::Poll { poller, t: ms * MS, counters: &counters, clocks: &clocks });
    };
    for ms in (0..=5_000).step_by(50) {
        if ms % 5_000 == 0 {
            poll(Poller::Timer(1), ms);
        }
        poll(Poller::Timer(0), ms);
        match ms {
            1_000 => poll(Poller::Begin(1), ms),
            1_200 => poll(Poller::Begin(2), ms),
            1_400 => poll(Poller::End(1), ms),
            1_600 => poll(Poller::End(2), ms),
            _ => {}
        }
    }
    seen.see(&Input::Finished(facts(1, 1_000, 1_400, 10)));
    seen.see(&Input::Finished(facts(2, 1_200, 1_600, 30)));
    seen
}

fn assert_joules(method: Method, idle: Idle, expected: [f64; 2]) {
    let said = method.joules(&seen(), idle);
    let close = said.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
    assert!(said.len() == 2 && close, "{}: {said:?}, by hand {expected:?}", method.name());
}

#[test]
fn the_machine_and_the_device_charge_everything_to_each() {
    // 30 W for 0.4 s each; 20 W without idle.
    for method in [Method::Machine, Method::Device] {
        assert_joules(method, Idle::Kept, [12.0, 12.0]);
        assert_joules(method, Idle::Off, [8.0, 8.0]);
    }
}

#[test]
fn proc_charges_the_processs_part_of_five_seconds_by_time_resident() {
    // 62 J in 5 s, three quarters of it: 9.3 W; 0.2 s alone and 0.2 s shared are 0.3 s.
    assert_joules(Method::Proc, Idle::Kept, [9.3 * 0.3, 9.3 * 0.3]);
    assert_joules(Method::Proc, Idle::Off, [1.8 * 0.3, 1.8 * 0.3]);
}

#[test]
fn means_divide_the_run_by_requests_or_by_tokens() {
    assert_joules(Method::Mean, Idle::Kept, [31.0, 31.0]);
    assert_joules(Method::Mean, Idle::Off, [6.0, 6.0]);
    assert_joules(Method::Token, Idle::Kept, [15.5, 46.5]);
    assert_joules(Method::Token, Idle::Off, [3.0, 9.0]);
}
