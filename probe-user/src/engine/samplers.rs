//! Reads the sensors that user space reads: the quick ones in the engine's own loop, the slow ones on a
//! thread for each device, so that one that takes its time, or never answers, delays no other.
//!
//! Knows nothing of what a counter means. A thread ends when its [`Samplers`] is dropped.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    thread::{Builder, JoinHandle},
    time::Duration,
};

use probe_ledger::DomainId;

use crate::{
    clock::Clock,
    source::{Pace, Sensed, Sensor, Users},
};

/// Readings that may wait for the engine's loop; more say that it has stopped.
const ROOM: usize = 4096;

/// One reading, or that there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whose.
    pub domain: DomainId,
    /// The instant it stands for, `CLOCK_MONOTONIC` ns.
    pub t: u64,
    /// The raw counter; `None` if it could not be read.
    pub count: Option<u64>,
    /// Who used a device since the reading before.
    pub users: Users,
}

/// A sensor to be read, and how.
pub struct Opened {
    /// Its domain.
    pub domain: DomainId,
    /// How it is read.
    pub pace: Pace,
    /// The sensor.
    pub sensor: Box<dyn Sensor>,
}

type Group = Vec<(DomainId, Box<dyn Sensor>)>;

/// All sensors of a run.
pub struct Samplers {
    quick: Group,
    threads: Vec<Thread>,
    clock: Clock,
}

struct Thread {
    /// How many it reads in a round.
    sensors: usize,
    /// `None` once it must end.
    ask: Option<Sender<()>>,
    taken: Receiver<Taken>,
    handle: Option<JoinHandle<()>>,
}

impl Samplers {
    /// No sensors.
    #[must_use]
    pub fn none(clock: Clock) -> Self {
        Self { quick: vec![], threads: vec![], clock }
    }

    /// Starts the threads; each reads its sensors at once.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn start(opened: Vec<Opened>, clock: Clock) -> io::Result<Self> {
        let mut groups: Vec<(String, u64, Group)> = Vec::new();
        let mut quick = Vec::new();
        for Opened { domain, pace, sensor } in opened {
            match pace {
                Pace::Loop => quick.push((domain, sensor)),
                Pace::Thread { group, every_ns } => {
                    match groups.iter_mut().find(|(name, _, _)| *name == group) {
                        Some((_, every, sensors)) => {
                            *every = every_ns.min(*every);
                            sensors.push((domain, sensor));
                        }
                        None => groups.push((group, every_ns, vec![(domain, sensor)])),
                    }
                }
            }
        }
        let start = |(name, every, sensors): (String, u64, Group)| {
            Thread::start(name, every, sensors, clock)
        };
        let threads = groups.into_iter().map(start).collect::<io::Result<_>>()?;
        Ok(Self { quick, threads, clock })
    }

    /// Reads the quick sensors, and takes what the threads have read.
    pub fn collect(&mut self, mut each: impl FnMut(Taken)) {
        let clock = self.clock;
        for (domain, sensor) in &mut self.quick {
            each(take(*domain, sensor.as_mut(), clock));
        }
        for thread in &self.threads {
            thread.taken.try_iter().for_each(&mut each);
        }
    }

    /// As [`Samplers::collect`], but every thread reads once more first; one that takes longer than `most`
    /// is not waited for.
    pub fn collect_fresh(&mut self, most: Duration, mut each: impl FnMut(Taken)) {
        let asked = self.clock.now();
        for thread in &self.threads {
            thread.ask();
        }
        let end = asked.saturating_add(u64::try_from(most.as_nanos()).unwrap_or(u64::MAX));
        for thread in &self.threads {
            let mut fresh = 0;
            while fresh < thread.sensors {
                let left = end.saturating_sub(self.clock.now());
                let Ok(taken) = thread.taken.recv_timeout(Duration::from_nanos(left)) else {
                    break;
                };
                fresh += usize::from(taken.t >= asked);
                each(taken);
            }
        }
        self.collect(each);
    }
}

impl Thread {
    fn start(name: String, every_ns: u64, mut sensors: Group, clock: Clock) -> io::Result<Self> {
        let (ask, asked) = channel();
        let (sink, taken) = sync_channel(ROOM);
        let (every, count) = (Duration::from_nanos(every_ns), sensors.len());
        let run = move || loop {
            let began = clock.now();
            if !round(&mut sensors, clock, &sink) {
                break;
            }
            let spent = Duration::from_nanos(clock.now().saturating_sub(began));
            if !pause(&asked, rest(every, spent)) {
                break;
            }
        };
        let handle = Builder::new().name(name).spawn(run)?;
        Ok(Self { sensors: count, ask: Some(ask), taken, handle: Some(handle) })
    }

