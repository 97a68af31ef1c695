//! YAML text to a tree in which everything knows its place.
//!
//! In: the text of one file. Out: a [`Node`] whose keys and values carry spans, aliases and merge keys resolved.
//! Never: knowing what a rule is. The event parser under serde-saphyr is used, not its serde layer: that one stops at
//! the first error and forgets how a scalar was written (quoted `"1"` and plain `1` are different things to say).

use std::collections::HashMap;
use std::ops::Range;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span as YamlSpan, StrInput};

use super::code::Code;
use super::diagnostic::{Gathering, Span, to_u32};

/// The largest rule file in bytes. Ten thousand rules need about 4 MiB.
pub(crate) const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;
/// The most nodes of a file once aliases are resolved: stops the "billion laughs" of nested aliases.
const MAX_NODES: usize = 2_000_000;
/// The deepest nesting of a file. The envelope needs 8.
const MAX_DEPTH: usize = 32;

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub value: Yaml,
    pub span: Span,
}

/// A value as YAML's core schema reads it.
#[derive(Debug, Clone)]
pub(crate) enum Yaml {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub name: String,
    pub span: Span,
}

impl Node {
    /// What the value is, for messages.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Yaml::Null => "nothing",
            Yaml::Bool(_) => "true or false",
            Yaml::Int(_) => "a whole number",
            Yaml::Float(_) => "a number",
            Yaml::Text(_) => "a text",
            Yaml::List(_) => "a list",
            Yaml::Map(_) => "a mapping",
        }
    }

    /// The text, when it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Yaml::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, when it is one.
    pub fn number(&self) -> Option<f64> {
        match self.value {
            Yaml::Int(number) => Some(number as f64),
            Yaml::Float(number) => Some(number),
            _ => None,
        }
    }

    /// The elements, when it is a list; else the value itself as the only one.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Yaml::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// The elements, when it is a list.
    pub fn list(&self) -> &[Node] {
        match &self.value {
            Yaml::List(items) => items,
            _ => &[],
        }
    }

    /// The entries, when it is a mapping.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.value {
            Yaml::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The place to point at when something is missing from a mapping: its first key, else itself.
    pub fn first(&self) -> Span {
        self.entries().first().map_or(self.span, |(key, _)| key.span)
    }

    /// The value of a key, when it is a mapping that has it.
    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Yaml::Map(entries) => entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node),
            _ => None,
        }
    }
}

/// What is being built: a collection that has begun and not ended.
enum Open {
    List {
        items: Vec<Node>,
        start: Span,
        anchor: usize,
    },
    Map {
        entries: Vec<(Key, Node)>,
        key: Option<Key>,
        start: Span,
        anchor: usize,
    },
}

struct Builder<'a> {
    file: u32,
    gathering: &'a mut Gathering,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
}

/// Reads one file. `None` when it is not YAML or holds nothing; the reason is then among the diagnostics.
pub(crate) fn parse(file: u32, gathering: &mut Gathering) -> Option<Node> {
    let text = gathering.sources.text(file).to_owned();
    let whole = Span { file, start: 0, end: 0 };
    if text.len() > MAX_FILE_BYTES {
        let message = format!(
            "the file has {} bytes, more than the limit of {MAX_FILE_BYTES}",
            text.len()
        );
        gathering
            .error(Code::Unreadable, whole, message)
            .suggest("split it into several files");
        return None;
    }
    let mut options = Options::default();
    options.emit_unresolved_aliases = true;
    options.emit_comments = false;
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let mut builder = Builder {
        file,
        gathering,
        open: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        nodes: 0,
    };
    let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str_with_options(&text, options);
    let mut documents = 0;
    loop {
        match parser.next_event() {
            None => break,
            Some(Ok((Event::StreamEnd, _))) => break,
            Some(Ok((Event::DocumentStart(..), span))) => {
                documents += 1;
                if documents > 1 {
                    let at = builder.span(&span);
                    builder
                        .gathering
                        .error(
                            Code::YamlSyntax,
                            at,
                            "a rule file holds one YAML document, here a second one begins",
                        )
                        .suggest("put it into a file of its own, or remove the `---`");
                    break;
                }
            }
            Some(Ok((event, span))) => {
                if !builder.take(event, &span) {
                    break;
                }
            }
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
                report_syntax(builder.gathering, file, &text, at, &error.info());
                return None;
            }
        }
    }
    if builder.root.is_none() && !builder.gathering.failed() {
        builder
            .gathering
            .error(Code::EmptyRules, whole, "the file is empty")
            .expected("`version: 1` and `rules:`");
    }
    builder.root
}

