//! Which runs tell most about where the mean changed.
//!
//! What a value at candidate x may be is computed on a grid of values. A single run is the one that leaves the fewest
//! runs to go; in a round each is the one that tells most, averaged over a few sampled outcomes of those already in it.

use super::super::random::Random;
use super::Problem;
use super::model::{NEGLIGIBLE, Posterior};
use super::noise::Cluster;

/// Sampled futures in a round.
const FUTURES: usize = 6;

/// Points of the grid of values at most; their distance is half a standard deviation where that is more.
const MAX_POINTS: usize = 160;
const MIN_POINTS: usize = 24;

/// Credible culprits up to which it is looked at where the search may end: the work grows with their square.
const FEW: usize = 32;

/// Runs that a search takes beyond its entropy.
const OVERSHOOT: f64 = 0.5;

/// No run is taken to tell less than this, in nats.
const LEAST_SPEED: f64 = 1e-3;

/// The runs chosen so far, with sampled outcomes.
#[derive(Debug)]
pub(super) struct Outlook<'a> {
    problem: &'a Problem,
    now: Posterior,
    futures: Vec<Vec<Vec<f64>>>,
    random: Random,
}

impl<'a> Outlook<'a> {
    /// Nothing chosen; what is pending has its outcomes sampled.
    pub fn new(problem: &'a Problem, values: &[Vec<f64>], now: Posterior, seed: u64) -> Outlook<'a> {
        let futures = vec![values.to_vec(); FUTURES];
        let mut outlook = Outlook {
            problem,
            now,
            futures,
            random: Random::new(seed),
        };
        // By candidate: the order of evidence must not matter to what is sampled.
        let mut pending = std::collections::BTreeMap::new();
        for e in &problem.evidence {
            let sum = pending.entry(e.push).or_insert(0u32);
            *sum = sum.saturating_add(e.pending);
        }
        for (push, times) in pending {
            for _ in 0..times.min(problem.params.parallel) {
                outlook.expect_run(push);
            }
        }
        outlook
    }

    /// Chooses `count` runs, greedily.
    pub fn round(mut self, count: u32) -> Vec<(usize, u32)> {
        let mut run = std::collections::BTreeMap::new();
        let mut sampled = self.problem.evidence.iter().any(|e| e.pending > 0);
        for taken in 0..count {
            let worth = if sampled {
                let mut sum = vec![0.0; self.problem.candidates];
                for values in &self.futures {
                    let gains = Table::new(&Posterior::new(self.problem, values)).gains();
                    sum.iter_mut().zip(gains).for_each(|(sum, gain)| *sum += gain);
                }
                sum
            } else {
                let table = Table::new(&self.now);
                match count == 1 && table.rows.len() <= FEW {
                    true => table
                        .runs_left(self.problem.params.confidence)
                        .iter()
                        .map(|left| -left)
                        .collect(),
                    false => table.gains(),
                }
            };
            let best = worth
                .iter()
                .enumerate()
                .max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
            let Some((index, _)) = best else { break };
            *run.entry(index + 1).or_insert(0) += 1;
            if taken + 1 < count {
                self.expect_run(index + 1);
                sampled = true;
            }
        }
        run.into_iter().collect()
    }

    /// Adds a sampled value at `push` to each future. Each future's culprit is a quantile of the present posterior.
    fn expect_run(&mut self, push: usize) {
        for (index, values) in self.futures.iter_mut().enumerate() {
            let target = (index as f64 + 0.5) / FUTURES as f64;
            let mut sum = 0.0;
            let culprit = (0..=self.now.candidates()).find(|c| {
                sum += self.now.mass(*c);
                sum >= target
            });
            let c = culprit.unwrap_or(self.now.candidates());
            let side = if c > 0 && push >= c {
                self.now.after(c)
            } else {
                self.now.before(c)
            };
            let mut pick = self.random.uniform() * side.iter().map(|s| s.weight).sum::<f64>();
            let chosen = side.iter().find(|s| {
                pick -= s.weight;
                pick <= 0.0
            });
            if let Some(Cluster { mean, deviation, .. }) = chosen.or(side.last()) {
                values[push - 1].push(self.now.scale() * (mean + deviation * self.random.normal()));
            }
        }
    }
}

/// One credible culprit: its mass, and the densities of a value before and from it on, on the grid of values.
#[derive(Debug)]
struct Row {
    culprit: usize,
    mass: f64,
    before: Vec<f64>,
    after: Vec<f64>,
}

/// What a value at each candidate may be, under each credible culprit.
#[derive(Debug)]
struct Table {
    candidates: usize,
    rows: Vec<Row>,
    points: usize,
    distance: f64,
}

impl Table {
    fn new(posterior: &Posterior) -> Table {
        let n = posterior.candidates();
        let likely: Vec<usize> = (0..=n).filter(|c| posterior.mass(*c) > NEGLIGIBLE).collect();
        let sides: Vec<(Vec<Cluster>, Vec<Cluster>)> = likely
            .iter()
            .map(|c| {
                let before = posterior.before(*c);
                (before.clone(), if *c == 0 { before } else { posterior.after(*c) })
            })
            .collect();
        let (low, high, points) = range(posterior, &likely, &sides);
        let distance = (high - low) / (points - 1) as f64;
        let tabulate = |side: &[Cluster]| -> Vec<f64> {
            let density = |i: usize| {
                let y = low + distance * i as f64;
                // A cluster narrower than the grid would fall between its points.
                let at = |c: &Cluster| {
                    Cluster {
                        deviation: c.deviation.max(0.7 * distance),
                        ..*c
                    }
                    .density(y)
                };
                side.iter().map(at).sum::<f64>()
            };
            (0..points).map(density).collect()
        };
        let row = |(c, (before, after)): (&usize, &(Vec<Cluster>, Vec<Cluster>))| Row {
            culprit: *c,
            mass: posterior.mass(*c),
            before: tabulate(before),
            after: tabulate(after),
        };
        Table {
            candidates: n,
            rows: likely.iter().zip(&sides).map(row).collect(),
            points,
            distance,
        }
    }

