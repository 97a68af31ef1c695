//! Whether a culprit that has the confidence asked for is made surer all the same, because that costs next to nothing.
//!
//! What is left of a rival's mass falls by a factor e^d a run, d the divergence of the two rates. Where runs from the
//! culprit on fail often and runs before it never, the first run beyond the confidence takes away most of the error;
//! where they fail seldom, a tenth of it. One price for both makes verdicts righter for fewer runs than a higher
//! confidence everywhere (`docs/decisions.md`).

use super::super::math::divergence;
use super::Problem;
use super::posterior::Posterior;

/// The share of the error allowed, 1 − confidence, that a run must take away to be worth making.
///
/// With 0.35 verdicts in mixed work are right nearly half a point oftener, for half a run a case, and a permanent failure
/// takes 7.8 runs; 0.3 takes it over eight.
const WORTH: f64 = 0.35;

impl Posterior {
    /// Whether one more run takes enough from the error that is left once `class`, candidates that no run separates,
    /// has the confidence asked for.
    ///
    /// Never where the rates are given: the confidence is then met as exactly as it can be.
    pub fn surer_is_cheap(&self, problem: &Problem, class: &[usize], runnable: &[bool]) -> bool {
        let (Some(first), Some(last), None) = (class.first(), class.last(), problem.rates) else {
            return false;
        };
        let (p0, p1) = (self.before[*first].mean, self.after[*first].mean);
        // A run before the class passes if the class is right, a run at its end fails. Nothing can be run before
        // candidate 1 that would tell it from a failure that was there before.
        let earlier: f64 = self.mass[1..*first].iter().sum();
        let later: f64 = self.mass[last + 1..].iter().sum();
        let taken = |rival: f64, speed: f64| rival * -(-speed).exp_m1();
        let before = taken(earlier, divergence(p0, p1));
        let at_end = if runnable[last - 1] {
            taken(later, divergence(p1, p0))
        } else {
            0.0
        };

        let params = &problem.params;
        // A run that is asked for alone has a round for itself.
        let price = 1.0 + if params.parallel > 1 { params.round_price } else { 0.0 };
        before.max(at_end) >= WORTH * price * (1.0 - params.confidence)
    }
}
