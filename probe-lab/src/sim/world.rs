//! The run: events in the order of their instants.

mod clients;
mod cores;
mod driver;
mod probe;
mod timers;

use self::clients::Clients;
use self::probe::Probe;
use self::timers::{Timer, Timers};
use super::dice::Dice;
use super::engine::Engine;
use super::host::Host;
use super::input::{Change, Input, Poller};
use super::load::Load;
use super::machine::Machine;
use super::truth::{RequestTruth, Truth};

/// When a run begins: not at 0, as no machine's clock does.
const BEGIN: u64 = 1_000_000_000;
/// How long it goes on after the last request, ns.
const TAIL: u64 = 20_000_000;
/// A run that has not ended by then never will: 24 hours.
const LIMIT: u64 = 86_400_000_000_000;

/// Everything.
#[derive(Debug)]
pub(super) struct World<'a> {
    host: &'a Host,
    load: &'a Load,
    dice: Dice,
    machine: Machine,
    timers: Timers,
    engines: Vec<Engine>,
    clients: Vec<Clients>,
    /// By task: the server it belongs to.
    of_server: Vec<Option<usize>>,
    neighbours: Vec<(usize, bool)>,
    /// By CPU, then the probe's.
    short: Vec<usize>,
    probe: Probe,
    gone: Vec<RequestTruth>,
    /// Set once nothing is left to do.
    end: Option<u64>,
}

impl<'a> World<'a> {
    pub(super) fn new(host: &'a Host, load: &'a Load, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut machine = Machine::new(host, load.consumers(), BEGIN);
        let mut of_server = Vec::new();
        let mut engines = Vec::new();
        for (consumer, server) in load.servers.iter().enumerate() {
            engines.push(Engine::new(consumer, server, &mut machine));
            of_server.extend((0..server.threads.max(1)).map(|_| Some(consumer)));
        }
        let neighbours = load.neighbours.iter().map(|_| (machine.add(load.other(), None), false));
        let neighbours = neighbours.collect();
        let kernel = load.kernel_consumer();
        let mut short: Vec<_> =
            (0..host.cpus()).map(|cpu| machine.add(kernel, Some(cpu))).collect();
        short.push(machine.add(load.probe_consumer(), None));
        let clients = load.servers.iter().map(Clients::new).collect();
        let probe = Probe::new(host, load, BEGIN, &mut dice);
        let timers = Timers::default();
        let mut world = Self {
            host,
            load,
            dice,
            machine,
            timers,
            engines,
            clients,
            of_server,
            neighbours,
            short,
            probe,
            gone: Vec::new(),
            end: None,
        };
        world.begin();
        world
    }

    /// The first timers.
    fn begin(&mut self) {
        for server in 0..self.engines.len() {
            for t in self.clients[server].begin(BEGIN + self.load.quiet_ns, &mut self.dice) {
                self.timers.at(t, Timer::Arrive(server));
            }
        }
        let (host, load, dice) = (self.host, self.load, &mut self.dice);
        let timers = &mut self.timers;
        for neighbour in 0..load.neighbours.len() {
            let begin = BEGIN + load.quiet_ns + dice.between(0, 1_000_000);
            timers.at(begin, Timer::Neighbour(neighbour));
        }
        for cpu in (0..host.cpus()).filter(|_| load.kernel.every_ns > 0) {
            timers.at(BEGIN + dice.wait(load.kernel.every_ns), Timer::Kernel(cpu));
        }
        if load.kernel.probe_every_ns > 0 {
            timers.at(BEGIN + dice.between(0, load.kernel.probe_every_ns), Timer::Round);
        }
        timers.at(BEGIN + host.core.governor_ns.max(1), Timer::Govern);
        timers.at(BEGIN + host.scheduler.balance_ns.max(1), Timer::Balance);
        self.probe.begin(BEGIN, host, dice, timers);
    }

