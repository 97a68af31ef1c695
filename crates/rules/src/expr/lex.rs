//! Text to tokens.
//!
//! In: the text of an expression. Out: tokens with their places, or the first character sequence that is none.
//! The lexical rules are those of CEL (cel-spec, "Syntax"), without bytes and unsigned numbers.

use std::ops::Range;

use super::{ExprError, Parsed};
use crate::code::Code;

/// The longest expression in bytes.
pub(super) const MAX_TEXT: usize = 16 * 1024;

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Ident(String),
    Int(i64),
    /// 2^63: a number of 64 bits only with a sign before it.
    IntBound,
    Double(f64),
    Text(String),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// Signs, longer ones before their beginnings.
const SIGNS: [&str; 25] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", "(", ")", "[", "]", "{", "}",
    ".", ",", "|",
];

/// Splits a text into tokens; the last one is [`Token::End`].
pub(super) fn lex(text: &str) -> Parsed<Vec<(Token, Range<usize>)>> {
    if text.len() > MAX_TEXT {
        let message = format!(
            "the expression has {} bytes, more than the limit of {MAX_TEXT}",
            text.len()
        );
        return Err(ExprError::new(Code::TooComplex, 0..0, message));
    }
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
        } else if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if c.is_ascii_digit() || (c == '.' && rest[1..].starts_with(|d: char| d.is_ascii_digit())) {
            let (token, length) = number(rest, at)?;
            tokens.push((token, at..at + length));
            at += length;
        } else if let Some(prefix) = bytes_start(rest) {
            return Err(
                ExprError::new(Code::OutsideSubset, at..at + prefix, "this language has no bytes")
                    .suggest("leave out the `b` to make it a text"),
            );
        } else if let Some((raw, quote)) = text_start(rest) {
            let (value, length) = quoted(rest, at, raw, quote)?;
            tokens.push((Token::Text(value), at..at + length));
            at += length;
        } else if c.is_ascii_alphabetic() || c == '_' {
            let length = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            tokens.push((Token::Ident(rest[..length].to_owned()), at..at + length));
            at += length;
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push((Token::Sign(sign), at..at + sign.len()));
            at += sign.len();
        } else {
            return Err(stray(rest, c, at));
        }
    }
    tokens.push((Token::End, text.len()..text.len()));
    Ok(tokens)
}

/// A character that no token begins with, with what was probably meant.
fn stray(rest: &str, c: char, at: usize) -> ExprError {
    let (width, hint) = match c {
        '=' if rest.starts_with("=~") => (2, Some("regular expressions are matched with `text.matches(\"…\")`")),
        '=' => (1, Some("equality is written `==`")),
        '&' => (1, Some("\"and\" is written `&&`")),
        '$' if rest.starts_with("${{") => (3, Some("`when:` is an expression already: leave out `${{` and `}}`")),
        '`' => (1, Some("names of fields stand without quotes")),
        '“' | '”' | '‘' | '’' => (c.len_utf8(), Some("texts stand in straight quotes: \"…\" or '…'")),
        _ => (c.len_utf8(), None),
    };
    let error = ExprError::new(
        Code::ExprSyntax,
        at..at + width,
        format!("`{c}` has no meaning in an expression"),
    );
    match hint {
        Some(hint) => error.suggest(hint),
        None => error,
    }
}

