//! The tables of `find-culprit`.

use super::bounds;
use super::rivals::{self, Said, Search};
use super::table::{Mean, Report};
use super::world::{Flaw, World, trial_seed};
use crate::stats::culprit::Params;

/// Candidates in every table.
pub(super) const PUSHES: usize = 128;

/// The cells: (p1, p0).
const CELLS: [(f64, f64); 6] = [
    (1.0, 0.01),
    (0.5, 0.01),
    (0.5, 0.05),
    (0.2, 0.0),
    (0.2, 0.01),
    (0.1, 0.001),
];

/// Runs that mixed work may spend on a case.
pub(super) const BUDGET: u32 = 300;

pub(super) fn one_by_one() -> Params {
    Params {
        parallel: 1,
        max_jobs: u32::MAX,
        ..Params::default()
    }
}

/// A policy by name.
type Policy = (&'static str, fn(&World) -> Search);

/// Accuracy and mean runs of every policy in every cell.
pub(super) fn policies(seed: u64, trials: u32) -> Report {
    let policies: [Policy; 6] = [
        ("known-rate oracle", |world| {
            rivals::ours(world, world.failing_tail(), true, one_by_one())
        }),
        ("this engine", |world| {
            rivals::ours(world, world.failing_tail(), false, one_by_one())
        }),
        ("git_bayesect's model", rivals::bayesect),
        ("FACF as published (p1=1 assumed)", rivals::flake_aware),
        ("bisect, 20 tries a push", |world| rivals::bisect(world, 20)),
        ("every push ×20", |world| rivals::every_push(world, 20)),
    ];
    let title = format!(
        "find-culprit, N={PUSHES}, 95 %, history 200, tail 20: accuracy % / mean runs ({trials} trials a cell)"
    );
    let heads: Vec<String> = CELLS.iter().map(|(p1, p0)| format!("p1={p1}, p0={p0}")).collect();
    let mut columns = vec!["policy"];
    columns.extend(heads.iter().map(String::as_str));
    let mut report = Report::new(title, &columns);
    let bound = |(p1, p0): &(f64, f64)| format!("{:.1}", bounds::runs(PUSHES, *p0, *p1));
    report.row(std::iter::once("lower bound, rates known".to_owned()).chain(CELLS.iter().map(bound)));

    let measured: Vec<Vec<(Mean, Mean)>> = policies
        .iter()
        .map(|(_, policy)| {
            CELLS
                .iter()
                .map(|(p1, p0)| measure(seed, trials, (*p0, *p1), *policy))
                .collect()
        })
        .collect();
    for ((name, _), cells) in policies.iter().zip(&measured) {
        let shown = cells
            .iter()
            .map(|(right, runs)| format!("{} / {}", right.percent(), runs.show()));
        report.row(std::iter::once((*name).to_owned()).chain(shown));
    }
    let ratio = |(ours, oracle): (&(Mean, Mean), &(Mean, Mean))| format!("{:.2}", ours.1.mean() / oracle.1.mean());
    let ratios = measured[1].iter().zip(&measured[0]).map(ratio);
    report.row(std::iter::once("this engine : oracle".to_owned()).chain(ratios));
    let of_bound = |(cell, oracle): (&(f64, f64), &(Mean, Mean))| {
        format!("{:.2}", oracle.1.mean() / bounds::runs(PUSHES, cell.1, cell.0))
    };
    let ratios = CELLS.iter().zip(&measured[0]).map(of_bound);
    report.row(std::iter::once("oracle : lower bound".to_owned()).chain(ratios));
    report
}

fn measure(seed: u64, trials: u32, rates: (f64, f64), policy: fn(&World) -> Search) -> (Mean, Mean) {
    let (mut right, mut runs) = (Mean::default(), Mean::default());
    for trial in 0..trials {
        let world = World::with_culprit(PUSHES, rates, trial_seed(seed, trial));
        let search = policy(&world);
        right.count(search.right(&world));
        runs.add(search.runs.into());
    }
    (right, runs)
}

/// The price of automatic rounds against fixed ones.
pub(super) fn rounds(seed: u64, trials: u32) -> Report {
    const FIXED: [u32; 7] = [1, 2, 4, 6, 8, 12, 16];
    const PRICE: f64 = 4.0;
    const CAP: u32 = 32;
    let title = format!("find-culprit, p0=0.01: runs / rounds, price = runs + {PRICE}·rounds ({trials} trials a cell)");
    let columns = ["jobs a round", "p1=1", "price", "p1=0.5", "price", "p1=0.2", "price"];
    let mut report = Report::new(title, &columns);
    let cells = [1.0, 0.5, 0.2];
    let measure = |p1: f64, params: Params| {
        let (mut runs, mut rounds, mut price) = (Mean::default(), Mean::default(), Mean::default());
        for trial in 0..trials {
            let world = World::with_culprit(PUSHES, (0.01, p1), trial_seed(seed, trial));
            let search = rivals::ours(&world, world.failing_tail(), false, params);
            runs.add(search.runs.into());
            rounds.add(search.rounds.into());
            price.add(f64::from(search.runs) + PRICE * f64::from(search.rounds));
        }
        (format!("{:.1} / {:.1}", runs.mean(), rounds.mean()), price)
    };
    // A price that no gain outweighs fills every round up to its cap.
    let fixed = |b: u32| Params {
        parallel: b,
        round_price: 1_000.0,
        ..one_by_one()
    };
    let mut best = [f64::INFINITY; 3];
    for b in FIXED {
        let mut row = vec![format!("{b}")];
        for (cell, p1) in cells.iter().enumerate() {
            let (shown, price) = measure(*p1, fixed(b));
            best[cell] = best[cell].min(price.mean());
            row.extend([shown, price.show()]);
        }
        report.row(row);
    }
    let mut row = vec![format!("automatic, λ={PRICE}, at most {CAP}")];
    let mut ratios = vec!["automatic : best fixed".to_owned()];
    for (cell, p1) in cells.iter().enumerate() {
        let (shown, price) = measure(
            *p1,
            Params {
                parallel: CAP,
                round_price: PRICE,
                ..one_by_one()
            },
        );
        ratios.extend([String::new(), format!("{:.3}", price.mean() / best[cell])]);
        row.extend([shown, price.show()]);
    }
    report.row(row);
    report.row(ratios);
    report
}

/// Worlds from the prior, and worlds that depart from it: honesty, and what a budget decides.
pub(super) fn mixed(seed: u64, trials: u32) -> Report {
    let title = format!(
        "find-culprit, worlds from the prior, N={PUSHES}, 40 % without a culprit, budget {BUDGET} runs \
         ({trials} trials, a third in the flawed worlds)"
    );
    let columns = [
        "world",
        "decided right %",
        "stated %",
        "undecided %",
        "runs",
        "median runs",
    ];
    let mut report = Report::new(title, &columns);
    let worlds = [
        ("as the prior has it", Flaw::None),
        ("5 % of pushes are strays", Flaw::Strays(0.05)),
        ("10 % of pushes are strays", Flaw::Strays(0.1)),
        ("p1 falls by e in 128 pushes", Flaw::Fading(128.0)),
        ("p1 falls by e in 48 pushes", Flaw::Fading(48.0)),
    ];
    for (name, flaw) in worlds {
        // Calibration is judged to a point, robustness to three.
        let trials = if flaw == Flaw::None { trials } else { trials.div_ceil(3) };
        report.row(mixed_row(name, flaw, false, seed, trials));
    }
    report.row(mixed_row(
        "as the prior has it, rates known",
        Flaw::None,
        true,
        seed,
        trials,
    ));
    report
}

fn mixed_row(name: &str, flaw: Flaw, known: bool, seed: u64, trials: u32) -> Vec<String> {
    let params = Params {
        max_jobs: BUDGET,
        ..one_by_one()
    };
    let (mut right, mut stated, mut undecided, mut runs) =
        (Mean::default(), Mean::default(), Mean::default(), Mean::default());
    let mut all = Vec::new();
    for trial in 0..trials {
        let world = World::from_prior(PUSHES, flaw, trial_seed(seed, trial));
        let search = rivals::ours(&world, world.tail(), known, params);
        undecided.count(search.said == Said::Undecided);
        if search.said != Said::Undecided {
            right.count(search.right(&world));
            stated.add(search.stated);
        }
        runs.add(search.runs.into());
        all.push(search.runs);
    }
    all.sort_unstable();
    vec![
        name.to_owned(),
        right.percent(),
        stated.percent(),
        undecided.percent(),
        runs.show(),
        all[all.len() / 2].to_string(),
    ]
}
