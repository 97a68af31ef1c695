//! How values scatter about their mean: normally, or in two clusters as the series' own past shows.

/// Earlier values from which their own distribution is looked at.
const ENOUGH: usize = 48;

/// Rounds of the expectation-maximisation fit: it settles in about 20.
const FIT_ROUNDS: usize = 60;

/// How much better (in the Bayesian information criterion) two clusters must fit than one.
const CLEARLY: f64 = 10.0;

/// One cluster of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cluster {
    /// Its share of the values.
    pub weight: f64,
    /// Its mean.
    pub mean: f64,
    /// Its standard deviation.
    pub deviation: f64,
}

impl Cluster {
    /// weight × normal density at `value`.
    pub fn density(&self, value: f64) -> f64 {
        let z = (value - self.mean) / self.deviation;
        self.weight * (-0.5 * z * z).exp() / (self.deviation * (2.0 * std::f64::consts::PI).sqrt())
    }
}

/// Two clusters, if `history` is long enough and they fit it clearly better than one.
pub(super) fn two_clusters(history: &[f64]) -> Option<[Cluster; 2]> {
    if history.len() < ENOUGH {
        return None;
    }
    let mut sorted = history.to_vec();
    sorted.sort_by(f64::total_cmp);
    let one = cluster(&sorted, |_| 1.0, 0.0)?;
    // Nothing narrower than this is believed: values are often rounded, and a cluster of equal ones would have no
    // width.
    let narrowest = 0.05 * one.deviation;
    // The widest gap that leaves a tenth of the values on either side starts the fit.
    let edge = sorted.len() / 10;
    let split = (edge..sorted.len() - edge).max_by(|a, b| {
        (sorted[*a] - sorted[*a - 1])
            .total_cmp(&(sorted[*b] - sorted[*b - 1]))
            .then(b.cmp(a))
    })?;
    let border = sorted[split];
    let side = |below: bool| move |value: f64| if (value < border) == below { 1.0 } else { 0.0 };
    let mut pair = [
        cluster(&sorted, side(true), narrowest)?,
        cluster(&sorted, side(false), narrowest)?,
    ];
    for _ in 0..FIT_ROUNDS {
        let [a, b] = pair;
        let share = move |value: f64| a.density(value) / (a.density(value) + b.density(value)).max(f64::MIN_POSITIVE);
        pair = [
            cluster(&sorted, share, narrowest)?,
            cluster(&sorted, move |v| 1.0 - share(v), narrowest)?,
        ];
    }
    let fit = |clusters: &[Cluster]| {
        let ln = |value: &f64| {
            clusters
                .iter()
                .map(|c| c.density(*value))
                .sum::<f64>()
                .max(f64::MIN_POSITIVE)
                .ln()
        };
        sorted.iter().map(ln).sum::<f64>()
    };
    // Three more parameters cost ½·ln n each.
    let gain = 2.0 * (fit(&pair) - fit(&[one])) - 3.0 * (sorted.len() as f64).ln();
    (gain > CLEARLY).then_some(pair)
}

/// The cluster of the values, each counted by its share; `None` when nearly nothing is in it or all is one value.
fn cluster(values: &[f64], share: impl Fn(f64) -> f64, narrowest: f64) -> Option<Cluster> {
    let total: f64 = values.iter().map(|v| share(*v)).sum();
    if total < 2.0 {
        return None;
    }
    let mean = values.iter().map(|v| share(*v) * v).sum::<f64>() / total;
    let variance = values.iter().map(|v| share(*v) * (v - mean).powi(2)).sum::<f64>() / total;
    let deviation = variance.sqrt().max(narrowest);
    (deviation > 0.0).then_some(Cluster {
        weight: total / values.len() as f64,
        mean,
        deviation,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::random::Random;
    use super::*;

    #[test]
    fn two_clusters_are_seen_where_there_are_two() {
        let mut random = Random::new(1);
        let two: Vec<f64> = (0..60)
            .map(|i| if i % 3 == 0 { 1.1 } else { 1.0 } + 0.01 * random.normal())
            .collect();
        let [low, high] = two_clusters(&two).unwrap();
        assert!((low.mean - 1.0).abs() < 0.01 && (high.mean - 1.1).abs() < 0.01);
        assert!((low.weight - 0.67).abs() < 0.05);
    }

    #[test]
    fn normal_and_short_and_constant_series_have_one() {
        let mut random = Random::new(2);
        let normal: Vec<f64> = (0..200).map(|_| random.normal()).collect();
        assert_eq!(two_clusters(&normal), None);
        assert_eq!(two_clusters(&normal[..20]), None);
        assert_eq!(two_clusters(&[3.0; 100]), None);
    }
}
