//! An inference server: a queue, steps over a batch, tokens written, threads that spin.
//!
//! ```text
//! asleep ─ enter ─► step ─ all threads done ─► gap (sample, write) ─► step … ─ nothing left ─► spin ─► asleep
//! ```
//!
//! The server's energy is booked at every change of state, so that each picojoule is in a step, in a gap or in the
//! background.

mod batch;

use std::collections::VecDeque;

use self::batch::Part;
use super::dice::Dice;
use super::input::Facts;
use super::load::Server;
use super::machine::Machine;
use super::truth::{Energy, RequestTruth};

/// What a server is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Asleep,
    /// Threads still computing.
    Step {
        busy: usize,
    },
    Gap,
    /// Until then.
    Spin(u64),
}

/// A request in the server.
#[derive(Clone, Debug)]
struct Sequence {
    facts: Facts,
    /// Tokens of the prompt that were read.
    read: u64,
    written: u64,
    energy: Vec<Energy>,
}

/// A server as it runs.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) consumer: usize,
    pub(super) server: Server,
    tasks: Vec<usize>,
    state: State,
    queue: VecDeque<Sequence>,
    active: Vec<Sequence>,
    /// The parts of the step in progress or just ended.
    parts: Vec<Part>,
    /// Left in the gap, which is theirs, too.
    left: Vec<Sequence>,
    /// By domain: the server's energy that is booked.
    booked: Vec<u64>,
    pub(super) background: Vec<u64>,
}

/// What happens in a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// After the step's end, ns.
    pub(super) after_ns: u64,
    pub(super) request: u64,
}

/// What a token was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// With this one.
    pub(super) tokens: u64,
    pub(super) first: bool,
    /// It was the last one.
    pub(super) facts: Option<Facts>,
}

impl Engine {
    pub(super) fn new(consumer: usize, server: &Server, machine: &mut Machine) -> Self {
        let tasks = (0..server.threads.max(1)).map(|_| machine.add(consumer, None)).collect();
        let domains = machine.meters.len();
        Self {
            consumer,
            server: server.clone(),
            tasks,
            state: State::Asleep,
            queue: VecDeque::new(),
            active: Vec::new(),
            parts: Vec::new(),
            left: Vec::new(),
            booked: vec![0; domains],
            background: vec![0; domains],
        }
    }

    /// A request enters; says whether a step begins at once.
    pub(super) fn enter(&mut self, facts: Facts, machine: &mut Machine, dice: &mut Dice) {
        let energy = vec![Energy::default(); self.booked.len()];
        self.queue.push_back(Sequence { facts, read: 0, written: 0, energy });
        if matches!(self.state, State::Asleep | State::Spin(_)) {
            self.book_background(machine);
            self.begin_step(machine, dice);
        }
    }

    /// One of its threads has done its part; when it was the last, what will be written when.
    pub(super) fn thread_done(
        &mut self,
        task: usize,
        machine: &mut Machine,
        dice: &mut Dice,
    ) -> Option<(Vec<Write>, u64)> {
        machine.set(task, self.server.spin, None, dice);
        let State::Step { busy } = &mut self.state else { return None };
        *busy -= 1;
        if *busy > 0 {
            return None;
        }
        self.book_step(machine);
        self.use_device(machine, false);
        self.state = State::Gap;
        let costs = self.server.costs;
        let mut after_ns = costs.sample_ns;
        let mut writes = Vec::new();
        for part in &self.parts {
            if self.advance_sequence(part) {
                after_ns += costs.write_ns;
                writes.push(Write { after_ns, request: part.request });
            }
        }
        Some((writes, after_ns + costs.write_ns))
    }

    /// A token is written.
    pub(super) fn write(&mut self, request: u64, now: u64) -> Option<Written> {
        let place = self.active.iter().position(|s| s.facts.request == request)?;
        let sequence = &mut self.active[place];
        sequence.written += 1;
        let (tokens, first) = (sequence.written, sequence.written == 1);
        if first {
            sequence.facts.decode = now;
        }
        if sequence.written < sequence.facts.completion_tokens {
            return Some(Written { tokens, first, facts: None });
        }
        sequence.facts.end = now;
        let facts = sequence.facts;
        self.left.push(self.active.remove(place));
        Some(Written { tokens, first, facts: Some(facts) })
    }

    /// All is written. Returns who has left; a step begins, or the threads spin until the instant in `spins_until`.
    pub(super) fn gap_ends(&mut self, machine: &mut Machine, dice: &mut Dice) -> Vec<RequestTruth> {
        self.book_gap(machine);
        let truth = |s: Sequence| RequestTruth { facts: s.facts, domains: s.energy };
        let gone = self.left.drain(..).map(truth).collect();
        if self.active.is_empty() && self.queue.is_empty() {
            self.state = State::Spin(machine.now + self.server.spin_ns);
        } else {
            self.begin_step(machine, dice);
        }
        gone
    }

    pub(super) fn spins_until(&self) -> Option<u64> {
        if let State::Spin(until) = self.state { Some(until) } else { None }
    }

    /// Sleeps, if it still spins and the time has come.
    pub(super) fn spin_ends(&mut self, machine: &mut Machine, dice: &mut Dice) {
        if self.state == State::Spin(machine.now) {
            self.tasks.iter().for_each(|task| machine.sleep(*task, dice));
            self.state = State::Asleep;
        }
    }

    /// Nothing is in it, and its threads sleep.
    pub(super) fn asleep(&self) -> bool {
        self.state == State::Asleep
    }

    /// The run ends: what is not booked is background.
    pub(super) fn finish(&mut self, machine: &Machine) {
        self.book_background(machine);
    }

    /// Threads get equal parts of the step, to within two in a hundred.
    fn begin_step(&mut self, machine: &mut Machine, dice: &mut Dice) {
        while self.active.len() < self.server.slots.max(1) {
            let Some(sequence) = self.queue.pop_front() else { break };
            self.active.push(sequence);
        }
        let (work, does) = self.compose(machine.now);
        let each = work / self.tasks.len() as u64;
        // Nanoseconds at 3 GHz to MHz·ns.
        for task in self.tasks.clone() {
            machine.set(task, does, Some(dice.around(each, 0.02) * 3_000), dice);
        }
        self.state = State::Step { busy: self.tasks.len() };
        self.use_device(machine, true);
    }

    /// The device computes while the step does.
    fn use_device(&self, machine: &mut Machine, on: bool) {
        let mw = self.server.gpu_mw;
        let gpu = 2 * machine.clocks.len();
        let Some(meter) = machine.meters.get_mut(gpu).filter(|_| mw > 0) else { return };
        let put = |sum: &mut u64, part: u64| *sum = if on { *sum + part } else { *sum - part };
        put(&mut meter.total_mw, mw);
        put(&mut meter.active_mw[self.consumer], mw);
        put(&mut machine.device.running[self.consumer], 1);
    }
}
