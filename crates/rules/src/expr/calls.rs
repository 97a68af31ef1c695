//! Functions, methods and macros: the calling half of the checker.
//!
//! In: a call as parsed. Out: a typed expression, or every error that it has. Never: a regular expression, a duration
//! or a time zone that is not read here, when the rule is loaded.

use std::ops::Range;

use super::ExprError;
use super::check::{Checker, Typed, an};
use super::functions::{self, FUNCTIONS, HISTORY_FUNCTIONS};
use super::parse::{Ast, Node};
use super::program::{Convert, Expr, History, Macro, Op, TextTest, TimePart};
use crate::code::Code;
use crate::diagnostic::{closest, one_of};
use crate::value::{Type, Value, YEARS, parse_cel_duration};
use sheriffd_event::{Duration, Timestamp};

/// The largest compiled regular expression in bytes: stops patterns such as `(a{1000}){1000}`.
const MAX_REGEX_BYTES: usize = 256 * 1024;

/// Texts that no useful regular expression matches all of.
const REGEX_PROBES: [&str; 4] = ["", "a", "0/-_.", "\u{1}Z \u{e9}"];

/// What functions are called elsewhere (Python, JavaScript, SQL), and here.
const ELSEWHERE: [(&str, &str); 12] = [
    ("beginsWith", "startsWith"),
    ("hasPrefix", "startsWith"),
    ("hasSuffix", "endsWith"),
    ("includes", "contains"),
    ("len", "size"),
    ("length", "size"),
    ("count", "size"),
    ("any", "exists"),
    ("some", "exists"),
    ("every", "all"),
    ("lower", "lowerAscii"),
    ("toLowerCase", "lowerAscii"),
];

