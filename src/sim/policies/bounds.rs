//! What no policy can do better than, with the rates known.

use crate::stats::math::{binary_entropy, channel_capacity, divergence};

/// The probability of a wrong verdict that the bounds allow.
const ERROR: f64 = 0.05;

/// The lower bound on the mean number of runs that finds one culprit among `n`: the larger of
/// ((1−ε)·log₂ n − h(ε)) / C and the runs that tell it from both its neighbours.
pub(super) fn runs(n: usize, p0: f64, p1: f64) -> f64 {
    let finding = ((1.0 - ERROR) * (n as f64).ln() - binary_entropy(ERROR)) / channel_capacity(p0, p1);
    // Wald's bound for two hypotheses at errors ε: on the culprit, and on the push before it.
    let needed = divergence(1.0 - ERROR, ERROR);
    finding.max(needed / divergence(p0, p1) + needed / divergence(p1, p0))
}

/// Wald's bound on the mean number of runs of a sequential test between two rates, when `rate` is the true one and the
/// test accepts the other with these probabilities.
pub(super) fn wald(rate: f64, other: f64, wrong: f64, right_if_other: f64) -> f64 {
    divergence(1.0 - wrong, 1.0 - right_if_other) / divergence(rate, other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_those_of_the_design() {
        for (p1, p0, want) in [
            (1.0, 0.01, 6.6),
            (0.5, 0.01, 22.3),
            (0.2, 0.01, 74.2),
            (0.1, 0.001, 125.7),
        ] {
            let got = runs(128, p0, p1);
            assert!(
                (got - want).abs() < 0.1 + 0.005 * want,
                "p1={p1} p0={p0}: {got}, not {want}"
            );
        }
    }
}
