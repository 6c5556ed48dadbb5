use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::model::noise::{TINY, model};

fn engine(slots: usize) -> Engine {
    Engine::start(model(TINY, 1).unwrap(), Options { slots, threads: 1, prefill_chunk: 8 }).unwrap()
}

fn submit(
    e: &Engine,
    prompt: &str,
    max_tokens: usize,
    temperature: f32,
) -> UnboundedReceiver<Event> {
    let (job, receiver) = job(e.model(), prompt, max_tokens, temperature);
    e.submit(job);
    receiver
}

fn job(
    model: &Model,
    prompt: &str,
    max_tokens: usize,
    temperature: f32,
) -> (Job, UnboundedReceiver<Event>) {
    let (events, receiver) = unbounded_channel();
    let prompt = model.vocab.text(prompt).unwrap();
    let sampling = Sampling { temperature, top_k: 0 };
    (Job { prompt, max_tokens, sampling, seed: 5, events }, receiver)
}

/// Answers to the prompts by an engine that finds all of them queued at its first step, and its passes.
fn queued_at_once(temperature: f32) -> (Vec<String>, u64) {
    let model = Arc::new(model(TINY, 1).unwrap());
    let counters = Arc::new(Counters::default());
    let (jobs, queue) = mpsc::channel();
    let options = Options { slots: 4, threads: 1, prefill_chunk: 8 };
    let stepper = step::Stepper::new(model.clone(), counters.clone(), options, queue).unwrap();
    let submit = |prompt: &&str| {
        let (job, receiver) = job(&model, prompt, 40, temperature);
        counters.queued(1);
        jobs.send(job).unwrap();
        receiver
    };
    let receivers: Vec<_> = PROMPTS.iter().map(submit).collect();
    drop(jobs);
    std::thread::spawn(move || stepper.run(1, &mpsc::channel().0)).join().unwrap();
    (receivers.into_iter().map(|r| answer(r).0).collect(), counters.totals().steps)
}

fn answer(mut r: UnboundedReceiver<Event>) -> (String, Outcome) {
    let mut text = String::new();
    loop {
        match r.blocking_recv().unwrap() {
            Event::Started => {}
            Event::Text(t) => text.push_str(&t),
            Event::Done(outcome) => return (text, outcome),
            Event::Failed(why) => panic!("{why}"),
        }
    }
}

const PROMPTS: [&str; 4] = ["a", "the second prompt, of two chunks", "third", "and the fourth one"];

#[test]
fn four_together_get_the_same_tokens_as_one_after_the_other() {
    for temperature in [0.0, 1.0] {
        let alone = engine(1);
        let one_by_one: Vec<_> =
            PROMPTS.iter().map(|p| answer(submit(&alone, p, 40, temperature)).0).collect();
        let (batched, steps) = queued_at_once(temperature);
        assert_eq!(batched, one_by_one);
        assert_ne!(batched[0], batched[1]);
        // Four answers of 40 tokens and their prompts, in far fewer passes than one by one.
        assert!(alone.totals().steps >= 160);
        assert!(steps < 60, "{steps} passes");
    }
}

#[test]
fn the_counters_equal_the_sum_of_the_outcomes() {
    let e = engine(2);
    let receivers: Vec<_> = PROMPTS.iter().map(|p| submit(&e, p, 7, 1.0)).collect();
    let outcomes: Vec<_> = receivers.into_iter().map(|r| answer(r).1).collect();
    let t = e.totals();
    assert_eq!(t.prompt_tokens, outcomes.iter().map(|o| o.prompt_tokens as u64).sum::<u64>());
    assert_eq!(t.predicted_tokens, 4 * 7);
    assert_eq!((t.complete, t.aborted, t.failed), (4, 0, 0));
    assert!(outcomes.iter().all(|o| o.completion_tokens == 7 && o.finish == Finish::Length));
}

#[test]
fn a_dropped_receiver_frees_its_slot() {
    let e = engine(1);
    let mut endless = submit(&e, "x", 400, 1.0);
    let next = submit(&e, "y", 3, 1.0);
    assert_eq!(endless.blocking_recv(), Some(Event::Started));
    assert!(matches!(endless.blocking_recv(), Some(Event::Text(_))));
    drop(endless);
    assert_eq!(answer(next).1.completion_tokens, 3);
    let t = e.totals();
    assert_eq!((t.complete, t.aborted), (1, 1));
    assert!(t.predicted_tokens < 403);
}

#[test]
fn the_context_ends_an_answer() {
    let e = engine(1);
    let prompt = "p".repeat(TINY.context - 11);
    let (_, outcome) = answer(submit(&e, &prompt, 10_000, 1.0));
    // BOS and 501 bytes leave 10 places; the last token chosen needs none.
    assert_eq!((outcome.completion_tokens, outcome.finish), (11, Finish::Length));
}

#[test]
fn dropping_the_engine_lets_residents_finish() {
    let e = engine(2);
    let r = submit(&e, "x", 20, 1.0);
    drop(e);
    assert_eq!(answer(r).1.completion_tokens, 20);
}
