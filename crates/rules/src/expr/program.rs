//! What the checker makes and the evaluator runs.
//!
//! In: nodes that were typed. Out: an [`Expr`] whose names are accessors. Never: operands of a type that is not wanted.

use std::ops::Range;

use regex::Regex;

use super::parse::Binary;
use crate::diagnostic::to_u32;
use crate::fields::{Field, ObjectField};
use crate::value::Value;
use sheriffd_event::Duration;

/// A typed expression.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    op: Op,
    start: u32,
    end: u32,
}

/// What an expression does. Made by the checker only, so operands have the types that are wanted.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Const(Value<'static>),
    /// The event: only history functions take it, and they have it already.
    Event,
    /// A field; several when the rule is for several kinds of events that have each their own.
    Field(Vec<&'static Field>),
    Part(Box<Expr>, &'static ObjectField),
    Local(usize),
    Estimate,
    Not(Box<Expr>),
    Minus(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Ternary(Box<[Expr; 3]>),
    Compare(Compare, Box<(Expr, Expr)>),
    In(Box<(Expr, Expr)>),
    Arith(Arith, Box<(Expr, Expr)>),
    List(Vec<Expr>),
    Index(Box<Expr>, Box<Expr>),
    Has(Box<Expr>),
    Size(Box<Expr>),
    TextTest(TextTest, Box<(Expr, Expr)>),
    Matches(Box<Expr>, Regex),
    Lower(Box<Expr>),
    Convert(Convert, Box<Expr>),
    TimePart(TimePart, Box<Expr>, Option<jiff::tz::TimeZone>),
    History(History),
    Macro {
        kind: Macro,
        list: Box<Expr>,
        condition: Option<Box<Expr>>,
        value: Option<Box<Expr>>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Compare {
    pub fn of(op: Binary) -> Option<Compare> {
        Some(match op {
            Binary::Equal => Compare::Equal,
            Binary::NotEqual => Compare::NotEqual,
            Binary::Less => Compare::Less,
            Binary::LessEqual => Compare::LessEqual,
            Binary::Greater => Compare::Greater,
            Binary::GreaterEqual => Compare::GreaterEqual,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arith {
    Plus,
    Minus,
    Times,
    Divide,
    Remainder,
}

impl Arith {
    pub fn of(op: Binary) -> Option<Arith> {
        Some(match op {
            Binary::Plus => Arith::Plus,
            Binary::Minus => Arith::Minus,
            Binary::Times => Arith::Times,
            Binary::Divide => Arith::Divide,
            Binary::Remainder => Arith::Remainder,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextTest {
    Starts,
    Ends,
    Contains,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Convert {
    Int,
    Double,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimePart {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

impl TimePart {
    pub fn of(name: &str) -> Option<TimePart> {
        Some(match name {
            "getFullYear" => TimePart::FullYear,
            "getMonth" => TimePart::Month,
            "getDate" => TimePart::Date,
            "getDayOfMonth" => TimePart::DayOfMonth,
            "getDayOfWeek" => TimePart::DayOfWeek,
            "getDayOfYear" => TimePart::DayOfYear,
            "getHours" => TimePart::Hours,
            "getMinutes" => TimePart::Minutes,
            "getSeconds" => TimePart::Seconds,
            "getMilliseconds" => TimePart::Milliseconds,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone)]
pub(super) enum History {
    PassedBefore,
    FailedBefore,
    /// Over this span.
    FailureRate(Duration),
    Runs,
    InFlight,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Macro {
    Exists,
    ExistsOne,
    All,
    Filter,
    Map,
}

impl Macro {
    /// The macro of this name with so many arguments.
    pub fn of(name: &str, args: usize) -> Option<Macro> {
        Some(match (name, args) {
            ("exists", 2) => Macro::Exists,
            ("exists_one", 2) => Macro::ExistsOne,
            ("all", 2) => Macro::All,
            ("filter", 2) => Macro::Filter,
            ("map", 2 | 3) => Macro::Map,
            _ => return None,
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Macro::Exists => "exists",
            Macro::ExistsOne => "exists_one",
            Macro::All => "all",
            Macro::Filter => "filter",
            Macro::Map => "map",
        }
    }
}

impl Expr {
    pub(super) fn new(op: Op, span: &Range<usize>) -> Expr {
        Expr {
            op,
            start: to_u32(span.start),
            end: to_u32(span.end),
        }
    }

    pub(super) fn op(&self) -> &Op {
        &self.op
    }

    /// Its place in the text of the condition, in bytes.
    pub(crate) fn span(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(super) fn constant(&self) -> Option<&Value<'static>> {
        match &self.op {
            Op::Const(value) => Some(value),
            _ => None,
        }
    }

    /// The parts that it is made of, one level down.
    fn parts(&self) -> Vec<&Expr> {
        match &self.op {
            Op::Const(_) | Op::Event | Op::Field(_) | Op::Local(_) | Op::Estimate | Op::History(_) => Vec::new(),
            Op::Part(of, _)
            | Op::Not(of)
            | Op::Minus(of)
            | Op::Has(of)
            | Op::Size(of)
            | Op::Matches(of, _)
            | Op::Lower(of)
            | Op::Convert(_, of)
            | Op::TimePart(_, of, _) => vec![of],
            Op::And(parts) | Op::Or(parts) | Op::List(parts) => parts.iter().collect(),
            Op::Ternary(parts) => parts.iter().collect(),
            Op::Compare(_, pair) | Op::In(pair) | Op::Arith(_, pair) | Op::TextTest(_, pair) => vec![&pair.0, &pair.1],
            Op::Index(list, index) => vec![list, index],
            Op::Macro {
                list, condition, value, ..
            } => [Some(list), condition.as_ref(), value.as_ref()]
                .into_iter()
                .flatten()
                .map(|part| &**part)
                .collect(),
        }
    }

    /// The spans over which it asks for a failure rate. The parser bounds the depth of the recursion.
    pub(crate) fn rate_windows(&self, found: &mut Vec<Duration>) {
        if let Op::History(History::FailureRate(span)) = &self.op
            && !found.contains(span)
        {
            found.push(*span);
        }
        for part in self.parts() {
            part.rate_windows(found);
        }
    }

    /// Whether it reads this field of the event. The parser bounds the depth of the recursion.
    pub(crate) fn reads(&self, name: &str) -> bool {
        let here = matches!(&self.op, Op::Field(fields) if fields.iter().any(|field| field.name == name));
        here || self.parts().into_iter().any(|part| part.reads(name))
    }

    /// The top-level parts that `&&` joins; the whole when there is none.
    pub(crate) fn clauses(&self) -> &[Expr] {
        match &self.op {
            Op::And(parts) => parts,
            _ => std::slice::from_ref(self),
        }
    }

    /// When it says that a field equals one of some constants: the field and those.
    pub(crate) fn as_equality(&self) -> Option<(&'static str, Vec<&Value<'static>>)> {
        let single = |expr: &Expr| match &expr.op {
            Op::Field(fields) => fields.first().map(|field| field.name),
            _ => None,
        };
        match &self.op {
            Op::Compare(Compare::Equal, pair) => match (single(&pair.0), pair.1.constant()) {
                (Some(field), Some(value)) => Some((field, vec![value])),
                _ => Some((single(&pair.1)?, vec![pair.0.constant()?])),
            },
            _ => None,
        }
    }

    /// When it is a constant truth value: that.
    pub(crate) fn as_truth(&self) -> Option<bool> {
        match &self.op {
            Op::Const(Value::Bool(value)) => Some(*value),
            _ => None,
        }
    }
}
