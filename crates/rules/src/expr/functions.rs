//! The functions of expressions: one table for the type checker and the documentation.

/// A function as people read of it.
#[derive(Debug)]
pub struct Function {
    /// Its name; for functions of a value, what stands after the dot.
    pub name: &'static str,
    /// How it is written, with types.
    pub signature: &'static str,
    /// What it gives.
    pub doc: &'static str,
}

const fn function(name: &'static str, signature: &'static str, doc: &'static str) -> Function {
    Function { name, signature, doc }
}

/// Functions written alone or after a value.
pub const FUNCTIONS: &[Function] = &[
    function(
        "has",
        "has(event.field) → bool",
        "Whether a fact is known. Never unknown itself.",
    ),
    function(
        "size",
        "size(x) or x.size() → int",
        "Characters of a string, elements of a list.",
    ),
    function(
        "startsWith",
        "string.startsWith(string) → bool",
        "Whether it begins so.",
    ),
    function("endsWith", "string.endsWith(string) → bool", "Whether it ends so."),
    function(
        "contains",
        "string.contains(string) → bool",
        "Whether it is part of it.",
    ),
    function(
        "matches",
        "string.matches(\"regex\") → bool",
        "Whether a regular expression is found anywhere in it; the expression is a literal, compiled at load (no \
        look-around, no back-references).",
    ),
    function("lowerAscii", "string.lowerAscii() → string", "With A–Z in lower case."),
    function(
        "duration",
        "duration(\"14d\") → duration",
        "A span of time: numbers with `ns`, `us`, `ms`, `s`, `m`, `h` as in CEL, and `d` (24 hours) as an \
        extension. A literal.",
    ),
    function(
        "timestamp",
        "timestamp(\"2026-06-01T10:00:00Z\") → timestamp",
        "A moment, in RFC 3339. A literal.",
    ),
    function(
        "int",
        "int(x) → int",
        "From a double (towards zero), a string of digits, or a timestamp (seconds since 1970).",
    ),
    function("double", "double(x) → double", "From an int or a string."),
    function(
        "string",
        "string(x) → string",
        "From a bool, int, double, duration or timestamp.",
    ),
    function(
        "exists",
        "list.exists(x, condition) → bool",
        "Whether it holds for one element or more.",
    ),
    function(
        "exists_one",
        "list.exists_one(x, condition) → bool",
        "Whether it holds for exactly one element.",
    ),
    function(
        "all",
        "list.all(x, condition) → bool",
        "Whether it holds for every element; true for an empty list.",
    ),
    function(
        "filter",
        "list.filter(x, condition) → list",
        "The elements for which it holds.",
    ),
    function(
        "map",
        "list.map(x, value) or list.map(x, condition, value) → list",
        "A value for each element (for which the condition holds).",
    ),
    function(
        "getFullYear",
        "timestamp.getFullYear([\"time zone\"]) → int",
        "The year; in UTC unless a zone is given.",
    ),
    function(
        "getMonth",
        "timestamp.getMonth([\"time zone\"]) → int",
        "The month, from 0.",
    ),
    function(
        "getDate",
        "timestamp.getDate([\"time zone\"]) → int",
        "The day of the month, from 1.",
    ),
    function(
        "getDayOfMonth",
        "timestamp.getDayOfMonth([\"time zone\"]) → int",
        "The day of the month, from 0.",
    ),
    function(
        "getDayOfWeek",
        "timestamp.getDayOfWeek([\"time zone\"]) → int",
        "The day of the week, from 0 for Sunday.",
    ),
    function(
        "getDayOfYear",
        "timestamp.getDayOfYear([\"time zone\"]) → int",
        "The day of the year, from 0.",
    ),
    function(
        "getHours",
        "timestamp.getHours([\"time zone\"]) or duration.getHours() → int",
        "The hour of the day, or the whole hours of a span.",
    ),
    function(
        "getMinutes",
        "timestamp.getMinutes([\"time zone\"]) or duration.getMinutes() → int",
        "The minute of the hour, or the whole minutes of a span.",
    ),
    function(
        "getSeconds",
        "timestamp.getSeconds([\"time zone\"]) or duration.getSeconds() → int",
        "The second of the minute, or the whole seconds of a span.",
    ),
    function(
        "getMilliseconds",
        "timestamp.getMilliseconds([\"time zone\"]) or duration.getMilliseconds() → int",
        "The millisecond of the second.",
    ),
];

/// Functions after `history.`, about the subject of a run's event.
pub const HISTORY_FUNCTIONS: &[Function] = &[
    function(
        "passed_before",
        "history.passed_before(event) → bool",
        "Whether the subject passed on an earlier push of the project.",
    ),
    function(
        "failed_before",
        "history.failed_before(event) → bool",
        "Whether the subject failed on an earlier push of the project.",
    ),
    function(
        "failure_rate",
        "history.failure_rate(event, duration) → double",
        "The share of failed among its passed and failed runs in that span before the event, 0 to 1; unknown when \
        there were none.",
    ),
    function(
        "runs",
        "history.runs(event) → int",
        "How many of its runs passed or failed, over all the history that is kept.",
    ),
    function(
        "in_flight",
        "history.in_flight(event) → int",
        "How many of its runs are pending or running now, requested ones included.",
    ),
];

/// The function of this name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}
