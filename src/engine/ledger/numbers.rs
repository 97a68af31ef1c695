//! What runs measured.

use std::sync::Arc;

use super::LedgerError;
use crate::event::{JobEvent, Label, Project, PushId, Timestamp};

/// Which numeric results are wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct ValuesQuery {
    /// The tree.
    pub project: Project,
    /// The jobs that measure, each by its whole label.
    pub labels: Vec<Label>,
    /// The series; `None`: every series that stands for a suite as a whole.
    pub series: Option<Arc<str>>,
    /// The window of pushes.
    pub from: PushId,
    /// Its last push.
    pub to: PushId,
    /// Values of older runs are not history.
    pub since: Timestamp,
}

/// One value in the books.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueRow {
    /// The job that measured it.
    pub label: Label,
    /// The push it ran for.
    pub push: PushId,
    /// The series.
    pub series: Arc<str>,
    /// The value.
    pub value: f64,
}

/// Numeric results, and what may hold more of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Values {
    /// Values of the window, and the newest before it, oldest push first.
    pub rows: Vec<ValueRow>,
    /// Runs of the window that passed and whose results were not read yet: events as they were.
    pub unread: Vec<JobEvent>,
}

/// The books inside one transaction: what runs measured.
pub trait Numbers {
    /// Project and label of everything that an open case about numbers is about: the results of its runs are wanted.
    fn numeric_subjects(&mut self) -> Result<Vec<(Project, Label)>, LedgerError>;

    /// Numeric results of jobs, with the runs whose results were not read yet.
    fn values(&mut self, query: &ValuesQuery) -> Result<Values, LedgerError>;

    /// The labels that measure a series, the one that did last first.
    fn labels_measuring(&mut self, project: &Project, series: &str) -> Result<Vec<Label>, LedgerError>;

    /// The series that a label measures, those of a suite as a whole first.
    fn series_of(&mut self, project: &Project, label: &Label) -> Result<Vec<Arc<str>>, LedgerError>;
}
