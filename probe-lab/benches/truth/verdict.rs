//! Whether the bounds hold that the project set itself.
//!
//! Only claimed ones decide: see `policies` and [`Beside::claimed`]. The others are printed beside them, whether they hold or not.

use crate::cells::{Beside, Bound, Cell};
use crate::figures::Figures;
use crate::policies::POLICIES;
use crate::print::percent;

/// Shortest request that the bounds speak of.
const FROM_MS: u64 = 200;
const ALONE_MEDIAN: f64 = 0.01;
const ALONE_P99: f64 = 0.05;
const OVERLAPPING_MEDIAN: f64 = 0.03;
/// How many times better than the best of today's methods, by median, at [`FROM_MS`].
const BETTER: f64 = 5.0;

/// Prints a line for each bound and ledger; says whether all that is claimed holds.
pub(crate) fn print(cells: &[Cell]) -> bool {
    println!("\n### Bounds\n");
    println!("| policies | beside | bound | worst cell | holds |\n|---|---|---|---|---|");
    let mut all = true;
    for (place, entry) in POLICIES.iter().enumerate() {
        for beside in Beside::ALL {
            let cells: Vec<&Cell> = cells.iter().filter(|c| c.axis.beside == beside).collect();
            let long = |c: &&&Cell| c.axis.length_ms >= FROM_MS;
            let alone = |c: &&&Cell| c.axis.overlap == 1;
            let figures = |c: &Cell| c.ledgers[place].clone();
            let median = |f: &Figures| f.quantile(0.5);
            let p99 = |f: &Figures| f.quantile(0.99);
            let worst = |cells: Vec<&&Cell>, of: &dyn Fn(&Figures) -> f64| {
                cells.iter().map(|c| of(&figures(c))).fold(0.0, f64::max)
            };
            let alone_cells = || cells.iter().filter(long).filter(alone).collect::<Vec<_>>();
            let overlapping: Vec<_> = cells.iter().filter(long).filter(|c| !alone(c)).collect();
            let bounds = [
                (Bound::Alone, "alone: median", worst(alone_cells(), &median), ALONE_MEDIAN),
                (Bound::Alone, "alone: p99", worst(alone_cells(), &p99), ALONE_P99),
                (
                    Bound::Overlapping,
                    "4 to 64: median",
                    worst(overlapping, &median),
                    OVERLAPPING_MEDIAN,
                ),
            ];
            let mut say = |of: Bound, bound: String, found: String, holds: bool| {
                let claimed = entry.claimed && beside.claimed(of);
                let name = if claimed { "**claimed** " } else { "" };
                let holds_text = if holds { "yes" } else { "**no**" };
                println!(
                    "| {name}{} | {} | {bound} | {found} | {holds_text} |",
                    entry.name,
                    beside.name()
                );
                all &= holds || !claimed;
            };
            for (of, name, found, bound) in bounds {
                let bound_text = format!("{name} at most {} %", percent(bound));
                say(of, bound_text, format!("{} %", percent(found)), found <= bound);
            }
            let at: Vec<_> = cells.iter().filter(|c| c.axis.length_ms == FROM_MS).collect();
            let times = |today: &dyn Fn(&Cell) -> Vec<Figures>| {
                let ratio = |c: &&&Cell| {
                    let best = today(c).iter().map(median).fold(f64::INFINITY, f64::min);
                    best / median(&figures(c))
                };
                at.iter().map(ratio).fold(f64::INFINITY, f64::min)
            };
            let (used, less_idle) =
                (times(&|c| c.today.clone()), times(&|c| c.today_less_idle.clone()));
            let text = format!("{used:.1} times ({less_idle:.1} with idle taken off)");
            say(
                Bound::Better,
                format!("{FROM_MS} ms: {BETTER} times better than the best of today's"),
                text,
                used >= BETTER,
            );
        }
    }
    all
}
