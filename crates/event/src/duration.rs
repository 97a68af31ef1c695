//! Spans of time as people write them in configuration, rule files and commands: `500ms`, `30s`, `5m`, `4h`, `2d`,
//! `1h30m`. (`duration("…")` in an expression is CEL's, which also takes fractions and signs.)

use super::Duration;

/// The units, largest first: a text names them in this order, each once.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The longest span that can be written: over a hundred years mean a mistake.
const MAX: Duration = Duration::from_secs(36_525 * 86_400);

/// A text is no span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// A number is missing before a unit.
    #[error("a whole number is missing before `{0}`")]
    Number(String),
    /// A number stands without a unit.
    #[error("`{0}` needs a unit: ms, s, m, h or d")]
    NoUnit(String),
    /// There is no such unit.
    #[error("there is no unit `{0}`: write ms, s, m, h or d")]
    Unit(String),
    /// A unit comes twice, or after a smaller one.
    #[error("`{0}` must come once, and before smaller units, as in 1d12h")]
    Order(String),
    /// It is longer than a hundred years.
    #[error("it is longer than a hundred years")]
    TooLong,
}

/// Reads a span: whole numbers with units, larger ones first, without blanks.
///
/// ```
/// use std::time::Duration;
/// use sheriffd_event::parse_duration;
///
/// assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5_400)));
/// assert_eq!(parse_duration("30").unwrap_err().to_string(), "`30` needs a unit: ms, s, m, h or d");
/// ```
///
/// # Errors
/// The text is not of this form, or longer than a hundred years.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut rest = text;
    let mut smallest_so_far = u64::MAX;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        if number.is_empty() {
            return Err(DurationError::Number(unit.to_owned()));
        }
        if unit.is_empty() {
            return Err(DurationError::NoUnit(number.to_owned()));
        }
        let Some((_, milliseconds)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(DurationError::Unit(unit.to_owned()));
        };
        if *milliseconds >= smallest_so_far {
            return Err(DurationError::Order(unit.to_owned()));
        }
        smallest_so_far = *milliseconds;
        let part = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*milliseconds));
        total = part
            .and_then(|part| total.checked_add(part))
            .ok_or(DurationError::TooLong)?;
        rest = after;
    }
    let span = Duration::from_millis(total);
    if span > MAX {
        Err(DurationError::TooLong)
    } else {
        Ok(span)
    }
}

/// Writes a span as [`parse_duration`] reads it, in whole milliseconds.
pub fn format_duration(span: Duration) -> String {
    let mut rest = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, milliseconds) in UNITS {
        if rest >= milliseconds {
            text.push_str(&format!("{}{unit}", rest / milliseconds));
            rest %= milliseconds;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (text, milliseconds) in [
            ("1ms", 1),
            ("30s", 30_000),
            ("5m", 300_000),
            ("4h", 14_400_000),
            ("2d", 172_800_000),
            ("1m1ms", 60_001),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            ("", "it is empty"),
            ("s", "a whole number is missing before `s`"),
            ("-5s", "a whole number is missing before `-`"),
            ("1.5h", "there is no unit `.`: write ms, s, m, h or d"),
            ("5 s", "there is no unit ` s`: write ms, s, m, h or d"),
            ("5min", "there is no unit `min`: write ms, s, m, h or d"),
            ("5s10", "`10` needs a unit: ms, s, m, h or d"),
            ("5s1h", "`h` must come once, and before smaller units, as in 1d12h"),
            ("1s1s", "`s` must come once, and before smaller units, as in 1d12h"),
            ("40000d", "it is longer than a hundred years"),
            ("99999999999999999999s", "it is longer than a hundred years"),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(milliseconds in 0_u64..3_155_760_000_000) {
            let span = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_duration(&format_duration(span)), Ok(span));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse_duration(&text);
        }
    }
}