    pub(super) fn run(mut self, tell: &mut impl FnMut(Input<'_>)) -> Truth {
        self.read_all(tell);
        loop {
            let (own, cpu) = self.machine.next();
            let timer = self.timers.next();
            let t = own.min(timer);
            if self.end.is_none() && self.idle() && t > BEGIN + self.load.least_ns {
                self.end = Some(self.machine.now.max(BEGIN + self.load.least_ns) + TAIL);
            }
            if self.end.is_some_and(|end| t > end) || t > LIMIT {
                break;
            }
            self.machine.advance(t);
            if own <= timer {
                self.task_done(cpu);
            } else if let Some(timer) = self.timers.pop() {
                self.handle(timer, tell);
            }
        }
        self.machine.advance(self.end.unwrap_or(LIMIT));
        self.read_all(tell);
        self.engines.iter_mut().for_each(|engine| engine.finish(&self.machine));
        Truth {
            begin: BEGIN,
            end: self.machine.now,
            domains: self.machine.meters.into_iter().map(|m| m.energy).collect(),
            requests: self.gone,
            background: self.engines.into_iter().map(|e| e.background).collect(),
        }
    }

    /// Whoever reads, reads at the begin and at the end, too.
    fn read_all(&mut self, tell: &mut impl FnMut(Input<'_>)) {
        self.probe.read_all(&mut self.machine, tell);
        for place in 0..self.host.pollers.len() {
            self.probe.poll(&self.machine, Poller::Timer(place), tell);
        }
    }

    /// Every request has come and gone.
    fn idle(&self) -> bool {
        self.engines.iter().all(Engine::asleep) && self.clients.iter().all(Clients::done)
    }

    fn task_done(&mut self, cpu: usize) {
        let Some(task) = self.machine.happen(cpu, &mut self.dice) else { return };
        let Some(server) = self.of_server.get(task).copied().flatten() else {
            self.machine.sleep(task, &mut self.dice);
            return;
        };
        let (engine, machine) = (&mut self.engines[server], &mut self.machine);
        if let Some((writes, gap)) = engine.thread_done(task, machine, &mut self.dice) {
            let now = self.machine.now;
            for write in writes {
                self.timers.at(now + write.after_ns, Timer::Write(server, write.request));
            }
            self.timers.at(now + gap, Timer::GapEnd(server));
        }
    }

    fn handle(&mut self, timer: Timer, tell: &mut impl FnMut(Input<'_>)) {
        let (host, load, now) = (self.host, self.load, self.machine.now);
        let (machine, dice, timers) = (&mut self.machine, &mut self.dice, &mut self.timers);
        match timer {
            Timer::Arrive(server) => self.arrive(server, tell),
            Timer::Write(server, request) => self.write(server, request, tell),
            Timer::GapEnd(server) => {
                let engine = &mut self.engines[server];
                self.gone.extend(engine.gap_ends(machine, dice));
                if let Some(until) = engine.spins_until() {
                    timers.at(until, Timer::SpinEnd(server));
                }
            }
            Timer::SpinEnd(server) => self.engines[server].spin_ends(machine, dice),
            Timer::Neighbour(neighbour) => self.toggle(neighbour),
            Timer::Kernel(cpu) => {
                let kernel = &load.kernel;
                let ns = dice.wait(kernel.for_ns).max(host.scheduler.shortest_ns);
                machine.set(self.short[cpu], kernel.does, Some(ns * 3_000), dice);
                timers.at(now + ns + dice.wait(kernel.every_ns), Timer::Kernel(cpu));
            }
            Timer::Round => {
                let kernel = &load.kernel;
                let work = kernel.probe_for_ns * 3_000;
                machine.set(self.short[host.cpus()], kernel.does, Some(work), dice);
                timers.at(now + kernel.probe_every_ns, Timer::Round);
            }
            Timer::Govern => {
                machine.govern();
                timers.at(now + host.core.governor_ns.max(1), Timer::Govern);
            }
            Timer::Balance => {
                machine.balance(dice);
                timers.at(now + dice.around(host.scheduler.balance_ns.max(2), 0.2), Timer::Balance);
            }
            Timer::Update(_)
            | Timer::DeviceUpdate
            | Timer::DeviceRead
            | Timer::DeviceSample
            | Timer::Tick
            | Timer::Poll(_) => {
                self.probe.handle(timer, host, machine, dice, timers, tell);
            }
        }
    }

    fn toggle(&mut self, neighbour: usize) {
        let what = &self.load.neighbours[neighbour];
        let (task, on) = &mut self.neighbours[neighbour];
        *on = !*on;
        let mean = if *on {
            self.machine.set(*task, what.does, None, &mut self.dice);
            what.on_ns
        } else {
            self.machine.sleep(*task, &mut self.dice);
            what.off_ns
        };
        if what.off_ns > 0 {
            let wait = self.dice.wait(mean).max(1);
            self.timers.at(self.machine.now + wait, Timer::Neighbour(neighbour));
        }
    }

    fn arrive(&mut self, server: usize, tell: &mut impl FnMut(Input<'_>)) {
        let now = self.machine.now;
        let (facts, next) = self.clients[server].arrive(server, now, &mut self.dice);
        if let Some(t) = next {
            self.timers.at(t, Timer::Arrive(server));
        }
        let Some(facts) = facts else { return };
        self.probe.boundary(&self.machine, server, facts.request, Change::Enter, tell);
        self.probe.poll(&self.machine, Poller::Begin(facts.request), tell);
        self.engines[server].enter(facts, &mut self.machine, &mut self.dice);
    }

    fn write(&mut self, server: usize, request: u64, tell: &mut impl FnMut(Input<'_>)) {
        let now = self.machine.now;
        let Some(written) = self.engines[server].write(request, now) else { return };
        if written.first {
            self.probe.boundary(&self.machine, server, request, Change::First, tell);
        }
        let Some(facts) = written.facts else {
            if !written.first {
                tell(Input::Chunk { consumer: server, t: now, request, tokens: written.tokens });
            }
            return;
        };
        tell(Input::Finished(facts));
        self.probe.boundary(&self.machine, server, request, Change::Leave, tell);
        self.probe.poll(&self.machine, Poller::End(request), tell);
        if let Some(t) = self.clients[server].answered(now, &mut self.dice) {
            self.timers.at(t, Timer::Arrive(server));
        }
    }
}
