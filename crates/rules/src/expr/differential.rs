//! This evaluator and the `cel` crate's, given the same random expressions over the fields of a run: the same value,
//! or an error from both.
//!
//! Where the two differ on purpose, the grammar below does not go:
//! - times and durations (here in milliseconds, there in nanoseconds): the suite of cel-spec covers them;
//! - comparing a field of a closed set with a word that it never has: an error when the rule is loaded;
//! - numbers that a comparison mixes with an infinite or not-a-number double.
//!
//! A fact that is not known is a missing key of the crate's map: unknown here, an error there.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::{Run, Scope, compile_value};
use crate::facts::NoFacts;
use crate::field_table::{FIELDS, OBJECT_FIELDS};
use crate::fields::EventKind;
use crate::value::{List, Object, Type, Value};
use sheriffd_event::{
    CausedBy, Chunk, Event, JobEvent, JobFacts, Label, Outcome, Project, PushId, RunKey, RunState, Signature, Timestamp,
};

/// The deepest nesting of a random expression: the crate's parser takes much stack for each level.
const DEEPEST: usize = 7;

/// Numbers that a strategy made; the grammar takes one for each choice. When they are used up every choice is the
/// first, so expressions end, and proptest's shorter and smaller numbers are simpler expressions.
struct Choices<'n> {
    numbers: &'n [u16],
    /// How deep the grammar is; at [`DEEPEST`] every choice is the first too.
    depth: usize,
    /// Variables of the macros around, with their types.
    locals: Vec<(String, Type)>,
}

