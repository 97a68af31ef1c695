//! The jobs around a push: what ran where, what waits, and what could run. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::engine::ledger::{JobsOn, KnownLabel, PushRow};
use crate::event::{Label, PushId, Reason, Target, TaskGraph, Unable};

/// Near matches that are named for a label that does not exist.
const NEAR: usize = 3;
/// How alike a near match has to be, 0 to 1.
const ALIKE: f64 = 0.7;
/// Jobs that one case may be about.
pub const TARGETS: usize = 5_000;

/// What is known of the jobs around a push.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Field {
    /// The pushes of the window, oldest first.
    pub pushes: Vec<PushRow>,
    /// Every label that the project's history knows.
    pub known: Vec<KnownLabel>,
    /// What there is, by label and push.
    pub jobs: HashMap<(Label, PushId), JobsOn>,
    /// What can run on the push, where that is to be had.
    pub graph: Option<TaskGraph>,
}

/// What a label is, from whatever told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traits {
    /// The platform, for limits; `unknown` where nothing told.
    pub platform: Arc<str>,
    /// Whether it is a build or a test: what a push is made of, and not what serves that.
    pub is_job: bool,
    /// Other names of its platform and its suite, for patterns.
    names: [Vec<String>; 2],
}

/// What comes of wanting jobs.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// These, and these cannot be had.
    Jobs {
        /// What to run, builds before tests.
        targets: Vec<Target>,
        /// What cannot be run.
        unable: Vec<Unable>,
    },
    /// Nothing comes of it.
    No(Reason, String),
}

impl Wanted {
    /// Puts targets in order. Nothing at all is a refusal with `none`.
    pub fn of(mut targets: Vec<Target>, unable: Vec<Unable>, none: (Reason, &str)) -> Wanted {
        if targets.is_empty() && unable.is_empty() {
            return Wanted::No(none.0, none.1.to_owned());
        }
        if targets.len() > TARGETS {
            let why = format!("{} jobs are meant, and one case may be about {TARGETS}", targets.len());
            return Wanted::No(Reason::NotPossible, why);
        }
        targets.sort_by_key(|target| !target.label.names_a_build());
        Wanted::Jobs { targets, unable }
    }
}

impl Field {
    /// What there is of a label on a push.
    pub fn on(&self, label: &Label, push: PushId) -> JobsOn {
        self.jobs.get(&(label.clone(), push)).copied().unwrap_or_default()
    }

    /// The push as the books know it.
    pub fn push(&self, push: PushId) -> Option<&PushRow> {
        self.pushes.iter().find(|row| row.push == push)
    }

    /// Whether jobs can be asked for on the push.
    pub fn can_run_on(&self, push: PushId) -> bool {
        self.push(push).is_some_and(|row| row.revision.is_some())
    }

    /// Labels that ran on a push of the window, or wait there.
    pub fn seen(&self) -> BTreeSet<&Label> {
        let seen = self
            .jobs
            .iter()
            .filter(|(_, jobs)| jobs.counts.total() + jobs.coming() > 0);
        seen.map(|((label, _), _)| label).collect()
    }

    /// What can be asked for: the task graph, or what the history knows where there is none.
    pub fn universe(&self) -> BTreeMap<&Label, Traits> {
        let told: HashMap<&Label, &KnownLabel> = self.known.iter().map(|known| (&known.label, known)).collect();
        match &self.graph {
            Some(graph) => {
                let traits = |(label, job)| (label, traits(label, told.get(label).copied(), Some(job)));
                graph.jobs.iter().map(traits).collect()
            }
            None => told
                .into_iter()
                .map(|(label, known)| (label, traits(label, Some(known), None)))
                .collect(),
        }
    }
}

fn traits(label: &Label, known: Option<&KnownLabel>, job: Option<&crate::event::GraphJob>) -> Traits {
    let place = label.place_and_rest();
    let place_of = job
        .and_then(|job| job.platform.as_deref())
        .or(place.map(|(place, _)| place));
    let told = known.and_then(|known| known.platform.clone());
    let platform = told
        .or_else(|| place_of.map(|place| place.split('/').next().unwrap_or(place).into()))
        .unwrap_or_else(|| "unknown".into());
    let kind = job
        .and_then(|job| job.kind.as_deref())
        .or(known.and_then(|known| known.kind.as_deref()));
    let is_test = kind == Some("test") || label.as_str().starts_with("test-") || label.as_str().contains(" test ");
    let is_build = kind == Some("build") || label.names_a_build();
    let suite = known.and_then(|known| known.suite.as_deref());
    let rest = place.map(|(_, rest)| rest);
    // Without its chunk number too: `--suite mochitest` means all its chunks.
    let whole = rest.map(|rest| {
        rest.trim_end_matches(|c: char| c.is_ascii_digit())
            .trim_end_matches('-')
    });
    let own = |names: &[Option<&str>]| names.iter().flatten().map(|name| (*name).to_owned()).collect();
    Traits {
        is_job: is_test || is_build,
        names: [own(&[Some(&*platform), place_of]), own(&[suite, rest, whole])],
        platform,
    }
}

