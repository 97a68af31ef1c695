//! Laws that every performance search obeys, and the behaviour that a few plain ones must show.

use proptest::prelude::*;

use super::super::random::Random;
use super::*;

fn series(n: usize, mean: f64, noise: f64, random: &mut Random) -> Vec<f64> {
    (0..n).map(|_| mean * (1.0 + noise * random.normal())).collect()
}

fn problem(candidates: usize, history: Vec<f64>, tail: Vec<f64>) -> Problem {
    Problem {
        candidates,
        history,
        tail,
        evidence: Vec::new(),
        params: Params::default(),
    }
}

/// Follows the steps where values from `culprit` on are `shift` times larger: (verdict, runs).
fn follow(mut problem: Problem, culprit: usize, shift: f64, noise: f64) -> (Verdict, u32) {
    let mut random = Random::new(9);
    let mut runs = 0;
    loop {
        let step = plan(&problem, 1).unwrap();
        if let Some(verdict) = step.verdict {
            return (verdict, runs);
        }
        for (push, times) in step.run {
            runs += times;
            let mean = if push >= culprit { 100.0 * shift } else { 100.0 };
            let values = series(times as usize, mean, noise, &mut random);
            problem.evidence.push(Evidence {
                push,
                values,
                pending: 0,
            });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_values_give_a_posterior_that_sums_to_one_and_a_step_within_limits(
        history in proptest::collection::vec(-1e9f64..1e9, 0..60),
        tail in proptest::collection::vec(-1e9f64..1e9, 0..6),
        values in proptest::collection::vec((1usize..=6, -1e9f64..1e9, 0u32..2), 0..6),
        parallel in 1u32..4,
        max_jobs in 0u32..12,
    ) {
        let mut problem = problem(6, history, tail);
        problem.params = Params { parallel, max_jobs, ..Params::default() };
        let evidence = |(push, value, pending): (usize, f64, u32)| Evidence { push, values: vec![value], pending };
        problem.evidence = values.into_iter().map(evidence).collect();
        let step = plan(&problem, 1).unwrap();
        let sum = step.no_change + step.pushes.iter().sum::<f64>();
        prop_assert!((sum - 1.0).abs() < 1e-9, "the posterior sums to {sum}");
        let asked: u32 = step.run.iter().map(|(_, times)| times).sum();
        let spent: u32 = problem.evidence.iter().map(|e| e.values.len() as u32 + e.pending).sum();
        let pending: u32 = problem.evidence.iter().map(|e| e.pending).sum();
        prop_assert!(asked == 0 || pending + asked <= parallel && spent + asked <= max_jobs);
        problem.evidence.reverse();
        let reversed = plan(&problem, 1).unwrap();
        // Sums of values up to 1e9 in another order differ in their last digits.
        prop_assert!((reversed.no_change - step.no_change).abs() < 1e-6);
        for (a, b) in reversed.pushes.iter().zip(&step.pushes) {
            prop_assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
}

#[test]
fn a_clear_step_is_found_in_a_few_runs() {
    let mut random = Random::new(3);
    let start = problem(
        16,
        series(20, 100.0, 0.005, &mut random),
        series(3, 110.0, 0.005, &mut random),
    );
    for culprit in [1, 7, 16] {
        let (verdict, runs) = follow(start.clone(), culprit, 1.1, 0.005);
        assert!(
            matches!(verdict, Verdict::Culprit { push, .. } if push == culprit),
            "{culprit}: {verdict:?}"
        );
        assert!(runs <= 8, "{culprit} took {runs} runs");
    }
}

#[test]
fn an_improvement_is_found_like_a_regression() {
    let mut random = Random::new(4);
    let start = problem(
        8,
        series(20, 100.0, 0.01, &mut random),
        series(3, 90.0, 0.01, &mut random),
    );
    let (verdict, _) = follow(start, 5, 0.9, 0.01);
    assert!(matches!(verdict, Verdict::Culprit { push: 5, .. }), "{verdict:?}");
}

#[test]
fn a_series_that_did_not_step_is_said_not_to_have_changed() {
    let mut random = Random::new(5);
    let start = problem(
        8,
        series(30, 100.0, 0.005, &mut random),
        series(4, 100.0, 0.005, &mut random),
    );
    let (verdict, _) = follow(start, 99, 1.0, 0.005);
    assert!(matches!(verdict, Verdict::NoChange { .. }), "{verdict:?}");
}

#[test]
fn a_series_of_two_clusters_is_searched_by_their_density() {
    let mut random = Random::new(6);
    let mut two = |n: usize, shift: f64| -> Vec<f64> {
        (0..n)
            .map(|i| shift * (if i % 2 == 0 { 100.0 } else { 120.0 }) * (1.0 + 0.003 * random.normal()))
            .collect()
    };
    let (history, tail) = (two(60, 1.0), two(4, 1.03));
    let mut problem = problem(8, history, tail);
    for push in 1..=8 {
        problem.evidence.push(Evidence {
            push,
            values: two(2, if push >= 4 { 1.03 } else { 1.0 }),
            pending: 0,
        });
    }
    let step = plan(&problem, 1).unwrap();
    assert!(step.pushes[3] > 0.95, "{:?}", step.pushes);
    assert!(step.shift.0 > 0.015 && step.shift.1 < 0.05, "{:?}", step.shift);
}

#[test]
fn a_culprit_is_not_named_when_there_is_no_value_before_it() {
    let mut problem = problem(3, Vec::new(), vec![100.0; 5]);
    problem.params.max_jobs = 0;
    assert!(matches!(
        plan(&problem, 1).unwrap().verdict,
        Some(Verdict::Undecided { .. })
    ));
}

#[test]
fn a_value_or_push_that_is_none_is_refused_by_name() {
    let with = |push, value| {
        let mut problem = problem(3, vec![], vec![]);
        problem.evidence = vec![Evidence {
            push,
            values: vec![value],
            pending: 0,
        }];
        plan(&problem, 1).unwrap_err().to_string()
    };
    assert_eq!(
        with(4, 1.0),
        "push 4 is none of the candidates: they are numbered 1 to 3"
    );
    assert_eq!(with(1, f64::NAN), "a value is NaN, but must be a number within ±1e100");
}