impl Choices<'_> {
    fn pick(&mut self, of: usize) -> usize {
        match self.numbers {
            [first, rest @ ..] if self.depth < DEEPEST => {
                self.numbers = rest;
                usize::from(*first) % of
            }
            _ => 0,
        }
    }

    /// One level further down.
    fn nested(&mut self, part: fn(&mut Self) -> String) -> String {
        self.depth += 1;
        let text = part(self);
        self.depth -= 1;
        text
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.pick(of.len())]
    }

    /// `a op b`, in brackets or not: precedence is the parsers' affair.
    fn infix(&mut self, a: String, op: &str, b: String) -> String {
        match self.pick(3) {
            0 => format!("({a} {op} {b})"),
            1 => format!("{a} {op} {b}"),
            _ => format!("({a}) {op} ({b})"),
        }
    }

    fn local(&mut self, of: &Type) -> Option<String> {
        let fitting: Vec<String> = self
            .locals
            .iter()
            .filter(|(_, ty)| ty == of)
            .map(|(name, _)| name.clone())
            .collect();
        (!fitting.is_empty()).then(|| fitting[self.pick(fitting.len())].clone())
    }

    /// A macro over a list: the list, and its body with the element in scope.
    fn over(&mut self, list: (String, Type), name: &str, body: fn(&mut Self) -> String) -> String {
        let variable = format!("v{}", self.locals.len());
        self.locals.push((variable.clone(), list.1));
        let body = body(self);
        self.locals.pop();
        format!("{}.{name}({variable}, {body})", list.0)
    }

    fn any_list(&mut self) -> (String, Type) {
        match self.pick(2) {
            0 => (self.texts(), Type::Text),
            _ => (self.ints(), Type::Int),
        }
    }

    fn bool(&mut self) -> String {
        self.nested(Self::any_bool)
    }

    fn any_bool(&mut self) -> String {
        match self.pick(18) {
            0 => self.one(&["true", "false", "event.latest"]).to_owned(),
            1 | 2 => {
                let (a, b) = (self.bool(), self.bool());
                self.infix(a, "&&", b)
            }
            3 | 4 => {
                let (a, b) = (self.bool(), self.bool());
                self.infix(a, "||", b)
            }
            5 => format!("!({})", self.bool()),
            6 => {
                let op = self.one(&["==", "!=", "<", "<=", ">", ">="]);
                format!("({} {op} {})", self.int(), self.int())
            }
            7 => {
                let op = self.one(&["==", "!=", "<", "<=", ">", ">="]);
                format!("({} {op} {})", self.text(), self.text())
            }
            8 => {
                let op = self.one(&["==", "!=", "<", "<=", ">", ">="]);
                format!("({} {op} {})", self.double(), self.double())
            }
            9 => format!("({} ? {} : {})", self.bool(), self.bool(), self.bool()),
            10 => {
                let test = self.one(&["startsWith", "endsWith", "contains"]);
                format!("({}).{test}({})", self.text(), self.text())
            }
            11 => {
                let pattern = self.one(&["r'^test-'", "r'-[0-9]+$'", "'é|a'", "r'(mochi|web).*\\d'"]);
                format!("({}).matches({pattern})", self.text())
            }
            12 => format!("({} in {})", self.text(), self.texts()),
            13 => format!("({} in {})", self.int(), self.ints()),
            14 => {
                let name = self.one(&["exists", "all", "exists_one"]);
                let list = self.any_list();
                self.over(list, name, Self::bool)
            }
            15 => {
                let field = self.one(&["label", "variant", "chunk", "groups", "tier", "worker"]);
                format!("has(event.{field})")
            }
            16 => format!("({} == {})", self.texts(), self.texts()),
            _ => {
                let test = self.one(&["startsWith('dom/')", "contains('test')", "endsWith('.html')"]);
                let name = self.one(&["exists", "all"]);
                format!("event.signatures.{name}(s, s.test.{test})")
            }
        }
    }

    fn int(&mut self) -> String {
        self.nested(Self::any_int)
    }

    fn any_int(&mut self) -> String {
        match self.pick(12) {
            0 => {
                let literals = [
                    "0",
                    "1",
                    "2",
                    "-1",
                    "7",
                    "9223372036854775807",
                    "-9223372036854775808",
                    "0x10",
                ];
                self.one(&literals).to_owned()
            }
            1 | 2 => self
                .one(&["event.tier", "event.push", "event.run", "event.chunk"])
                .to_owned(),
            3..=5 => {
                let op = self.one(&["+", "-", "*", "/", "%"]);
                let (a, b) = (self.int(), self.int());
                self.infix(a, op, b)
            }
            6 => format!("-({})", self.int()),
            7 => format!("size({})", self.text()),
            8 => format!("size({})", self.any_list().0),
            9 => format!("({} ? {} : {})", self.bool(), self.int(), self.int()),
            10 => format!("{}[{}]", self.ints(), self.one(&["0", "1", "-1", "event.tier"])),
            _ => match self.local(&Type::Int) {
                Some(local) => local,
                None => format!("int({})", self.double()),
            },
        }
    }

    fn double(&mut self) -> String {
        self.nested(Self::any_double)
    }

    fn any_double(&mut self) -> String {
        match self.pick(6) {
            0 => self.one(&["0.0", "1.5", "-2.25", "1e10", "0.1", "3.0"]).to_owned(),
            1 => format!("double({})", self.int()),
            2 | 3 => {
                let op = self.one(&["+", "-", "*"]);
                let (a, b) = (self.double(), self.double());
                self.infix(a, op, b)
            }
            4 => format!("-({})", self.double()),
            _ => format!("({} ? {} : {})", self.bool(), self.double(), self.double()),
        }
    }

    fn text(&mut self) -> String {
        self.nested(Self::any_text)
    }

    fn any_text(&mut self) -> String {
        match self.pick(9) {
            0 => {
                let literals = [
                    "''",
                    "'a'",
                    "\"test-\"",
                    "'é\\u00e9'",
                    "r'\\d'",
                    "'\\n\\t\\x41\\101'",
                    "'''b'c'''",
                ];
                self.one(&literals).to_owned()
            }
            1..=3 => {
                let fields = [
                    "event.label",
                    "event.project",
                    "event.platform",
                    "event.kind",
                    "event.variant",
                ];
                self.one(&fields).to_owned()
            }
            4 => {
                let (a, b) = (self.text(), self.text());
                format!("({a} + {b})")
            }
            5 => format!("string({})", self.int()),
            6 => format!("({} ? {} : {})", self.bool(), self.text(), self.text()),
            7 => format!("{}[{}]", self.texts(), self.one(&["0", "1", "2", "-1", "event.tier"])),
            _ => match self.local(&Type::Text) {
                Some(local) => local,
                None => "event.series".to_owned(),
            },
        }
    }

    fn texts(&mut self) -> String {
        self.nested(Self::any_texts)
    }

    fn any_texts(&mut self) -> String {
        match self.pick(7) {
            0 | 1 => "event.groups".to_owned(),
            2 => format!("[{}, {}]", self.text(), self.text()),
            3 => format!("({} + {})", self.texts(), self.texts()),
            4 => {
                let list = (self.texts(), Type::Text);
                self.over(list, "filter", Self::bool)
            }
            5 => {
                let list = self.any_list();
                self.over(list, "map", Self::text)
            }
            _ => "event.signatures.map(s, s.test)".to_owned(),
        }
    }

    fn ints(&mut self) -> String {
        self.nested(Self::any_ints)
    }

    fn any_ints(&mut self) -> String {
        match self.pick(4) {
            0 => "[1, 2, 3]".to_owned(),
            1 => format!("[{}, {}]", self.int(), self.int()),
            2 => {
                let list = self.any_list();
                self.over(list, "map", Self::int)
            }
            _ => {
                let list = (self.ints(), Type::Int);
                self.over(list, "filter", Self::bool)
            }
        }
    }
}

