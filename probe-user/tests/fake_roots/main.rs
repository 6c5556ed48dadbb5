//! Fake machines, most of them broken: each gives the value, flag or error that its line of the table says, and
//! none panics, hangs or publishes a spike.
//!
//! A line of [`table`] builds a tree, may break it while it runs, and says in numbers what must come out: of the
//! library (selection, readings, ledger, records; `run`) and of the binary (`doctor`, and `attach` where a named
//! source must be refused). To add a machine, add a line.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

mod binary;
mod run;
mod table;
mod tree;

use table::{Expect, TABLE};

#[test]
fn there_are_thirty_machines_and_half_of_them_are_broken() {
    let broken = TABLE.iter().filter(|case| case.broken).count();
    assert!(TABLE.len() >= 30 && broken * 2 >= TABLE.len(), "{broken} of {}", TABLE.len());
    let mut names: Vec<_> = TABLE.iter().map(|case| case.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TABLE.len());
}

#[test]
fn every_machine_gives_what_its_line_says() {
    let mut wrong = vec![];
    for case in TABLE {
        let mut tree = case.tree();
        let ran = run::run(&mut tree, case.specs, case.script, case.perf);
        let problems = match (&case.expect, ran) {
            (Expect::Error(part), Err(text)) if text.contains(part) => vec![],
            (Expect::Runs { .. }, Ok(ran)) => case.judge(&ran),
            (Expect::Error(part), Ok(ran)) => {
                vec![format!("runs with {:?} instead of {part:?}", ran.books.keys())]
            }
            (_, Err(text)) => vec![format!("fails: {text}")],
        };
        wrong.extend(problems.into_iter().map(|problem| format!("{}: {problem}", case.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn doctor_answers_on_every_machine_with_the_quality_its_line_says() {
    let mut wrong = vec![];
    for case in TABLE {
        let got = binary::doctor(&case.tree());
        if (got.0, got.1.as_str()) != case.doctor {
            wrong.push(format!("{}: {got:?}, not {:?}", case.name, case.doctor));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn attach_refuses_a_named_source_that_cannot_be_read() {
    let (mut asked, mut wrong) = (0, vec![]);
    for case in TABLE {
        let Some((status, part)) = case.attach else { continue };
        asked += 1;
        let Some((got, text)) = binary::attach(&case.tree()) else { return };
        if got != Some(status) || !text.contains(part) {
            wrong.push(format!("{}: {got:?}: {text}", case.name));
        }
    }
    assert!(asked >= 20, "{asked}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
