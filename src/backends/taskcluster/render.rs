//! JSON-e templates of other people, rendered within bounds.
//!
//! In: a template and its context. Out: the value, or why not. Never: unbounded time or stack, however the template is
//! written: a push to `try` brings templates of its own.
//!
//! The `json-e` crate's parser takes time exponential in the nesting of brackets (16 deep: over a second, 30 deep: for
//! ever), and its evaluator's stack grows with the length of an expression (a thousand operators: over 2 MiB). Neither
//! can be stopped once begun, so both are bounded before.

use std::collections::BTreeSet;
use std::thread;

use serde_json::Value;

use crate::net::http::quote;

/// Brackets within brackets in one string. Recorded templates have 2.
const MAX_NESTING: usize = 6;

/// The longest string, in bytes. Recorded templates have 461.
const MAX_STRING: usize = 4_096;

/// All strings of a template together, in bytes. Recorded templates have up to 6,000.
const MAX_STRINGS: usize = 128 * 1024;

/// The stack that a template is rendered on: ten times what the longest string was seen to need in a build without
/// optimisation. Memory is used only as far as it is needed.
const STACK: usize = 64 * 1024 * 1024;

/// A template gave no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// It is not written in bounds.
    #[error("it has {what}, more than the {limit} that are rendered")]
    Bounds {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: usize,
    },
    /// Its own language says no.
    #[error("{0}")]
    Template(String),
    /// It could not be tried.
    #[error("it could not be rendered: {0}")]
    Machine(String),
}

/// The template's value in a context.
pub fn render(template: &Value, context: &Value) -> Result<Value, RenderError> {
    check(template)?;
    thread::scope(|scope| {
        let renderer = thread::Builder::new().name("json-e".to_owned()).stack_size(STACK);
        let rendered = renderer
            .spawn_scoped(scope, || {
                json_e::render(template, context).map_err(|error| quote(&error.to_string()))
            })
            .map_err(|error| RenderError::Machine(error.to_string()))?
            .join();
        match rendered {
            Ok(value) => value.map_err(RenderError::Template),
            Err(_) => Err(RenderError::Machine("the renderer panicked".to_owned())),
        }
    })
}

/// Whether all strings of a template, names of members too, are in bounds.
fn check(template: &Value) -> Result<(), RenderError> {
    let mut total = 0;
    // Values of the template still to be looked at; `serde_json` reads 128 levels at most, so a plain stack suffices.
    let mut rest = vec![template];
    while let Some(value) = rest.pop() {
        let strings: Vec<&String> = match value {
            Value::String(text) => vec![text],
            Value::Object(members) => {
                rest.extend(members.values());
                members.keys().collect()
            }
            Value::Array(items) => {
                rest.extend(items);
                Vec::new()
            }
            _ => Vec::new(),
        };
        for text in strings {
            total += text.len();
            if text.len() > MAX_STRING {
                return Err(RenderError::Bounds {
                    what: "a string with more bytes",
                    limit: MAX_STRING,
                });
            }
            if total > MAX_STRINGS {
                return Err(RenderError::Bounds {
                    what: "strings with more bytes together",
                    limit: MAX_STRINGS,
                });
            }
            if nesting(text) > MAX_NESTING {
                return Err(RenderError::Bounds {
                    what: "deeper nested brackets",
                    limit: MAX_NESTING,
                });
            }
        }
    }
    Ok(())
}

/// How deep the brackets of any expression in a string are nested. Expressions begin at the string's beginning or after
/// `${`; where they end is not looked for, which can only find more.
fn nesting(text: &str) -> usize {
    let starts = text.match_indices("${").map(|(at, _)| at + 2);
    let starts: BTreeSet<usize> = starts.chain([0]).collect();
    starts
        .into_iter()
        .map(|start| depth(&text.as_bytes()[start..]))
        .max()
        .unwrap_or(0)
}

/// How deep the brackets of one expression are nested; those in its strings, which have no escapes, are none.
fn depth(expression: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quote) = (0usize, 0, None);
    for byte in expression {
        match (quote, byte) {
            (Some(end), byte) if end == byte => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'(' | b'[' | b'{') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (None, b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn bounds(template: Value) -> bool {
        matches!(render(&template, &json!({})), Err(RenderError::Bounds { .. }))
    }

    #[test]
    fn a_template_is_filled_in_from_its_context() {
        let template = json!({"a": {"$eval": "x + 1"}, "b": "<${y}>"});
        assert_eq!(
            render(&template, &json!({"x": 1, "y": "z"})),
            Ok(json!({"a": 2, "b": "<z>"}))
        );
        assert!(matches!(
            render(&json!({"$eval": "nosuch"}), &json!({})),
            Err(RenderError::Template(_))
        ));
    }

    #[test]
    fn a_template_that_would_take_for_ever_is_refused() {
        let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(40), close.repeat(40));
        assert!(bounds(json!({"$eval": deep("(", ")")})));
        assert!(bounds(json!({"$eval": deep("[", "]")})));
        assert!(bounds(json!(format!("plain, isn't it? ${{{}}}", deep("(", ")")))));
        // Brackets in strings close nothing.
        assert!(bounds(json!({"$eval": format!("{}1", "(')' + ".repeat(40))})));
        assert!(bounds(json!({"$match": {deep("(", ")"): 1}})));
        assert!(bounds(json!({"x": ["y".repeat(MAX_STRING + 1)]})));
        assert!(bounds(json!(vec!["y".repeat(4_000); 40])));
    }

    #[test]
    fn a_template_with_the_longest_chain_in_bounds_is_rendered() {
        let chain = vec!["1"; MAX_STRING / 2].join("+");
        assert_eq!(render(&json!({"$eval": chain}), &json!({})), Ok(json!(MAX_STRING / 2)));
    }

    proptest! {
        /// Law: no template ends the daemon.
        #[test]
        fn no_template_makes_it_panic(text in "[$\\{\\}\\[\\]()'\"a1+.*!: ]{0,40}") {
            let _ = render(&json!({"$eval": &text, "x": &text}), &json!({"a": 1}));
        }
    }
}
