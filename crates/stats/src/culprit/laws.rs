//! Laws that every problem obeys, and the behaviour that a few plain problems must show.

use proptest::prelude::*;

use super::*;

/// Cases a law is tried on: more find nothing new and cost seconds.
const CASES: u32 = 64;

prop_compose! {
    fn counts(most: u32)(failed in 0..=most, passed in 0..=most) -> Counts {
        Counts::new(failed, passed)
    }
}

prop_compose! {
    fn evidence(n: usize, most: u32)(
        push in 1..=n, failed in 0..=most, passed in 0..=most, pending in 0u32..3,
    ) -> Evidence {
        Evidence { push, failed, passed, pending }
    }
}

prop_compose! {
    fn params()(
        confidence in 0.5f64..0.9999, parallel in 1u32..12, round_price in 0.0f64..20.0, max_jobs in 0u32..200,
    ) -> Params {
        Params { confidence, parallel, round_price, max_jobs, spent: None }
    }
}

/// Any problem with up to 24 candidates and counts up to `most`.
fn problems(most: u32) -> impl Strategy<Value = Problem> {
    (1usize..=24).prop_flat_map(move |n| {
        (
            proptest::option::of(proptest::collection::vec(1..=n, 0..=n)),
            proptest::option::of(proptest::collection::vec(0.001f64..1.0, n)),
            0.0f64..0.99,
            counts(most),
            counts(most),
            proptest::option::of((0.0f64..=1.0, 0.0f64..=1.0)),
            proptest::collection::vec(evidence(n, most), 0..8),
            params(),
        )
            .prop_map(
                move |(runnable, prior, no_culprit_prior, history, tail, rates, evidence, params)| Problem {
                    runnable,
                    prior,
                    no_culprit_prior,
                    history,
                    tail,
                    rates: rates.map(|(p0, p1)| Rates { p0, p1 }),
                    evidence,
                    params,
                    ..Problem::new(n)
                },
            )
    })
}

fn asked(step: &Step) -> u32 {
    step.run.iter().map(|(_, times)| times).sum()
}

fn pending(problem: &Problem) -> u32 {
    problem.evidence.iter().map(|e| e.pending).sum()
}

