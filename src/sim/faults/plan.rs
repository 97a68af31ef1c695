//! What goes wrong in a simulated story: a pure function of its seed.

use crate::dispatch::limits::Limits;
use crate::event::{Duration, Label, PushId, Timestamp};
use crate::sim::{Defect, Plan};
use crate::stats::random::Random;

/// The project of every story.
pub(super) const PROJECT: &str = "faulty";
/// The labels that may run on its pushes. Failures of those on `windows` are hunted, see the rules.
const LABELS: [&str; 6] = [
    "test-linux2404-64/opt-mochitest-browser-chrome",
    "test-linux2404-64/debug-xpcshell",
    "test-windows11-64/opt-mochitest-plain",
    "test-macosx1470-64/opt-reftest",
    "test-android-em-14/opt-geckoview-junit",
    "test-linux2404-64/opt-web-platform-tests",
];
/// What tells the later of two streams of one seed from the first.
const LATER: u64 = 0x6c61_7465_7200_0001;
/// What tells the third. Those that were named before it came (`tests/faults.rs`) fill nothing in, and stay what they were.
const TOGETHER: u64 = 0x6c61_7465_7200_0002;
/// How long after the last push things still go wrong.
const TROUBLE_AFTER: Duration = Duration::from_secs(6 * 3600);

/// One kind of thing that goes wrong. Each has its own chance, and its own stream of chance: to leave one out does not
/// change when another strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Fault {
    /// A message comes twice.
    Duplicate,
    /// A message overtakes those before it.
    Reorder,
    /// A message comes up to two hours late.
    Delay,
    /// The connection breaks between a commit and its acknowledgement: the messages come again.
    Cut,
    /// The process dies at a step in the store, before or after its commit.
    CrashAtStore,
    /// The process dies while it asks the CI, before or after the CI acts.
    CrashAtCi,
    /// The process dies while it fetches facts.
    CrashAtFacts,
    /// The disk is full when a transaction commits.
    DiskFull,
    /// The CI says 429 or 503 with `Retry-After`, and does nothing.
    Busy,
    /// A request is lost on its way, and nobody answers.
    LostBefore,
    /// The CI acts, and its answer is lost: a time-out, a reset, a 5xx, nonsense with 200.
    LostAfter,
    /// The CI acts only half a minute after nobody answered.
    ActsLate,
    /// The CI cannot be asked what became of a request.
    FindFails,
    /// The CI takes a request and runs nothing, ever.
    RunsNothing,
    /// The jobs of a request appear hours later.
    RunsLate,
    /// A task's definition cannot be had now.
    FactsFail,
    /// A message of a task that nobody else knows ends in an exception: a hundred of them at once.
    Storm,
    /// A person asks for one more run.
    Person,
    /// The wall clock jumps, up to an hour, forward or back.
    ClockJump,
    /// The CI does not take several requests with one call, and does none of them.
    Apart,
}

impl Fault {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Fault; 20] = [
        Fault::Duplicate,
        Fault::Reorder,
        Fault::Delay,
        Fault::Cut,
        Fault::CrashAtStore,
        Fault::CrashAtCi,
        Fault::CrashAtFacts,
        Fault::DiskFull,
        Fault::Busy,
        Fault::LostBefore,
        Fault::LostAfter,
        Fault::ActsLate,
        Fault::FindFails,
        Fault::RunsNothing,
        Fault::RunsLate,
        Fault::FactsFail,
        Fault::Storm,
        Fault::Person,
        Fault::ClockJump,
        Fault::Apart,
    ];

    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Duplicate => "duplicate",
            Fault::Reorder => "reorder",
            Fault::Delay => "delay",
            Fault::Cut => "cut",
            Fault::CrashAtStore => "crash-at-store",
            Fault::CrashAtCi => "crash-at-ci",
            Fault::CrashAtFacts => "crash-at-facts",
            Fault::DiskFull => "disk-full",
            Fault::Busy => "busy",
            Fault::LostBefore => "lost-before",
            Fault::LostAfter => "lost-after",
            Fault::ActsLate => "acts-late",
            Fault::FindFails => "find-fails",
            Fault::RunsNothing => "runs-nothing",
            Fault::RunsLate => "runs-late",
            Fault::FactsFail => "facts-fail",
            Fault::Storm => "storm",
            Fault::Person => "person",
            Fault::ClockJump => "clock-jump",
            Fault::Apart => "apart",
        }
    }

    /// How often it strikes at most, where it can.
    fn most(self) -> f64 {
        match self {
            Fault::Duplicate | Fault::Reorder | Fault::FactsFail | Fault::FindFails => 0.5,
            Fault::Delay => 0.2,
            Fault::Cut => 0.3,
            Fault::CrashAtStore | Fault::DiskFull => 0.02,
            Fault::CrashAtCi => 0.3,
            Fault::CrashAtFacts => 0.05,
            Fault::Busy | Fault::LostBefore | Fault::LostAfter | Fault::ActsLate => 0.5,
            Fault::RunsNothing | Fault::Apart => 0.5,
            Fault::RunsLate => 0.3,
            Fault::Storm => 0.005,
            Fault::ClockJump | Fault::Person => 0.02,
        }
    }
}

