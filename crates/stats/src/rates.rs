//! Failure rates that are not known: a prior on a fixed grid, and what evidence makes of it.
//!
//! In: counts of failures and passes. Out: marginal likelihoods and predictive means, in log space. Never: a
//! failure rate of exactly 0 or 1, so that no evidence is impossible and no logarithm infinite.

use std::sync::LazyLock;

use super::math::{beta_cdf, beta_quantile, ln_beta};

/// Cells of the continuous part of a prior. More do not change a decision measurably; fewer do.
const CELLS: usize = 60;

/// Rates are kept this far from 0 and 1.
const MARGIN: f64 = 1e-9;

/// Grid points this far (in nats) below the best one are left out of sums: 10⁻¹⁴ of it.
const NEGLIGIBLE: f64 = 32.0;

/// Failures and passes of one subject somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Runs that failed with the signature in question.
    pub failed: u32,
    /// Runs that did not.
    pub passed: u32,
}

impl Counts {
    /// Counts from both numbers.
    pub fn new(failed: u32, passed: u32) -> Counts {
        Counts { failed, passed }
    }

    /// Failures and passes together; saturates.
    pub fn total(self) -> u32 {
        self.failed.saturating_add(self.passed)
    }

    /// Both counts added; saturates.
    pub fn plus(self, other: Counts) -> Counts {
        Counts {
            failed: self.failed.saturating_add(other.failed),
            passed: self.passed.saturating_add(other.passed),
        }
    }
}

/// One rate that a grid allows.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    rate: f64,
    ln_rate: f64,
    ln_miss: f64,
    ln_weight: f64,
}

/// A prior on a failure rate: weighted points, in rising order; at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    points: Vec<Point>,
}

impl Grid {
    /// A rate that is known.
    pub fn known(rate: f64) -> Grid {
        Grid::weighted([(rate, 1.0)])
    }

    /// An atom at `atom` with mass `atom_mass`, the rest Beta(a, b) cut to low..high, by the medians of cells of equal
    /// probability.
    pub fn atom_and_beta(atom: f64, atom_mass: f64, (a, b): (f64, f64), (low, high): (f64, f64)) -> Grid {
        let (below, above) = (beta_cdf(low, a, b), beta_cdf(high, a, b));
        let cells = (0..CELLS).map(|i| {
            let share = (i as f64 + 0.5) / CELLS as f64;
            (
                beta_quantile(below + share * (above - below), a, b),
                (1.0 - atom_mass) / CELLS as f64,
            )
        });
        Grid::weighted(std::iter::once((atom, atom_mass)).chain(cells))
    }

    fn weighted(rates: impl IntoIterator<Item = (f64, f64)>) -> Grid {
        let point = |(rate, weight): (f64, f64)| {
            let rate = rate.clamp(MARGIN, 1.0 - MARGIN);
            Point {
                rate,
                ln_rate: rate.ln(),
                ln_miss: (-rate).ln_1p(),
                ln_weight: weight.ln(),
            }
        };
        let mut points: Vec<Point> = rates.into_iter().map(point).collect();
        points.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        Grid { points }
    }

    /// The same prior, given that the rate is at least `low`; the largest rate alone if all are below.
    pub fn at_least(&self, low: f64) -> Grid {
        let first = self.points.partition_point(|point| point.rate < low);
        let mut points = self.points[first.min(self.points.len() - 1)..].to_vec();
        let whole: f64 = points.iter().map(|point| point.ln_weight.exp()).sum();
        points.iter_mut().for_each(|point| point.ln_weight -= whole.ln());
        Grid { points }
    }

    /// The prior of a failure rate at and after a culprit: ¼ permanent (0.999), ¾ Beta(0.7, 1.3) on 0.03..0.995.
    pub fn after() -> &'static Grid {
        static AFTER: LazyLock<Grid> = LazyLock::new(|| Grid::atom_and_beta(0.999, 0.25, (0.7, 1.3), (0.03, 0.995)));
        &AFTER
    }

    /// The prior of a background failure rate before a culprit: 0.3 never, 0.7 Beta(0.5, 60) on 0..0.15.
    pub fn before() -> &'static Grid {
        static BEFORE: LazyLock<Grid> = LazyLock::new(|| Grid::atom_and_beta(0.0, 0.3, (0.5, 60.0), (0.0, 0.15)));
        &BEFORE
    }

    /// How many points the grid has.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether the grid has no points.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The weighted points: (rate, weight), in rising order.
    pub fn iter(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.points.iter().map(|point| (point.rate, point.ln_weight.exp()))
    }

    /// The rates, in rising order.
    pub fn rates(&self) -> impl Iterator<Item = f64> + '_ {
        self.points.iter().map(|point| point.rate)
    }

    /// A belief that has seen nothing yet.
    pub fn belief(&self) -> Belief<'_> {
        Belief {
            grid: self,
            ln: self.points.iter().map(|point| point.ln_weight).collect(),
        }
    }
}

