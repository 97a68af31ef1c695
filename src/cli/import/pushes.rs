//! Which number each push of a table has in the books.
//!
//! In: the rows of a table, the books. Out: the pushes written, and the number of each. Never: two numbers for a
//! revision, or a number that another push has.
//!
//! What is known already keeps its number. Then the table's own numbers count, unless they contradict the times at
//! which the pushes landed (the snapshot of 2013-11-22 does): then the same numbers are dealt out again in the order of
//! time. Pushes without a number follow those that are known, in the order of time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::engine::ledger::{LedgerError, Pushes as _};
use crate::event::{Changeset, Project, PushEvent, PushId, Revision, Timestamp};
use crate::store::sqlite::Books;
use crate::wire::JobRow;

/// A row does not tell which push it ran for.
pub(super) const NO_PUSH: &str = "no-push";
/// A push has no number, and none can be given to it.
pub(super) const NO_NUMBER: &str = "no-push-number";
/// The books have another push under the number.
pub(super) const NUMBER_TAKEN: &str = "push-number-taken";

/// What identifies a push in a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Name {
    Revision(Revision),
    Number(PushId),
}

impl Name {
    fn of(revision: Option<&Revision>, number: Option<PushId>) -> Option<Name> {
        match (revision, number) {
            (Some(revision), _) => Some(Name::Revision(revision.clone())),
            (None, Some(number)) => Some(Name::Number(number)),
            (None, None) => None,
        }
    }

    fn revision(&self) -> Option<&Revision> {
        match self {
            Name::Revision(revision) => Some(revision),
            Name::Number(_) => None,
        }
    }
}

/// What a table says of a push.
#[derive(Debug, Default)]
struct Told {
    number: Option<PushId>,
    landed: Option<Timestamp>,
    changesets: Vec<Changeset>,
}

/// The pushes of a table.
#[derive(Debug, Default)]
pub(super) struct Pushes(BTreeMap<Project, BTreeMap<Name, Told>>);

/// The number of every push of a table, or why it has none.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    numbers: HashMap<Project, HashMap<Name, Result<PushId, &'static str>>>,
    renumbered: BTreeMap<Project, u64>,
}

impl Pushes {
    /// Adds the push of a row.
    pub(super) fn add(&mut self, row: &JobRow) {
        let facts = &row.job.facts;
        if let (Some(project), Some(name)) = (&facts.project, Name::of(facts.revision.as_ref(), facts.push)) {
            self.learn(project, name, facts.push, row.pushed);
        }
    }

    /// Adds a push of a pushlog, with the changesets it backs out.
    pub(super) fn add_push(&mut self, push: &PushEvent) {
        let name = Name::Revision(push.revision.clone());
        let told = self.learn(&push.project, name, push.push, push.at);
        told.changesets.clone_from(&push.changesets);
    }

    fn learn(&mut self, project: &Project, name: Name, number: Option<PushId>, landed: Option<Timestamp>) -> &mut Told {
        let told = self.0.entry(project.clone()).or_default().entry(name).or_default();
        told.number = told.number.or(number);
        // The earliest of several times is the landing's.
        told.landed = match (told.landed, landed) {
            (Some(known), Some(more)) => Some(known.min(more)),
            (known, more) => known.or(more),
        };
        told
    }

    /// Numbers the pushes and writes them into the books.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub(super) fn number(self, books: &mut Books<'_>) -> Result<Numbering, LedgerError> {
        let mut numbering = Numbering::default();
        for (project, told) in self.0 {
            let mut numbers = HashMap::new();
            let (dealt, anew) = deal(&told);
            if anew {
                numbering.renumbered.insert(project.clone(), dealt.len() as u64);
            }
            let mut without = Vec::new();
            for (name, facts) in &told {
                let known = match name.revision() {
                    Some(revision) => books.push_of(&project, revision)?,
                    None => None,
                };
                let number = match known.or_else(|| dealt.get(name).copied()) {
                    Some(number) => write(books, &project, name, number, facts)?,
                    None => {
                        without.push((facts.landed, name, facts));
                        continue;
                    }
                };
                numbers.insert(name.clone(), number);
            }
            without.sort_by_key(|(landed, name, _)| (*landed, *name));
            for (landed, name, facts) in without {
                let number = match (books.newest_push(&project)?, landed) {
                    (newest, Some(landed)) if newest.is_none_or(|(_, at)| at.is_none_or(|at| at <= landed)) => {
                        let next = PushId(newest.map_or(1, |(number, _)| number.0 + 1));
                        write(books, &project, name, next, facts)?
                    }
                    _ => Err(NO_NUMBER),
                };
                numbers.insert(name.clone(), number);
            }
            numbering.numbers.insert(project, numbers);
        }
        Ok(numbering)
    }
}

