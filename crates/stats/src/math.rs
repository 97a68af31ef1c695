//! Special functions: the gamma and beta functions, quantiles, entropy.
//!
//! In: numbers. Out: numbers, finite for every finite argument in the stated range. Never: allocation, state.
//! Accuracy is 1e-10 or better unless a function says otherwise.

/// Terms after which the continued fraction of [`beta_cdf`] is taken as converged: it needs about √max(a, b)
/// terms, and no argument here is beyond 10⁷.
const MAX_FRACTION_TERMS: u32 = 10_000;

/// Halvings that narrow an interval of length 1 to the spacing of `f64`.
const MAX_HALVINGS: u32 = 60;

/// ln Γ(x) for x > 0, by the recurrence up to 10 and Stirling's series from there (Abramowitz & Stegun 6.1.41).
pub fn ln_gamma(x: f64) -> f64 {
    let mut shift = 1.0;
    let mut x = x;
    while x < 10.0 {
        shift *= x;
        x += 1.0;
    }
    let r = 1.0 / (x * x);
    let series = (1.0 / 12.0 - r * (1.0 / 360.0 - r * (1.0 / 1260.0 - r * (1.0 / 1680.0 - r / 1188.0)))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - shift.ln()
}

/// ln B(a, b) for a, b > 0.
pub fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// The regularised incomplete beta function I_x(a, b): P(X ≤ x) for X ~ Beta(a, b), a, b > 0; x outside 0..1 is cut
/// to it. Continued fraction 26.5.8 of Abramowitz & Stegun, evaluated by Lentz's method.
pub fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges fast only on this side of the mean.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_cdf_fraction(1.0 - x, b, a);
    }
    beta_cdf_fraction(x, a, b)
}

fn beta_cdf_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |v: f64| if v.abs() < TINY { TINY } else { v };
    let front = (a * x.ln() + b * (-x).ln_1p() - ln_beta(a, b)).exp() / a;
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for term in 1..=MAX_FRACTION_TERMS {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        let step = d * c;
        fraction *= step;
        if (step - 1.0).abs() < 1e-14 {
            break;
        }
    }
    (front * fraction).clamp(0.0, 1.0)
}

/// The x with P(X ≤ x) = `probability` for X ~ Beta(a, b), by bisection.
pub fn beta_quantile(probability: f64, a: f64, b: f64) -> f64 {
    halve(0.0, 1.0, |x| beta_cdf(x, a, b) >= probability)
}

/// P(T ≤ t) for Student's t with `freedom` > 0 degrees of freedom.
pub fn student_cdf(t: f64, freedom: f64) -> f64 {
    let tail = 0.5 * beta_cdf(freedom / (freedom + t * t), 0.5 * freedom, 0.5);
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// The t with P(T ≤ t) = `probability` for Student's t with `freedom` ≥ 1 degrees of freedom; `probability` in
/// 0.5..1.
pub fn student_quantile(probability: f64, freedom: f64) -> f64 {
    let tail = 2.0 * (1.0 - probability.clamp(0.5, 1.0 - 1e-12));
    let x = beta_quantile(tail, 0.5 * freedom, 0.5).max(f64::MIN_POSITIVE);
    (freedom * (1.0 - x) / x).sqrt()
}

/// P(X ≤ x) for Snedecor's F with `above` and `below` degrees of freedom.
pub fn f_cdf(x: f64, above: f64, below: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    beta_cdf(above * x / (above * x + below), 0.5 * above, 0.5 * below)
}

/// ln Σ exp(x): the logarithm of a sum of numbers given by their logarithms. −∞ for none.
pub fn ln_sum_exp(values: &[f64]) -> f64 {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !top.is_finite() {
        return top;
    }
    top + values.iter().map(|v| (v - top).exp()).sum::<f64>().ln()
}

/// The entropy of a coin with probability `p` of heads, in nats. 0 outside 0..1.
#[inline]
pub fn binary_entropy(p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return 0.0;
    }
    -p * p.ln() - (1.0 - p) * (1.0 - p).ln()
}

/// Cells of the table behind [`quick_entropy`].
const ENTROPY_CELLS: usize = 16_384;

/// [`binary_entropy`] by linear interpolation in a table, several times as quick; within 10⁻⁶ of it.
#[inline]
pub fn quick_entropy(p: f64) -> f64 {
    static TABLE: std::sync::LazyLock<Vec<f64>> = std::sync::LazyLock::new(|| {
        (0..=ENTROPY_CELLS + 1)
            .map(|cell| binary_entropy(cell as f64 / ENTROPY_CELLS as f64))
            .collect()
    });
    // The curve is too steep for lines at the ends.
    const EDGE: f64 = 1.0 / 512.0;
    if !(EDGE..=1.0 - EDGE).contains(&p) {
        return binary_entropy(p);
    }
    let at = p * ENTROPY_CELLS as f64;
    let cell = at as usize;
    let (low, high) = (TABLE[cell], TABLE[cell + 1]);
    low + (at - cell as f64) * (high - low)
}