/// A syntax error, with the slips that people who write rules really make named as such.
fn report_syntax(gathering: &mut Gathering, file: u32, text: &str, at: usize, reason: &str) {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let value = line.split_once(": ").map(|(_, value)| value.trim()).unwrap_or_default();
    let span = Span {
        file,
        start: to_u32(at),
        end: to_u32(at + 1),
    };
    let reason = if reason.is_empty() {
        "it cannot be read on from here"
    } else {
        reason
    };
    let note = gathering.error(Code::YamlSyntax, span, format!("this is not YAML: {reason}"));
    if value.starts_with(">=") || value.starts_with("> ") {
        note.suggest(format!("a value that begins with `>` must be quoted: \"{value}\""));
    } else if value.starts_with(['"', '\'']) && reason.contains("quoted") {
        let quote = if value.contains('\'') {
            "a block: `when: |` and the text on the next line"
        } else {
            "single quotes"
        };
        note.suggest(format!(
            "a value that begins with a quote ends with it: put the whole value in {quote}"
        ));
    } else if line.trim_start_matches(' ').starts_with('\t') {
        note.suggest("YAML is indented with spaces, not with tabs");
    } else if reason.contains("mapping values") {
        note.suggest("a value that contains `: ` must be quoted");
    }
}

impl Builder<'_> {
    fn span(&self, span: &YamlSpan) -> Span {
        let Range { start, end } = span.byte_range().unwrap_or(0..0);
        Span {
            file: self.file,
            start: to_u32(start),
            end: to_u32(end),
        }
    }

    /// Takes one event; false when reading on makes no sense.
    fn take(&mut self, event: Event<'_>, at: &YamlSpan) -> bool {
        let span = self.span(at);
        let mut tagged = None;
        if let Some(tag) = event.tag()
            && !tag.is_yaml_core_schema()
        {
            let written = at.tag_span().map_or(span, |tag| self.span(&tag));
            let message = format!("`{}` is read as a YAML tag, which means nothing here", tag.original());
            self.gathering
                .error(Code::YamlSyntax, written, message)
                .suggest(format!("quote a value that begins with `!`: \"{}\"", tag.original()));
            tagged = Some(tag.original());
        }
        match event {
            Event::Scalar(text, style, anchor, _) => {
                // What was meant, so that nothing else is said about it.
                let value = match tagged {
                    Some(tag) => Yaml::Text(tag + &text),
                    None => scalar(&text, style),
                };
                self.add(Node { value, span }, anchor, Some(text.into_owned()))
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open.push(Open::List {
                    items: Vec::new(),
                    start: span,
                    anchor,
                });
                true
            }
            Event::MappingStart(_, anchor, _) => {
                self.open.push(Open::Map {
                    entries: Vec::new(),
                    key: None,
                    start: span,
                    anchor,
                });
                true
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(id) => match self.anchors.get(&id).cloned() {
                Some(node) => {
                    self.nodes += count(&node);
                    self.add(node, 0, None)
                }
                None => {
                    self.gathering
                        .error(Code::YamlSyntax, span, "an alias cannot stand inside what it names");
                    false
                }
            },
            Event::UnresolvedAlias(name) => {
                self.gathering
                    .error(
                        Code::YamlSyntax,
                        span,
                        format!("`*{name}` is read as a YAML alias, and no anchor `&{name}` is before it"),
                    )
                    .suggest(format!("quote a pattern that begins with `*`: \"*{name}\""));
                self.add(
                    Node {
                        value: Yaml::Text(format!("*{name}")),
                        span,
                    },
                    0,
                    None,
                )
            }
            _ => true,
        }
    }

    /// Ends the innermost collection.
    fn close(&mut self, end: Span) -> bool {
        match self.open.pop() {
            Some(Open::List { items, start, anchor }) => {
                let span = Span {
                    end: end.end.max(start.end),
                    ..start
                };
                self.add(
                    Node {
                        value: Yaml::List(items),
                        span,
                    },
                    anchor,
                    None,
                )
            }
            Some(Open::Map {
                entries, start, anchor, ..
            }) => {
                let span = Span {
                    end: end.end.max(start.end),
                    ..start
                };
                self.add(
                    Node {
                        value: Yaml::Map(merge(entries)),
                        span,
                    },
                    anchor,
                    None,
                )
            }
            None => false,
        }
    }

    /// Puts a finished node where it belongs: into the innermost collection, as its next key or value, or at the root.
    fn add(&mut self, node: Node, anchor: usize, as_key: Option<String>) -> bool {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("the file has more than {MAX_NODES} values once its aliases are resolved");
            self.gathering.error(Code::TooComplex, node.span, message);
            return false;
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                None => {
                    let name = as_key.unwrap_or_else(|| {
                        self.gathering
                            .error(Code::WrongType, node.span, "a key is a text, not a list or a mapping");
                        String::new()
                    });
                    *key = Some(Key { name, span: node.span });
                }
                Some(written) => {
                    let twice = entries
                        .iter()
                        .find(|(key, _)| key.name == written.name && written.name != "<<");
                    match twice {
                        Some((first, _)) => {
                            let line = self.gathering.sources.locate(first.span).line;
                            self.gathering
                                .error(
                                    Code::DuplicateKey,
                                    written.span,
                                    format!("`{}` is written twice", written.name),
                                )
                                .suggest(format!("it is already in line {line}: keep one of them"));
                        }
                        None => entries.push((written, node)),
                    }
                }
            },
        }
        true
    }
}

