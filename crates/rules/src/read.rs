//! Rule files to rules.
//!
//! In: the trees of all files. Out: rules, budgets and tests, or every error of every file. Never: stopping at the
//! first error; a rule that is broken in one place is still looked at in the others.
//!
//! Two passes: names that all files share (lists, budgets, rules) first, then what uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::code::Code;
use super::cron::Cron;
use super::diagnostic::{Gathering, Span, closest};
use super::expr::{self, Expr, ExprError, NamedList, Scope};
use super::fields::{EventKind, field, fields_of};
use super::keys::{DEFAULTS, FILE, RULE};
use super::match_fields;
use super::open;
use super::rule::{
    Approve, Budget, By, Condition, Debounce, Guard, Mode, Notify, QuietHours, Rule, RuleTest, Throttle,
};
use super::test_blocks;
use super::text::FilledText;
use super::value::Type;
use super::yaml::{self, Node, Yaml};
use sheriffd_event::{CausedBy, Duration, RuleName, parse_duration};

/// The most rules of a set.
const MAX_RULES: usize = 100_000;
/// How long an approval may take unless the rule says otherwise.
const APPROVAL_EXPIRES: Duration = Duration::from_secs(24 * 3600);

/// What all files together say.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub rules: Vec<(Rule, Places)>,
    pub budgets: BTreeMap<String, (Budget, Span)>,
    pub lists: BTreeMap<String, (NamedList, Span)>,
    /// Lists that something names.
    pub used_lists: BTreeSet<String>,
    pub tests: Vec<RuleTest>,
}

/// Where the parts of a rule stand, for warnings.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Places {
    pub name: Span,
    pub when: Option<Span>,
}

/// Reads all files; `files` are numbers of the gathering's sources.
pub(super) fn read(files: &[u32], gathering: &mut Gathering) -> Read {
    let trees: Vec<Node> = files.iter().filter_map(|file| yaml::parse(*file, gathering)).collect();
    let mut reader = Reader {
        read: Read::default(),
        names: BTreeMap::new(),
        gathering,
    };
    let sound: Vec<&Node> = trees.iter().filter(|tree| reader.outline(tree)).collect();
    for tree in &sound {
        reader.shared(tree);
    }
    let lists = reader
        .read
        .lists
        .iter()
        .map(|(name, (list, _))| (name.clone(), list.clone()))
        .collect();
    for tree in &sound {
        reader.rules(tree, &lists);
    }
    for tree in &sound {
        reader.tests(tree);
    }
    reader.read
}

/// The reading under way.
pub(super) struct Reader<'g> {
    pub(super) read: Read,
    /// Names of rules, with where they were first written. Also those of rules that are broken elsewhere.
    names: BTreeMap<String, Span>,
    pub(super) gathering: &'g mut Gathering,
}