/// The posterior probabilities of a grid's points, times [`Weights::whole`].
#[derive(Debug, Clone, Default)]
pub struct Weights {
    /// One for each point, in order of the rates.
    pub points: Vec<f64>,
    /// Their sum.
    pub whole: f64,
}

/// A prior with the evidence it has seen: unnormalised, in log space.
#[derive(Debug, Clone)]
pub struct Belief<'a> {
    grid: &'a Grid,
    ln: Vec<f64>,
}

impl Belief<'_> {
    /// Adds runs.
    pub fn see(&mut self, counts: Counts) {
        let (failed, passed) = (f64::from(counts.failed), f64::from(counts.passed));
        for (ln, point) in self.ln.iter_mut().zip(&self.grid.points) {
            *ln += failed * point.ln_rate + passed * point.ln_miss;
        }
    }

    /// Adds the runs of one place that may be a stray: ln((1−ε)·pᶠ(1−p)ˢ + ε·P(f, s | stray)). A place that never
    /// failed is no stray: strays fail more, not less.
    pub fn see_place(&mut self, counts: Counts, strays: Strays) {
        if strays.share <= 0.0 || counts.failed == 0 {
            return self.see(counts);
        }
        let (failed, passed) = (f64::from(counts.failed), f64::from(counts.passed));
        let stray = strays.ln_likelihood(counts);
        let regular = (1.0 - strays.share).ln();
        // A rate this unlikely would have to gain e⁶⁴ before ln 2 more or less showed.
        let far = largest(&self.ln) - 2.0 * NEGLIGIBLE;
        for (ln, point) in self.ln.iter_mut().zip(&self.grid.points) {
            let own = regular + failed * point.ln_rate + passed * point.ln_miss;
            let both = if *ln > far {
                (-(own - stray).abs()).exp().ln_1p()
            } else {
                0.0
            };
            *ln += own.max(stray) + both;
        }
    }

    /// What the belief says of the evidence and of the next run.
    pub fn summary(&self) -> Summary {
        self.weigh(&mut Weights::default())
    }

    /// [`Belief::summary`], with the posterior probabilities of the points left in `weights`.
    pub fn weigh(&self, weights: &mut Weights) -> Summary {
        let top = largest(&self.ln);
        let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
        weights.points.clear();
        weights.points.resize(self.ln.len(), 0.0);
        for ((ln, point), slot) in self.ln.iter().zip(&self.grid.points).zip(&mut weights.points) {
            if *ln > top - NEGLIGIBLE {
                let weight = (ln - top).exp();
                *slot = weight;
                sum += weight;
                first += weight * point.rate;
                second += weight * point.rate * point.rate;
            }
        }
        weights.whole = sum;
        let mean = first / sum;
        let variance = (second / sum - mean * mean).max(0.0);
        Summary {
            ln_likelihood: top + sum.ln(),
            mean,
            variance,
        }
    }

    /// P(rate > `bound`).
    pub fn above(&self, bound: f64) -> f64 {
        let top = largest(&self.ln);
        let (mut sum, mut over) = (0.0, 0.0);
        for (ln, point) in self.ln.iter().zip(&self.grid.points) {
            let weight = (ln - top).exp();
            sum += weight;
            if point.rate > bound {
                over += weight;
            }
        }
        over / sum
    }
}

/// The largest of some numbers; −∞ for none.
fn largest(values: &[f64]) -> f64 {
    // Four side by side: in one row each comparison would wait for the one before it, a fifth of a decision at N=1,024.
    let larger = |a: f64, b: f64| if b > a { b } else { a };
    let mut tops = [f64::NEG_INFINITY; 4];
    let fours = values.chunks_exact(4);
    let rest = fours.remainder();
    for four in fours {
        tops.iter_mut()
            .zip(four)
            .for_each(|(top, value)| *top = larger(*top, *value));
    }
    tops.iter().chain(rest).copied().fold(f64::NEG_INFINITY, larger)
}

/// Places with a failure rate of their own: a share of all, their rates Beta(1, 3).
///
/// Without them one push that fails on its own outweighs everything else: 89 % right at a stated 97 % where a tenth of
/// the places are strays. With them it takes failures in two places to be sure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strays {
    /// The share of places that are strays, 0 to under 1.
    pub share: f64,
}

impl Strays {
    /// No strays: the rate is the same everywhere.
    pub const NONE: Strays = Strays { share: 0.0 };

    /// A few: they cost one run in fifty where there are none, and make a verdict in a hundred right where a tenth of the
    /// places are strays (`docs/decisions.md` has the figures).
    pub const FEW: Strays = Strays { share: 0.01 };

    const A: f64 = 1.0;
    const B: f64 = 3.0;