/// The table's numbers, dealt out by time where they contradict it; and whether they do.
fn deal(told: &BTreeMap<Name, Told>) -> (BTreeMap<Name, PushId>, bool) {
    let own: BTreeMap<Name, PushId> = told
        .iter()
        .filter_map(|(name, told)| Some((name.clone(), told.number?)))
        .collect();
    let mut timed: Vec<(Timestamp, PushId, &Name)> = told
        .iter()
        .filter_map(|(name, told)| Some((told.landed?, told.number?, name)))
        .collect();
    timed.sort();
    if timed.is_sorted_by_key(|(_, number, _)| *number) {
        return (own, false);
    }
    let numbers: BTreeSet<PushId> = timed.iter().map(|(_, number, _)| *number).collect();
    let dealt = timed.into_iter().map(|(_, _, name)| name.clone()).zip(numbers);
    (dealt.collect(), true)
}

/// Writes a push, unless the books have another under its number.
fn write(
    books: &mut Books<'_>,
    project: &Project,
    name: &Name,
    number: PushId,
    told: &Told,
) -> Result<Result<PushId, &'static str>, LedgerError> {
    let there = books.push_revision(project, number)?;
    let Some(revision) = name.revision() else {
        books.note_push(project, number)?;
        return Ok(Ok(number));
    };
    if there.is_some_and(|there| there != *revision) {
        return Ok(Err(NUMBER_TAKEN));
    }
    books.record_push(&PushEvent {
        project: project.clone(),
        push: Some(number),
        revision: revision.clone(),
        at: told.landed,
        user: None,
        changesets: told.changesets.clone(),
    })?;
    Ok(Ok(number))
}

impl Numbering {
    /// The number of the push that a row names.
    pub(super) fn of(
        &self,
        project: &Project,
        revision: Option<&Revision>,
        number: Option<PushId>,
    ) -> Result<PushId, &'static str> {
        let name = Name::of(revision, number).ok_or(NO_PUSH)?;
        let numbers = self.numbers.get(project).ok_or(NO_PUSH)?;
        numbers.get(&name).copied().unwrap_or(Err(NO_PUSH))
    }

    /// Pushes that have a number.
    pub(super) fn count(&self) -> u64 {
        let named = self.numbers.values().flat_map(HashMap::values);
        named.filter(|number| number.is_ok()).count() as u64
    }

    /// Projects whose numbers were dealt out again, with the number of their pushes.
    pub(super) fn renumbered(&self) -> &BTreeMap<Project, u64> {
        &self.renumbered
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(pushes: &[(u64, i64)]) -> BTreeMap<Name, Told> {
        let one = |(index, (number, landed)): (usize, &(u64, i64))| {
            let name = Name::Revision(Revision::from(format!("{index:012x}")));
            let told = Told {
                number: Some(PushId(*number)),
                landed: Some(Timestamp(*landed)),
                changesets: Vec::new(),
            };
            (name, told)
        };
        pushes.iter().enumerate().map(one).collect()
    }

    proptest! {
        #[test]
        fn dealt_numbers_follow_the_times_and_are_the_same_numbers(
            numbers in proptest::collection::btree_set(1_u64..1_000, 1..30),
            times in proptest::collection::vec(0_i64..1_000, 30),
        ) {
            let pushes: Vec<(u64, i64)> = numbers.iter().copied().zip(times).collect();
            let told = told(&pushes);
            let (dealt, anew) = deal(&told);
            let mut by_time: Vec<(Timestamp, PushId)> =
                dealt.iter().map(|(name, number)| (told[name].landed.unwrap(), *number)).collect();
            by_time.sort();
            prop_assert!(by_time.is_sorted_by_key(|(_, number)| *number));
            let after: BTreeSet<u64> = dealt.values().map(|number| number.0).collect();
            prop_assert_eq!(after, numbers);
            prop_assert_eq!(anew, !pushes.is_sorted_by_key(|(_, landed)| *landed));
        }
    }
}