/// A story before it is told: the tree, the limits, and what may go wrong how often.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Everything follows from it.
    pub seed: u64,
    /// The tree and its CI.
    pub world: Plan,
    /// Daemons on the one store and the one queue.
    pub daemons: usize,
    /// Whether the store is a file: a process that dies alone leaves it as it is on the disk. Otherwise it is memory.
    pub on_disk: bool,
    /// What they may ask for.
    pub limits: Limits,
    /// Jobs a day on each platform that the rules' budget allows.
    pub budget: u32,
    /// Whether the CI can be asked what became of a request.
    pub can_tell: bool,
    /// Whether the CI says which task makes the jobs of a request.
    pub names_tasks: bool,
    /// Requests that the CI takes with one call at most.
    pub most_together: usize,
    /// Whether a rule fills in what is missing on pushes: several labels at once.
    pub fills: bool,
    /// Whether rules also look at runs that a person asked for.
    pub names_persons: bool,
    /// The chance of each fault, in the order of [`Fault::ALL`].
    pub chances: [f64; Fault::ALL.len()],
}

impl Scenario {
    /// The story of a seed. Each has some kinds of faults and not others: what goes wrong together matters.
    pub fn of(seed: u64) -> Scenario {
        let mut random = Random::new(seed);
        let pushes = 5 + random.below(5) as u64;
        let labels: Vec<Label> = LABELS
            .iter()
            .take(2 + random.below(3))
            .copied()
            .map(Label::from)
            .collect();
        let is_broken_push = random.chance(0.2);
        let breaks_at = |random: &mut Random| PushId(2 + random.below(pushes as usize - 2) as u64);
        let broken_push = breaks_at(&mut random);
        let mut defects = Vec::new();
        for label in &labels {
            let from = if is_broken_push {
                broken_push
            } else {
                breaks_at(&mut random)
            };
            let rate = if is_broken_push || random.chance(0.5) {
                1.0
            } else {
                0.2 + 0.6 * random.uniform()
            };
            if is_broken_push || random.chance(0.6) {
                defects.push(Defect {
                    label: label.clone(),
                    from,
                    rate,
                });
            }
        }
        let mut world = Plan {
            project: PROJECT.into(),
            start: Timestamp::from_seconds(1_780_300_800),
            pushes,
            between: Duration::from_secs(300 + 60 * random.below(60) as u64),
            labels,
            skipped: 0.2 + 0.6 * random.uniform(),
            background: if random.chance(0.3) { 0.05 } else { 0.0 },
            infra: if random.chance(0.3) {
                0.3 * random.uniform()
            } else {
                0.01
            },
            meters: Vec::new(),
            uplifts: Default::default(),
            defects,
            seed: random.bits(),
        };
        let is_tight = random.chance(0.5);
        let mut limits = Limits {
            jobs_per_hour: Some(if is_tight { 2 + random.below(8) as u64 } else { 200 }),
            jobs_per_day: Some(if is_tight { 5 + random.below(40) as u64 } else { 1_000 }),
            jobs_per_label_per_day: Some(if is_tight { 3 + random.below(20) as u64 } else { 100 }),
            jobs_per_push: Some(if is_tight { 4 + random.below(12) as u64 } else { 200 }),
            jobs_per_rule_per_day: is_tight.then(|| 4 + random.below(30) as u64),
            jobs_per_project_per_day: is_tight.then(|| 4 + random.below(40) as u64),
            jobs_per_platform_per_day: is_tight.then(|| 3 + random.below(20) as u64),
            requests_per_second: [0.1, 1.0, 2.0, 100.0][random.below(4)],
            concurrency: [1, 2, 100][random.below(3)],
            ..Limits::default()
        };
        let daemons = if random.chance(0.25) { 2 } else { 1 };
        let budget = if is_tight { 3 + random.below(20) as u32 } else { 500 };
        let can_tell = random.chance(0.8);
        let names_tasks = random.chance(0.85);
        let names_persons = random.chance(0.3);
        // Three kinds of faults on average, and now and then a sky that falls.
        let share = if random.chance(0.1) { 0.6 } else { 0.17 };
        let mut chances = Fault::ALL.map(|fault| {
            let strikes = random.chance(share);
            let chance = fault.most() * random.uniform();
            if strikes { chance } else { 0.0 }
        });
        // From a stream of its own: it was drawn later than all else, and older seeds go on telling their stories.
        let mut random = Random::new(seed ^ LATER);
        let on_disk = random.chance(0.2);
        // Where nothing else holds requests back: this limit shows then, or its lack.
        if !is_tight && random.chance(0.4) {
            limits.machine_hours_per_day = Some(1 + random.below(4) as u64);
            limits.machine_hours_per_platform_per_day = Some(1 + random.below(3) as u64);
            limits.machine_hours_per_rule_per_day = Some(1 + random.below(3) as u64);
        }
        // The same once more: what is asked for together.
        let mut random = Random::new(seed ^ TOGETHER);
        let fills = random.chance(0.4);
        let most_together = [1, 2, 100][random.below(3)];
        if fills {
            // Many labels, so that several are missing on one push.
            world.labels = LABELS.map(Label::from).into();
            if random.chance(0.4) {
                chances[Fault::Apart as usize] = Fault::Apart.most() * random.uniform();
            }
        }
        Scenario {
            seed,
            world,
            daemons,
            on_disk,
            limits,
            budget,
            can_tell,
            names_tasks,
            most_together,
            fills,
            names_persons,
            chances,
        }
    }

