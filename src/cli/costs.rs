//! What rules cost: jobs by day and platform.
//!
//! In: requests. Out: sums, and a table for people. Never: deciding what counts as asked for: its caller does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::Serialize;

use crate::event::Timestamp;

/// The day (UTC) of a moment: `2026-06-01`.
pub(super) fn day(at: Timestamp) -> String {
    let mut text = at.to_string();
    text.truncate("2026-06-01".len());
    text
}

/// Jobs by day and platform.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Costs(BTreeMap<(String, String), u64>);

impl Costs {
    /// Adds jobs.
    pub(super) fn add(&mut self, at: Timestamp, platform: &str, jobs: u64) {
        *self.0.entry((day(at), platform.to_owned())).or_default() += jobs;
    }

    /// All jobs.
    pub(super) fn jobs(&self) -> u64 {
        self.0.values().sum()
    }

    fn of(&self, account: &(String, String)) -> u64 {
        self.0.get(account).copied().unwrap_or_default()
    }
}

/// One line of two costs beside each other.
#[derive(Debug, Serialize)]
pub(super) struct CostLine {
    day: String,
    platform: String,
    /// Jobs on the left side.
    pub left: u64,
    /// Jobs on the right side.
    pub right: u64,
}

/// Two costs beside each other, by day and platform.
pub(super) fn beside(left: &Costs, right: &Costs) -> Vec<CostLine> {
    let accounts: BTreeSet<&(String, String)> = left.0.keys().chain(right.0.keys()).collect();
    accounts
        .into_iter()
        .map(|account| CostLine {
            day: account.0.clone(),
            platform: account.1.clone(),
            left: left.of(account),
            right: right.of(account),
        })
        .collect()
}

/// Writes a table with a line a day and platform, and the sum. `names` are those of the two sides.
///
/// # Errors
/// The output cannot be written.
pub(super) fn write_table(lines: &[CostLine], names: [&str; 2], out: &mut dyn Write) -> io::Result<()> {
    let width = lines
        .iter()
        .map(|line| line.platform.chars().count())
        .max()
        .unwrap_or_default()
        .max("platform".len());
    let mut row = |day: &str, platform: &str, left: &str, right: &str, change: &str| {
        let line = format!("  {day:<10}  {platform:<width$}  {left:>8}  {right:>8}  {change:>8}");
        writeln!(out, "{}", line.trim_end())
    };
    row("day", "platform", names[0], names[1], "change")?;
    let number = |line: &CostLine| {
        let change = i128::from(line.right) - i128::from(line.left);
        (line.left.to_string(), line.right.to_string(), format!("{change:+}"))
    };
    for line in lines {
        let (left, right, change) = number(line);
        row(&line.day, &line.platform, &left, &right, &change)?;
    }
    let sum = CostLine {
        day: String::new(),
        platform: String::new(),
        left: lines.iter().map(|line| line.left).sum(),
        right: lines.iter().map(|line| line.right).sum(),
    };
    let (left, right, change) = number(&sum);
    row("all", "", &left, &right, &change)
}