/// Resolves `<<`: what the mapping writes itself wins over what is merged in, the first merged over the later.
fn merge(entries: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
    let (merged, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| key.name == "<<");
    for (key, node) in merged {
        let maps = match node.value {
            Yaml::List(items) => items,
            _ => vec![node],
        };
        for map in maps {
            match map.value {
                Yaml::Map(more) => {
                    for (key, node) in more {
                        if own.iter().all(|(known, _)| known.name != key.name) {
                            own.push((key, node));
                        }
                    }
                }
                // Left in place: the reader of the mapping will call `<<` an unknown key.
                _ => own.push((key.clone(), map)),
            }
        }
    }
    own
}

/// How many nodes a tree has.
fn count(node: &Node) -> usize {
    match &node.value {
        Yaml::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Yaml::Map(entries) => 1 + entries.iter().map(|(_, node)| 1 + count(node)).sum::<usize>(),
        _ => 1,
    }
}

/// What a scalar is by YAML 1.2's core schema (section 10.3.2): `no` and `on` are texts.
fn scalar(text: &str, style: ScalarStyle) -> Yaml {
    if style != ScalarStyle::Plain {
        return Yaml::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Yaml::Null,
        "true" | "True" | "TRUE" => Yaml::Bool(true),
        "false" | "False" | "FALSE" => Yaml::Bool(false),
        _ => number(text).unwrap_or_else(|| Yaml::Text(text.to_owned())),
    }
}

/// A plain scalar as a number, when it is one. Words that Rust would read as numbers (`inf`, `nan`) are texts.
fn number(text: &str) -> Option<Yaml> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Yaml::Int);
    }
    let plain = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if plain {
        text.parse().ok().map(Yaml::Float)
    } else {
        None
    }
}

/// For every byte of a decoded scalar (and its end) the byte of the file it came from, so that a caret inside an
/// expression points at the right place whatever way the scalar was written: plain, quoted, or a block over many lines.
pub(crate) fn offsets(source: &str, span: Span, decoded: &str) -> Vec<u32> {
    let source_bytes = source.as_bytes();
    let limit = (span.end as usize).min(source_bytes.len());
    let mut at = span.start as usize;
    let mut double_quoted = false;
    match source_bytes.get(at) {
        Some(b'"') => {
            double_quoted = true;
            at += 1;
        }
        Some(b'\'') => at += 1,
        // The header of a block scalar: its text begins on the next line.
        Some(b'|' | b'>') => at += source[at..limit].find('\n').map_or(limit - at, |newline| newline + 1),
        _ => {}
    }
    let mut map = Vec::with_capacity(decoded.len() + 1);
    for c in decoded.chars() {
        // Spaces differ between text and source (indentation, folding): only what is seen is aligned.
        let start = if c.is_whitespace() {
            at
        } else {
            let mut found = at;
            while let Some(rest) = source.get(found..limit) {
                match rest.chars().next() {
                    Some(next) if next == c => break,
                    Some('\\') if double_quoted => break,
                    Some(next) => found += next.len_utf8(),
                    None => break,
                }
            }
            // Not found again: an escape hid it. Stay, rather than run to the end.
            if source.get(found..limit).is_some_and(|rest| !rest.is_empty()) {
                found
            } else {
                at
            }
        };
        map.extend(std::iter::repeat_n(to_u32(start), c.len_utf8()));
        at = if c.is_whitespace() {
            match source.get(start..limit).and_then(|rest| rest.chars().next()) {
                Some(next) if next.is_whitespace() => start + next.len_utf8(),
                _ => start,
            }
        } else {
            let rest = source.get(start..limit).unwrap_or_default();
            match rest.chars().next() {
                Some('\\') if double_quoted => start + escape_length(rest),
                // A doubled quote in a single-quoted scalar is one quote.
                Some('\'') if source_bytes.get(span.start as usize) == Some(&b'\'') => start + 2,
                Some(next) => start + next.len_utf8(),
                None => start,
            }
        };
    }
    map.push(to_u32(at.min(limit)));
    map
}

