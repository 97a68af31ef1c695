//! A detector of steps in what is measured, as Perfherder is one.
//!
//! In: on which pushes a job has measured its series. Out: an alert once a step has enough values behind it. Never: the push
//! that made the step: it knows the measured pushes on either side, and between them many may lie.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::Meter;
use crate::event::{Label, PushId};

/// Pushes with the new level that it has to see.
const SURE_AFTER: usize = 3;

/// A step that the detector has seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Its number.
    pub id: u64,
    /// The job that measures the series.
    pub label: Label,
    /// The series.
    pub suite: String,
    /// The first measured push with the new level.
    pub push: PushId,
    /// The last measured push with the old one.
    pub previous: PushId,
    /// The old level.
    pub old: f64,
    /// The new one.
    pub new: f64,
}

/// What was measured so far, and what was told of it.
#[derive(Debug, Default)]
pub struct Detector {
    /// The pushes on which a meter has a value.
    measured: BTreeMap<usize, BTreeSet<PushId>>,
    /// Steps that were told: of which meter, from which push on.
    told: BTreeSet<(usize, PushId)>,
}

impl Detector {
    /// A run of a job on a push has measured. Returns the steps that are certain now.
    pub fn see(&mut self, meters: &[Meter], label: &Label, push: PushId) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for (number, meter) in meters.iter().enumerate().filter(|(_, meter)| meter.label == *label) {
            let measured = self.measured.entry(number).or_default();
            measured.insert(push);
            for (from, _) in &meter.steps {
                let (Some(previous), Some(first)) = (measured.range(..from).next_back(), measured.range(from..).next())
                else {
                    continue;
                };
                if measured.range(from..).count() < SURE_AFTER || !self.told.insert((number, *from)) {
                    continue;
                }
                alerts.push(Alert {
                    id: self.told.len() as u64,
                    label: label.clone(),
                    suite: meter.suite.clone(),
                    push: *first,
                    previous: *previous,
                    old: meter.level_on(*previous),
                    new: meter.level_on(*first),
                });
            }
        }
        alerts
    }
}
