//! Sharing an integer amount by weights so that the parts add up to it exactly.

/// Largest-remainder apportionment: each part is `amount × weight / Σ weights` rounded down, and what is
/// left goes, one each, to the largest remainders, ties to the lowest index. No part is off by as much
/// as one. Returns what could not be shared: the whole amount if all weights are 0, else 0.
///
/// `remainders` is scratch space, so that nothing is allocated per window.
pub(crate) fn apportion(
    amount: u64,
    weights: &[u64],
    parts: &mut Vec<u64>,
    remainders: &mut Vec<u128>,
) -> u64 {
    parts.clear();
    parts.resize(weights.len(), 0);
    let total: u128 = weights.iter().map(|w| u128::from(*w)).sum();
    if total == 0 {
        return amount;
    }
    remainders.clear();
    remainders.resize(weights.len(), 0);
    // Every product is at most amount × total: when that fits 64 bits, no division needs more.
    let narrow = u64::try_from(total).ok().filter(|t| amount.checked_mul(*t).is_some());
    let mut left = amount;
    for ((weight, part), remainder) in weights.iter().zip(&mut *parts).zip(&mut *remainders) {
        if *weight == 0 {
            continue;
        }
        if let Some(total) = narrow {
            let product = amount * weight;
            *part = product / total;
            *remainder = u128::from(product % total);
        } else {
            let product = u128::from(amount) * u128::from(*weight);
            // At most `amount`, since no weight exceeds the total.
            *part = (product / total) as u64;
            *remainder = product % total;
        }
        left = left.saturating_sub(*part);
    }
    // Σ remainders = left × total and each is below total: more than `left` of them are not 0.
    for _ in 0..left {
        let mut best = 0;
        for (i, remainder) in remainders.iter().enumerate() {
            if *remainder > remainders[best] {
                best = i;
            }
        }
        remainders[best] = 0;
        parts[best] += 1;
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(amount: u64, weights: &[u64]) -> (Vec<u64>, u64) {
        let (mut parts, mut scratch) = (Vec::new(), Vec::new());
        let left = apportion(amount, weights, &mut parts, &mut scratch);
        (parts, left)
    }

    #[test]
    fn ten_by_thirds_is_four_three_three() {
        assert_eq!(split(10, &[1, 1, 1]), (vec![4, 3, 3], 0));
    }

    #[test]
    fn the_largest_remainder_gets_the_odd_unit() {
        // 7 × (1, 2, 3) / 6 = 1.17, 2.33, 3.5
        assert_eq!(split(7, &[1, 2, 3]), (vec![1, 2, 4], 0));
    }

    #[test]
    fn without_weights_everything_is_left() {
        assert_eq!(split(10, &[0, 0]), (vec![0, 0], 10));
        assert_eq!(split(10, &[]), (vec![], 10));
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let (parts, left) = split(u64::MAX, &[u64::MAX, u64::MAX, 1]);
        assert_eq!(left, 0);
        assert_eq!(parts, vec![9_223_372_036_854_775_807, 9_223_372_036_854_775_807, 1]);
    }

    proptest! {
        #[test]
        fn parts_add_up_and_each_is_within_one(
            amount in any::<u64>(), shift in 0u32..64,
            weights in proptest::collection::vec(any::<u64>(), 1..16)
        ) {
            let weights: Vec<u64> = weights.iter().map(|w| w >> shift).collect();
            let (parts, left) = split(amount, &weights);
            let sum: u128 = parts.iter().map(|p| u128::from(*p)).sum();
            prop_assert_eq!(sum + u128::from(left), u128::from(amount));
            let total: u128 = weights.iter().map(|w| u128::from(*w)).sum();
            for (w, p) in weights.iter().zip(&parts) {
                let Some(floor) = (u128::from(amount) * u128::from(*w)).checked_div(total) else {
                    continue;
                };
                prop_assert!(u128::from(*p) == floor || u128::from(*p) == floor + 1);
                prop_assert!(*w > 0 || *p == 0);
            }
        }
    }
}