impl Reader<'_> {
    /// Whether the tree is a mapping at all.
    fn outline(&mut self, tree: &Node) -> bool {
        if matches!(tree.value, Yaml::Map(_)) {
            return true;
        }
        let message = format!("a rule file cannot be {}", tree.kind());
        self.gathering
            .error(Code::WrongType, tree.span, message)
            .expected("a mapping with `version` and `rules`");
        false
    }

    /// Checks the shape of the whole file; reads lists, budgets and the names of rules.
    fn shared(&mut self, tree: &Node) {
        FILE.check(tree, self.gathering);
        for (key, node) in tree.get("lists").map(Node::entries).unwrap_or_default() {
            self.list(key, node);
        }
        for (key, node) in tree.get("budgets").map(Node::entries).unwrap_or_default() {
            self.budget(key, node);
        }
        for rule in tree.get("rules").map(Node::list).unwrap_or_default() {
            if let Some((name, text)) = rule.get("name").and_then(|name| Some((name, name.text()?))) {
                if let Some(first) = self.names.get(text) {
                    let place = self.gathering.sources.locate(*first);
                    let message = format!("there are two rules `{text}`");
                    let note = self.gathering.error(Code::DuplicateName, name.span, message);
                    note.suggest(format!(
                        "the first is in {}:{}: rename one of them",
                        place.file, place.line
                    ));
                } else {
                    self.names.insert(text.to_owned(), name.span);
                }
            }
        }
    }

    fn rules(&mut self, tree: &Node, lists: &BTreeMap<String, NamedList>) {
        let defaults = tree.get("defaults");
        for node in tree.get("rules").map(Node::list).unwrap_or_default() {
            if self.read.rules.len() == MAX_RULES {
                self.gathering.error(
                    Code::TooComplex,
                    node.span,
                    format!("there are more than {MAX_RULES} rules"),
                );
                return;
            }
            if matches!(node.value, Yaml::Map(_)) {
                let node = with_defaults(node, defaults);
                if let Some(rule) = self.rule(&node, lists) {
                    self.read.rules.push(rule);
                }
            }
        }
    }

    /// One rule. `None` when it has errors: all of them are said.
    fn rule(&mut self, node: &Node, lists: &BTreeMap<String, NamedList>) -> Option<(Rule, Places)> {
        let on = self.events(node);
        let kinds = on.clone().unwrap_or_default();
        let matches: Vec<_> = kinds
            .iter()
            .map(|kind| {
                let used = &mut self.read.used_lists;
                let mut reader = match_fields::Reader {
                    kind: *kind,
                    lists,
                    gathering: self.gathering,
                    used,
                };
                (*kind, reader.read(node.get("match")))
            })
            .collect();
        let scope = Scope {
            kinds: &kinds,
            lists,
            estimate: false,
            each: None,
        };
        let when = self.condition(node.get("when"), scope);
        let for_each = self.list_expression(node.get("for_each"), scope);
        let element = for_each
            .as_ref()
            .and_then(|list| list.as_ref().map(|(_, element)| element));
        let scope = Scope { each: element, ..scope };
        let approve = self.approve(
            node.get("approve"),
            Scope {
                estimate: true,
                ..scope
            },
        );
        let open = node.get("open").filter(|open| matches!(open.value, Yaml::Map(_)));
        let texts = open.and_then(|open| self.texts(open, scope));
        let open = open.and_then(|open| open::read(open, &kinds, self.gathering));
        let budget = self.named_budget(node.get("budget"));
        let throttle = node.get("throttle").and_then(|node| {
            let by = self.by(node.get("by"), &kinds);
            let max = node.get("max").and_then(Node::number).filter(|max| *max >= 1.0)?;
            Some(Throttle {
                max: max as u32,
                per: duration(node.get("per"))?,
                by,
            })
        });
        let debounce = node.get("debounce").and_then(|node| {
            let by = self.by(node.get("by"), &kinds);
            Some(Debounce {
                quiet: duration(node.get("quiet"))?,
                by,
                at_most: duration(node.get("at_most")),
            })
        });
        let quiet_hours = node.get("quiet_hours").and_then(|node| self.quiet_hours(node));
        let schedule = self.schedule(node);

        let name = node.get("name").filter(|name| name.text().is_some())?;
        let place = self.gathering.sources.locate(name.span);
        let text = |key: &str| node.get(key).and_then(Node::text).map(Arc::from);
        let rule = Rule {
            name: RuleName::from(name.text()?),
            description: text("description"),
            file: place.file,
            line: place.line,
            on: on?,
            matches,
            when: when?,
            for_each: for_each?.map(|(list, _)| list),
            open: open?,
            texts: texts?,
            budget: budget?,
            mode: mode(node.get("mode")),
            caused_by: causers(node.get("caused_by")),
            throttle,
            debounce,
            once_within: duration(node.get("once_within")),
            quiet_hours,
            schedule,
            approve: approve?,
            notify: node
                .get("notify")
                .and_then(|node| node.get("webhook"))
                .and_then(Node::text)
                .map(|webhook| Notify {
                    webhook: Arc::from(webhook),
                }),
            relaxed: relaxed(node.get("guards")),
            waits_for_tree: node.get("when_closed").and_then(Node::text) != Some("go-on"),
        };
        Some((
            rule,
            Places {
                name: name.span,
                when: node.get("when").map(|when| when.span),
            },
        ))
    }

    /// The kinds of events. `None` when they cannot be read; that is said already, or here when they are missing.
    fn events(&mut self, node: &Node) -> Option<Vec<EventKind>> {
        let Some(on) = node.get("on") else {
            if node.get("schedule").is_some() {
                return Some(vec![EventKind::Timer]);
            }
            let note = self
                .gathering
                .error(Code::MissingKey, node.first(), "a rule needs `on`");
            note.expected("the event it looks at, such as `on: job.finished`");
            return None;
        };
        let mut kinds: Vec<EventKind> = Vec::new();
        for item in on.items() {
            let kind = item
                .text()
                .and_then(EventKind::from_word)
                .filter(|kind| *kind != EventKind::Timer)?;
            if kinds.contains(&kind) {
                self.gathering.error(
                    Code::DuplicateName,
                    item.span,
                    format!("`{}` is named twice", kind.as_str()),
                );
            } else {
                kinds.push(kind);
            }
        }
        // That it is empty was said with its shape.
        if kinds.is_empty() {
            return None;
        }
        if node.get("schedule").is_some() {
            kinds.push(EventKind::Timer);
        }
        Some(kinds)
    }

    /// A condition, when one is written. The outer `None`: it has errors.
    fn condition(&mut self, node: Option<&Node>, scope: Scope<'_>) -> Option<Option<Condition>> {
        let Some(node) = node else { return Some(None) };
        let text = self.expression_text(node)?;
        let (expr, errors) = expr::compile(&text, scope);
        self.report(node, &text, errors);
        let expr: Expr = expr?;
        self.note_lists(&text, scope);
        Some(Some(Condition {
            text: Arc::from(text),
            expr,
        }))
    }

    /// The texts of `open` that have expressions in them. `None`: one has errors.
    fn texts(&mut self, open: &Node, scope: Scope<'_>) -> Option<Vec<(String, FilledText)>> {
        let mut found = Vec::new();
        open::texts(open, "", &mut found);
        let read = found.into_iter().map(|(place, node)| {
            let text = node.text()?;
            let (filled, errors) = FilledText::read(text, scope);
            self.report(node, text, errors);
            self.note_lists(text, scope);
            Some((place, filled?))
        });
        // Every text is read before the first that has errors ends it, so that all errors are said.
        read.collect::<Vec<_>>().into_iter().collect()
    }

    /// An expression that must give a list, and the type of its elements.
    fn list_expression(&mut self, node: Option<&Node>, scope: Scope<'_>) -> Option<Option<(Condition, Type)>> {
        let Some(node) = node else { return Some(None) };
        let text = self.expression_text(node)?;
        let (compiled, errors) = expr::compile_value(&text, scope);
        self.report(node, &text, errors);
        let (expr, ty) = compiled?;
        let Type::List(element) = ty else {
            let message = format!("`for_each` goes through a list, this is {}", expr::an(&ty));
            self.gathering.error(Code::TypeMismatch, node.span, message);
            return None;
        };
        self.note_lists(&text, scope);
        let list = Condition {
            text: Arc::from(text),
            expr,
        };
        Some(Some((list, *element)))
    }

    /// The text of an expression; a bare `true` is YAML's truth value and stands for itself.
    fn expression_text(&self, node: &Node) -> Option<String> {
        match &node.value {
            Yaml::Text(text) => Some(text.clone()),
            Yaml::Bool(truth) => Some(truth.to_string()),
            _ => None,
        }
    }

    /// Puts the errors of an expression at their places in the file.
    fn report(&mut self, node: &Node, text: &str, errors: Vec<ExprError>) {
        if errors.is_empty() {
            return;
        }
        let places = yaml::offsets(self.gathering.sources.text(node.span.file), node.span, text);
        let place = |at: usize| places.get(at).or(places.last()).copied().unwrap_or(node.span.start);
        for error in errors {
            let start = place(error.span.start);
            // The end is taken from the last byte: what follows it may stand on the next line.
            let end = match error.span.end.checked_sub(1) {
                Some(last) if last >= error.span.start => place(last) + 1,
                _ => start,
            };
            let span = Span {
                file: node.span.file,
                start,
                end,
            };
            let mut note = match error.is_warning {
                true => self.gathering.warning(error.code, span, error.message),
                false => self.gathering.error(error.code, span, error.message),
            };
            if let Some(expected) = error.expected {
                note = note.expected(expected);
            }
            if let Some(suggestion) = error.suggestion {
                note.suggest(suggestion);
            }
        }
    }

    /// Lists that a sound expression names.
    fn note_lists(&mut self, text: &str, scope: Scope<'_>) {
        let named = scope
            .lists
            .keys()
            .filter(|name| text.contains(&format!("lists.{name}")));
        self.read.used_lists.extend(named.cloned());
    }

    fn named_budget(&mut self, node: Option<&Node>) -> Option<Option<Arc<str>>> {
        let Some(node) = node else { return Some(None) };
        let name = node.text()?;
        if self.read.budgets.contains_key(name) {
            return Some(Some(Arc::from(name)));
        }
        let note = self
            .gathering
            .error(Code::UnknownName, node.span, format!("there is no budget `{name}`"));
        match closest(name, self.read.budgets.keys().map(String::as_str)) {
            Some(best) => note.suggest(format!("did you mean `{best}`?")),
            None => note.suggest("write it under `budgets:` at the top of the file"),
        };
        None
    }

    /// Fields to count by; each must be one of every event of the rule.
    fn by(&mut self, node: Option<&Node>, kinds: &[EventKind]) -> By {
        let mut names = Vec::new();
        for item in node.map(Node::items).unwrap_or_default() {
            let Some(name) = item.text().and_then(|text| text.strip_prefix("event.")) else {
                continue;
            };
            match kinds
                .iter()
                .find(|kind| !field(**kind, name).is_some_and(super::fields::Field::is_matchable))
            {
                None => names.push(name.to_owned()),
                Some(kind) => {
                    let message = format!("a {} event has no field `{name}` that can be counted by", kind.as_str());
                    let candidates = fields_of(*kind)
                        .filter(|field| field.is_matchable())
                        .map(|field| field.name);
                    let best = closest(name, candidates);
                    let note = self.gathering.error(Code::UnknownField, item.span, message);
                    if let Some(best) = best {
                        note.suggest(format!("did you mean `event.{best}`?"));
                    }
                }
            }
        }
        By(names)
    }

    fn approve(&mut self, node: Option<&Node>, scope: Scope<'_>) -> Option<Option<Approve>> {
        let Some(node) = node.filter(|node| matches!(node.value, Yaml::Map(_))) else {
            return Some(None);
        };
        let when = self.condition(node.get("when"), scope)?;
        let by = Arc::from(node.get("by")?.text()?);
        Some(Some(Approve {
            when,
            by,
            expires: duration(node.get("expires")).unwrap_or(APPROVAL_EXPIRES),
        }))
    }

    fn quiet_hours(&mut self, node: &Node) -> Option<QuietHours> {
        let tz = node.get("tz").and_then(|tz| Some((tz, tz.text()?)));
        let zone = tz.and_then(|(tz, name)| {
            let zone = jiff::tz::TimeZone::get(name).ok();
            if zone.is_none() {
                let message = format!("{name:?} is not a time zone");
                self.gathering
                    .error(Code::BadLiteral, tz.span, message)
                    .expected("a name of the IANA database: Europe/Berlin, UTC");
            }
            zone
        });
        let (span, except) = match (node.get("hours"), node.get("except")) {
            (Some(hours), None) => (hours, false),
            (None, Some(except)) => (except, true),
            (first, _) => {
                let at = first.map_or(node.first(), |first| first.span);
                self.gathering
                    .error(Code::Conflict, at, "`quiet_hours` has either `hours` or `except`");
                return None;
            }
        };
        let Some(minutes) = span.text().and_then(hours) else {
            let text = span.text().unwrap_or_default();
            let message = format!("{text:?} are not hours");
            self.gathering
                .error(Code::BadLiteral, span.span, message)
                .expected("from and to, as in \"22:00-06:00\"");
            return None;
        };
        Some(QuietHours {
            tz: zone?,
            span: minutes,
            except,
        })
    }

    fn schedule(&mut self, node: &Node) -> Option<Cron> {
        let schedule = node.get("schedule")?;
        match Cron::parse(schedule.text()?) {
            Ok(cron) => Some(cron),
            Err(error) => {
                self.gathering.error(Code::BadLiteral, schedule.span, error.to_string());
                None
            }
        }
    }

    fn tests(&mut self, tree: &Node) {
        for node in tree.get("tests").map(Node::list).unwrap_or_default() {
            let names: Vec<&str> = self.names.keys().map(String::as_str).collect();
            self.read.tests.extend(test_blocks::read(node, &names, self.gathering));
        }
    }
}

