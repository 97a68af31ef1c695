//! The value of an expression for an event.
//!
//! In: an [`Expr`], an event, facts. Out: a [`Value`], or why there is none ([`Stop`]). Never: panics, loops without a
//! bound: every node costs a step, and the steps are limited.
//!
//! A fact that is not known makes what needs it *unknown*. `&&` is false if any part is, `||` true if any part is,
//! whatever the others are (CEL's commutative logic); unknown goes before error where both are left.

use std::sync::Arc;

use super::program::{Arith, Compare, Convert, Expr, History, Macro, Op, TextTest, TimePart};
use crate::diagnostic::to_u32;
use crate::facts::Facts;
use crate::value::{List, Object, SPANS, Value, YEARS, duration_in_seconds};
use sheriffd_event::{Event, Timestamp};

/// The most steps of one evaluation. An ordinary condition needs under a hundred; a push of 1,000 files looked
/// through by two macros needs 5,000.
pub(crate) const MAX_STEPS: u32 = 100_000;
/// The bytes of text that are searched for one step.
const BYTES_A_STEP: usize = 64;
/// The most values that a trace keeps of one clause.
const MAX_SEEN: usize = 16;

/// What can go wrong when a condition is evaluated. Such a condition counts as not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A whole number does not fit into 64 bits.
    #[error("a number does not fit into 64 bits")]
    Overflow,
    /// Division or remainder by zero.
    #[error("a division by zero")]
    DivisionByZero,
    /// An index is negative or not below the list's length.
    #[error("the list has no element of this number")]
    NoSuchElement,
    /// A text is not the number it is converted to.
    #[error("the text is not a number")]
    NotANumber,
    /// A time is outside the years 1 to 9999, or a span is longer than 292 years.
    #[error("the time or span is out of range")]
    TimeOutOfRange,
    /// The condition takes too many steps.
    #[error("the condition takes more than {MAX_STEPS} steps for this event")]
    TooManySteps,
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// A fact is not known yet: the name of the field or function.
    #[error("unknown: {0} is not known yet")]
    Unknown(&'static str),
    /// Something cannot be computed.
    #[error("not computed: {0}")]
    Error(EvalError),
}

/// A value that an evaluation looked at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Seen {
    /// What was asked, as written in the rule.
    pub what: String,
    /// What it was, as text; `unknown` when it is not known yet.
    pub value: String,
}

type Outcome<'a> = Result<Value<'a>, Stop>;

/// One evaluation.
pub(crate) struct Run<'a> {
    event: &'a Event,
    facts: &'a dyn Facts,
    steps: u32,
    locals: Vec<Value<'a>>,
    /// The condition's text and what was looked at, when a trace is wanted.
    trace: Option<(&'a str, Vec<Seen>)>,
}

