//! The README's tables: a part of what was found, put between two marks.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use probe_lab::sim::methods::Method;

use crate::campaign::Sums;
use crate::cells::Cell;
use crate::figures::Figures;
use crate::policies::{CORES, CYCLES, EQUAL, POLICIES, SMT, UNTIMED, WORK};
use crate::print::{errors, length, percent, runs};
use crate::scene::Scene;

const BEGIN: &str = "<!-- accuracy: written by cargo xtask bench truth --readme -->";
const END: &str = "<!-- /accuracy -->";
const OVERLAPS: [usize; 4] = [1, 4, 16, 64];
const LENGTHS_MS: [u64; 4] = [50, 200, 1_000, 10_000];
/// Of [`Method::ALL`], those that the README shows: the other one errs like the last of them.
const TODAY: [usize; 4] = [0, 1, 2, 4];

/// Scenes with another server.
const OTHERS: [Scene; 3] = [Scene::Misfit, Scene::Device, Scene::Devices];
/// Scenes with neighbours, and what a nanosecond may be weighed by there.
const BESIDE: [Scene; 3] = [Scene::Apart, Scene::Alike, Scene::Unlike];
const WEIGHTS: [(&str, usize); 4] = [
    ("`time`", WORK),
    ("`smt`", SMT),
    ("`cycles`, misses", CYCLES),
    ("cores' counters, misses", CORES),
];

/// Why the tables were not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{path}: {error}; is it the README?")]
    File { path: PathBuf, error: std::io::Error },
    #[error("{0} has no marks for the tables; put {BEGIN} and {END} where they belong")]
    Marks(PathBuf),
}

/// Replaces what is between the marks.
pub(crate) fn write(path: &Path, cells: &[Cell], sums: &Sums) -> Result<(), Error> {
    let failed = |error| Error::File { path: path.to_owned(), error };
    let text = fs::read_to_string(path).map_err(failed)?;
    let marks = || Error::Marks(path.to_owned());
    let (before, rest) = text.split_once(BEGIN).ok_or_else(marks)?;
    let (_, after) = rest.split_once(END).ok_or_else(marks)?;
    let tables = Tables(cells).all(sums);
    fs::write(path, format!("{before}{BEGIN}\n{tables}{END}{after}")).map_err(failed)
}

struct Tables<'a>(&'a [Cell]);

