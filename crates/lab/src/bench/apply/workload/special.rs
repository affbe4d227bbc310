//! The distribution that sysbench 1.0.20 draws rows with unless it is told otherwise, `--rand-type=special`.
//!
//! Of a range of n numbers, 75 % of all draws (`--rand-spec-res`) fall evenly on the 1 % of the numbers
//! (`--rand-spec-pct`) around the middle; the other 25 % are bell-shaped over the whole range, as the mean of 12 even
//! draws (`--rand-spec-iter`). Of 20,000 rows, three draws of four meet the same 200.

use rand::{Rng, RngExt};

const RES_PERCENT: f64 = 75.0;
const PCT: f64 = 1.0;
const ITERATIONS: u32 = 12;

/// Draws from 1 to `n`.
pub(in crate::bench::apply) fn special(rng: &mut impl Rng, n: u32) -> u32 {
    let size = f64::from(n.max(1));
    let drawn = if rng.random::<f64>() * 100.0 < RES_PERCENT {
        let hot = (size * PCT / 100.0).max(1.0).floor();
        // The numbers around the middle, of which each is as likely as the other.
        (size / 2.0 - hot / 2.0).floor() + (rng.random::<f64>() * hot).floor()
    } else {
        let sum: f64 = (0..ITERATIONS).map(|_| rng.random::<f64>()).sum();
        (size * sum / f64::from(ITERATIONS)).floor()
    };
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..n, and n is a u32"
    )]
    let index = drawn.clamp(0.0, size - 1.0) as u32;
    index + 1
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::SmallRng};

    use super::*;

    #[test]
    fn three_of_four_draws_meet_the_middle_hundredth_and_the_rest_the_whole_range() {
        let mut rng = SmallRng::seed_from_u64(1);
        let drawn: Vec<u32> = (0..100_000).map(|_| special(&mut rng, 20_000)).collect();
        assert!(drawn.iter().all(|n| (1..=20_000).contains(n)));
        let hot = drawn.iter().filter(|n| (9_901..=10_100).contains(*n)).count();
        // 75 % and the bell's own share of its middle: a hundredth of the range at 1/12 of its spread, 4.8 % of 25 %.
        assert!((75_500..77_000).contains(&hot), "{hot}");
        let below = drawn.iter().filter(|n| **n <= 10_000).count();
        assert!((49_000..51_000).contains(&below), "{below} of 100,000 in the lower half");
        assert!(drawn.iter().any(|n| *n < 6_000) && drawn.iter().any(|n| *n > 14_000), "the bell is wide");
    }

    #[test]
    fn the_smallest_ranges_are_drawn_whole() {
        let mut rng = SmallRng::seed_from_u64(2);
        assert!((0..100).all(|_| special(&mut rng, 1) == 1));
        let drawn: std::collections::BTreeSet<u32> = (0..1_000).map(|_| special(&mut rng, 3)).collect();
        assert_eq!(drawn, [1, 2, 3].into());
    }
}
