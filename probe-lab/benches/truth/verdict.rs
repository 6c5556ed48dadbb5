//! Whether the bounds hold that the project set itself.
//!
//! Only claimed ones decide: see `policies` and [`Scene::claimed`]. The others are printed beside them, whether they hold or
//! not. What was not measured does not hold.

use crate::cells::Cell;
use crate::figures::{Figures, worst};
use crate::policies::{Claim, Entry, POLICIES};
use crate::print::percent;
use crate::scene::{Bound, Scene};

/// Shortest request that the bounds speak of.
const FROM_MS: u64 = 200;
const ALONE_MEDIAN: f64 = 0.01;
const ALONE_P99: f64 = 0.05;
const OVERLAPPING_MEDIAN: f64 = 0.03;
/// How many times better than the best of today's methods, by median, at [`FROM_MS`].
const BETTER: f64 = 5.0;

/// What one bound came to.
struct Verdict {
    claimed: bool,
    line: String,
    holds: bool,
}

/// Prints a line for each bound and ledger; says whether all that is claimed holds.
pub(crate) fn print(cells: &[Cell]) -> bool {
    let mut verdicts = Vec::new();
    for (place, entry) in POLICIES.iter().enumerate() {
        for scene in Scene::ALL.into_iter().filter(|scene| scene.has(place)) {
            let cells: Vec<&Cell> = cells.iter().filter(|c| c.axis.scene == scene).collect();
            if !cells.is_empty() {
                verdicts.extend(judge(place, entry, scene, &cells));
            }
        }
    }
    for (title, claimed) in [("Bounds that are claimed", true), ("The same where none is", false)] {
        println!("\n### {title}\n");
        println!("| policies | beside | bound | worst cell | holds |\n|---|---|---|---|---|");
        verdicts.iter().filter(|v| v.claimed == claimed).for_each(|v| println!("{}", v.line));
    }
    let claimed = || verdicts.iter().filter(|v| v.claimed);
    claimed().count() > 0 && claimed().all(|v| v.holds)
}

fn judge(place: usize, entry: &Entry, scene: Scene, cells: &[&Cell]) -> Vec<Verdict> {
    let ours = |cell: &Cell| cell.ledgers[place].all.clone();
    let say = |of: Bound, bound: String, found: String, holds: bool| {
        let claimed = entry.claim == Claim::Bounds && scene.claimed(of);
        let answer = if holds { "yes" } else { "**no**" };
        let line = format!("| {} | {} | {bound} | {found} | {answer} |", entry.name, scene.name());
        Verdict { claimed, line, holds }
    };
    let at_most = |of: Bound, name: &str, overlapping: bool, quantile: f64, bound: f64| {
        let judged = |cell: &&&Cell| {
            cell.axis.length_ms >= FROM_MS && (cell.axis.overlap > 1) == overlapping
        };
        let found = cells.iter().filter(judged).map(|cell| ours(cell).quantiles([quantile])[0]);
        let found = worst(found, f64::max);
        let bound_text = format!("{name} at most {} %", percent(bound));
        say(of, bound_text, format!("{} %", percent(found)), found <= bound)
    };
    let better = |of: Bound, name: &str, which: &dyn Fn(usize) -> bool, today: Today| {
        let judged = |cell: &&&Cell| cell.axis.length_ms == FROM_MS && which(cell.axis.overlap);
        let ratio = |cell: &&Cell| {
            worst(today(cell).iter().map(Figures::median), f64::min) / ours(cell).median()
        };
        let found = worst(cells.iter().filter(judged).map(ratio), f64::min);
        let bound = format!("{FROM_MS} ms, {name}: {BETTER} times better than the best of today's");
        say(of, bound, format!("{found:.1} times"), found >= BETTER)
    };
    let used: Today = |cell| &cell.today;
    let less_idle: Today = |cell| &cell.today_less_idle;
    let off = "their idle power taken off";
    vec![
        at_most(Bound::Alone, "alone: median", false, 0.5, ALONE_MEDIAN),
        at_most(Bound::Alone, "alone: p99", false, 0.99, ALONE_P99),
        at_most(Bound::Overlapping, "overlapping: median", true, 0.5, OVERLAPPING_MEDIAN),
        better(Bound::Better, "as they are used", &|_| true, used),
        better(Bound::BetterLessIdle, &format!("overlapping, {off}"), &|n| n > 1, less_idle),
        better(Bound::BetterLessIdleAlone, &format!("alone, {off}"), &|n| n == 1, less_idle),
    ]
}

type Today = fn(&Cell) -> &[Figures];