    /// The mutual information of the culprit and one value, for each candidate: H(mixture) − Σ_c w_c H(c's own).
    fn gains(&self) -> Vec<f64> {
        // The mixture at x: those with c > x and no change from before, the others from after. Start with x = 0.
        let mut mixture = vec![0.0; self.points];
        let mut own = 0.0;
        for row in &self.rows {
            mixture
                .iter_mut()
                .zip(&row.before)
                .for_each(|(sum, d)| *sum += row.mass * d);
            own += row.mass * entropy(&row.before);
        }
        let mut gains = Vec::with_capacity(self.candidates);
        let mut next = self.rows.iter().skip_while(|row| row.culprit == 0).peekable();
        let mut latest = 0.0;
        for x in 1..=self.candidates {
            if let Some(row) = next.next_if(|row| row.culprit == x) {
                for ((sum, old), new) in mixture.iter_mut().zip(&row.before).zip(&row.after) {
                    *sum += row.mass * (new - old);
                }
                own += row.mass * (entropy(&row.after) - entropy(&row.before));
                latest = (entropy(&mixture) - own).max(0.0) * self.distance;
            }
            gains.push(latest);
        }
        gains
    }

    /// For each candidate, the runs to go after one more value there: none where that value decides, else the entropy
    /// that is left over what a run can tell.
    fn runs_left(&self, confidence: f64) -> Vec<f64> {
        let speed = self.capacity().max(LEAST_SPEED);
        let after_value = |x: usize, point: usize| {
            let (mut whole, mut parts, mut top) = (0.0, 0.0, 0.0f64);
            for row in &self.rows {
                let side = if (1..=x).contains(&row.culprit) {
                    &row.after
                } else {
                    &row.before
                };
                let joint = row.mass * side[point];
                whole += joint;
                parts += entropy_part(joint);
                top = top.max(joint);
            }
            match top < confidence * whole {
                true => (parts - entropy_part(whole)) / speed + OVERSHOOT * whole,
                false => 0.0,
            }
        };
        let left = |x| (0..self.points).map(|point| after_value(x, point)).sum::<f64>() * self.distance;
        let mut latest = f64::INFINITY;
        let told_apart = |x: usize| self.rows.iter().any(|row| row.culprit == x);
        (1..=self.candidates)
            .map(|x| {
                if told_apart(x) {
                    latest = left(x);
                }
                latest
            })
            .collect()
    }

    /// What one value tells of two neighbours with equal masses, for the likeliest culprit.
    fn capacity(&self) -> f64 {
        let culprits = self.rows.iter().filter(|row| row.culprit > 0);
        let Some(row) = culprits.max_by(|a, b| a.mass.total_cmp(&b.mass)) else {
            return 0.0;
        };
        let mixture: Vec<f64> = row.before.iter().zip(&row.after).map(|(a, b)| 0.5 * (a + b)).collect();
        (entropy(&mixture) - 0.5 * (entropy(&row.before) + entropy(&row.after))) * self.distance
    }
}

fn entropy(densities: &[f64]) -> f64 {
    densities.iter().map(|density| entropy_part(*density)).sum()
}

fn entropy_part(density: f64) -> f64 {
    if density > 0.0 { -density * density.ln() } else { 0.0 }
}

/// The span of values worth looking at: three deviations about every mean that is not far-fetched, and how many points
/// to lay over it.
fn range(posterior: &Posterior, likely: &[usize], sides: &[(Vec<Cluster>, Vec<Cluster>)]) -> (f64, f64, usize) {
    // Of culprits those with a tenth of the likeliest one's mass, under each the shifts with a fiftieth of it.
    const CREDIBLE_CULPRIT: f64 = 0.1;
    const CREDIBLE_SHIFT: f64 = 0.02;
    let (mut low, mut high, mut narrowest) = (f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY);
    let mut span = |cluster: &Cluster| {
        low = low.min(cluster.mean - 3.0 * cluster.deviation);
        high = high.max(cluster.mean + 3.0 * cluster.deviation);
        narrowest = narrowest.min(cluster.deviation);
    };
    let likeliest = likely
        .iter()
        .filter(|c| **c > 0)
        .map(|c| posterior.mass(*c))
        .fold(0.0, f64::max);
    for (c, (before, after)) in likely.iter().zip(sides) {
        if *c == 0 || posterior.mass(*c) >= CREDIBLE_CULPRIT * likeliest {
            before.iter().for_each(&mut span);
            after
                .iter()
                .filter(|cluster| cluster.weight > CREDIBLE_SHIFT)
                .for_each(&mut span);
        }
    }
    if low >= high {
        return (0.5, 1.5, MIN_POINTS);
    }
    let points = ((high - low) / (0.5 * narrowest)).ceil() as usize;
    (low, high, points.clamp(MIN_POINTS, MAX_POINTS))
}