/// The Kullback-Leibler divergence of a coin that fails with probability `q` from one that does with `p`, in nats: what
/// a run tells on average for `p` against `q` where `p` is right. A `q` of 0 or 1 counts as 10⁻¹² away from it.
pub fn divergence(p: f64, q: f64) -> f64 {
    let part = |p: f64, q: f64| if p > 0.0 { p * (p / q.max(1e-12)).ln() } else { 0.0 };
    part(p, q) + part(1.0 - p, 1.0 - q)
}

/// The capacity, in nats, of one run that fails with probability p0 or p1, by the side of the culprit that it is on:
/// the most that it can tell on average (Shannon, 1948). 0 for equal rates.
pub fn channel_capacity(p0: f64, p1: f64) -> f64 {
    let (h0, h1) = (binary_entropy(p0), binary_entropy(p1));
    let rate = |share: f64| share * p1 + (1.0 - share) * p0;
    // The mutual information is concave in the share of runs on the p1 side: the best one is where it stops rising.
    let slope = |share: f64| (p1 - p0) * ((1.0 - rate(share)) / rate(share)).ln() - (h1 - h0);
    let share = halve(0.0, 1.0, |share| slope(share) <= 0.0);
    (binary_entropy(rate(share)) - share * h1 - (1.0 - share) * h0).max(0.0)
}

/// The smallest x in low..high with `reached(x)`, for a predicate that turns from false to true once.
pub fn halve(mut low: f64, mut high: f64, reached: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..MAX_HALVINGS {
        let middle = 0.5 * (low + high);
        if reached(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64) {
        assert!(
            (got - want).abs() <= 1e-9 * want.abs().max(1.0),
            "got {got}, want {want}"
        );
    }

    #[test]
    fn ln_gamma_agrees_with_factorials_and_the_half() {
        close(ln_gamma(1.0), 0.0);
        close(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln());
        close(ln_gamma(11.0), 3_628_800f64.ln());
        close(ln_gamma(1e6), 12_815_504.569_147_8);
    }

    #[test]
    fn the_beta_distribution_agrees_with_closed_forms() {
        close(beta_cdf(0.3, 1.0, 1.0), 0.3);
        close(beta_cdf(0.3, 1.0, 4.0), 1.0 - 0.7f64.powi(4));
        close(beta_cdf(0.3, 5.0, 1.0), 0.3f64.powi(5));
        close(beta_cdf(0.5, 7.3, 7.3), 0.5);
        close(beta_quantile(beta_cdf(0.07, 0.5, 60.0), 0.5, 60.0), 0.07);
    }

    #[test]
    fn quantiles_of_student_and_f_agree_with_the_tables() {
        assert!((student_quantile(0.975, 7.0) - 2.364_62).abs() < 1e-4);
        assert!((student_quantile(0.975, 1.0) - 12.706_2).abs() < 1e-3);
        assert!((student_quantile(0.975, 1e6) - 1.959_97).abs() < 1e-4);
        assert!((f_cdf(3.787_0, 7.0, 7.0) - 0.95).abs() < 1e-4);
        close(student_cdf(student_quantile(0.9, 5.0), 5.0), 0.9);
    }

    #[test]
    fn a_run_that_never_errs_tells_one_bit_and_equal_rates_tell_nothing() {
        close(channel_capacity(0.0, 1.0), std::f64::consts::LN_2);
        close(channel_capacity(0.1, 0.3), channel_capacity(0.3, 0.1));
        close(channel_capacity(0.2, 0.2), 0.0);
    }

    #[test]
    fn the_divergence_of_equal_coins_is_nothing_and_stays_finite_at_the_ends() {
        close(divergence(0.3, 0.3), 0.0);
        close(divergence(1.0, 0.5), std::f64::consts::LN_2);
        assert!(divergence(0.5, 0.0).is_finite() && divergence(0.0, 1.0).is_finite());
    }

    #[test]
    fn entropy_is_symmetric_and_zero_at_the_ends() {
        close(binary_entropy(0.5), std::f64::consts::LN_2);
        close(binary_entropy(0.1), binary_entropy(0.9));
        assert_eq!(binary_entropy(0.0), 0.0);
        assert_eq!(binary_entropy(1.0), 0.0);
        assert!(
            (0..=1000)
                .map(|i| f64::from(i) / 1000.0)
                .all(|p| (quick_entropy(p) - binary_entropy(p)).abs() < 1e-6)
        );
    }
}