/// A rule with the defaults of its file: keys it does not write, and `match` fields it does not write.
fn with_defaults(node: &Node, defaults: Option<&Node>) -> Node {
    let mut node = node.clone();
    let Yaml::Map(entries) = &mut node.value else {
        return node;
    };
    for (key, default) in defaults.map(Node::entries).unwrap_or_default() {
        if DEFAULTS.get(&key.name).is_none() || RULE.get(&key.name).is_none() {
            continue;
        }
        match entries.iter_mut().find(|(known, _)| known.name == key.name) {
            None => entries.push((key.clone(), default.clone())),
            Some((
                _,
                Node {
                    value: Yaml::Map(own), ..
                },
            )) if key.name == "match" => {
                let missing = default
                    .entries()
                    .iter()
                    .filter(|(field, _)| own.iter().all(|(known, _)| known.name != field.name));
                let missing: Vec<_> = missing.cloned().collect();
                own.extend(missing);
            }
            Some(_) => {}
        }
    }
    node
}

/// A span of time whose shape was checked.
pub(super) fn duration(node: Option<&Node>) -> Option<Duration> {
    parse_duration(node?.text()?).ok()
}

fn mode(node: Option<&Node>) -> Mode {
    match node.and_then(Node::text) {
        Some("live") => Mode::Live,
        Some("off") => Mode::Off,
        _ => Mode::Shadow,
    }
}