fn is_sound(step: &Step) -> Result<(), TestCaseError> {
    let belief = &step.belief;
    let sum = belief.no_culprit + belief.pushes.iter().sum::<f64>();
    prop_assert!((sum - 1.0).abs() < 1e-9, "the posterior sums to {sum}");
    prop_assert!(belief.pushes.iter().all(|mass| (0.0..=1.0).contains(mass)));
    prop_assert!(
        (0.0..=1.0).contains(&belief.p0) && (0.0..=1.0).contains(&belief.p1),
        "{belief:?}"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_posterior_sums_to_one_whatever_the_counts(problem in problems(1_000_000)) {
        is_sound(&plan(&problem, 1).unwrap())?;
    }

    #[test]
    fn the_order_of_evidence_does_not_matter(problem in problems(20)) {
        let mut turned = problem.clone();
        turned.evidence.reverse();
        prop_assert_eq!(plan(&problem, 1).unwrap(), plan(&turned, 1).unwrap());
    }

    #[test]
    fn evidence_in_pieces_is_the_same_evidence(problem in problems(20)) {
        let mut split = problem.clone();
        split.evidence = problem
            .evidence
            .iter()
            .flat_map(|e| [Evidence { failed: 0, ..*e }, Evidence { passed: 0, pending: 0, ..*e }])
            .collect();
        prop_assert_eq!(plan(&problem, 1).unwrap(), plan(&split, 1).unwrap());
    }

    #[test]
    fn with_known_rates_a_failure_never_speaks_against_a_culprit_up_to_it(
        problem in problems(20), p0 in 0.0f64..0.5, more in 0.0f64..0.5, at in 0usize..24,
    ) {
        let x = 1 + at % problem.candidates;
        let rates = Some(Rates { p0, p1: p0 + more });
        let before = Problem { rates, no_culprit_prior: 0.0, ..problem };
        let mut after = before.clone();
        after.evidence.push(Evidence { push: x, failed: 1, ..Evidence::default() });
        let up_to_x = |problem: &Problem| plan(problem, 1).unwrap().belief.pushes[..x].iter().sum::<f64>();
        prop_assert!(up_to_x(&after) >= up_to_x(&before) - 1e-9);
    }

    #[test]
    fn pending_runs_take_up_slots_and_the_budget_holds(problem in problems(6)) {
        let step = plan(&problem, 1).unwrap();
        let spent: u32 = problem.evidence.iter().map(|e| e.failed + e.passed + e.pending).sum();
        if asked(&step) > 0 {
            prop_assert!(pending(&problem) + asked(&step) <= problem.params.parallel);
            prop_assert!(spent + asked(&step) <= problem.params.max_jobs);
        }
    }

    #[test]
    fn what_a_step_asked_for_is_not_asked_for_again_while_it_is_pending(problem in problems(4)) {
        let mut problem = Problem { runnable: None, ..problem };
        problem.evidence.iter_mut().for_each(|e| e.pending = 0);
        problem.params.max_jobs = 1_000;
        let step = plan(&problem, 1).unwrap();
        prop_assume!(asked(&step) > 0);
        for (push, times) in &step.run {
            problem.evidence.push(Evidence { push: *push, pending: *times, ..Evidence::default() });
        }
        // The round is complete: asked again while all of it is pending, it has nothing to add.
        let again = plan(&problem, 1).unwrap();
        prop_assert!(asked(&again) <= problem.params.parallel - asked(&step));
        prop_assert!(again.verdict.is_none());
        if problem.params.parallel == asked(&step) {
            prop_assert_eq!(again.run, vec![]);
        }
    }

    #[test]
    fn only_candidates_that_can_run_are_run(problem in problems(6)) {
        let step = plan(&problem, 1).unwrap();
        if let Some(runnable) = &problem.runnable {
            prop_assert!(step.run.iter().all(|(push, _)| runnable.contains(push)));
        }
    }

    #[test]
    fn a_verdict_has_the_confidence_asked_for(problem in problems(30)) {
        match plan(&problem, 1).unwrap().verdict {
            Some(Verdict::Culprit { pushes, probability }) => {
                prop_assert!(probability >= problem.params.confidence - 1e-12);
                prop_assert!((probability - pushes.iter().map(|(_, mass)| mass).sum::<f64>()).abs() < 1e-12);
            }
            Some(Verdict::NoCulprit { probability }) => prop_assert!(probability >= problem.params.confidence),
            Some(Verdict::Undecided { .. }) | None => {}
        }
    }

    #[test]
    fn the_same_problem_and_seed_give_the_same_step(problem in problems(30), seed in any::<u64>()) {
        prop_assert_eq!(plan(&problem, seed).unwrap(), plan(&problem, seed).unwrap());
    }
}

#[test]
fn a_job_that_fails_as_often_everywhere_has_no_culprit_before_the_budget_is_spent() {
    // Every sixteenth run fails, wherever: no push makes it fail twice as often. Were every rise a suspect, 300 runs
    // would not be enough.
    let mut problem = Problem::new(128);
    problem.history = Counts::new(10, 190);
    problem.tail = Counts::new(2, 18);
    problem.params.parallel = 1;
    let mut runs = 0;
    let verdict = loop {
        let step = plan(&problem, 1).unwrap();
        if let Some(verdict) = step.verdict {
            break verdict;
        }
        for (push, times) in step.run {
            for _ in 0..times {
                runs += 1;
                let failed = u32::from(runs % 16 == 0);
                problem.evidence.push(Evidence {
                    push,
                    failed,
                    passed: 1 - failed,
                    pending: 0,
                });
            }
        }
    };
    assert!(
        matches!(verdict, Verdict::NoCulprit { .. }),
        "{verdict:?} after {runs} runs"
    );
}

#[test]
fn a_floor_of_the_rate_ends_the_search_for_a_one_off_sooner() {
    let runs = |min_rate: f64| {
        let mut problem = Problem::new(12);
        problem.min_rate = min_rate;
        problem.history = Counts::new(0, 6);
        problem.params.parallel = 1;
        problem.evidence = vec![Evidence {
            push: 12,
            failed: 1,
            ..Evidence::default()
        }];
        let mut runs = 0;
        loop {
            let step = plan(&problem, 1).unwrap();
            if let Some(verdict) = step.verdict {
                assert!(matches!(verdict, Verdict::NoCulprit { .. }), "{verdict:?}");
                return runs;
            }
            for (push, times) in step.run {
                runs += times;
                problem.evidence.push(Evidence {
                    push,
                    passed: times,
                    ..Evidence::default()
                });
            }
        }
    };
    let (all, often) = (runs(0.0), runs(0.2));
    assert!(3 * often < all, "{often} against {all}");
}

/// A problem with a clean past and a failing tail.
fn permanent(candidates: usize, parallel: u32) -> Problem {
    let mut problem = Problem::new(candidates);
    problem.history = Counts::new(0, 200);
    problem.tail = Counts::new(20, 0);
    problem.params.parallel = parallel;
    problem.params.round_price = 1_000.0;
    problem
}

/// Follows the steps where everything from `culprit` on fails: (verdict, runs, rounds).
fn follow(mut problem: Problem, culprit: usize) -> (Verdict, u32, u32) {
    let (mut runs, mut rounds) = (0, 0);
    loop {
        let step = plan(&problem, 1).unwrap();
        if let Some(verdict) = step.verdict {
            return (verdict, runs, rounds);
        }
        rounds += 1;
        for (push, times) in step.run {
            runs += times;
            let (failed, passed) = if push >= culprit { (times, 0) } else { (0, times) };
            problem.evidence.push(Evidence {
                push,
                failed,
                passed,
                pending: 0,
            });
        }
    }
}

#[test]
fn a_permanent_failure_is_a_binary_search() {
    for culprit in [1, 2, 63, 64, 100, 128] {
        let (verdict, runs, _) = follow(permanent(128, 1), culprit);
        assert!(
            matches!(verdict, Verdict::Culprit { ref pushes, .. } if pushes[0].0 == culprit),
            "{verdict:?}"
        );
        // Seven runs that halve, and at most two that make surer what they found.
        assert!(runs <= 9, "{culprit} took {runs} runs");
    }
}

#[test]
fn several_runs_at_once_make_it_a_search_of_several_ways() {
    for culprit in [1, 40, 77, 128] {
        let (verdict, _, rounds) = follow(permanent(128, 4), culprit);
        assert!(
            matches!(verdict, Verdict::Culprit { ref pushes, .. } if pushes[0].0 == culprit),
            "{verdict:?}"
        );
        assert!(rounds <= 4, "{culprit} took {rounds} rounds");
    }
}

/// 16 candidates of which pushes 8 and 9 have failed and 7 has passed: 8 has a probability just beyond 0.95.
fn nearly_certain(parallel: u32, round_price: f64) -> Problem {
    let mut problem = permanent(16, parallel);
    problem.params.round_price = round_price;
    problem.history = Counts::new(2, 98);
    problem.evidence = [(7, 0, 1), (8, 1, 0), (9, 1, 0)]
        .map(|(push, failed, passed)| Evidence {
            push,
            failed,
            passed,
            pending: 0,
        })
        .to_vec();
    problem
}

#[test]
fn a_culprit_is_made_surer_where_one_run_does_it_and_only_there() {
    let ends = |problem: &Problem| plan(problem, 1).unwrap().verdict.is_some();
    let problem = nearly_certain(1, 0.0);
    let step = plan(&problem, 1).unwrap();
    assert!(step.belief.pushes[7] > 0.95, "{step:?}");
    assert_eq!(step.verdict, None);
    let [(push @ 7..=8, 1)] = step.run[..] else {
        panic!("{step:?}")
    };
    // Asked for, it is waited for; once it is back, or one more, the verdict is surer.
    let mut waiting = problem.clone();
    waiting.evidence.push(Evidence {
        push,
        pending: 1,
        ..Evidence::default()
    });
    let step = plan(&waiting, 1).unwrap();
    assert!(step.verdict.is_none() && step.run.is_empty(), "{step:?}");
    let (verdict, runs, _) = follow(problem.clone(), 8);
    assert!(
        matches!(verdict, Verdict::Culprit { probability, .. } if probability > 0.97),
        "{verdict:?}"
    );
    assert!(runs <= 2, "{runs} runs");

    // Not for the price of a round, not beyond the budget, not where the rates are known.
    assert!(ends(&nearly_certain(8, 4.0)));
    let mut spent = problem.clone();
    spent.params.max_jobs = 3;
    assert!(matches!(
        plan(&spent, 1).unwrap().verdict,
        Some(Verdict::Culprit { .. })
    ));
    let mut known = problem;
    known.rates = Some(Rates { p0: 0.005, p1: 0.995 });
    assert!(ends(&known));
}

#[test]
fn a_small_search_that_goes_on_for_certainty_asks_for_runs_that_bring_it() {
    let mut random = crate::random::Random::new(5);
    let mut runs = 0;
    for culprit in (0..30).map(|search| 1 + search % 3) {
        let mut problem = Problem::new(3);
        problem.history = Counts::new(1, 99);
        problem.tail = Counts::new(5, 5);
        problem.params.parallel = 1;
        loop {
            let step = plan(&problem, 1).unwrap();
            if step.verdict.is_some() {
                break;
            }
            for (push, times) in step.run {
                runs += times;
                let failed = u32::from(random.chance(if push >= culprit { 0.5 } else { 0.01 }));
                problem.evidence.push(Evidence {
                    push,
                    failed,
                    passed: 1 - failed,
                    pending: 0,
                });
            }
        }
    }
    // Ten a search; runs on pushes that can only agree with the verdict would go on to the budget of 300.
    assert!(runs < 30 * 15, "{runs} runs");
}

#[test]
fn pushes_that_cannot_be_told_apart_are_named_together() {
    let mut problem = permanent(10, 1);
    problem.runnable = Some(vec![2, 6, 10]);
    let (verdict, _, _) = follow(problem, 4);
    let Verdict::Culprit { mut pushes, .. } = verdict else {
        panic!("{verdict:?}")
    };
    pushes.sort_by_key(|(push, _)| *push);
    assert_eq!(
        pushes.iter().map(|(push, _)| *push).collect::<Vec<_>>(),
        vec![3, 4, 5, 6]
    );
}

#[test]
fn a_failure_that_was_there_before_has_no_culprit_in_the_range() {
    let mut problem = Problem::new(16);
    problem.history = Counts::new(40, 60);
    problem.tail = Counts::new(8, 12);
    assert!(matches!(
        plan(&problem, 1).unwrap().verdict,
        Some(Verdict::NoCulprit { .. })
    ));
}

#[test]
fn a_culprit_is_not_named_when_nothing_ran_before_it() {
    let mut problem = Problem::new(8);
    problem.no_culprit_prior = 0.0;
    problem.evidence = (1..=8)
        .map(|push| Evidence {
            push,
            failed: 20,
            ..Evidence::default()
        })
        .collect();
    let step = plan(&problem, 1).unwrap();
    assert!(matches!(step.verdict, Some(Verdict::Undecided { .. })), "{step:?}");
    assert!(step.why.contains("nothing ran before it"), "{}", step.why);
}

#[test]
fn a_spent_budget_ends_the_search_but_not_while_runs_are_pending() {
    let mut problem = permanent(64, 2);
    problem.params.max_jobs = 2;
    problem.evidence = vec![Evidence {
        push: 32,
        pending: 2,
        ..Evidence::default()
    }];
    assert_eq!(plan(&problem, 1).unwrap().verdict, None);
    problem.evidence = vec![Evidence {
        push: 32,
        failed: 2,
        ..Evidence::default()
    }];
    assert!(matches!(
        plan(&problem, 1).unwrap().verdict,
        Some(Verdict::Undecided { .. })
    ));
}

#[test]
fn failures_of_one_push_alone_do_not_outweigh_passes_after_it() {
    let mut problem = Problem::new(20);
    problem.history = Counts::new(1, 199);
    problem.tail = Counts::new(18, 2);
    problem.evidence = vec![
        Evidence {
            push: 5,
            failed: 3,
            passed: 5,
            pending: 0,
        },
        Evidence {
            push: 10,
            failed: 0,
            passed: 6,
            pending: 0,
        },
    ];
    let belief = plan(&problem, 1).unwrap().belief;
    assert!(belief.pushes[10..].iter().sum::<f64>() > 0.9, "{belief:?}");
}

#[test]
fn a_number_out_of_range_is_refused_by_name() {
    let refused = |change: fn(&mut Problem)| {
        let mut problem = Problem::new(8);
        change(&mut problem);
        plan(&problem, 1).unwrap_err().to_string()
    };
    assert_eq!(
        refused(|p| p.candidates = 0),
        "`candidates` is 0, but must be 1 to 10000"
    );
    assert_eq!(
        refused(|p| p.runnable = Some(vec![9])),
        "push 9 is none of the candidates: they are numbered 1 to 8"
    );
    assert_eq!(
        refused(|p| p.prior = Some(vec![1.0])),
        "`prior` has 1 numbers, but there are 8 candidates: give one for each, or none"
    );
    assert_eq!(
        refused(|p| p.prior = Some(vec![0.0; 8])),
        "`prior` must hold numbers of 0 or more, not all of them 0"
    );
    assert_eq!(
        refused(|p| p.params.confidence = 1.0),
        "`confidence` is 1, but must be 0.5 to 0.9999"
    );
    assert_eq!(
        refused(|p| p.no_culprit_prior = f64::NAN),
        "`no_culprit_prior` is NaN, but must be 0 to 0.9999"
    );
}
