//! The accounting heart of wattprobe: who is charged what, to the nanojoule.
//!
//! A [`Ledger`] is told two kinds of things in the order of their instants and keeps closed books of them:
//!
//! * **samples** ([`Ledger::sample`]): the raw cumulative counter of one energy domain together with every consumer's
//!   cumulative on-CPU clock, *read at the same instant*;
//! * **boundaries** ([`Ledger::boundary`]): a request of a target entered, had its first content, or left, with the target's
//!   own clock at that instant.
//!
//! It gives back [`Book`]s (what each domain measured and each consumer was charged) and settled [`Account`]s (what
//! each request cost, with an error bar). It reads no clock, does no IO, knows no sensor and no kernel: the
//! same input gives the same output, bit for bit, live or from a tape.
//!
//! # Windows
//!
//! The interval between two consecutive samples of a domain is a *window* w. With E the energy its counter counted in it and
//! u<sub>k</sub> the on-CPU time of consumer k in it (idle is nobody's):
//!
//! ```text
//! idle(w)   = min(E, idle power × |w|)
//! active(w) = E - idle(w)
//! charge_k  = active(w) × u_k / Σ u             by largest remainder
//! residual  = active(w) if Σ u = 0, else 0
//! measured  = Σ E = idle + residual + Σ charges       exactly, always
//! ```
//!
//! A sample may bring [`Weights`] besides the clocks, where something better is known (energy counters of single cores,
//! cycles): u<sub>k</sub> is then the weight. What weighs for nobody is idle energy. Weights that did not move while
//! somebody was on CPU, or did not come, leave the window to the clocks, which is counted ([`Book::unweighted`]) and told by a
//! flag. Boundaries, below, are
//! placed on the clocks in every case.
//!
//! Idle power is told with the domain, or learned from windows in which hardly anybody ran, for later windows only.
//! Everything is an integer number of nanojoules. The counter's fixed-point [`Scale`] carries fractions from window to
//! window, so that the sum of all E is the conversion of the sum of all counts. What an idle window could
//! not cover (a sensor that updates in lumps shows none in one window and two in the next) stays due for at most one
//! sensor period; for a continuous counter that is the equation above and nothing else.
//!
//! Counters are cumulative, so a sample that is lost, or that has no counter, costs time resolution and no joule: the
//! next one closes a longer window. A window is **void**, charged to nobody and not measured, if its counter went
//! backwards other than by a wrap, if it holds more than physics allows, if it is so long that the counter may have
//! wrapped twice, if the books are full, if the counter is stuck ([`DomainSpec::pulse`]), or if what happened
//! meanwhile makes it worthless ([`Ledger::distrust`]) ([`Void`]). The first sample is a baseline only.
//!
//! A counter that must move and does not is not believed at once: its window is held open ([`Window::Held`]), so that what it
//! shows in the end is laid along all the time it stood still; the error bars then use the period that was
//! measured.
//!
//! # Requests
//!
//! Within a window a target's charge is laid along the target's own clock. A boundary at which the target had run c of its u
//! nanoseconds cuts the charge at `charge × c / u`. The cuts, and the ends of the windows, make the target's curve: what had been
//! charged to it by each instant.
//!
//! A request is resident from `Enter` to `Leave`. Before it leaves [`Ledger::work`] tells what else is known of it: when it was
//! taken from the queue, when its prompt had been processed, how many tokens it read and wrote. An *interval* lies between two
//! instants at which somebody's phase changes; its energy is the curve's difference. It is settled once every domain has
//! passed it and everything is known of everybody who was resident in it, at the latest after [`Config::patience`]; a request's
//! account is given out once all of its intervals are settled. Who is queued does no work and gets nothing; between those who
//! work the [`Share`] policy decides:
//!
//! | policy | each one's part |
//! |---|---|
//! | `equal` | 1/n, odd nanojoules in rotation |
//! | `tokens` | the tokens it received or had generated in the interval |
//! | `work` | a × prompt tokens + b × generated tokens + c × generated tokens × context, with a, b, c fitted from the target's own history by non-negative least squares |
//!
//! Tokens are spread evenly over their phase. Where somebody's tokens are not known, by `work` also where it is not known in which
//! phase they were, or nothing is fitted yet, all share equally, and
//! it is said. What a server does once for all who are in a batch (it reads its weights) belongs to them by the same
//! parts. An interval in which nobody works is the target's **background**. So, exactly, for each target and domain:
//!
//! ```text
//! active = Σ requests + background + what is not settled yet
//! ```
//!
//! Idle energy stays idle in these books. Under the policies `even` and `proportional` ([`Idle`]) a part of it is given to the
//! requests beside what they are charged ([`DomainShare::idle`]); at the end, exactly, for each domain:
//!
//! ```text
//! idle = Σ requests' idle + what is given to nobody
//! ```
//!
//! On-CPU time is shared the same way between boundaries. Domains are sampled at rates of their own (1 kHz here, 10 Hz there), so each
//! boundary is kept until every domain has passed it. A domain that stops sampling is waited for as long as [`Config::horizon`] says; then its
//! requests settle without it, flagged, and what its long window will bring goes to background: nobody can tell any
//! more whose it was.
//!
//! # Error bars
//!
//! ```text
//! half width = √(Σ edges² + Σ quantum² + Σ idle² + (Σ weight)² + (Σ class)² + policy²) + Σ gap + Σ split + distance
//! edges      = (power at the request's edge + its share of idle power) × sensor period,
//!              at both edges, in each domain
//! quantum    = counter step × the request's share of the edge window, likewise
//! idle       = uncertainty of the idle power, for the residency, by the request's share
//! weight     = where others ran in its windows: their power a nanosecond may have been another
//! class      = relative error of the sensor's class × energy
//! policy     = where requests overlapped: what work's prices did not foretell, or anything where there are none
//! gap        = what is ambiguous in windows longer than expected in which residents changed,
//!              and, upwards, residency without coverage at the request's mean power
//! split      = where the use of a device was guessed: from nothing to the whole of it
//! distance   = where another policy was chosen: to what work's prices say
//! ```
//!
//! Sums are over domains. Each part is kept ([`ErrorParts`], where `policy` is with the distance), each is what 95 of 100
//! requests are within; weight, policy, gap, split and distance may be more to one side. Why they combine like this is said
//! in the module that does it. How large `weight` and `policy` must be for that was found in a simulated host whose every joule is
//! known.
//!
//! # Missing is not zero
//!
//! A domain that saw nothing of a request has `None` for it, never 0; an unknown idle power is a [`Flag`]; contradictions in
//! the input are refused, counted ([`Anomalies`]) and never stop the books. No input panics or overflows.
//!
//! # Example
//!
//! ```
//! use probe_ledger::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let package = DomainSpec {
//!     name: "package-0".to_owned(),
//!     scale: Scale::RAPL,
//!     range: Range::Bits(64),
//!     scope: Scope::Package(0),
//!     additive: true,
//!     idle: Some(Nanowatts::from_watts(10.0)),
//!     idle_error: None,
//!     max_power: Some(Nanowatts::from_watts(500.0)),
//!     period: Nanos::from_millis(1),
//!     quantum: Nanojoules(61_035),
//!     class: Ratio(0),
//!     expected_window: Nanos::from_millis(150),
//!     pulse: None,
//! };
//! let mut ledger = Ledger::new(Config {
//!     domains: vec![package],
//!     consumers: 2, // the server, everybody else
//!     packages: 1,
//!     cpus: 8,
//!     horizon: Nanos::from_millis(10_000),
//!     patience: Nanos::from_millis(60_000),
//!     policies: Policies::default(),
//! })?;
//! let (domain, server, request) = (DomainId(0), ConsumerId(0), RequestId(1));
//! let ms = Nanos::from_millis;
//!
//! ledger.sample(domain, &Sample { t: ms(0), counter: Some(0), clocks: &[0, 0], weights: None });
//! let enter = Boundary { t: ms(20), clocks: &[0], request, change: Change::Enter };
//! ledger.boundary(server, &enter)?;
//! let leave = Boundary { t: ms(80), clocks: &[60_000_000], request, change: Change::Leave };
//! ledger.boundary(server, &leave)?;
//! // 7 J in 100 ms: 1 J of it idle; the server ran 60 ms, others 40.
//! let clocks = &[60_000_000, 40_000_000];
//! ledger.sample(domain, &Sample { t: ms(100), counter: Some(7 << 32), clocks, weights: None });
//!
//! let account = ledger.settled().remove(0);
//! let energy = account.energy.ok_or("not measured")?;
//! assert_eq!(energy.energy, Nanojoules(3_600_000_000));
//! // 0.689 of 60 W and of 6 of the 10 idle watts for 1 ms at each edge.
//! assert_eq!(energy.parts.edges, Nanojoules(64_309_948));
//! assert!(ledger.books(domain).is_some_and(Book::closes));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod account;
mod apportion;
mod bar;
mod book;
mod boundary;
mod broken;
mod config;
mod counter;
mod curve;
mod desk;
mod domain;
mod fit;
mod flag;
mod id;
mod idle;
mod kernel_books;
mod layout;
mod least_squares;
mod ledger;
mod meter;
mod policy;
mod pulse;
mod sample;
mod scale;
mod settlement;
mod shares;
mod split;
mod steps;
mod sweep;
mod tally;
mod target;
mod unit;
mod weighing;
mod work;

pub use account::{Account, DomainShare};
pub use bar::{ErrorParts, Estimate};
pub use book::{Anomalies, Background, Book, ConsumerBook, TargetBook};
pub use boundary::{Boundary, Change, Refused};
pub use config::{Config, ConfigError};
pub use counter::{Delta, Range};
pub use domain::{DomainSpec, Scope};
pub use flag::{Flag, Flags};
pub use id::{ConsumerId, DomainId, RequestId};
pub use idle::IdlePower;
pub use kernel_books::kernel_charge;
pub use ledger::Ledger;
pub use policy::{Idle, Policies, Share, Weight};
pub use sample::{Cause, Closed, Ignored, Sample, Void, Weights, Window};
pub use scale::{Scale, ScaleError};
pub use split::Split;
pub use unit::{Nanojoules, Nanos, Nanowatts, Ratio};
pub use work::Work;
