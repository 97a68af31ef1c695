//! How long one decision takes: `cargo bench --bench decision`.
//!
//! Evidence as a real search leaves it: many runs, most of them near the culprit. Prints the median and the 95th
//! percentile of single calls, and the lines a second of `sheriffd decide`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use sheriffd::decide;
use sheriffd::stats::culprit::{Evidence, Params, Problem, plan};
use sheriffd::stats::random::Random;
use sheriffd::stats::rates::Counts;

/// Calls a figure rests on.
const CALLS: u32 = 200;

/// Failure rates of the simulated searches.
const P0: f64 = 0.01;
const P1: f64 = 0.2;

fn main() {
    let line = |name: &str, times: Vec<Duration>| {
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
        println!("{name:<64} {:>9.0} µs median {:>9.0} µs p95", at(0.5), at(0.95));
    };
    for (n, runs) in [(128, 100), (1_024, 2_000)] {
        for parallel in [1, 8] {
            let near = problem(n, runs, parallel, near_the_middle);
            line(
                &format!("N={n}, {runs} runs near the culprit, parallel {parallel}"),
                timed(&near),
            );
            let wide = problem(n, runs, parallel, |random, n| 1 + random.below(n));
            line(
                &format!("N={n}, {runs} runs spread evenly, parallel {parallel}"),
                timed(&wide),
            );
        }
    }
    let lines = 4_000;
    for parallel in [1, 8] {
        let input = requests(lines, parallel);
        let start = Instant::now();
        let mut output = Vec::new();
        let summary = decide::run(std::io::Cursor::new(input), &mut output);
        let rate = f64::from(lines) / start.elapsed().as_secs_f64();
        println!("decide, N=128, parallel {parallel}: {rate:.0} lines/s ({summary:?})");
    }
}

fn timed(problem: &Problem) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..CALLS)
        .map(|seed| {
            let start = Instant::now();
            let step = plan(black_box(problem), seed.into());
            let time = start.elapsed();
            black_box(step).unwrap_or_else(|error| panic!("the bench's own problem is refused: {error}"));
            time
        })
        .collect();
    times.sort();
    times
}

/// A search with `runs` runs on pushes that `pick` names, the culprit in the middle.
fn problem(n: usize, runs: u32, parallel: u32, pick: impl Fn(&mut Random, usize) -> usize) -> Problem {
    let mut random = Random::new(7);
    let mut problem = Problem::new(n);
    problem.history = Counts::new(2, 198);
    problem.tail = Counts::new(4, 16);
    // No verdict, however much is known: it is the choice of the next run that is timed.
    problem.params = Params {
        confidence: 0.9999,
        parallel,
        max_jobs: u32::MAX,
        ..Params::default()
    };
    problem.evidence = (1..=n)
        .map(|push| Evidence {
            push,
            ..Evidence::default()
        })
        .collect();
    for _ in 0..runs {
        let push = pick(&mut random, n);
        let failed = random.chance(if push >= n / 2 { P1 } else { P0 });
        let slot = &mut problem.evidence[push - 1];
        if failed { slot.failed += 1 } else { slot.passed += 1 }
    }
    problem
}

/// Half as far from the middle with each halving of the chance: how a search closes in.
fn near_the_middle(random: &mut Random, n: usize) -> usize {
    let mut reach = n / 2;
    while reach > 1 && random.chance(0.7) {
        reach /= 2;
    }
    n / 2 - reach + 1 + random.below(2 * reach - 1)
}

/// Lines of searches at all stages.
fn requests(lines: u32, parallel: u32) -> String {
    let line = |index: u32| {
        let problem = problem(128, index % 120, parallel, near_the_middle);
        let seen = problem.evidence.iter().filter(|e| e.failed + e.passed > 0);
        let evidence: Vec<String> = seen
            .map(|e| format!(r#"{{"push":{},"failed":{},"passed":{}}}"#, e.push, e.failed, e.passed))
            .collect();
        format!(
            concat!(
                r#"{{"kind":"find-culprit","candidates":128,"history":{{"failed":2,"passed":198}},"#,
                r#""tail":{{"failed":4,"passed":16}},"evidence":[{}],"params":{{"parallel":{}}}}}"#,
            ),
            evidence.join(","),
            parallel,
        )
    };
    (0..lines).map(|index| line(index) + "\n").collect()
}