impl Traits {
    /// Whether one of the patterns names its platform; no patterns mean all.
    pub fn is_on(&self, platforms: &Patterns) -> bool {
        let [names, _] = &self.names;
        platforms.is_empty() || names.iter().any(|name| platforms.is_match(name))
    }

    /// Whether one of the patterns names its suite; no patterns mean all.
    pub fn is_of(&self, suites: &Patterns) -> bool {
        let [_, names] = &self.names;
        suites.is_empty() || names.iter().any(|name| suites.is_match(name))
    }
}

/// Names and patterns of names, `*` standing for any characters.
#[derive(Debug, Default)]
pub struct Patterns(Option<GlobSet>);

impl Patterns {
    /// Reads them.
    ///
    /// # Errors
    /// One of them is no pattern: which, and why.
    pub fn read<T: AsRef<str>>(patterns: &[T]) -> Result<Patterns, String> {
        if patterns.is_empty() {
            return Ok(Patterns(None));
        }
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            // Labels hold slashes, which stand for nothing here.
            let glob = GlobBuilder::new(pattern).literal_separator(false).build();
            set.add(glob.map_err(|error| format!("`{pattern}` is no pattern: {}", error.kind()))?);
        }
        Ok(Patterns(Some(set.build().map_err(|error| error.to_string())?)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether one of them is the name or matches it; without any: no.
    pub fn is_match(&self, name: &str) -> bool {
        self.0.as_ref().is_some_and(|set| set.is_match(name))
    }
}

/// Whether a text is a pattern rather than a name.
fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// Labels that were named, found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    /// Those that exist.
    pub labels: BTreeSet<Label>,
    /// Those that do not, with what is like them.
    pub unable: Vec<Unable>,
}

/// Looks up labels and patterns among those that there are. Where nothing at all is known of a project, a whole label
/// is taken as it is: the CI will say whether there is one.
///
/// # Errors
/// A pattern is none: which, and why.
pub fn find(
    named: &[String],
    universe: &BTreeMap<&Label, Traits>,
    matchable: impl Fn(&Label) -> bool,
) -> Result<Named, String> {
    let mut found = Named::default();
    for text in named {
        let unable = |why: String| Unable {
            label: Label::from(text.as_str()),
            push: None,
            why,
        };
        if is_pattern(text) {
            let pattern = Patterns::read(&[text])?;
            let before = found.labels.len();
            let matching = universe.keys().filter(|label| pattern.is_match(label.as_str()));
            let matching: Vec<&&Label> = matching.filter(|label| matchable(label)).collect();
            found.labels.extend(matching.iter().map(|label| (**label).clone()));
            if matching.is_empty() && before == found.labels.len() {
                found.unable.push(unable("no label matches".to_owned()));
            }
        } else if universe.is_empty() || universe.contains_key(&Label::from(text.as_str())) {
            found.labels.insert(Label::from(text.as_str()));
        } else {
            found.unable.push(unable(match near(text, universe.keys().copied()) {
                near if near.is_empty() => "there is no such label, and none like it".to_owned(),
                near => format!("there is no such label; did you mean {}?", near.join(" or ")),
            }));
        }
    }
    Ok(found)
}

/// The labels most like a name, the most alike first.
fn near<'a>(name: &str, labels: impl Iterator<Item = &'a Label>) -> Vec<String> {
    let length = name.len();
    let mut near: Vec<(f64, &Label)> = labels
        .filter(|label| {
            let other = label.as_str().len();
            // No two texts whose lengths differ by more can be alike enough.
            other.abs_diff(length) as f64 <= (1.0 - ALIKE) * other.max(length) as f64
        })
        .map(|label| (strsim::normalized_levenshtein(label.as_str(), name), label))
        .filter(|(alike, _)| *alike >= ALIKE)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.into_iter()
        .take(NEAR)
        .map(|(_, label)| format!("`{label}`"))
        .collect()
}

/// What several labels are called together, as the subject of a case: the same for the same labels. A long list is
/// shortened, and told apart by a sum.
pub fn collective(names: &[String]) -> String {
    /// Names that are written out.
    const WRITTEN: usize = 2;
    match names {
        [] => "*".to_owned(),
        few if few.len() <= WRITTEN => few.join(", "),
        many => {
            use sha2::{Digest as _, Sha256};
            let sum = Sha256::digest(many.join("\n").as_bytes());
            let sum: String = sum.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            let written: Vec<&str> = many.iter().take(WRITTEN).map(String::as_str).collect();
            format!("{} and {} more ({sum})", written.join(", "), many.len() - WRITTEN)
        }
    }
}