impl Checker<'_> {
    /// A function that stands alone.
    pub(super) fn call(&mut self, ast: &Ast, name: &str, name_span: &Range<usize>, args: &[Ast]) -> Typed {
        let made = |op, ty| Some((Expr::new(op, &ast.span), ty));
        match (name, args) {
            ("has", [arg]) => {
                let checked = self.check(arg)?;
                match checked.0.op() {
                    Op::Field(_) | Op::Part(..) => made(Op::Has(Box::new(checked.0)), Type::Bool),
                    _ => {
                        let message = "`has` asks whether a field is known, and this is none";
                        self.fail(
                            ExprError::new(Code::WrongArguments, arg.span.clone(), message)
                                .expected("`has(event.field)`"),
                        )
                    }
                }
            }
            ("size", [arg]) => self.size(ast, arg),
            ("matches", [text, pattern]) => self.matches(ast, text, pattern),
            ("duration", [arg]) => {
                let Node::Text(text) = &arg.node else {
                    return self.literal_wanted(arg, "duration(\"14d\")");
                };
                match parse_cel_duration(text) {
                    Some(ms) => made(Op::Const(Value::Duration(ms)), Type::Duration),
                    None => {
                        let message = format!("{text:?} is not a duration");
                        self.fail(ExprError::new(Code::BadLiteral, arg.span.clone(), message).expected(
                            "numbers with units (ms, s, m, h, d), at most a hundred years: \"90m\", \"1h30m\", \"14d\"",
                        ))
                    }
                }
            }
            ("timestamp", [arg]) => {
                let Node::Text(text) = &arg.node else {
                    return self.literal_wanted(arg, "timestamp(\"2026-06-01T10:00:00Z\")");
                };
                match Timestamp::parse(text).filter(|time| YEARS.contains(&time.0)) {
                    Some(time) => made(Op::Const(Value::Time(time)), Type::Time),
                    None => {
                        let message = format!("{text:?} is not a time");
                        self.fail(
                            ExprError::new(Code::BadLiteral, arg.span.clone(), message).expected(
                                "RFC 3339, with a time zone, in the years 1 to 9999: \"2026-06-01T10:00:00Z\"",
                            ),
                        )
                    }
                }
            }
            ("int" | "double" | "string", [arg]) => self.convert(ast, name, arg),
            _ => self.no_such_call(ast, name, name_span, args.len(), false),
        }
    }

    fn literal_wanted(&mut self, arg: &Ast, example: &str) -> Typed {
        let message = "this must be a text in quotes: it is read when the rule is loaded";
        self.fail(ExprError::new(Code::WrongArguments, arg.span.clone(), message).expected(format!("`{example}`")))
    }

    /// The error for a call that is none: an unknown name, or a known one with other arguments.
    fn no_such_call(&mut self, ast: &Ast, name: &str, name_span: &Range<usize>, args: usize, method: bool) -> Typed {
        if let Some(known) = functions::find(name) {
            let count = match args {
                0 => "without arguments".to_owned(),
                1 => "with one argument".to_owned(),
                n => format!("with {n} arguments"),
            };
            let place = if method { "after a value" } else { "alone" };
            let message = format!("`{name}` cannot stand {place} {count}");
            return self
                .fail(ExprError::new(Code::WrongArguments, ast.span.clone(), message).expected(known.signature));
        }
        let error = ExprError::new(
            Code::UnknownFunction,
            name_span.clone(),
            format!("there is no function `{name}`"),
        );
        let elsewhere = ELSEWHERE.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        let error = if let Some((_, ours)) = elsewhere {
            error.suggest(format!("did you mean `{ours}`?"))
        } else if HISTORY_FUNCTIONS.iter().any(|function| function.name == name) {
            error.suggest(format!("did you mean `history.{name}(event)`?"))
        } else if name == "now" {
            error.suggest("rules do not ask the clock; the event's time is `event.at`")
        } else {
            match closest(name, FUNCTIONS.iter().map(|function| function.name)) {
                Some(best) => error.suggest(format!("did you mean `{best}`?")),
                None => error.expected(one_of(FUNCTIONS.iter().map(|function| function.name))),
            }
        };
        self.fail(error)
    }

    /// A function after a value.
    pub(super) fn method(&mut self, ast: &Ast, of: &Ast, name: &str, name_span: &Range<usize>, args: &[Ast]) -> Typed {
        if matches!(&of.node, Node::Name(root) if root == "history") {
            return self.history(ast, name, name_span, args);
        }
        if let Some(kind) = Macro::of(name, args.len()) {
            return self.comprehension(ast, kind, of, args);
        }
        let test = match name {
            "startsWith" => Some(TextTest::Starts),
            "endsWith" => Some(TextTest::Ends),
            "contains" => Some(TextTest::Contains),
            _ => None,
        };
        match (name, args) {
            ("size", []) => self.size(ast, of),
            ("matches", [pattern]) => self.matches(ast, of, pattern),
            ("lowerAscii", []) => {
                let text = self.text(of, name)?;
                Some((Expr::new(Op::Lower(Box::new(text)), &ast.span), Type::Text))
            }
            (_, [part]) if test.is_some() => {
                let list = matches!(self.peek_type(of), Some(Type::List(_)));
                if list && name == "contains" {
                    let message = "`contains` looks for a part of a text, this is a list";
                    return self.fail(
                        ExprError::new(Code::TypeMismatch, of.span.clone(), message).suggest("write `element in list`"),
                    );
                }
                let (text, part) = (self.text(of, name), self.text(part, name));
                Some((
                    Expr::new(Op::TextTest(test?, Box::new((text?, part?))), &ast.span),
                    Type::Bool,
                ))
            }
            (_, [] | [_]) if TimePart::of(name).is_some() => self.time_part(ast, TimePart::of(name)?, of, name, args),
            _ => self.no_such_call(ast, name, name_span, args.len(), true),
        }
    }

    /// The type of a node, without keeping what is wrong with it: that is said when it is checked for good.
    fn peek_type(&mut self, ast: &Ast) -> Option<Type> {
        let known = self.errors.len();
        let ty = self.check(ast).map(|(_, ty)| ty);
        self.errors.truncate(known);
        ty
    }

    /// A part that must be a text.
    fn text(&mut self, ast: &Ast, who: &str) -> Option<Expr> {
        let (expr, ty) = self.check(ast)?;
        if Type::Text.accepts(&ty) {
            return Some(expr);
        }
        let error = ExprError::new(
            Code::TypeMismatch,
            ast.span.clone(),
            format!("`{who}` needs a string, this is {}", an(&ty)),
        );
        self.fail(match ty {
            Type::List(_) => error.suggest(format!("ask its elements: `….exists(x, x.{who}(…))`")),
            Type::Int | Type::Double | Type::Bool => error.suggest("convert it with `string(…)`"),
            _ => error,
        })
    }

    fn size(&mut self, ast: &Ast, of: &Ast) -> Typed {
        let (expr, ty) = self.check(of)?;
        match ty {
            Type::Text | Type::List(_) | Type::Any => Some((Expr::new(Op::Size(Box::new(expr)), &ast.span), Type::Int)),
            _ => {
                let message = format!("`size` needs a string or a list, this is {}", an(&ty));
                self.fail(ExprError::new(Code::TypeMismatch, of.span.clone(), message))
            }
        }
    }

    fn matches(&mut self, ast: &Ast, text: &Ast, pattern: &Ast) -> Typed {
        let text = self.text(text, "matches");
        let Node::Text(written) = &pattern.node else {
            return self.literal_wanted(pattern, "text.matches(\"^test-\")");
        };
        let regex = match regex::RegexBuilder::new(written).size_limit(MAX_REGEX_BYTES).build() {
            Ok(regex) => regex,
            Err(error) => return self.fail(bad_regex(&error, pattern)),
        };
        if REGEX_PROBES.iter().all(|probe| regex.is_match(probe)) {
            let message = format!("the regular expression {written:?} matches every text");
            let error = ExprError::new(Code::RegexMatchesAll, pattern.span.clone(), message).warning();
            self.errors
                .push(error.suggest("leave the clause out, or say what the text must have in it"));
        }
        Some((Expr::new(Op::Matches(Box::new(text?), regex), &ast.span), Type::Bool))
    }

    fn convert(&mut self, ast: &Ast, name: &str, arg: &Ast) -> Typed {
        let (expr, ty) = self.check(arg)?;
        let allowed = match name {
            "int" => matches!(ty, Type::Int | Type::Double | Type::Text | Type::Time | Type::Any),
            "double" => matches!(ty, Type::Int | Type::Double | Type::Text | Type::Any),
            _ => !matches!(ty, Type::List(_) | Type::Object(_) | Type::Event),
        };
        let (convert, result) = match name {
            "int" => (Convert::Int, Type::Int),
            "double" => (Convert::Double, Type::Double),
            _ => (Convert::Text, Type::Text),
        };
        if allowed {
            return Some((Expr::new(Op::Convert(convert, Box::new(expr)), &ast.span), result));
        }
        let message = format!("`{name}` cannot be made from {}", an(&ty));
        self.fail(ExprError::new(Code::TypeMismatch, arg.span.clone(), message))
    }

    fn time_part(&mut self, ast: &Ast, part: TimePart, of: &Ast, name: &str, args: &[Ast]) -> Typed {
        let (of_expr, ty) = self.check(of)?;
        let of_duration = matches!(
            part,
            TimePart::Hours | TimePart::Minutes | TimePart::Seconds | TimePart::Milliseconds
        );
        let zone = match (&ty, args) {
            (Type::Time, []) => Some(jiff::tz::TimeZone::UTC),
            (Type::Duration, []) if of_duration => None,
            (Type::Time, [zone]) => {
                let Node::Text(zone_name) = &zone.node else {
                    return self.literal_wanted(zone, &format!("event.at.{name}(\"Europe/Berlin\")"));
                };
                match time_zone(zone_name) {
                    Some(zone) => Some(zone),
                    None => {
                        let message = format!("{zone_name:?} is not a time zone");
                        let error = ExprError::new(Code::BadLiteral, zone.span.clone(), message);
                        return self.fail(error.expected(
                            "a name of the IANA database or an offset: \"Europe/Berlin\", \"UTC\", \"+05:30\"",
                        ));
                    }
                }
            }
            _ => {
                let message = format!("`{name}` is a part of a timestamp, this is {}", an(&ty));
                return self.fail(ExprError::new(Code::TypeMismatch, of.span.clone(), message));
            }
        };
        Some((
            Expr::new(Op::TimePart(part, Box::new(of_expr), zone), &ast.span),
            Type::Int,
        ))
    }

    fn history(&mut self, ast: &Ast, name: &str, name_span: &Range<usize>, args: &[Ast]) -> Typed {
        let Some(known) = HISTORY_FUNCTIONS.iter().find(|function| function.name == name) else {
            let error = ExprError::new(
                Code::UnknownFunction,
                name_span.clone(),
                format!("there is no `history.{name}`"),
            );
            let names = HISTORY_FUNCTIONS.iter().map(|function| function.name);
            let error = match closest(name, names.clone()) {
                Some(best) => error.suggest(format!("did you mean `history.{best}`?")),
                None => error.expected(one_of(names)),
            };
            return self.fail(error);
        };
        if let Some(kind) = self.scope.kinds.iter().find(|kind| !kind.is_job()) {
            let message = format!("history is asked about a run, and a {} event is none", kind.as_str());
            return self
                .fail(ExprError::new(Code::TypeMismatch, ast.span.clone(), message).expected("`on: job.finished`"));
        }
        let wrong = |span: &Range<usize>, text: String| {
            ExprError::new(Code::WrongArguments, span.clone(), text).expected(known.signature)
        };
        let wanted = if name == "failure_rate" { 2 } else { 1 };
        if args.len() != wanted {
            let message = format!(
                "`history.{name}` takes {wanted} argument{}, here are {}",
                if wanted == 1 { "" } else { "s" },
                args.len()
            );
            return self.fail(wrong(&ast.span, message));
        }
        let (event, window) = (self.check(&args[0]), args.get(1).map(|arg| self.check(arg)));
        let (_, event_type) = event?;
        if event_type != Type::Event {
            let message = format!("`history.{name}` asks about the event, this is {}", an(&event_type));
            return self.fail(wrong(&args[0].span, message));
        }
        let (question, ty) = match (name, window) {
            ("passed_before", _) => (History::PassedBefore, Type::Bool),
            ("failed_before", _) => (History::FailedBefore, Type::Bool),
            ("runs", _) => (History::Runs, Type::Int),
            ("in_flight", _) => (History::InFlight, Type::Int),
            (_, Some(window)) => {
                let (window, window_type) = window?;
                if !Type::Duration.accepts(&window_type) {
                    let message = format!("the span to look back is a duration, this is {}", an(&window_type));
                    return self.fail(wrong(&args[1].span, message).suggest("write `duration(\"14d\")`"));
                }
                // Read together with the books around the event, so it must be known before the event is.
                let Some(Value::Duration(ms)) = window.constant() else {
                    let message = "the span to look back must be a literal: it is read when the rule is loaded";
                    return self.fail(wrong(&args[1].span, message.to_owned()).suggest("write `duration(\"14d\")`"));
                };
                let Some(span) = u64::try_from(*ms).ok().filter(|ms| *ms > 0) else {
                    let message = "the span to look back is not longer than nothing";
                    let error = ExprError::new(Code::OutOfRange, args[1].span.clone(), message);
                    return self.fail(error.expected("a duration such as `duration(\"14d\")`"));
                };
                (History::FailureRate(Duration::from_millis(span)), Type::Double)
            }
            _ => return None,
        };
        Some((Expr::new(Op::History(question), &ast.span), ty))
    }

    fn comprehension(&mut self, ast: &Ast, kind: Macro, of: &Ast, args: &[Ast]) -> Typed {
        let (list, ty) = self.check(of)?;
        let Type::List(element) = ty else {
            let message = format!("`{}` goes through a list, this is {}", kind.as_str(), an(&ty));
            return self.fail(ExprError::new(Code::TypeMismatch, of.span.clone(), message));
        };
        let Node::Name(name) = &args[0].node else {
            let message = "the first argument is a name for the element";
            let known = functions::find(kind.as_str()).map_or("", |function| function.signature);
            return self.fail(ExprError::new(Code::WrongArguments, args[0].span.clone(), message).expected(known));
        };
        if matches!(name.as_str(), "event" | "history" | "lists" | "estimate")
            || self.locals.iter().any(|(local, _)| local == name)
        {
            let message = format!("`{name}` has a meaning already");
            return self.fail(
                ExprError::new(Code::Conflict, args[0].span.clone(), message)
                    .suggest("choose another name for the element"),
            );
        }
        self.locals.push((name.clone(), (*element).clone()));
        let who = format!("`{}`", kind.as_str());
        let (condition, value) = match (kind, args) {
            (Macro::Map, [_, value]) => (Some(None), Some(self.check(value))),
            (Macro::Map, [_, condition, value]) => (self.bool(condition, &who).map(Some), Some(self.check(value))),
            (_, [_, condition, ..]) => (self.bool(condition, &who).map(Some), None),
            // `Macro::of` counted the arguments.
            _ => (None, None),
        };
        self.locals.pop();
        let condition = condition?.map(Box::new);
        let (value, ty) = match value {
            None => (
                None,
                if kind == Macro::Filter {
                    element.list()
                } else {
                    Type::Bool
                },
            ),
            Some(value) => {
                let (value, ty) = value?;
                (Some(Box::new(value)), ty.list())
            }
        };
        Some((
            Expr::new(
                Op::Macro {
                    kind,
                    list: Box::new(list),
                    condition,
                    value,
                },
                &ast.span,
            ),
            ty,
        ))
    }
}

