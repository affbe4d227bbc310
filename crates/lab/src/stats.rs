//! Percentiles, by nearest rank.
//!
//! Always true here: every figure is one of the samples, never an interpolation; under 100 samples the 99th
//! percentile is the maximum.

/// Samples of one quantity, in any unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds one.
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest sample such that at least `percent` % of all are at or below it; `None` without samples.
    pub fn percentile(&self, percent: u32) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent.min(100) as usize).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied()
    }

    /// The median.
    pub fn p50(&self) -> Option<f64> {
        self.percentile(50)
    }

    /// The 99th percentile.
    pub fn p99(&self) -> Option<f64> {
        self.percentile(99)
    }

    /// The largest.
    pub fn max(&self) -> Option<f64> {
        self.percentile(100)
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Samples(samples.into_iter().collect())
    }
}

/// Rounds to so many decimals, for printing: nobody measures a failover to the nanosecond.
pub fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_to(n: u32) -> Samples {
        (1..=n).rev().map(f64::from).collect()
    }

    #[test]
    fn a_percentile_is_a_sample_and_the_maximum_when_there_are_few() {
        assert_eq!(Samples::default().p99(), None);
        assert_eq!((one_to(1).p50(), one_to(1).p99()), (Some(1.0), Some(1.0)));
        assert_eq!((one_to(10).p50(), one_to(10).p99()), (Some(5.0), Some(10.0)));
        assert_eq!(one_to(99).p99(), Some(99.0), "under 100 samples it is the maximum");
        assert_eq!(one_to(100).p99(), Some(99.0));
        assert_eq!(one_to(1000).p99(), Some(990.0));
    }
}