fn number(rest: &str, at: usize) -> Parsed<(Token, usize)> {
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if rest.starts_with("0x") || rest.starts_with("0X") {
        let length = 2 + bytes[2..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if matches!(bytes.get(length), Some(b'u' | b'U')) {
            return Err(unsigned(&rest[..=length], at));
        }
        return match u64::from_str_radix(&rest[2..length], 16).map(int) {
            Ok(Some(token)) => Ok((token, length)),
            _ => Err(bad_number(&rest[..length], at)),
        };
    }
    let mut length = digits(0);
    let mut is_double = false;
    if bytes.get(length) == Some(&b'.') && bytes.get(length + 1).is_some_and(u8::is_ascii_digit) {
        is_double = true;
        length += 1 + digits(length + 1);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits((length + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            is_double = true;
            length += 1 + sign + exponent;
        }
    }
    if matches!(bytes.get(length), Some(b'u' | b'U')) {
        return Err(unsigned(&rest[..=length], at));
    }
    if rest[length..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        let word = rest[length..]
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len() - length);
        let written = &rest[..length + word];
        let error = ExprError::new(
            Code::BadLiteral,
            at..at + length + word,
            format!("`{written}` is not a number"),
        );
        return Err(match crate::value::parse_cel_duration(written) {
            Some(_) => error.suggest(format!("a span of time is written `duration(\"{written}\")`")),
            None => error,
        });
    }
    let written = &rest[..length];
    let token = if is_double {
        written
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
            .map(Token::Double)
    } else {
        written.parse().ok().and_then(int)
    };
    token
        .map(|token| (token, length))
        .ok_or_else(|| bad_number(written, at))
}

/// A whole number without its sign.
fn int(value: u64) -> Option<Token> {
    match i64::try_from(value) {
        Ok(value) => Some(Token::Int(value)),
        Err(_) => (value == i64::MIN.unsigned_abs()).then_some(Token::IntBound),
    }
}

fn unsigned(written: &str, at: usize) -> ExprError {
    let message = format!("`{written}` is an unsigned number, which this language leaves out");
    ExprError::new(Code::OutsideSubset, at..at + written.len(), message)
        .suggest(format!("write `{}`", &written[..written.len() - 1]))
}

fn bad_number(written: &str, at: usize) -> ExprError {
    let message = format!("`{written}` is not a number of 64 bits");
    ExprError::new(Code::BadLiteral, at..at + written.len(), message)
}

/// The length of the prefix of a bytes literal that begins here.
fn bytes_start(rest: &str) -> Option<usize> {
    let prefixes = ["b", "B", "br", "bR", "Br", "BR", "rb", "rB", "Rb", "RB"];
    let begins = |prefix: &&str| {
        rest.strip_prefix(*prefix)
            .is_some_and(|body| body.starts_with(['"', '\'']))
    };
    prefixes.into_iter().find(begins).map(str::len)
}

/// Whether a text literal begins here: raw or not, and with which quote.
fn text_start(rest: &str) -> Option<(bool, &'static str)> {
    let (raw, body) = match rest.strip_prefix(['r', 'R']) {
        Some(body) => (true, body),
        None => (false, rest),
    };
    let quote = ["\"\"\"", "'''", "\"", "'"]
        .into_iter()
        .find(|quote| body.starts_with(quote))?;
    Some((raw, quote))
}

/// A text literal: its value and its length in the source.
fn quoted(rest: &str, at: usize, raw: bool, quote: &'static str) -> Parsed<(String, usize)> {
    let begin = usize::from(raw) + quote.len();
    let mut value = String::new();
    let mut length = begin;
    loop {
        let here = &rest[length..];
        if here.starts_with(quote) {
            return Ok((value, length + quote.len()));
        }
        match here.chars().next() {
            None => break,
            Some('\n') if quote.len() == 1 => break,
            Some('\\') if !raw => {
                let (c, used) = escape(here, at + length)?;
                value.push(c);
                length += used;
            }
            Some(c) => {
                value.push(c);
                length += c.len_utf8();
            }
        }
    }
    Err(ExprError::new(
        Code::ExprSyntax,
        at..at + begin,
        format!("the text that begins here has no closing {quote}"),
    ))
}

/// An escape sequence: the character and the length of its source.
fn escape(here: &str, at: usize) -> Parsed<(char, usize)> {
    let simple = |c| Ok((c, 2));
    let coded = |digits: Range<usize>, radix| {
        let code = here
            .get(digits.clone())
            .and_then(|digits| u32::from_str_radix(digits, radix).ok());
        match code.and_then(char::from_u32) {
            Some(c) => Ok((c, digits.end)),
            None => Err(ExprError::new(
                Code::BadLiteral,
                at..at + digits.start,
                "this escape names no character",
            )),
        }
    };
    match here[1..].chars().next() {
        Some(c @ ('\\' | '"' | '\'' | '`' | '?')) => simple(c),
        Some('a') => simple('\u{7}'),
        Some('b') => simple('\u{8}'),
        Some('f') => simple('\u{c}'),
        Some('n') => simple('\n'),
        Some('r') => simple('\r'),
        Some('t') => simple('\t'),
        Some('v') => simple('\u{b}'),
        Some('x' | 'X') => coded(2..4, 16),
        Some('u') => coded(2..6, 16),
        Some('U') => coded(2..10, 16),
        Some('0'..='3') => coded(1..4, 8),
        other => {
            let length = 1 + other.map_or(0, char::len_utf8);
            let message = format!("`{}` is not an escape", &here[..length]);
            Err(ExprError::new(Code::BadLiteral, at..at + length, message)
                .suggest("a backslash is written `\\\\`; in regular expressions use a raw text: r\"\\d+\""))
        }
    }
}