/// A time zone by its IANA name, or as an offset from UTC (`+05:30`, `-02:00`, `02:00`), as CEL takes them.
fn time_zone(name: &str) -> Option<jiff::tz::TimeZone> {
    let (sign, offset) = match name.strip_prefix('-') {
        Some(offset) => (-1, offset),
        None => (1, name.strip_prefix('+').unwrap_or(name)),
    };
    let Some((hours, minutes)) = offset.split_once(':') else {
        return jiff::tz::TimeZone::get(name).ok();
    };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    if !(0..24).contains(&hours) || !(0..60).contains(&minutes) {
        return None;
    }
    let offset = jiff::tz::Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()?;
    Some(jiff::tz::TimeZone::fixed(offset))
}

/// The regex crate draws its own caret over several lines; here one line says what and the span says where.
fn bad_regex(error: &regex::Error, pattern: &Ast) -> ExprError {
    let reason = match error {
        regex::Error::CompiledTooBig(limit) => format!("it needs more than {limit} bytes when compiled"),
        other => {
            let text = other.to_string();
            text.lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned()
        }
    };
    let error = ExprError::new(
        Code::BadRegex,
        pattern.span.clone(),
        format!("the regular expression cannot be compiled: {reason}"),
    );
    if reason.contains("look-around") || reason.contains("backreferences") {
        error.suggest("say it with two clauses instead")
    } else {
        error
    }
}
