//! The posterior over (culprit, shift), and what each culprit predicts of the next value.
//!
//! Values after the culprit are divided by the shift g; then all of them scatter about one mean. With normal noise of
//! unknown mean and variance the likelihood is g^−n₁·(S + ν₀s₀²)^−(n−1+ν₀)/2, S the sum of squares about the common
//! mean (mean and variance integrated out); with clusters it is the product of their densities.

use super::super::math::ln_sum_exp;
use super::Problem;
use super::noise::{Cluster, two_clusters};

/// Prior probability that nothing changed: an alert has tested for a change already, unlike a single orange.
const NO_CHANGE: f64 = 0.03;

/// Shifts up to this are the usual ones.
const USUAL_SHIFT: f64 = 0.15;

/// No shift is looked for beyond this: the mean doubled or halved. A larger one is found all the same.
const LARGEST_SHIFT: f64 = 1.0;

/// The prior mass of usual shifts.
const USUAL: f64 = 0.8;

/// Points on each way of usual and of larger shifts.
const USUAL_POINTS: usize = 16;
const LARGER_POINTS: usize = 8;

/// The prior of the noise is worth this many values with the standard deviation [`PRIOR_NOISE`] of the mean: it only
/// keeps two equal values from meaning that there is no noise.
const PRIOR_FREEDOM: f64 = 2.0;
const PRIOR_NOISE: f64 = 0.02;

/// Hypotheses lighter than this predict nothing worth counting.
pub(super) const NEGLIGIBLE: f64 = 1e-5;

/// The posterior over no change (index 0) and the candidates 1..=N, for each of them over the shift.
#[derive(Debug, Clone)]
pub(super) struct Posterior {
    /// P(culprit c); index 0 is no change.
    mass: Vec<f64>,
    /// By c: P(shift | c) with the mean and deviation of a value before the culprit.
    shifts: Vec<Vec<Shifted>>,
    clusters: Option<[Cluster; 2]>,
    scale: f64,
}

/// One shift under one culprit.
#[derive(Debug, Clone, Copy)]
struct Shifted {
    factor: f64,
    probability: f64,
    mean: f64,
    deviation: f64,
}

/// Sufficient numbers of values: n, Σ, Σ².
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    n: f64,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, values: &[f64], scale: f64) {
        for value in values {
            let v = value / scale;
            self.n += 1.0;
            self.sum += v;
            self.squares += v * v;
        }
    }
}

