//! A prior under which some candidates are likelier than others.

/// The prior of candidates when, with probability `share` (0 to 1), the culprit is one of the favoured ones, each alike, and
/// otherwise any: (1 − `share`)/N + `share`/K for a favoured one, (1 − `share`)/N for another, where K of N are favoured. It
/// sums to one. `None`, which is uniform, where that favours nobody: `share` is 0, or K is 0 or N.
///
/// A culprit that is not favoured keeps 1 − `share` of its uniform prior: where favour misleads, it costs ln(1/(1 − `share`))
/// nats of evidence at most, 0.22 at 0.2, however many are favoured.
pub fn favouring(share: f64, favoured: &[bool]) -> Option<Vec<f64>> {
    let n = favoured.len();
    let k = favoured.iter().filter(|is_favoured| **is_favoured).count();
    if share <= 0.0 || k == 0 || k == n {
        return None;
    }
    let any = (1.0 - share) / n as f64;
    let extra = share / k as f64;
    let prior = |is_favoured: &bool| if *is_favoured { any + extra } else { any };
    Some(favoured.iter().map(prior).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Evidence, Problem, belief};
    use super::*;

    #[test]
    fn favour_that_favours_nobody_is_no_prior() {
        assert_eq!(favouring(0.0, &[true, false]), None);
        assert_eq!(favouring(0.25, &[false, false]), None);
        assert_eq!(favouring(0.25, &[true, true]), None);
        assert_eq!(favouring(0.25, &[]), None);
    }

    #[test]
    fn the_favoured_share_what_is_set_aside_for_them() {
        let prior = favouring(0.25, &[false, true, false, true]).unwrap();
        assert_eq!(prior, [0.1875, 0.3125, 0.1875, 0.3125]);
    }

    proptest! {
        #[test]
        fn it_sums_to_one_and_costs_no_candidate_more_than_the_share(
            favoured in proptest::collection::vec(any::<bool>(), 1..200),
            share in 0.0..=0.9f64,
        ) {
            if let Some(prior) = favouring(share, &favoured) {
                prop_assert!((prior.iter().sum::<f64>() - 1.0).abs() < 1e-9);
                let uniform = 1.0 / favoured.len() as f64;
                for (mass, is_favoured) in prior.iter().zip(&favoured) {
                    prop_assert!(*mass >= (1.0 - share) * uniform - 1e-12);
                    prop_assert_eq!(*mass > uniform, *is_favoured && share > 1e-12);
                }
            }
        }

        #[test]
        fn the_masses_of_candidates_change_by_their_priors_and_nothing_else(
            favoured in proptest::collection::vec(any::<bool>(), 12),
            share in 0.05..=0.9f64,
            failed in proptest::collection::vec(0..3u32, 12),
        ) {
            let Some(prior) = favouring(share, &favoured) else { return Ok(()) };
            let evidence = (1..).zip(&failed).map(|(push, failed)| Evidence { push, failed: *failed, passed: 1, pending: 0 });
            let uniform = Problem { evidence: evidence.collect(), ..Problem::new(12) };
            let tilted = Problem { prior: Some(prior.clone()), ..uniform.clone() };
            let (uniform, tilted) = (belief(&uniform).unwrap(), belief(&tilted).unwrap());
            let scale = |index: usize| tilted.pushes[index] / prior[index] / uniform.pushes[index];
            for index in 1..12 {
                prop_assert!((scale(index) / scale(0) - 1.0).abs() < 1e-6);
            }
        }
    }
}