    /// ln(share × P(counts | stray)).
    fn ln_likelihood(self, counts: Counts) -> f64 {
        let (failed, passed) = (f64::from(counts.failed), f64::from(counts.passed));
        self.share.ln() + ln_beta(Self::A + failed, Self::B + passed) - ln_beta(Self::A, Self::B)
    }

    /// A place where `counts` were seen, as it stands to a shared rate.
    pub fn place(self, counts: Counts) -> Place {
        let (failed, passed) = (f64::from(counts.failed), f64::from(counts.passed));
        let ln_stray = if self.share > 0.0 {
            self.ln_likelihood(counts)
        } else {
            f64::NEG_INFINITY
        };
        // Passes alone say nothing of strays, so a place without failures is as good as new.
        let runs = if counts.failed > 0 { failed + passed } else { 0.0 };
        let stray_mean = (Self::A + failed) / (Self::A + Self::B + runs);
        Place {
            share: self.share,
            failed,
            passed,
            ln_regular: (1.0 - self.share).ln(),
            ln_stray,
            stray_mean,
        }
    }
}

/// One place that may be a stray, with what was seen there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    share: f64,
    failed: f64,
    passed: f64,
    ln_regular: f64,
    ln_stray: f64,
    stray_mean: f64,
}

impl Place {
    /// P(the place is a stray | what was seen there), where all others fail at `rate`.
    pub fn stray(&self, rate: f64) -> f64 {
        if self.failed == 0.0 {
            return self.share;
        }
        let rate = rate.clamp(MARGIN, 1.0 - MARGIN);
        let ln_regular = self.ln_regular + self.failed * rate.ln() + self.passed * (-rate).ln_1p();
        1.0 / (1.0 + (ln_regular - self.ln_stray).exp())
    }

    /// P(the next run there fails), where all others fail at `rate`.
    pub fn mean(&self, rate: f64) -> f64 {
        let stray = self.stray(rate);
        (1.0 - stray) * rate + stray * self.stray_mean
    }
}

/// What a belief says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// ln P(evidence): the marginal likelihood M(f, s).
    pub ln_likelihood: f64,
    /// P(the next run fails): the posterior mean of the rate.
    pub mean: f64,
    /// The posterior variance of the rate.
    pub variance: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(failed: u32, passed: u32) -> Summary {
        let mut belief = Grid::after().belief();
        belief.see(Counts::new(failed, passed));
        belief.summary()
    }

    #[test]
    fn a_prior_has_mass_one_and_its_mean() {
        let summary = after(0, 0);
        assert!(summary.ln_likelihood.abs() < 1e-12);
        assert!((summary.mean - 0.535).abs() < 0.02, "{}", summary.mean);
        assert!(Grid::before().belief().summary().mean < 0.01);
    }

    #[test]
    fn many_runs_outweigh_the_prior() {
        assert!((after(200, 800).mean - 0.2).abs() < 0.02);
        assert!(after(0, 400).mean < 0.04);
        assert!(after(50, 0).mean > 0.99);
    }

    #[test]
    fn huge_counts_stay_finite() {
        for counts in [
            (1_000_000, 0),
            (0, 1_000_000),
            (1_000_000, 1_000_000),
            (u32::MAX, u32::MAX),
        ] {
            let summary = after(counts.0, counts.1);
            assert!(summary.ln_likelihood.is_finite() && summary.mean.is_finite() && summary.variance >= 0.0);
        }
    }

    #[test]
    fn failures_in_one_place_tell_less_of_the_shared_rate_than_failures_in_two() {
        let seen = |places: &[Counts], strays| {
            let mut belief = Grid::before().belief();
            belief.see(Counts::new(1, 99));
            places.iter().for_each(|counts| belief.see_place(*counts, strays));
            belief.summary().ln_likelihood
        };
        let (one, two) = ([Counts::new(4, 4)], [Counts::new(2, 2), Counts::new(2, 2)]);
        assert!(seen(&one, Strays::FEW) > seen(&two, Strays::FEW) + 2.0);
        assert!((seen(&one, Strays::NONE) - seen(&two, Strays::NONE)).abs() < 1e-9);
    }

    #[test]
    fn a_place_that_fails_often_is_taken_for_a_stray_and_expected_to_go_on() {
        let place = Strays::FEW.place(Counts::new(5, 5));
        assert!(place.stray(0.01) > 0.99);
        assert!((place.mean(0.01) - 6.0 / 14.0).abs() < 0.01);
        assert!((Strays::NONE.place(Counts::new(5, 5)).mean(0.01) - 0.01).abs() < 1e-12);
    }

    #[test]
    fn a_known_rate_learns_nothing() {
        let grid = Grid::known(0.2);
        let mut belief = grid.belief();
        belief.see(Counts::new(9, 1));
        assert_eq!(belief.summary().mean, 0.2);
        assert_eq!(belief.summary().variance, 0.0);
    }
}