impl<'a> Run<'a> {
    /// Ready to evaluate; with the text of the condition it also notes what it looks at.
    pub fn new(event: &'a Event, facts: &'a dyn Facts, traced: Option<&'a str>) -> Run<'a> {
        Run {
            event,
            facts,
            steps: 0,
            locals: Vec::new(),
            trace: traced.map(|text| (text, Vec::new())),
        }
    }

    /// The same with an element of the rule's `for_each` as `each`.
    pub fn with_each(mut self, each: Value<'a>) -> Run<'a> {
        self.locals.push(each);
        self
    }

    /// What was looked at since the last call.
    pub fn take_seen(&mut self) -> Vec<Seen> {
        self.trace
            .as_mut()
            .map(|(_, seen)| std::mem::take(seen))
            .unwrap_or_default()
    }

    /// The truth of a condition.
    pub fn truth(&mut self, expr: &'a Expr) -> Result<bool, Stop> {
        match self.eval(expr)? {
            Value::Bool(value) => Ok(value),
            other => Err(mistyped(&other)),
        }
    }

    fn step(&mut self, cost: usize) -> Result<(), Stop> {
        self.steps = self.steps.saturating_add(to_u32(cost));
        if self.steps > MAX_STEPS {
            Err(Stop::Error(EvalError::TooManySteps))
        } else {
            Ok(())
        }
    }

    /// Notes a value for the trace.
    fn note(&mut self, expr: &Expr, value: Option<&Value<'_>>) {
        if let Some((text, seen)) = &mut self.trace
            && seen.len() < MAX_SEEN
        {
            let what = text.get(expr.span()).unwrap_or_default();
            let value = value.map_or_else(|| "unknown".to_owned(), Value::to_string);
            if !seen.iter().any(|known| known.what == what && known.value == value) {
                seen.push(Seen {
                    what: what.to_owned(),
                    value,
                });
            }
        }
    }

    /// A fact: noted, and unknown when there is none.
    fn known(&mut self, expr: &Expr, name: &'static str, value: Option<Value<'a>>) -> Outcome<'a> {
        if self.trace.is_some() {
            self.note(expr, value.as_ref());
        }
        value.ok_or(Stop::Unknown(name))
    }

    /// The value of an expression.
    pub fn eval(&mut self, expr: &'a Expr) -> Outcome<'a> {
        self.step(1)?;
        match expr.op() {
            Op::Const(Value::List(List::Values(list))) => Ok(Value::List(List::Constants(list))),
            Op::Const(value) => Ok(value.borrowed()),
            // The checker lets it stand only as the argument of a history function.
            Op::Event => Err(Stop::Unknown("event")),
            Op::Field(fields) => {
                let name = fields.first().map_or("", |field| field.name);
                let (event, facts) = (self.event, self.facts);
                let value = fields.iter().find_map(|field| field.value(event, facts));
                self.known(expr, name, value)
            }
            Op::Part(of, field) => {
                let Value::Object(object) = self.eval(of)? else {
                    return Err(Stop::Unknown(field.name));
                };
                self.known(expr, field.name, (field.get)(object))
            }
            Op::Local(slot) => self.locals.get(*slot).cloned().ok_or(Stop::Unknown("element")),
            Op::Estimate => {
                let estimate = self.facts.estimate().ok_or(Stop::Unknown("estimate"))?;
                Ok(Value::Object(Object::Estimate(estimate)))
            }
            Op::Not(of) => self.truth(of).map(|value| Value::Bool(!value)),
            Op::Minus(of) => match self.eval(of)? {
                Value::Int(value) => value.checked_neg().map(Value::Int).ok_or(OVERFLOW),
                Value::Duration(value) => value.checked_neg().map(Value::Duration).ok_or(OVERFLOW),
                Value::Double(value) => Ok(Value::Double(-value)),
                other => Err(mistyped(&other)),
            },
            Op::And(parts) => self.logic(parts, false),
            Op::Or(parts) => self.logic(parts, true),
            Op::Ternary(parts) => {
                let [condition, yes, no] = &**parts;
                if self.truth(condition)? {
                    self.eval(yes)
                } else {
                    self.eval(no)
                }
            }
            Op::Compare(compare, pair) => {
                let (a, b) = (self.eval(&pair.0)?, self.eval(&pair.1)?);
                self.compare(*compare, &a, &b).map(Value::Bool)
            }
            Op::In(pair) => self.contains(&pair.0, &pair.1),
            Op::Arith(arith, pair) => {
                let (a, b) = (self.eval(&pair.0)?, self.eval(&pair.1)?);
                self.arith(*arith, a, b)
            }
            Op::List(items) => {
                let values = items
                    .iter()
                    .map(|item| self.eval(item))
                    .collect::<Result<Vec<_>, Stop>>()?;
                Ok(Value::List(List::Values(values.into())))
            }
            Op::Index(list, index) => match (self.eval(list)?, self.eval(index)?) {
                (Value::List(list), Value::Int(index)) => {
                    let element = usize::try_from(index).ok().and_then(|index| list.get(index));
                    element.ok_or(Stop::Error(EvalError::NoSuchElement))
                }
                (other, _) => Err(mistyped(&other)),
            },
            Op::Has(of) => match self.eval(of) {
                Ok(_) => Ok(Value::Bool(true)),
                Err(Stop::Unknown(_)) => Ok(Value::Bool(false)),
                Err(error) => Err(error),
            },
            Op::Size(of) => match self.eval(of)? {
                Value::Text(text) => {
                    self.step(text.len() / BYTES_A_STEP)?;
                    int(text.chars().count())
                }
                Value::List(list) => int(list.len()),
                other => Err(mistyped(&other)),
            },
            Op::TextTest(test, pair) => self.text_test(*test, &pair.0, &pair.1),
            Op::Matches(of, regex) => {
                let text = self.text(of)?;
                self.step(text.len() / BYTES_A_STEP)?;
                Ok(Value::Bool(regex.is_match(&text)))
            }
            Op::Lower(of) => {
                let text = self.text(of)?;
                self.step(text.len() / BYTES_A_STEP)?;
                Ok(Value::Text(text.to_ascii_lowercase().into()))
            }
            Op::Convert(convert, of) => {
                let value = self.eval(of)?;
                converted(*convert, value)
            }
            Op::TimePart(part, of, zone) => {
                let value = self.eval(of)?;
                time_part(*part, &value, zone.as_ref())
            }
            Op::History(question) => self.history(expr, question),
            Op::Macro {
                kind,
                list,
                condition,
                value,
            } => {
                let Value::List(list) = self.eval(list)? else {
                    return Err(Stop::Unknown(kind.as_str()));
                };
                self.locals.push(Value::Bool(false));
                let result = self.comprehension(*kind, &list, condition.as_deref(), value.as_deref());
                self.locals.pop();
                result
            }
        }
    }

    /// `&&` and `||`: one part that is `decisive` settles it, whatever the others are.
    fn logic(&mut self, parts: &'a [Expr], decisive: bool) -> Outcome<'a> {
        let mut stop = None;
        for part in parts {
            match self.truth(part) {
                Ok(value) if value == decisive => return Ok(Value::Bool(decisive)),
                Ok(_) => {}
                Err(found) => stop = Some(weigh(stop, found)?),
            }
        }
        stop.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn compare(&mut self, compare: Compare, a: &Value<'_>, b: &Value<'_>) -> Result<bool, Stop> {
        use std::cmp::Ordering;
        if let (Value::Text(a), Value::Text(b)) = (a, b) {
            self.step(a.len().min(b.len()) / BYTES_A_STEP)?;
        }
        let order = || a.order(b);
        Ok(match compare {
            Compare::Equal => self.same(a, b)?,
            Compare::NotEqual => !self.same(a, b)?,
            Compare::Less => order() == Some(Ordering::Less),
            Compare::LessEqual => matches!(order(), Some(Ordering::Less | Ordering::Equal)),
            Compare::Greater => order() == Some(Ordering::Greater),
            Compare::GreaterEqual => matches!(order(), Some(Ordering::Greater | Ordering::Equal)),
        })
    }

    /// Whether two values are the same; every element of a list costs a step, however deep the lists are nested.
    fn same(&mut self, a: &Value<'_>, b: &Value<'_>) -> Result<bool, Stop> {
        let (Value::List(a), Value::List(b)) = (a, b) else {
            return Ok(a.same(b));
        };
        if a.len() != b.len() {
            return Ok(false);
        }
        self.step(a.len())?;
        for (a, b) in a.iter().zip(b.iter()) {
            if !self.same(&a, &b)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn contains(&mut self, element: &'a Expr, list: &'a Expr) -> Outcome<'a> {
        let element = self.eval(element)?;
        let list = match self.eval(list)? {
            Value::List(list) => list,
            other => return Err(mistyped(&other)),
        };
        self.step(list.len() / 4)?;
        if !matches!(element, Value::List(_)) {
            return Ok(Value::Bool(list.contains(&element)));
        }
        for item in list.iter() {
            if self.same(&item, &element)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }

    fn arith(&mut self, arith: Arith, a: Value<'a>, b: Value<'a>) -> Outcome<'a> {
        match (a, b) {
            (Value::Int(a), Value::Int(b)) => whole(arith, a, b).map(Value::Int),
            (Value::Double(a), Value::Double(b)) => Ok(Value::Double(match arith {
                Arith::Plus => a + b,
                Arith::Minus => a - b,
                Arith::Times => a * b,
                Arith::Divide => a / b,
                Arith::Remainder => a % b,
            })),
            (Value::Text(a), Value::Text(b)) => {
                self.step((a.len() + b.len()) / BYTES_A_STEP)?;
                Ok(Value::Text((a.into_owned() + &b).into()))
            }
            (Value::List(a), Value::List(b)) => {
                self.step(a.len() + b.len())?;
                Ok(Value::List(List::Values(a.iter().chain(b.iter()).collect())))
            }
            (Value::Duration(a), Value::Duration(b)) => span(whole(arith, a, b)?),
            (Value::Time(a), Value::Duration(b)) => moment(whole(arith, a.0, b)?),
            (Value::Duration(a), Value::Time(b)) => moment(whole(arith, a, b.0)?),
            (Value::Time(a), Value::Time(b)) => span(whole(arith, a.0, b.0)?),
            (a, _) => Err(mistyped(&a)),
        }
    }

    fn text(&mut self, expr: &'a Expr) -> Result<std::borrow::Cow<'a, str>, Stop> {
        match self.eval(expr)? {
            Value::Text(text) => Ok(text),
            other => Err(mistyped(&other)),
        }
    }

    fn text_test(&mut self, test: TextTest, text: &'a Expr, part: &'a Expr) -> Outcome<'a> {
        let (text, part) = (self.text(text)?, self.text(part)?);
        self.step(text.len() / BYTES_A_STEP)?;
        Ok(Value::Bool(match test {
            TextTest::Starts => text.starts_with(&*part),
            TextTest::Ends => text.ends_with(&*part),
            TextTest::Contains => text.contains(&*part),
        }))
    }

    fn history(&mut self, expr: &'a Expr, question: &'a History) -> Outcome<'a> {
        let (event, facts) = (self.event, self.facts);
        let count = |n: u64| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
        match question {
            History::PassedBefore => self.known(
                expr,
                "history.passed_before",
                facts.passed_before(event).map(Value::Bool),
            ),
            History::FailedBefore => self.known(
                expr,
                "history.failed_before",
                facts.failed_before(event).map(Value::Bool),
            ),
            History::Runs => self.known(expr, "history.runs", facts.runs(event).map(count)),
            History::InFlight => self.known(expr, "history.in_flight", facts.in_flight(event).map(count)),
            History::FailureRate(window) => {
                let rate = facts.failure_rate(event, *window);
                self.known(expr, "history.failure_rate", rate.map(Value::Double))
            }
        }
    }

    fn comprehension(
        &mut self,
        kind: Macro,
        list: &List<'a>,
        condition: Option<&'a Expr>,
        value: Option<&'a Expr>,
    ) -> Outcome<'a> {
        let slot = self.locals.len() - 1;
        let mut stop = None;
        let mut held = 0_usize;
        let mut made = Vec::new();
        for element in list.iter() {
            self.step(1)?;
            self.locals[slot] = element.clone();
            let holds = condition.map_or(Ok(true), |condition| self.truth(condition));
            match (kind, holds) {
                (Macro::Exists, Ok(true)) => return Ok(Value::Bool(true)),
                (Macro::All, Ok(false)) => return Ok(Value::Bool(false)),
                (Macro::Exists | Macro::All, Ok(_)) => {}
                (Macro::Exists | Macro::All, Err(found)) => stop = Some(weigh(stop, found)?),
                (_, Err(found)) => return Err(found),
                (_, Ok(false)) => {}
                (Macro::ExistsOne, Ok(true)) => held += 1,
                (Macro::Filter, Ok(true)) => made.push(element),
                (Macro::Map, Ok(true)) => made.push(match value {
                    Some(value) => self.eval(value)?,
                    None => element,
                }),
            }
        }
        match (kind, stop) {
            (_, Some(stop)) => Err(stop),
            (Macro::Exists, None) => Ok(Value::Bool(false)),
            (Macro::All, None) => Ok(Value::Bool(true)),
            (Macro::ExistsOne, None) => Ok(Value::Bool(held == 1)),
            (Macro::Filter | Macro::Map, None) => Ok(Value::List(List::Values(Arc::from(made)))),
        }
    }
}

const OVERFLOW: Stop = Stop::Error(EvalError::Overflow);

/// The checker types every operand, so this is not reached; if it were, the clause would be unknown, never true.
fn mistyped(_: &Value<'_>) -> Stop {
    Stop::Unknown("a value of another type")
}

/// Which of two reasons is kept: unknown before error, the first before the later. Running out of steps ends all.
fn weigh(known: Option<Stop>, found: Stop) -> Result<Stop, Stop> {
    match (known, found) {
        (_, Stop::Error(EvalError::TooManySteps)) => Err(found),
        (Some(Stop::Unknown(name)), _) => Ok(Stop::Unknown(name)),
        (_, Stop::Unknown(name)) => Ok(Stop::Unknown(name)),
        (Some(error), _) => Ok(error),
        (None, error) => Ok(error),
    }
}

fn int(n: usize) -> Outcome<'static> {
    i64::try_from(n).map(Value::Int).map_err(|_| OVERFLOW)
}

/// Arithmetic on whole numbers: never wraps.
fn whole(arith: Arith, a: i64, b: i64) -> Result<i64, Stop> {
    if b == 0 && matches!(arith, Arith::Divide | Arith::Remainder) {
        return Err(Stop::Error(EvalError::DivisionByZero));
    }
    let result = match arith {
        Arith::Plus => a.checked_add(b),
        Arith::Minus => a.checked_sub(b),
        Arith::Times => a.checked_mul(b),
        Arith::Divide => a.checked_div(b),
        Arith::Remainder => a.checked_rem(b),
    };
    result.ok_or(OVERFLOW)
}

/// A computed moment, when it is in the years that can be computed with.
fn moment(ms: i64) -> Outcome<'static> {
    match YEARS.contains(&ms) {
        true => Ok(Value::Time(Timestamp(ms))),
        false => Err(Stop::Error(EvalError::TimeOutOfRange)),
    }
}

/// A computed span, when it can be computed with.
fn span(ms: i64) -> Outcome<'static> {
    match SPANS.contains(&ms) {
        true => Ok(Value::Duration(ms)),
        false => Err(Stop::Error(EvalError::TimeOutOfRange)),
    }
}

