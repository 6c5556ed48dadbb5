//! From logits to a token.

use crate::rng::Rng;

/// How to choose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0 takes the likeliest token.
    pub temperature: f32,
    /// Only the likeliest `top_k` are candidates; 0 means all.
    pub top_k: usize,
}

/// Chooses a token. Deterministic for a given `rng` state; ties go to the lower token.
pub fn sample(logits: &[f32], how: Sampling, rng: &mut Rng) -> u32 {
    if how.temperature <= 0.0 || how.temperature.is_nan() {
        return greedy(logits);
    }
    let mut order: Vec<u32> =
        (0..logits.len() as u32).filter(|&i| logits[i as usize].is_finite()).collect();
    let by_logit =
        |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if how.top_k > 0 && how.top_k < order.len() {
        order.select_nth_unstable_by(how.top_k - 1, by_logit);
        order.truncate(how.top_k);
    }
    order.sort_unstable_by(by_logit);
    let Some(&best) = order.first() else { return 0 };
    let weight = |i: u32| ((logits[i as usize] - logits[best as usize]) / how.temperature).exp();
    let total: f32 = order.iter().map(|&i| weight(i)).sum();
    let mut left = rng.unit() * total;
    for &i in &order {
        left -= weight(i);
        if left < 0.0 {
            return i;
        }
    }
    best
}

fn greedy(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, l) in logits.iter().enumerate() {
        if *l > logits[best] {
            best = i;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperature_0_takes_the_likeliest_and_the_first_of_equals() {
        let how = Sampling { temperature: 0.0, top_k: 0 };
        assert_eq!(sample(&[0.0, 3.0, 3.0, 1.0], how, &mut Rng::new(1)), 1);
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let how = Sampling { temperature: 1.0, top_k: 0 };
        let mut rng = Rng::new(3);
        let logits = [0.0, 3f32.ln(), f32::NEG_INFINITY];
        let ones = (0..10_000).filter(|_| sample(&logits, how, &mut rng) == 1).count();
        assert!((7_300..7_700).contains(&ones), "{ones} of 10,000, expected 7,500");
    }

    #[test]
    fn top_k_excludes_the_rest_and_a_seed_repeats_the_choice() {
        let how = Sampling { temperature: 5.0, top_k: 2 };
        let logits = [1.0, 2.0, 0.5, 3.0];
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            (0..200).map(|_| sample(&logits, how, &mut rng)).collect::<Vec<_>>()
        };
        assert!(draw(1).iter().all(|t| [1, 3].contains(t)));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
