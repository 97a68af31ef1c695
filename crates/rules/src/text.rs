//! Texts with `${{ … }}` in them: the same language as `when:`, filled in when a case is opened.
//!
//! In: a text of a rule file, then an event. Out: the text with every expression replaced by its value, as `string(…)`
//! writes it. Never: half a text: one part that is not known or cannot be computed, and there is none.

use std::ops::Range;

use super::code::Code;
use super::expr::{Expr, ExprError, Run, Scope, Stop, an, as_text, compile_value};
use super::value::Type;
use sheriffd_event::Duration;

/// What begins an expression in a text.
const OPEN: &str = "${{";
/// What ends it.
const CLOSE: &str = "}}";

/// A text, cut into what stands as it is and what is filled in.
#[derive(Debug, Clone)]
pub(super) struct FilledText {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Plain(String),
    Value(Expr),
}

/// Whether a text has expressions in it.
pub(super) fn has_expressions(text: &str) -> bool {
    text.contains(OPEN)
}

impl FilledText {
    /// Reads a text, and every expression in it. The second part has every error and warning, at its place in the
    /// text.
    pub fn read(text: &str, scope: Scope<'_>) -> (Option<FilledText>, Vec<ExprError>) {
        let (mut parts, mut errors, mut at) = (Vec::new(), Vec::new(), 0);
        while let Some(begin) = text[at..].find(OPEN).map(|found| at + found) {
            parts.push(Part::Plain(text[at..begin].to_owned()));
            let inside = begin + OPEN.len();
            let Some(end) = end_of(&text[inside..]).map(|length| inside + length) else {
                let message = "the expression that begins here is not closed";
                let error = ExprError::new(Code::ExprSyntax, begin..inside, message).expected("`}}` after it");
                return (None, vec![error]);
            };
            let (compiled, found) = compile_value(&text[inside..end], scope);
            errors.extend(found.into_iter().map(|error| error.moved(inside)));
            match compiled {
                Some((expr, ty)) if is_scalar(&ty) => parts.push(Part::Value(expr)),
                Some((_, ty)) => errors.push(not_a_text(&ty, inside..end)),
                None => {}
            }
            at = end + CLOSE.len();
        }
        parts.push(Part::Plain(text[at..].to_owned()));
        let failed = errors.iter().any(|error| !error.is_warning);
        ((!failed).then_some(FilledText { parts }), errors)
    }

    /// The spans over which it asks for a failure rate.
    pub fn rate_windows(&self, found: &mut Vec<Duration>) {
        for part in &self.parts {
            if let Part::Value(expr) = part {
                expr.rate_windows(found);
            }
        }
    }

    /// The text for an event.
    ///
    /// # Errors
    /// A fact is not known, or a part cannot be computed.
    pub fn fill<'a>(&'a self, run: &mut Run<'a>) -> Result<String, Stop> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Plain(plain) => text.push_str(plain),
                Part::Value(expr) => text.push_str(&as_text(run.eval(expr)?)?),
            }
        }
        Ok(text)
    }
}

/// Where the expression at the beginning of a text ends: the first `}}` that is not inside a text of its own.
fn end_of(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => drop(chars.next()),
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '}') if text[at..].starts_with(CLOSE) => return Some(at),
            _ => {}
        }
    }
    None
}

fn is_scalar(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Bool | Type::Int | Type::Double | Type::Text | Type::Duration | Type::Time
    )
}

fn not_a_text(ty: &Type, span: Range<usize>) -> ExprError {
    let error = ExprError::new(
        Code::TypeMismatch,
        span,
        format!("a text can hold a value, this is {}", an(ty)),
    );
    match ty {
        Type::List(_) => error.suggest("take one element of it, as in `list[0]`"),
        Type::Object(_) => error.suggest("take one of its fields"),
        _ => error.expected("a bool, int, double, string, duration or timestamp"),
    }
}
