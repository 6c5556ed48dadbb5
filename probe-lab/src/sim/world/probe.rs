//! The counters, and who reads them when.

use super::cores::Cores;
use super::driver::Driver;
use super::timers::{Timer, Timers};
use crate::sim::counter::Counter;
use crate::sim::dice::Dice;
use crate::sim::host::Host;
use crate::sim::input::{Change, Input, Poller, Weights};
use crate::sim::load::Load;
use crate::sim::machine::Machine;

/// Registers, and the state of those who read them.
#[derive(Debug)]
pub(super) struct Probe {
    /// By domain.
    counters: Vec<Counter>,
    cores: Cores,
    driver: Driver,
    in_flight: u64,
    last_io: Option<u64>,
    last_tick: u64,
    /// Reused.
    shown: Vec<u64>,
    sums: Vec<u64>,
}

impl Probe {
    pub(super) fn new(host: &Host, load: &Load, now: u64, dice: &mut Dice) -> Self {
        let rapl = &host.rapl;
        let mut start = |bits: u32| {
            let max = u64::MAX >> (64 - bits.clamp(1, 64));
            let value = dice.next_u64() & max;
            // A joule of 2^14 units before its end: it wraps in the run's first tenths of a second.
            if rapl.near_wrap { max - (1 << 14) } else { value }
        };
        let mut counters = Vec::new();
        for unit in [rapl.unit_bits, rapl.memory_unit_bits] {
            counters.extend(
                (0..host.packages).map(|_| Counter::binary(unit, rapl.bits, start(rapl.bits))),
            );
        }
        // A millijoule counter of 64 bits never wraps.
        counters.extend(host.gpu.iter().map(|_| Counter::millijoules(1 << 30)));
        let servers = load.servers.iter().enumerate();
        let there = servers.filter(|(_, server)| server.gpu_mw > 0).map(|(who, _)| who);
        Self {
            counters,
            cores: Cores::new(host.packages, host.cores, load.consumers(), dice),
            driver: Driver::new(there.collect(), load.consumers(), now),
            in_flight: 0,
            last_io: None,
            last_tick: 0,
            shown: Vec::new(),
            sums: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self, now: u64, host: &Host, dice: &mut Dice, timers: &mut Timers) {
        for package in 0..host.packages {
            timers.at(now + dice.between(0, host.rapl.update_ns), Timer::Update(package));
        }
        timers.at(now + host.ticks.busy_ns.max(1), Timer::Tick);
        for (place, period) in host.pollers.iter().enumerate() {
            timers.at(now + dice.between(0, (*period).max(1)), Timer::Poll(place));
        }
        if let Some(gpu) = &host.gpu {
            timers.at(now + dice.between(0, gpu.update_ns.1), Timer::DeviceUpdate);
            timers.at(now + gpu.read_ns.max(1), Timer::DeviceRead);
            timers.at(now + dice.between(1, gpu.sample_ns.max(1)), Timer::DeviceSample);
        }
    }

    pub(super) fn handle(
        &mut self,
        timer: Timer,
        host: &Host,
        machine: &mut Machine,
        dice: &mut Dice,
        timers: &mut Timers,
        tell: &mut impl FnMut(Input<'_>),
    ) {
        let now = machine.now;
        match timer {
            Timer::Update(package) => {
                for domain in [package, host.packages + package] {
                    self.counters[domain].update(machine.meters[domain].energy.total_pj);
                }
                self.cores.update(package, machine);
                let rapl = &host.rapl;
                let (low, high) = (
                    rapl.update_ns.saturating_sub(rapl.jitter_ns),
                    rapl.update_ns + rapl.jitter_ns,
                );
                timers.at(now + dice.between(low, high).max(1), timer);
            }
            Timer::DeviceUpdate => {
                let device = 2 * host.packages;
                self.counters[device].update(machine.meters[device].energy.total_pj);
                let (low, high) = host.gpu.as_ref().map_or((1, 1), |gpu| gpu.update_ns);
                timers.at(now + dice.between(low, high).max(1), timer);
            }
            Timer::DeviceRead => {
                self.read_device(machine, tell);
                let every = host.gpu.as_ref().map_or(1, |gpu| gpu.read_ns);
                timers.at(now + every.max(1), timer);
            }
            Timer::DeviceSample => {
                self.driver.sample(now, &machine.device.ns);
                let every = host.gpu.as_ref().map_or(1, |gpu| gpu.sample_ns);
                timers.at(now + every.max(1), timer);
            }
            Timer::Tick => {
                self.tick(host, machine, dice, tell);
                let ticks = &host.ticks;
                // The timer's own instants are exact; its interrupt is late.
                let nominal = now - now % ticks.busy_ns.max(1);
                let late = dice.between(0, ticks.jitter_ns);
                timers.at(nominal + ticks.busy_ns.max(1) + late, timer);
            }
            Timer::Poll(place) => {
                self.poll(machine, Poller::Timer(place), tell);
                // A sleeping program wakes a little late.
                timers.at(now + host.pollers[place].max(1) + dice.between(0, 60_000), timer);
            }
            _ => {}
        }
    }

    /// Reads everything, whatever the time.
    pub(super) fn read_all(&mut self, machine: &mut Machine, tell: &mut impl FnMut(Input<'_>)) {
        self.last_tick = machine.now;
        for package in 0..machine.clocks.len() {
            self.cores.tick(package, machine);
            self.read_package(package, machine, tell);
        }
        self.read_device(machine, tell);
    }

    fn tick(
        &mut self,
        host: &Host,
        machine: &mut Machine,
        dice: &mut Dice,
        tell: &mut impl FnMut(Input<'_>),
    ) {
        let (now, ticks) = (machine.now, &host.ticks);
        let lingers = self.last_io.is_some_and(|t| now - t < ticks.linger_ns);
        let due = now - self.last_tick + ticks.busy_ns / 2 >= ticks.idle_ns;
        if self.in_flight == 0 && !lingers && !due {
            return;
        }
        self.last_tick = now;
        (0..host.packages).for_each(|package| self.cores.tick(package, machine));
        if !dice.chance(ticks.lost) {
            (0..host.packages).for_each(|package| self.read_package(package, machine, tell));
        }
    }

    fn read_package(
        &mut self,
        package: usize,
        machine: &Machine,
        tell: &mut impl FnMut(Input<'_>),
    ) {
        let clocks = &machine.clocks[package];
        let memory = machine.clocks.len() + package;
        let weights = Weights {
            smt: &clocks.smt.sum,
            cycles: &clocks.cycles.sum,
            misses: &machine.meters[memory].energy.active_pj,
            drawn: self.cores.drawn(package),
        };
        for domain in [package, memory] {
            tell(Input::Sample {
                domain,
                t: machine.now,
                counter: self.counters[domain].shown(),
                clocks: &clocks.ns,
                weights,
            });
        }
    }

    fn read_device(&mut self, machine: &Machine, tell: &mut impl FnMut(Input<'_>)) {
        let domain = 2 * machine.clocks.len();
        if let Some(counter) = self.counters.get(domain) {
            let (t, counter) = (machine.now, counter.shown());
            let (clocks, users) = self.driver.ask(t);
            tell(Input::Device { domain, t, counter, clocks, users });
        }
    }

    /// A program reads all counters and everybody's CPU time.
    pub(super) fn poll(
        &mut self,
        machine: &Machine,
        poller: Poller,
        tell: &mut impl FnMut(Input<'_>),
    ) {
        self.shown.clear();
        self.shown.extend(self.counters.iter().map(Counter::shown));
        machine.on_cpu(&mut self.sums);
        tell(Input::Poll { poller, t: machine.now, counters: &self.shown, clocks: &self.sums });
    }

    pub(super) fn boundary(
        &mut self,
        machine: &Machine,
        consumer: usize,
        request: u64,
        change: Change,
        tell: &mut impl FnMut(Input<'_>),
    ) {
        self.last_io = Some(machine.now);
        match change {
            Change::Enter => self.in_flight += 1,
            Change::First => {}
            Change::Leave => self.in_flight -= 1,
        }
        self.sums.clear();
        self.sums.extend(machine.clocks.iter().map(|c| c.ns[consumer]));
        tell(Input::Boundary { consumer, t: machine.now, clocks: &self.sums, request, change });
    }
}