/// A value as `string(…)` writes it.
pub(crate) fn as_text(value: Value<'_>) -> Result<String, Stop> {
    match converted(Convert::Text, value)? {
        Value::Text(text) => Ok(text.into_owned()),
        other => Err(mistyped(&other)),
    }
}

fn converted(convert: Convert, value: Value<'_>) -> Outcome<'_> {
    const NOT_A_NUMBER: Stop = Stop::Error(EvalError::NotANumber);
    Ok(match (convert, value) {
        (Convert::Int, Value::Int(value)) => Value::Int(value),
        (Convert::Int, Value::Double(value)) => {
            // The bounds are the first doubles outside; not-a-number fails both comparisons.
            if value > -9_223_372_036_854_775_809.0 && value < 9_223_372_036_854_775_808.0 {
                Value::Int(value.trunc() as i64)
            } else {
                return Err(OVERFLOW);
            }
        }
        (Convert::Int, Value::Text(text)) => Value::Int(text.parse().map_err(|_| NOT_A_NUMBER)?),
        (Convert::Int, Value::Time(time)) => Value::Int(time.0.div_euclid(1000)),
        (Convert::Double, Value::Double(value)) => Value::Double(value),
        (Convert::Double, Value::Int(value)) => Value::Double(value as f64),
        (Convert::Double, Value::Text(text)) => Value::Double(text.parse().map_err(|_| NOT_A_NUMBER)?),
        (Convert::Text, Value::Text(text)) => Value::Text(text),
        (Convert::Text, Value::Bool(value)) => Value::Text(value.to_string().into()),
        (Convert::Text, Value::Int(value)) => Value::Text(value.to_string().into()),
        (Convert::Text, Value::Double(value)) => Value::Text(value.to_string().into()),
        (Convert::Text, Value::Duration(value)) => Value::Text(duration_in_seconds(value).into()),
        (Convert::Text, Value::Time(value)) => Value::Text(value.to_string().into()),
        (_, other) => return Err(mistyped(&other)),
    })
}

fn time_part<'a>(part: TimePart, value: &Value<'a>, zone: Option<&jiff::tz::TimeZone>) -> Outcome<'a> {
    match (value, zone) {
        (Value::Time(time), Some(zone)) => {
            let moment =
                jiff::Timestamp::from_millisecond(time.0).map_err(|_| Stop::Error(EvalError::TimeOutOfRange))?;
            let civil = zone.to_datetime(moment);
            Ok(Value::Int(match part {
                TimePart::FullYear => i64::from(civil.year()),
                TimePart::Month => i64::from(civil.month()) - 1,
                TimePart::Date => i64::from(civil.day()),
                TimePart::DayOfMonth => i64::from(civil.day()) - 1,
                TimePart::DayOfWeek => i64::from(civil.weekday().to_sunday_zero_offset()),
                TimePart::DayOfYear => i64::from(civil.day_of_year()) - 1,
                TimePart::Hours => i64::from(civil.hour()),
                TimePart::Minutes => i64::from(civil.minute()),
                TimePart::Seconds => i64::from(civil.second()),
                TimePart::Milliseconds => i64::from(civil.millisecond()),
            }))
        }
        (Value::Duration(ms), _) => Ok(Value::Int(match part {
            TimePart::Hours => ms / 3_600_000,
            TimePart::Minutes => ms / 60_000,
            TimePart::Seconds => ms / 1_000,
            _ => ms % 1_000,
        })),
        (other, _) => Err(mistyped(other)),
    }
}
