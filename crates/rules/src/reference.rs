//! The reference tables of the rule language, as Markdown.
//!
//! In: the tables that reader, checker and evaluator use. Out: text for docs/rules.md, kept in step by a test. Never:
//! a fact of its own.

use super::code::Code;
use super::expr::functions::{FUNCTIONS, Function, HISTORY_FUNCTIONS};
use super::field_table::OBJECT_FIELDS;
use super::fields::{EventKind, fields_of};
use super::keys::{
    APPROVE, BUDGET, DEBOUNCE, FILE, GUARD_KEYS, NOTIFY, QUIET_HOURS, RULE, TEST, TEST_ACTION, TEST_EXPECT,
    TEST_LIMITS, TEST_PUSH, TEST_RUN, TEST_STEP, THROTTLE,
};
use super::open::{KINDS, default_of};
use super::shape::Keys;
use super::value::ObjectType;

/// Every table with its name in the document's markers.
pub fn tables() -> Vec<(&'static str, String)> {
    vec![
        ("file", keys(&FILE)),
        ("rule", keys(&RULE)),
        ("parts", parts()),
        ("kinds", kinds()),
        ("fields", fields()),
        ("objects", objects()),
        ("functions", functions(FUNCTIONS)),
        ("history", functions(HISTORY_FUNCTIONS)),
        ("tests", tests()),
        ("codes", codes()),
    ]
}

/// A row, with what would end a cell escaped.
fn row(cells: &[&str]) -> String {
    let escaped: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", escaped.join(" | "))
}

fn head(cells: &[&str]) -> String {
    format!("{}|{}\n", row(cells), "---|".repeat(cells.len()))
}

fn keys(keys: &Keys) -> String {
    let rows = keys.keys.iter().map(|key| {
        let name = format!("`{}`", key.name);
        row(&[
            &name,
            if key.required { "yes" } else { "" },
            &key.shape.describe(),
            key.doc,
        ])
    });
    head(&["key", "must be there", "value", "meaning"]) + &rows.collect::<String>()
}

/// Mappings inside a rule or a budget.
fn parts() -> String {
    let mut text = String::new();
    let all = [
        ("A budget", &BUDGET),
        ("`throttle`", &THROTTLE),
        ("`notify`", &NOTIFY),
        ("`debounce`", &DEBOUNCE),
        ("`quiet_hours`", &QUIET_HOURS),
        ("`approve`", &APPROVE),
        ("`guards`", &GUARD_KEYS),
    ];
    for (name, part) in all {
        text += &format!("{name}:\n\n{}\n", keys(part));
    }
    text.trim_end().to_owned() + "\n"
}

fn tests() -> String {
    let mut text = keys(&TEST) + "\n";
    let parts: [(&str, &Keys); 6] = [
        ("A run of `history`", &TEST_RUN),
        ("A push of `pushes`", &TEST_PUSH),
        ("`limits`", &TEST_LIMITS),
        ("A step of `events` has one of these keys", &TEST_STEP),
        ("An expectation", &TEST_EXPECT),
        ("An expected action", &TEST_ACTION),
    ];
    for (name, part) in parts {
        text += &format!("{name}:\n\n{}\n", keys(part));
    }
    text.trim_end().to_owned() + "\n"
}

fn kinds() -> String {
    let mut text = String::new();
    for kind in KINDS {
        let on: Vec<String> = kind.on.iter().map(|on| format!("`{}`", on.as_str())).collect();
        text += &format!("**`{}`** (on {}): {}\n\n", kind.kind, on.join(", "), kind.doc);
        text += &head(&["key", "value", "unless written", "meaning"]);
        for param in kind.params.keys {
            let default = default_of(kind.kind, param.name).map_or_else(String::new, |value| format!("`{value}`"));
            let default = if param.required { "must be written" } else { &default };
            text += &row(&[
                &format!("`{}`", param.name),
                &param.shape.describe(),
                default,
                param.doc,
            ]);
        }
        text += "\n";
    }
    text.trim_end().to_owned() + "\n"
}

fn fields() -> String {
    let mut text = String::new();
    // Running and pending runs have the fields of finished ones but for those about the end.
    let shown = [
        EventKind::JobFinished,
        EventKind::PushCreated,
        EventKind::RequestReceived,
        EventKind::PerfAlert,
        EventKind::Timer,
    ];
    for kind in shown {
        let written = match kind {
            EventKind::Timer => " (a rule with `schedule`)",
            _ => "",
        };
        text += &format!("**`{}`**{written}\n\n", kind.as_str());
        text += &head(&["field", "type", "in `match`", "meaning"]);
        for field in fields_of(kind) {
            let words: Vec<String> = field.words.iter().map(|word| format!("`{word}`")).collect();
            let doc = if words.is_empty() {
                field.doc.to_owned()
            } else {
                format!("{} One of {}.", field.doc, words.join(", "))
            };
            let ty = (field.ty)().to_string();
            text += &row(&[
                &format!("`event.{}`", field.name),
                &ty,
                if field.is_matchable() { "yes" } else { "" },
                &doc,
            ]);
        }
        if kind == EventKind::JobFinished {
            let fewer: Vec<String> = fields_of(kind)
                .filter(|field| !field.on.contains(&EventKind::JobPending))
                .map(|field| format!("`{}`", field.name))
                .collect();
            text += &format!(
                "\n`job.running` and `job.pending` have all of these but {}.\n",
                fewer.join(", ")
            );
        }
        text += "\n";
    }
    text.trim_end().to_owned() + "\n"
}

fn objects() -> String {
    let mut text = head(&["of a", "field", "type", "meaning"]);
    for object in ObjectType::ALL {
        for field in OBJECT_FIELDS.iter().filter(|field| field.of == object) {
            text += &row(&[
                object.as_str(),
                &format!("`{}`", field.name),
                &(field.ty)().to_string(),
                field.doc,
            ]);
        }
    }
    text
}

fn functions(list: &[Function]) -> String {
    let rows = list
        .iter()
        .map(|function| row(&[&format!("`{}`", function.signature), function.doc]));
    head(&["function", "gives"]) + &rows.collect::<String>()
}

fn codes() -> String {
    let rows = Code::ALL
        .iter()
        .map(|code| row(&[&format!("`{}`", code.as_str()), code.meaning()]));
    head(&["code", "meaning"]) + &rows.collect::<String>()
}