/// The length of an escape of a double-quoted scalar (YAML 1.2, section 5.7).
fn escape_length(rest: &str) -> usize {
    let wanted = match rest.as_bytes().get(1) {
        Some(b'x') => 4,
        Some(b'u') => 6,
        Some(b'U') => 10,
        _ => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
    };
    wanted.min(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The source text that each decoded character of the value of `k` came from.
    fn origins(source: &str) -> Vec<(char, char)> {
        let mut gathering = Gathering::default();
        let file = gathering.sources.add("t", source);
        let root = parse(file, &mut gathering).unwrap();
        let node = root.get("k").unwrap();
        let text = node.text().unwrap();
        let places = offsets(source, node.span, text);
        assert_eq!(places.len(), text.len() + 1);
        let at = |place: u32| source[place as usize..].chars().next().unwrap_or('\0');
        text.char_indices()
            .map(|(index, c)| (c, at(places[index])))
            .filter(|(c, _)| !c.is_whitespace())
            .collect()
    }

    #[test]
    fn every_visible_character_is_found_again_however_it_was_written() {
        let sources = [
            "k: a == b",
            "k: 'a == b'",
            "k: \"a == b\"",
            "k: |\n  a &&\n  b\n",
            "k: >-\n  a &&\n    b\n\n  c\n",
            "k: a &&\n  b &&\n  c\n",
            "  \nk: \"é ≠ ü\"",
        ];
        for source in sources {
            for (decoded, written) in origins(source) {
                assert_eq!(decoded, written, "{source:?}");
            }
        }
    }

    #[test]
    fn escapes_are_counted_as_they_are_written() {
        assert_eq!(
            origins(r#"k: "a\"b\x41c""#),
            [('a', 'a'), ('"', '\\'), ('b', 'b'), ('A', '\\'), ('c', 'c')]
        );
        assert_eq!(origins("k: 'it''s ok'")[3], ('s', 's'));
    }

    #[test]
    fn scalars_are_what_the_core_schema_says() {
        let read = |text: &str| scalar(text, ScalarStyle::Plain);
        assert!(matches!(read("no"), Yaml::Text(_)) && matches!(read("on"), Yaml::Text(_)));
        assert!(matches!(read("12"), Yaml::Int(12)) && matches!(read("-1.5e3"), Yaml::Float(_)));
        assert!(matches!(read("12h"), Yaml::Text(_)) && matches!(read(".inf"), Yaml::Text(_)));
        assert!(matches!(scalar("12", ScalarStyle::DoubleQuoted), Yaml::Text(_)));
    }

    #[test]
    fn merge_keys_give_way_to_what_is_written() {
        let source = "a: &a { x: 1, y: 2 }\nb: { <<: *a, y: 3 }\n";
        let mut gathering = Gathering::default();
        let file = gathering.sources.add("t", source);
        let root = parse(file, &mut gathering).unwrap();
        let b = root.get("b").unwrap();
        assert_eq!(
            (b.get("x").and_then(Node::number), b.get("y").and_then(Node::number)),
            (Some(1.0), Some(3.0))
        );
        assert!(!gathering.failed());
    }

    #[test]
    fn nested_aliases_cannot_grow_without_bound() {
        let mut source = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
            source += &format!("a{n}: &a{n} [{aliases}]\n");
        }
        let mut gathering = Gathering::default();
        let file = gathering.sources.add("t", &source);
        parse(file, &mut gathering);
        assert!(gathering.failed());
    }
}