    fn ask(&self) {
        if let Some(ask) = &self.ask {
            // A thread that has ended has nothing to read.
            let _ = ask.send(());
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(handle) = self.handle.take()
            && handle.is_finished()
        {
            // One that hangs in a driver must not keep the program from ending.
            let _ = handle.join();
        }
    }
}

/// Reads every sensor once; false when nobody wants readings any more.
fn round(sensors: &mut Group, clock: Clock, sink: &SyncSender<Taken>) -> bool {
    sensors
        .iter_mut()
        .all(|(domain, sensor)| sink.send(take(*domain, sensor.as_mut(), clock)).is_ok())
}

/// What is left of the time from one round to the next; a round that took longer leaves the next ones out.
fn rest(every: Duration, spent: Duration) -> Duration {
    let late = spent.as_nanos().checked_rem(every.as_nanos()).unwrap_or(0);
    every.saturating_sub(Duration::from_nanos(u64::try_from(late).unwrap_or(0)))
}

/// Waits for the next round; false when the run is over.
fn pause(asked: &Receiver<()>, rest: Duration) -> bool {
    !matches!(asked.recv_timeout(rest), Err(RecvTimeoutError::Disconnected))
}

fn take(domain: DomainId, sensor: &mut dyn Sensor, clock: Clock) -> Taken {
    let begin = clock.now();
    match sensor.read(&|| clock.now()) {
        Ok(sensed) => {
            let t = sensed.t();
            let Sensed { count, users, .. } = sensed;
            Taken { domain, t, count: Some(count), users }
        }
        Err(_) => {
            let t = u64::midpoint(begin, clock.now());
            Taken { domain, t, count: None, users: Users::default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::source::ReadError;

    /// Counts its reads; every third fails.
    struct Counting(u64);

    impl Sensor for Counting {
        fn read(&mut self, now: &dyn Fn() -> u64) -> Result<Sensed, ReadError> {
            self.0 += 1;
            if self.0.is_multiple_of(3) {
                return Err(ReadError::Vanished { path: "x".into() });
            }
            let begin = now();
            Ok(Sensed { begin, end: now(), count: self.0, users: Users::Cpus })
        }
    }

    fn opened(domain: usize, pace: Pace) -> Opened {
        Opened { domain: DomainId(domain), pace, sensor: Box::new(Counting(0)) }
    }

    fn slow(group: &str) -> Pace {
        Pace::Thread { group: group.into(), every_ns: 3_600_000_000_000 }
    }

    /// Never answers until the test ends.
    struct Hanging(Receiver<()>);

    impl Sensor for Hanging {
        fn read(&mut self, _: &dyn Fn() -> u64) -> Result<Sensed, ReadError> {
            let _ = self.0.recv();
            Err(ReadError::Vanished { path: "x".into() })
        }
    }

    #[test]
    fn a_device_that_hangs_stops_no_other() {
        let (release, hangs) = channel();
        let hanging =
            Opened { domain: DomainId(0), pace: slow("gpu-0"), sensor: Box::new(Hanging(hangs)) };
        let all = vec![hanging, opened(1, slow("gpu-1"))];
        let mut samplers = Samplers::start(all, Clock::start()).unwrap();
        let mut read = BTreeSet::new();
        for _ in 0..200 {
            samplers.collect_fresh(Duration::from_millis(100), |t| {
                read.insert(t.domain.0);
            });
            if !read.is_empty() {
                break;
            }
        }
        assert_eq!(read, [1].into());
        drop(release);
    }

    #[test]
    fn a_round_begins_so_long_after_the_one_before_however_long_that_took() {
        let rest = |every, spent| {
            rest(Duration::from_millis(every), Duration::from_millis(spent)).as_millis()
        };
        assert_eq!((rest(50, 0), rest(50, 20), rest(50, 49)), (50, 30, 1));
        assert_eq!((rest(50, 50), rest(50, 120)), (50, 30), "one that took longer");
        assert_eq!(rest(0, 7), 0);
    }

    #[test]
    fn a_quick_sensor_is_read_at_each_collection_and_a_failure_is_no_reading() {
        let mut samplers = Samplers::start(vec![opened(4, Pace::Loop)], Clock::start()).unwrap();
        let mut counts = Vec::new();
        for _ in 0..4 {
            samplers.collect(|taken| counts.push((taken.domain.0, taken.count)));
        }
        assert_eq!(counts, [(4, Some(1)), (4, Some(2)), (4, None), (4, Some(4))]);
    }

    #[test]
    fn a_thread_reads_at_its_pace_and_once_more_when_asked() {
        // Its own pace would never come round in this test.
        let clock = Clock::start();
        let both = vec![opened(0, slow("slow")), opened(1, slow("slow"))];
        let mut samplers = Samplers::start(both, clock).unwrap();
        let mut taken: Vec<Taken> = Vec::new();
        // Its own first reading: asked before, it would have read once only.
        while !taken.iter().any(|t| t.domain.0 == 0) {
            std::thread::sleep(Duration::from_millis(1));
            samplers.collect(|t| taken.push(t));
        }
        samplers.collect_fresh(Duration::from_secs(20), |t| taken.push(t));
        samplers.collect_fresh(Duration::from_secs(20), |t| taken.push(t));
        let of = |d: usize| taken.iter().filter(|t| t.domain.0 == d).collect::<Vec<_>>();
        assert_eq!(of(0).len(), 3);
        assert_eq!(of(0)[2].count, None, "the third read fails");
        assert!(of(0).windows(2).all(|w| w[0].t <= w[1].t));
    }
}
