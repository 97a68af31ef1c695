//! The rule language: YAML files, checked, compiled and indexed.
//!
//! In: rule files, then events and [`Facts`]. Out: a [`RuleSet`] or every [`Diagnostic`] at once; for an event the
//! rules that can match, and for each whether it does and why. Never: I/O besides reading the files; opening cases, or
//! knowing of budgets and lineage more than what a rule says of them.
//!
//! The way of a file: [`yaml`] makes a tree with places, [`shape`] checks it against the tables in [`keys`], [`read`]
//! makes rules of it (with [`shared`], [`match_fields`], [`open`], [`text`], [`expr`]), [`lint`] warns, [`set`] compiles. The
//! way of an event: [`index`] (with [`lookup`]) finds the rules that can match, [`set`] evaluates them. [`field_table`]
//! is the schema of events. [`schema`] and [`mod@reference`] say the same tables to editors and readers.

mod code;
mod cron;
mod diagnostic;
mod difference;
mod expr;
mod facts;
mod field_table;
mod fields;
mod index;
mod keys;
mod lint;
mod lookup;
mod match_fields;
mod matching;
mod open;
mod read;
pub mod reference;
mod rule;
mod schema;
mod set;
mod shape;
mod shared;
mod test_blocks;
mod text;
mod value;
mod yaml;

pub use code::Code;
pub use cron::{Cron, CronError};
pub use diagnostic::{Diagnostic, Diagnostics, MAX_DIAGNOSTICS, Severity};
pub use difference::Difference;
pub use expr::{EvalError, Seen, Stop};
pub use facts::{Bug, Estimate, Facts, NoFacts};
pub use field_table::{FIELDS, OBJECT_FIELDS};
pub use fields::{EventKind, Field, ObjectField, fields_of};
pub use matching::{FieldMatch, Glob, Matched, Range, Test};
pub use rule::{
    Approve, Budget, BudgetScope, By, Condition, Counted, Debounce, ExpectedCases, Guard, MinuteOfDay, Mode, NO_MATCH,
    Notify, QuietHours, Rule, RuleIndex, RuleTest, TestAction, TestExpectation, TestPush, TestRun, TestStep, Throttle,
    Unfilled,
};
pub use schema::json_schema;
pub use set::{Approval, BindingHint, Clause, Evaluation, MAX_ELEMENTS, RuleSet, Tracing, rule_files};
pub use value::{List, Object, ObjectType, Type, Value, parse_cel_duration, show_duration};