    /// The chance of a fault.
    pub fn chance(&self, fault: Fault) -> f64 {
        self.chances.get(fault as usize).copied().unwrap_or(0.0)
    }

    /// From when on nothing goes wrong any more: what is left then has to come to its end.
    pub fn healed_at(&self) -> Timestamp {
        let pushes = u32::try_from(self.world.pushes).unwrap_or(u32::MAX);
        // The gaps between pushes are at most half as long again as their mean.
        let landing = self.world.between.saturating_mul(pushes).mul_f64(1.5);
        self.world.start.plus(landing).plus(TROUBLE_AFTER)
    }

    /// The kinds of faults that this story has.
    pub fn faults(&self) -> Vec<Fault> {
        Fault::ALL
            .into_iter()
            .filter(|fault| self.chance(*fault) > 0.0)
            .collect()
    }

    /// Simpler stories of the same kind, the most different first: for the search of the shortest one that still
    /// fails.
    pub fn simpler(&self) -> Vec<Scenario> {
        let mut simpler = Vec::new();
        let mut push = |change: &dyn Fn(&mut Scenario)| {
            let mut changed = self.clone();
            change(&mut changed);
            simpler.push(changed);
        };
        for fault in self.faults() {
            push(&move |scenario| {
                if let Some(chance) = scenario.chances.get_mut(fault as usize) {
                    *chance = 0.0;
                }
            });
        }
        if self.daemons > 1 {
            push(&|scenario| scenario.daemons = 1);
        }
        if self.on_disk {
            push(&|scenario| scenario.on_disk = false);
        }
        if self.fills {
            push(&|scenario| scenario.fills = false);
        }
        for index in 0..self.world.labels.len() {
            if self.world.labels.len() > 1 {
                push(&move |scenario| drop(scenario.world.labels.remove(index)));
            }
        }
        for index in 0..self.world.defects.len() {
            push(&move |scenario| drop(scenario.world.defects.remove(index)));
        }
        if self.world.pushes > 3 {
            push(&|scenario| scenario.world.pushes -= 1);
        }
        simpler
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_fault_has_its_own_place_and_name() {
        for (place, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, place);
        }
        let names: std::collections::BTreeSet<&str> = Fault::ALL.iter().map(|fault| fault.as_str()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
    }

    #[test]
    fn over_many_seeds_every_kind_of_fault_strikes_and_some_stories_have_none() {
        let stories: Vec<Scenario> = (0..500).map(Scenario::of).collect();
        for fault in Fault::ALL {
            let struck = stories.iter().filter(|story| story.chance(fault) > 0.0).count();
            assert!(struck > 25, "{} strikes in {struck} of 500 stories", fault.as_str());
        }
        assert!(stories.iter().any(|story| story.faults().is_empty()));
        assert!(stories.iter().any(|story| story.daemons == 2));
        let on_disk = stories.iter().filter(|story| story.on_disk).count();
        assert!((50..200).contains(&on_disk), "{on_disk}");
        assert!(stories.iter().any(|story| story.limits.machine_hours_per_day.is_some()));
        let together = stories
            .iter()
            .filter(|story| story.fills && story.most_together > 1)
            .count();
        assert!((80..200).contains(&together), "{together}");
    }
}