impl Posterior {
    /// From a checked problem and its values by candidate.
    pub fn new(problem: &Problem, values: &[Vec<f64>]) -> Posterior {
        let n = problem.candidates;
        let scale = scale(problem, values);
        let scaled: Vec<f64> = problem.history.iter().map(|v| v / scale).collect();
        let clusters = two_clusters(&scaled);
        let prior = shift_prior(problem.params.min_shift);
        let mut ln_mass = Vec::with_capacity(n + 1);
        let mut shifts = Vec::with_capacity(n + 1);
        let mut keep = |ln_prior: f64, all: Vec<(Shifted, f64)>| {
            let whole = ln_sum_exp(&all.iter().map(|(_, ln)| *ln).collect::<Vec<f64>>());
            ln_mass.push(ln_prior + whole);
            let share = |(shifted, ln): (Shifted, f64)| Shifted {
                probability: (ln - whole).exp(),
                ..shifted
            };
            shifts.push(all.into_iter().map(share).collect());
        };
        let no_shift = [(1.0, 0.0)];
        let (ln_none, ln_each) = (NO_CHANGE.ln(), ((1.0 - NO_CHANGE) / n as f64).ln());

        match clusters {
            None => {
                // Values at or after the culprit leave `before` for `after` as c goes down; so go up, moving them back.
                let (mut before, mut after) = (Sums::default(), Sums::default());
                before.add(&problem.history, scale);
                let mut all = before;
                for list in values.iter().chain([&problem.tail]) {
                    after.add(list, scale);
                    all.add(list, scale);
                }
                keep(ln_none, vec![normal_fit(&all, &Sums::default(), no_shift[0])]);
                for own in values {
                    keep(
                        ln_each,
                        prior.iter().map(|shift| normal_fit(&before, &after, *shift)).collect(),
                    );
                    before.add(own, scale);
                    after = rest(&all, &before);
                }
            }
            Some(pair) => {
                let ln_density = |v: f64, factor: f64| {
                    let y = v / scale / factor;
                    (pair[0].density(y) + pair[1].density(y)).max(f64::MIN_POSITIVE).ln() - factor.ln()
                };
                let sum = |list: &[f64], factor: f64| list.iter().map(|v| ln_density(*v, factor)).sum::<f64>();
                // ln likelihood of all values for each shift, with every candidate after the culprit; then one by one
                // before.
                let ranged = |factor: f64| values.iter().map(|list| sum(list, factor)).collect::<Vec<f64>>();
                let plain = ranged(1.0);
                let none: f64 = plain.iter().sum::<f64>() + sum(&problem.tail, 1.0);
                let shifted = |factor: f64| Shifted {
                    factor,
                    probability: 0.0,
                    mean: 1.0,
                    deviation: 0.0,
                };
                keep(ln_none, vec![(shifted(1.0), none)]);
                let moved: Vec<(f64, f64, Vec<f64>, f64)> = prior
                    .iter()
                    .map(|(g, ln)| (*g, *ln, ranged(*g), sum(&problem.tail, *g)))
                    .collect();
                let mut before = 0.0;
                let mut after: Vec<f64> = moved
                    .iter()
                    .map(|(_, _, own, tail)| own.iter().sum::<f64>() + tail)
                    .collect();
                for c in 0..n {
                    let at = moved
                        .iter()
                        .zip(&after)
                        .map(|((g, ln, _, _), after)| (shifted(*g), ln + before + after));
                    keep(ln_each, at.collect());
                    before += plain[c];
                    after
                        .iter_mut()
                        .zip(&moved)
                        .for_each(|(after, (_, _, own, _))| *after -= own[c]);
                }
            }
        }
        let whole = ln_sum_exp(&ln_mass);
        let mass = ln_mass.iter().map(|ln| (ln - whole).exp()).collect();
        Posterior {
            mass,
            shifts,
            clusters,
            scale,
        }
    }

    /// P(no change).
    pub fn no_change(&self) -> f64 {
        self.mass[0]
    }

    /// P(candidate c is the culprit), c from 1; 0 is no change.
    pub fn mass(&self, c: usize) -> f64 {
        self.mass[c]
    }

    /// How many candidates there are.
    pub fn candidates(&self) -> usize {
        self.mass.len() - 1
    }

    /// What multiplies the predictions to give values.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The 95 % interval of the shift minus one, given that there is a culprit.
    pub fn shift(&self) -> (f64, f64) {
        let mut all: Vec<(f64, f64)> = (1..self.mass.len())
            .flat_map(|c| {
                self.shifts[c]
                    .iter()
                    .map(move |s| (s.factor, self.mass[c] * s.probability))
            })
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let whole: f64 = all.iter().map(|(_, weight)| weight).sum();
        let at = |share: f64| {
            let mut sum = 0.0;
            let reached = all.iter().find(|(_, weight)| {
                sum += weight;
                sum >= share * whole
            });
            reached.or(all.last()).map_or(0.0, |(factor, _)| factor - 1.0)
        };
        (at(0.025), at(0.975))
    }

    /// The distribution of a value before culprit `c` (or anywhere, for c = 0), in units of the scale.
    pub fn before(&self, c: usize) -> Vec<Cluster> {
        match self.clusters {
            Some(pair) => pair.to_vec(),
            None => vec![matched(&self.shifts[c])],
        }
    }

    /// The distribution of a value at or after culprit `c`, in units of the scale.
    pub fn after(&self, c: usize) -> Vec<Cluster> {
        let likely = self.shifts[c].iter().filter(|s| s.probability > 1e-3);
        likely
            .flat_map(|s| {
                let base = match self.clusters {
                    Some(pair) => pair.to_vec(),
                    None => vec![Cluster {
                        weight: 1.0,
                        mean: s.mean,
                        deviation: s.deviation,
                    }],
                };
                base.into_iter().map(|b| Cluster {
                    weight: b.weight * s.probability,
                    mean: b.mean * s.factor,
                    deviation: b.deviation * s.factor,
                })
            })
            .collect()
    }
}