/// An expression of some type.
fn expression(numbers: &[u16]) -> String {
    let mut choices = Choices {
        numbers,
        depth: 0,
        locals: Vec::new(),
    };
    match choices.pick(6) {
        0..=2 => choices.bool(),
        3 => choices.int(),
        4 => choices.text(),
        _ => choices.texts(),
    }
}

/// A run of which the variant, the chunk and the machine are not known.
fn event() -> Event {
    Event::Job(Box::new(JobEvent {
        run: RunKey {
            backend: "firefox-ci".into(),
            task: "aTaskIdOfTwentyTwoChar".into(),
            run: 0,
        },
        group: None,
        state: RunState::Finished(Outcome::Failed),
        reason: Some("failed".into()),
        latest: true,
        at: Timestamp(0),
        scheduled: None,
        started: None,
        resolved: None,
        worker: None,
        pool: None,
        facts: JobFacts {
            project: Some(Project::from("autoland")),
            push: Some(PushId(14)),
            label: Some(Label::from("test-linux1804-64/opt-mochitest-1")),
            platform: Some("linux1804-64".into()),
            tier: Some(1),
            kind: Some("tést".into()),
            chunk: None::<Chunk>,
            caused_by: CausedBy::Push,
            signatures: Some(vec![
                Signature {
                    group: Some("dom/mochitest.ini".into()),
                    test: "dom/test_a.html".into(),
                },
                Signature {
                    group: None,
                    test: "layout/b.xhtml".into(),
                },
            ]),
            groups: Some(vec!["dom/mochitest.ini".into(), "layout/mochitest.ini".into()]),
            ..JobFacts::default()
        },
    }))
}

/// A value of ours as the crate's; `None` for types that the grammar does not use.
fn theirs(value: &Value<'_>) -> Option<cel::Value> {
    Some(match value {
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Int(value) => cel::Value::Int(*value),
        Value::Double(value) => cel::Value::Float(*value),
        Value::Text(text) => text.as_ref().into(),
        Value::List(list) => list
            .iter()
            .filter_map(|value| theirs(&value))
            .collect::<Vec<_>>()
            .into(),
        Value::Object(object) => {
            let known = OBJECT_FIELDS.iter().filter_map(|field| {
                let value = (field.get)(*object).filter(|_| matches!(object, Object::Signature(_)))?;
                Some((field.name.to_owned(), theirs(&value)?))
            });
            known.collect::<HashMap<String, cel::Value>>().into()
        }
        Value::Duration(_) | Value::Time(_) => return None,
    })
}

/// Every known field of the event, as the crate's map.
fn their_event(event: &Event) -> cel::Value {
    let known = FIELDS.iter().filter(|field| field.on.contains(&EventKind::JobFinished));
    let known = known.filter_map(|field| Some((field.name.to_owned(), theirs(&field.of_event(event)?)?)));
    known.collect::<HashMap<String, cel::Value>>().into()
}

fn same(ours: &Value<'_>, other: &cel::Value) -> bool {
    match (ours, other) {
        (Value::Bool(a), cel::Value::Bool(b)) => a == b,
        (Value::Int(a), cel::Value::Int(b)) => a == b,
        (Value::Double(a), cel::Value::Float(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        (Value::Text(a), cel::Value::String(b)) => **a == ***b,
        (Value::List(a), cel::Value::List(b)) => same_list(a, b),
        _ => false,
    }
}

fn same_list(ours: &List<'_>, other: &[cel::Value]) -> bool {
    ours.len() == other.len() && ours.iter().zip(other).all(|(a, b)| same(&a, b))
}

/// Compares the two on one expression; the error says how they differ.
fn compare(text: &str) -> Result<(), String> {
    let event = event();
    let lists = BTreeMap::new();
    let scope = Scope {
        kinds: &[EventKind::JobFinished],
        lists: &lists,
        estimate: false,
        each: None,
    };
    let (compiled, errors) = compile_value(text, scope);
    let Some((program, _)) = compiled else {
        return Err(format!("{text}\n  is refused here: {errors:?}"));
    };
    let ours = Run::new(&event, &NoFacts, None).eval(&program);
    let mut context = cel::Context::default();
    context.add_variable_from_value("event", their_event(&event));
    let other = cel::Program::compile(text)
        .map_err(|error| format!("{text}\n  is refused by the crate: {error}"))?
        .execute(&context);
    match (&ours, &other) {
        (Ok(a), Ok(b)) if same(a, b) => Ok(()),
        (Err(_), Err(_)) => Ok(()),
        _ => Err(format!("{text}\n  here:      {ours:?}\n  the crate: {other:?}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn random_expressions_have_the_value_that_the_cel_crate_gives_them(
        numbers in proptest::collection::vec(any::<u16>(), 1..48)
    ) {
        let text = expression(&numbers);
        prop_assert!(compare(&text).is_ok(), "{}", compare(&text).unwrap_err());
    }
}