impl Tables<'_> {
    fn all(&self, sums: &Sums) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.nothing(&mut out);
        let _ = self.beside(&mut out);
        let _ = self.remedies(&mut out);
        let _ = self.others(&mut out);
        let _ = self.less_idle(&mut out);
        let _ = self.bars(&mut out, sums);
        out
    }

    fn cell(&self, scene: Scene, length_ms: u64, overlap: usize) -> Option<&Cell> {
        let is = |cell: &&Cell| {
            let axis = cell.axis;
            (axis.scene, axis.length_ms, axis.overlap) == (scene, length_ms, overlap)
        };
        self.0.iter().find(is)
    }

    fn nothing(&self, out: &mut String) -> std::fmt::Result {
        let cells = || self.0.iter().filter(|cell| cell.axis.scene == Scene::Nothing);
        let (fewest, most) = (cells().map(Cell::count).min(), cells().map(Cell::count).max());
        let (fewest, most) = (fewest.unwrap_or(0), most.unwrap_or(0));
        let today: Vec<&str> = TODAY.iter().map(|place| Method::ALL[*place].name()).collect();
        writeln!(
            out,
            "\nWhere nothing else runs, % of the request, median / 95th / 99th percentile, {fewest} to {most} requests a row; \
             in brackets the medians of single runs, lowest to highest:\n"
        )?;
        writeln!(out, "| length | overlapping | `work` | `equal` | {} |", today.join(" | "))?;
        writeln!(out, "|---|---|---|---|{}", "---|".repeat(today.len()))?;
        for cell in cells() {
            let (work, equal) = (&cell.ledgers[WORK], &cell.ledgers[EQUAL]);
            let today: Vec<String> =
                TODAY.iter().map(|place| errors(&cell.today[*place])).collect();
            let (length, overlap, today) = (length(cell), cell.axis.overlap, today.join(" | "));
            let (work, spread, equal) = (errors(&work.all), runs(work), errors(&equal.all));
            writeln!(out, "| {length} | {overlap} | {work} ({spread}) | {equal} | {today} |")?;
        }
        Ok(())
    }

    fn beside(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\nBeside neighbours on half of the cores, `work`, median / 99th percentile, and the median of the best of today's \
             methods:\n"
        )?;
        writeln!(
            out,
            "| beside | length | 1 at a time | 4 | 16 | 64 |\n|---|---|---|---|---|---|"
        )?;
        for scene in BESIDE {
            for length_ms in LENGTHS_MS {
                let row = OVERLAPS.map(|overlap| match self.cell(scene, length_ms, overlap) {
                    Some(cell) => {
                        let ours = cell.ledgers[WORK].all.quantiles([0.5, 0.99]).map(percent);
                        format!("{}, {}", ours.join(" / "), percent(best(&cell.today)))
                    }
                    None => "-".to_owned(),
                });
                let length = name(length_ms);
                writeln!(out, "| {} | {length} | {} |", short(scene), row.join(" | "))?;
            }
        }
        Ok(())
    }

    fn remedies(&self, out: &mut String) -> std::fmt::Result {
        let names = WEIGHTS.map(|(name, _)| name).join(" | ");
        let rule = "|---".repeat(WEIGHTS.len());
        writeln!(
            out,
            "\nThe same by what weighs a nanosecond: largest median of all lengths from 200 ms, one at a time / overlapping:\n"
        )?;
        writeln!(out, "| beside | {names} |\n|---{rule}|")?;
        for scene in BESIDE {
            let worst = |place: usize, overlapping: bool| {
                let judged = |cell: &&Cell| {
                    let axis = cell.axis;
                    axis.scene == scene
                        && axis.length_ms >= 200
                        && (axis.overlap > 1) == overlapping
                };
                let medians = self.0.iter().filter(judged).map(|c| c.ledgers[place].all.median());
                percent(medians.fold(0.0, f64::max))
            };
            let row =
                WEIGHTS.map(|(_, place)| [false, true].map(|of| worst(place, of)).join(" / "));
            writeln!(out, "| {} | {} |", short(scene), row.join(" | "))?;
        }
        writeln!(
            out,
            "\nOf that, how much too much the package and memory say in the middle, 1 s, 16 overlapping:\n"
        )?;
        writeln!(out, "| beside | {names} |\n|---{rule}|")?;
        for scene in BESIDE {
            let row = WEIGHTS.map(|(_, place)| {
                let cell = self.cell(scene, 1_000, 16);
                let bias = |of: usize| {
                    cell.map_or(f64::NAN, |cell| 100.0 * cell.ledgers[place].kinds[of].bias())
                };
                format!("{:+.1} / {:+.1}", bias(0), bias(1))
            });
            writeln!(out, "| {} | {} |", short(scene), row.join(" | "))?;
        }
        Ok(())
    }

    fn others(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\nOther servers, `work`, median / 95th / 99th percentile:\n")?;
        writeln!(
            out,
            "| server | length | 1 at a time | 4 | 16 | 64 |\n|---|---|---|---|---|---|"
        )?;
        let rows = [
            ("tells no timings", Scene::Nothing, UNTIMED),
            ("costs what prices cannot say", Scene::Misfit, WORK),
            ("alone on a GPU", Scene::Device, WORK),
            ("two on one GPU", Scene::Devices, WORK),
        ];
        for (server, scene, place) in rows {
            for length_ms in LENGTHS_MS.into_iter().filter(|ms| *ms >= 200) {
                let row = OVERLAPS.map(|overlap| {
                    let cell = self.cell(scene, length_ms, overlap);
                    cell.map_or("-".to_owned(), |cell| errors(&cell.ledgers[place].all))
                });
                writeln!(out, "| {server} | {} | {} |", name(length_ms), row.join(" | "))?;
            }
        }
        Ok(())
    }

    fn less_idle(&self, out: &mut String) -> std::fmt::Result {
        let today: Vec<&str> = TODAY.iter().map(|place| Method::ALL[*place].name()).collect();
        writeln!(
            out,
            "\nToday's methods with the same calibrated idle power taken off, 200 ms, nothing beside; how many times better than \
             the best of them `work` is, by median:\n"
        )?;
        writeln!(out, "| overlapping | `work` | {} | better |", today.join(" | "))?;
        writeln!(out, "|---|---|{}---|", "---|".repeat(today.len()))?;
        for overlap in OVERLAPS {
            let Some(cell) = self.cell(Scene::Nothing, 200, overlap) else { continue };
            let work = &cell.ledgers[WORK].all;
            let today: Vec<String> =
                TODAY.iter().map(|place| errors(&cell.today_less_idle[*place])).collect();
            let times = best(&cell.today_less_idle) / work.median();
            let (work, today) = (errors(work), today.join(" | "));
            writeln!(out, "| {overlap} | {work} | {today} | {times:.1} times |")?;
        }
        Ok(())
    }

    fn bars(&self, out: &mut String, sums: &Sums) -> std::fmt::Result {
        writeln!(
            out,
            "\nOf a hundred truths so many lie in their error bars: in {} random simulations with {} requests, whose books were \
             wrong by {} nJ, and in the tables above:\n",
            sums.runs, sums.requests, sums.wrong_nj
        )?;
        writeln!(
            out,
            "| policy | alone | overlapping | lowest row | highest | lowest of other servers |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|")?;
        for place in [EQUAL, WORK, SMT, UNTIMED, CYCLES, CORES] {
            let rows = |others: bool| {
                let here =
                    self.0.iter().filter(move |cell| OTHERS.contains(&cell.axis.scene) == others);
                here.filter_map(|cell| cell.ledgers[place].all.coverage())
            };
            let percent = |part: Option<f64>| part.map(|part| format!("{:.1}", 100.0 * part));
            let lowest = percent(rows(false).reduce(f64::min)).unwrap_or("-".to_owned());
            let highest = percent(rows(false).reduce(f64::max)).unwrap_or("-".to_owned());
            let others = percent(rows(true).reduce(f64::min)).unwrap_or("-".to_owned());
            let [alone, overlapping] = sums.bars.judged(place).map(|part| 100.0 * part);
            let name = POLICIES[place].name.trim_start_matches("wattprobe ");
            writeln!(
                out,
                "| {name} | {alone:.1} | {overlapping:.1} | {lowest} | {highest} | {others} |"
            )?;
        }
        Ok(())
    }
}

fn best(today: &[Figures]) -> f64 {
    today.iter().map(Figures::median).fold(f64::INFINITY, f64::min)
}

fn name(length_ms: u64) -> String {
    if length_ms < 1_000 { format!("{length_ms} ms") } else { format!("{} s", length_ms / 1_000) }
}

fn short(scene: Scene) -> &'static str {
    match scene {
        Scene::Nothing => "nothing",
        Scene::Apart => "on cores of their own",
        Scene::Alike => "sharing cores",
        Scene::Unlike => "sharing cores, drawing another power",
        Scene::Misfit | Scene::Device | Scene::Devices => scene.name(),
    }
}