fn causers(node: Option<&Node>) -> Vec<CausedBy> {
    let words = node.map(Node::items).unwrap_or_default().iter().filter_map(Node::text);
    let mut list: Vec<CausedBy> = words
        .filter_map(|word| match word {
            "push" => Some(CausedBy::Push),
            "person" => Some(CausedBy::Person),
            _ => None,
        })
        .collect();
    list.dedup();
    if list.is_empty() {
        list.push(CausedBy::Push);
    }
    list
}

fn relaxed(node: Option<&Node>) -> Vec<Guard> {
    let entries = node.map(Node::entries).unwrap_or_default();
    let guard = |name: &str| match name {
        "storm" => Some(Guard::Storm),
        "same-signature" => Some(Guard::SameSignature),
        "one-open-case" => Some(Guard::OneOpenCase),
        "in-flight" => Some(Guard::InFlight),
        _ => None,
    };
    entries.iter().filter_map(|(key, _)| guard(&key.name)).collect()
}

/// `22:00-06:00` in minutes from midnight.
fn hours(text: &str) -> Option<(u16, u16)> {
    let minute = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (minute < 60 && hour * 60 + minute <= 24 * 60).then_some(hour * 60 + minute)
    };
    let (from, to) = text.split_once('-')?;
    let span = (minute(from)?, minute(to)?);
    (span.0 != span.1).then_some(span)
}
