//! The names in a query of Prometheus. Whether the query is sound, promtool knows; this only finds names.

use std::collections::BTreeSet;

/// A metric in a query.
#[derive(Debug, PartialEq, Eq)]
pub struct Selector {
    /// Its name.
    pub metric: String,
    /// The labels that it is selected by, with the values asked for: several where a pattern lists them.
    pub matchers: Vec<(String, Vec<String>)>,
}

/// What a query names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The metrics.
    pub selectors: Vec<Selector>,
    /// The labels that it groups or joins by.
    pub grouping: BTreeSet<String>,
}

const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const WORDS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

/// The names in a query.
pub fn names(query: &str) -> Names {
    let mut names = Names::default();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        match first {
            '"' | '\'' => rest = after(&rest[1..], first),
            '[' => rest = after(rest, ']'),
            '{' => {
                let selector = names.selectors.last_mut().expect("a selector follows a metric");
                rest = matchers(&rest[1..], &mut selector.matchers);
            }
            '0'..='9' => rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.'),
            _ if is_name(first) => {
                let (word, behind) = split_name(rest);
                let behind = behind.trim_start();
                rest = behind;
                if GROUPING.contains(&word) {
                    let list = behind.strip_prefix('(').expect("labels follow in parentheses");
                    let (labels, behind) = list.split_once(')').expect("the parenthesis is closed");
                    let labels = labels.split(',').map(str::trim).filter(|label| !label.is_empty());
                    names.grouping.extend(labels.map(str::to_owned));
                    rest = behind;
                } else if !WORDS.contains(&word) && !behind.starts_with('(') && !is_aggregation(behind) {
                    names.selectors.push(Selector {
                        metric: word.to_owned(),
                        matchers: Vec::new(),
                    });
                }
            }
            _ => rest = &rest[first.len_utf8()..],
        }
    }
    names
}

/// Whether a word before this is an aggregation, as in `sum by (le) (…)`.
fn is_aggregation(behind: &str) -> bool {
    let (word, _) = split_name(behind);
    ["by", "without"].contains(&word)
}

fn matchers<'a>(mut rest: &'a str, into: &mut Vec<(String, Vec<String>)>) -> &'a str {
    loop {
        rest = rest.trim_start_matches([' ', ',', '\n']);
        if let Some(behind) = rest.strip_prefix('}') {
            return behind;
        }
        let (label, behind) = split_name(rest);
        let (operator, quoted) = behind.split_once('"').expect("a quoted value follows a label");
        let (value, behind) = quoted.split_once('"').expect("the quote is closed");
        let values = match operator.trim() {
            "=~" | "!~" => value.split('|').map(str::to_owned).collect(),
            _ => vec![value.to_owned()],
        };
        into.push((label.to_owned(), values));
        rest = behind;
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn split_name(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c| !is_name(c)).unwrap_or(text.len()))
}

fn after(text: &str, end: char) -> &str {
    text.split_once(end).map_or("", |(_, behind)| behind)
}

#[test]
fn the_names_in_a_query_are_found() {
    let found = names(
        r#"histogram_quantile(0.9, sum by (le, kind) (rate(a_bucket{x="1", y=~"p|q"}[5m]))) > 1e3 or time() - b offset 5m"#,
    );
    let a = Selector {
        metric: "a_bucket".to_owned(),
        matchers: vec![
            ("x".to_owned(), vec!["1".to_owned()]),
            ("y".to_owned(), vec!["p".to_owned(), "q".to_owned()]),
        ],
    };
    let b = Selector {
        metric: "b".to_owned(),
        matchers: Vec::new(),
    };
    assert_eq!(found.selectors, [a, b]);
    assert_eq!(found.grouping, ["kind", "le"].map(str::to_owned).into());
}
