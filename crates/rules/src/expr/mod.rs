//! The expression language: CEL's syntax, a declared subset, checked against the event's schema when it is loaded.
//!
//! In: the text of a condition. Out: an [`Expr`] that cannot fail to type, and its value for an event. Never: I/O,
//! loops without a bound, panics: arithmetic is checked, depth and steps are limited, errors are values.
//!
//! [`lex`] makes tokens, [`parse`] a tree, [`check`] (with [`calls`] for functions) types it and resolves names to
//! accessors, [`program`] is the result, [`eval`] runs it.

use std::ops::Range;

use super::code::Code;

mod calls;
mod check;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod differential;
mod eval;
pub(super) mod functions;
mod lex;
mod parse;
mod program;
#[cfg(test)]
mod tests;

pub(super) use check::{NamedList, Scope, an, compile, compile_value};
pub use eval::{EvalError, Seen, Stop};
pub(super) use eval::{Run, as_text};
pub(super) use program::Expr;

/// The result of reading a part of an expression.
type Parsed<T> = Result<T, ExprError>;

/// What is wrong with an expression, and where in its text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ExprError {
    pub code: Code,
    /// Bytes of the expression's text.
    pub span: Range<usize>,
    pub message: String,
    pub expected: Option<String>,
    pub suggestion: Option<String>,
    /// Whether it is only a warning.
    pub is_warning: bool,
}

impl ExprError {
    pub(super) fn new(code: Code, span: Range<usize>, message: impl Into<String>) -> ExprError {
        ExprError {
            code,
            span,
            message: message.into(),
            expected: None,
            suggestion: None,
            is_warning: false,
        }
    }

    pub(super) fn expected(mut self, text: impl Into<String>) -> ExprError {
        self.expected = Some(text.into());
        self
    }

    pub(super) fn suggest(mut self, text: impl Into<String>) -> ExprError {
        self.suggestion = Some(text.into());
        self
    }

    /// The same for a text in which the expression begins at this byte.
    pub(super) fn moved(mut self, by: usize) -> ExprError {
        self.span = self.span.start + by..self.span.end + by;
        self
    }

    fn warning(mut self) -> ExprError {
        self.is_warning = true;
        self
    }
}
