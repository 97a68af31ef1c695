//! How values look in SQLite's columns.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::event::{CausedBy, Outcome, RunState, TaskId};

/// A task id on its way into a column: 16 bytes for a slug id, text for any other.
pub enum TaskColumn<'a> {
    /// A slug id's bytes.
    Slug([u8; 16]),
    /// Any other id.
    Text(&'a str),
}

impl<'a> TaskColumn<'a> {
    /// The column's value for a task id.
    pub fn of(task: &'a TaskId) -> TaskColumn<'a> {
        match slug_bytes(task.as_str()) {
            Some(bytes) => TaskColumn::Slug(bytes),
            None => TaskColumn::Text(task.as_str()),
        }
    }
}

impl ToSql for TaskColumn<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            TaskColumn::Slug(bytes) => ValueRef::Blob(bytes),
            TaskColumn::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// A task id on its way out of a column.
pub struct StoredTask(pub TaskId);

impl FromSql for StoredTask {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Blob(bytes) => Ok(StoredTask(TaskId::from(URL_SAFE_NO_PAD.encode(bytes)))),
            ValueRef::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => Ok(StoredTask(TaskId::from(text))),
                Err(error) => Err(FromSqlError::Other(Box::new(error))),
            },
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

/// The 16 bytes of a slug id, when the text is one. They are written back as the same text: the decoder refuses
/// padding, and bits at the end that would be lost.
fn slug_bytes(text: &str) -> Option<[u8; 16]> {
    if text.len() != 22 {
        return None;
    }
    let mut bytes = [0u8; 18];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    bytes.get(..length)?.try_into().ok()
}

/// The number of a state; a later state has a higher number, and all outcomes are later than `running`.
pub fn state_number(state: RunState) -> i64 {
    match state {
        RunState::Pending => 0,
        RunState::Running => 1,
        RunState::Finished(Outcome::Passed) => 2,
        RunState::Finished(Outcome::Failed) => 3,
        RunState::Finished(Outcome::Infra) => 4,
        RunState::Finished(Outcome::Cancelled) => 5,
    }
}

/// The state of a number; `None` for a number that no version of this program wrote.
pub fn state_of(number: i64) -> Option<RunState> {
    Some(match number {
        0 => RunState::Pending,
        1 => RunState::Running,
        2 => RunState::Finished(Outcome::Passed),
        3 => RunState::Finished(Outcome::Failed),
        4 => RunState::Finished(Outcome::Infra),
        5 => RunState::Finished(Outcome::Cancelled),
        _ => return None,
    })
}

/// The number of a cause.
pub fn cause_number(cause: CausedBy) -> i64 {
    match cause {
        CausedBy::Unknown => 0,
        CausedBy::Push => 1,
        CausedBy::Person => 2,
        CausedBy::Sheriffd => 3,
    }
}

/// The cause of a number.
pub fn cause_of(number: i64) -> CausedBy {
    match number {
        1 => CausedBy::Push,
        2 => CausedBy::Person,
        3 => CausedBy::Sheriffd,
        _ => CausedBy::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_id_takes_16_bytes_and_comes_back_as_it_was() {
        let id = TaskId::from("A3dJ8bDIQRKzHiZBhM0c5Q");
        let TaskColumn::Slug(bytes) = TaskColumn::of(&id) else {
            panic!("not a slug")
        };
        assert_eq!(StoredTask::column_result(ValueRef::Blob(&bytes)).unwrap().0, id);
    }

    #[test]
    fn an_id_that_is_no_slug_stays_text() {
        for text in [
            "bugbug-test-select",
            "",
            "A3dJ8bDIQRKzHiZBhM0c5R",
            "with spaces in it here",
        ] {
            let id = TaskId::from(text);
            assert!(
                matches!(TaskColumn::of(&id), TaskColumn::Text(kept) if kept == text),
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_goes_into_a_column_comes_out_of_it(text in "[A-Za-z0-9_-]{22}|.{0,30}") {
            let id = TaskId::from(text.as_str());
            let column = TaskColumn::of(&id);
            let ToSqlOutput::Borrowed(value) = column.to_sql().unwrap() else { panic!("not borrowed") };
            proptest::prop_assert_eq!(StoredTask::column_result(value).unwrap().0, id);
        }
    }

    #[test]
    fn every_state_survives_its_number() {
        for number in 0..6 {
            assert_eq!(state_number(state_of(number).unwrap()), number);
        }
        assert_eq!(state_of(6), None);
    }
}