/// The mean of the values before the range (failing that, of all), so that everything is about 1; where the mean is
/// nothing beside the values, the largest of them.
fn scale(problem: &Problem, values: &[Vec<f64>]) -> f64 {
    // Squares of anything within this many times the scale are finite, and exact enough.
    const WITHIN: f64 = 1e9;
    let all = || {
        values
            .iter()
            .flatten()
            .chain(&problem.tail)
            .chain(&problem.history)
            .copied()
    };
    let average = |list: &[f64]| list.iter().sum::<f64>() / list.len() as f64;
    let mean = if problem.history.is_empty() {
        average(&all().collect::<Vec<f64>>())
    } else {
        average(&problem.history)
    };
    let largest = all().fold(0.0, |largest: f64, v| largest.max(v.abs()));
    match (mean.abs() * WITHIN >= largest, largest > 0.0) {
        (true, true) => mean,
        (_, true) => largest,
        (_, false) => 1.0,
    }
}

fn rest(all: &Sums, part: &Sums) -> Sums {
    Sums {
        n: all.n - part.n,
        sum: all.sum - part.sum,
        squares: all.squares - part.squares,
    }
}

/// The fit of one shift with normal noise: what it predicts, and ln(prior × likelihood).
fn normal_fit(before: &Sums, after: &Sums, (factor, ln_prior): (f64, f64)) -> (Shifted, f64) {
    let n = before.n + after.n;
    let sum = before.sum + after.sum / factor;
    let mean = if n > 0.0 { sum / n } else { 1.0 };
    let about_mean = (before.squares + after.squares / (factor * factor) - n * mean * mean).max(0.0);
    let squares = about_mean + PRIOR_FREEDOM * PRIOR_NOISE * PRIOR_NOISE;
    let freedom = (n - 1.0).max(0.0) + PRIOR_FREEDOM;
    let ln = ln_prior - after.n * factor.ln() - 0.5 * freedom * squares.ln();
    let deviation = (squares / freedom * (1.0 + 1.0 / n.max(1.0))).sqrt();
    (
        Shifted {
            factor,
            probability: 0.0,
            mean,
            deviation,
        },
        ln,
    )
}

/// The prior of the shift as (factor, ln probability): both ways alike, [`USUAL`] of it from the smallest that matters
/// to 15 %, evenly; the rest up to twofold, evenly in the logarithm.
fn shift_prior(min_shift: f64) -> Vec<(f64, f64)> {
    let border = USUAL_SHIFT.max(1.5 * min_shift);
    let middle = |i: usize, points: usize| (i as f64 + 0.5) / points as f64;
    let usual = (0..USUAL_POINTS).map(|i| {
        let shift = min_shift + (border - min_shift) * middle(i, USUAL_POINTS);
        (shift, USUAL / USUAL_POINTS as f64)
    });
    let larger = (0..LARGER_POINTS).map(|i| {
        let shift = border * (LARGEST_SHIFT / border).powf(middle(i, LARGER_POINTS));
        (shift, (1.0 - USUAL) / LARGER_POINTS as f64)
    });
    usual
        .chain(larger)
        .flat_map(|(shift, mass)| [1.0 + shift, 1.0 / (1.0 + shift)].map(|factor| (factor, (0.5 * mass).ln())))
        .collect()
}

/// One normal with the mean and variance of the mixture over shifts.
fn matched(shifts: &[Shifted]) -> Cluster {
    let mean: f64 = shifts.iter().map(|s| s.probability * s.mean).sum();
    let variance: f64 = shifts
        .iter()
        .map(|s| s.probability * (s.deviation.powi(2) + (s.mean - mean).powi(2)))
        .sum();
    Cluster {
        weight: 1.0,
        mean,
        deviation: variance.sqrt(),
    }
}
