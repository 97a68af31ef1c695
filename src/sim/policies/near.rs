//! What it is worth to know which pushes touch files near the failing test, and what it costs where that tells nothing.

use super::culprit::{BUDGET, PUSHES, one_by_one};
use super::rivals::{self, Said};
use super::table::{Mean, Report};
use super::world::{Flaw, World, trial_seed};
use crate::event::FindCulpritParams;
use crate::stats::culprit::{Params, favouring};
use crate::stats::random::Random;

/// The share of pushes that touch files near a test.
const NEAR: f64 = 0.05;
/// How often the culprit is one of them on purpose: 0 is a world in which nearness tells nothing.
const ON_PURPOSE: [f64; 4] = [0.0, 0.3, 0.6, 0.9];

/// Where the culprit is for certain: (p1, p0).
const CELLS: [(f64, f64); 2] = [(1.0, 0.01), (0.2, 0.01)];

/// Searches that look at what pushes touch beside searches that do not, in the same worlds.
pub(super) fn near(seed: u64, trials: u32) -> Report {
    let share = FindCulpritParams::default().near_prior;
    let title = format!(
        "find-culprit, N={PUSHES}, {:.0} % of pushes near the test, near_prior 0 and {share}: right % / runs, and of worlds from \
         the prior (budget {BUDGET}) right of decided % / undecided % / runs ({trials} trials a cell)",
        100.0 * NEAR
    );
    let mut columns = vec!["near on purpose".to_owned()];
    for (p1, p0) in CELLS {
        columns.extend([0.0, share].map(|prior| format!("p1={p1}, p0={p0}, {prior}")));
    }
    columns.extend([0.0, share].map(|prior| format!("from the prior, {prior}")));
    let mut report = Report::new(title, &columns.iter().map(String::as_str).collect::<Vec<_>>());
    for on_purpose in ON_PURPOSE {
        let mut row = vec![format!("{:.0} %", 100.0 * on_purpose)];
        for (p1, p0) in CELLS {
            let world = |seed| World::with_culprit(PUSHES, (p0, p1), seed);
            row.extend([0.0, share].map(|prior| {
                let cell = Cell::measure(world, on_purpose, prior, u32::MAX, (seed, trials));
                format!("{} / {}", cell.right.percent(), cell.runs.show())
            }));
        }
        let world = |seed| World::from_prior(PUSHES, Flaw::None, seed);
        row.extend([0.0, share].map(|prior| {
            let cell = Cell::measure(world, on_purpose, prior, BUDGET, (seed, trials));
            format!(
                "{} / {} / {}",
                cell.right.percent(),
                cell.undecided.percent(),
                cell.runs.show()
            )
        }));
        report.row(row);
    }
    report
}

#[derive(Default)]
struct Cell {
    /// Right of those that were decided.
    right: Mean,
    undecided: Mean,
    runs: Mean,
}

impl Cell {
    fn measure(
        world: impl Fn(u64) -> World,
        on_purpose: f64,
        near_prior: f64,
        max_jobs: u32,
        (seed, trials): (u64, u32),
    ) -> Cell {
        let mut cell = Cell::default();
        let params = Params {
            max_jobs,
            ..one_by_one()
        };
        for trial in 0..trials {
            let seed = trial_seed(seed, trial);
            let (world, near) = with_near(world(seed), on_purpose);
            // Without a budget somebody has opened the case for a failure; mixed work takes the tail as it comes.
            let tail = if max_jobs == u32::MAX {
                world.failing_tail()
            } else {
                world.tail()
            };
            let mut problem = rivals::problem(&world, tail, false, params);
            problem.prior = favouring(near_prior, &near);
            let search = rivals::search(&world, problem);
            cell.undecided.count(search.said == Said::Undecided);
            if search.said != Said::Undecided {
                cell.right.count(search.right(&world));
            }
            cell.runs.add(search.runs.into());
        }
        cell
    }
}

/// Which pushes are near the test, and the world with its culprit among them, with this probability.
fn with_near(mut world: World, on_purpose: f64) -> (World, Vec<bool>) {
    // A stream of its own: the coins of the world's runs stay what they are.
    let mut random = Random::new(world.seed.rotate_left(17));
    let near: Vec<bool> = (0..PUSHES).map(|_| random.chance(NEAR)).collect();
    let places: Vec<usize> = (1..)
        .zip(&near)
        .filter(|(_, is_near)| **is_near)
        .map(|(push, _)| push)
        .collect();
    if world.has_culprit() && !places.is_empty() && random.chance(on_purpose) {
        world.culprit = places[random.below(places.len())];
    }
    (world, near)
}
