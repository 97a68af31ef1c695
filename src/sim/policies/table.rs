//! Estimates with their standard errors, and tables of them.

use std::fmt::Write as _;

use serde::Serialize;

/// A mean of independent trials.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mean {
    n: f64,
    sum: f64,
    squares: f64,
}

impl Mean {
    /// Adds one trial.
    pub fn add(&mut self, value: f64) {
        self.n += 1.0;
        self.sum += value;
        self.squares += value * value;
    }

    /// Adds one trial that went right or not.
    pub fn count(&mut self, right: bool) {
        self.add(if right { 1.0 } else { 0.0 });
    }

    /// The mean; 0 without trials.
    pub fn mean(&self) -> f64 {
        self.sum / self.n.max(1.0)
    }

    /// The standard error of the mean.
    pub fn error(&self) -> f64 {
        let mean = self.mean();
        ((self.squares / self.n.max(1.0) - mean * mean).max(0.0) / self.n.max(1.0)).sqrt()
    }

    /// The mean with its standard error.
    pub fn show(&self) -> String {
        let digits = if self.mean() < 100.0 { 2 } else { 1 };
        format!("{:.digits$} ±{:.digits$}", self.mean(), self.error())
    }

    /// The mean as a percentage with its standard error.
    pub fn percent(&self) -> String {
        format!("{:.1} ±{:.1}", 100.0 * self.mean(), 100.0 * self.error())
    }
}

/// One table: what it shows, its columns and rows, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What the table shows, and from how many trials.
    pub title: String,
    /// Column headings; the first is of the row names.
    pub columns: Vec<String>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<String>>,
}

impl Report {
    /// An empty table.
    pub(super) fn new(title: impl Into<String>, columns: &[&str]) -> Report {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Report {
            title: title.into(),
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table in Markdown, with its title as a heading.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("### {}\n\n{}", self.title, line(&self.columns));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "|{}", "---|".repeat(self.columns.len()));
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        text
    }
}
