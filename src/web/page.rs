//! The pages' HTML. Everything from outside is escaped by the template.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::RulesShown;
use crate::engine::ledger::CaseRow;
use crate::event::{Cause, Timestamp};
use crate::store::sqlite::{Pause, StoreSummary};

const STYLE: &str = include_str!("page.css");

fn frame(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { a.name href="/" { "sheriffd" } nav { a href="/metrics" { "metrics" } a href="/api/summary" { "API" } } }
                main { (body) }
            }
        }
    }
    .into_string()
}

/// The front page: what is open, what ended, what was spent, what is in force.
pub fn index(
    open: &[CaseRow],
    closed: &[CaseRow],
    summary: &StoreSummary,
    pauses: &[Pause],
    rules: &RulesShown,
    missing: &[&str],
    now: Timestamp,
) -> String {
    let body = html! {
        @if !missing.is_empty() { p.alert role="status" { "Not ready: " (missing.join(", ")) } }
        @for pause in pauses {
            p.alert role="status" {
                "Paused: " (pause.scope.as_str()) " " (pause.name) " by " (pause.owner) " (" (pause.reason) ")"
                @if let Some(expires) = pause.expires { ", until " (moment(expires)) }
            }
        }
        section.numbers aria-label="In numbers" {
            (number("runs seen", summary.runs))
            (number("pushes", summary.pushes))
            (number("cases open", open.len() as u64))
            (number("cases ever", summary.cases))
            (number("jobs asked for", summary.jobs_asked))
            (number("waiting for facts", summary.waiting))
            (number("unreadable messages", summary.dead_letters))
        }
        section {
            h2 { "Open cases" }
            @if open.is_empty() { p.quiet { "None. Every orange has an explanation below, or none was new." } }
            @else { (cases(open, now)) }
        }
        section {
            h2 { "Verdicts" }
            @if closed.is_empty() { p.quiet { "None yet." } } @else { (cases(closed, now)) }
        }
        section {
            h2 { "Rules in force " small { "version " (rules.version) } }
            table {
                thead { tr { th { "Rule" } th { "Opens" } th { "Mode" } th { "What for" } } }
                tbody {
                    @for (name, kind, mode, description) in &rules.rules {
                        tr { td { (name) } td { (kind) } td { span class={ "tag " (mode) } { (mode) } } td { (description) } }
                    }
                }
            }
        }
    };
    frame("sheriffd", &body)
}

fn number(label: &str, value: u64) -> Markup {
    html! { div { strong { (value) } span { (label) } } }
}

fn cases(cases: &[CaseRow], now: Timestamp) -> Markup {
    html! {
        table {
            thead { tr { th { "Case" } th { "About" } th { "Push" } th { "Opened" } th { "State" } th { "Why" } } }
            tbody {
                @for case in cases {
                    tr {
                        td { a href={ "/cases/" (case.id) } { (case.id) } br; small { (case.params.kind()) } }
                        td { (case.subject.label) br; small { (case.subject.project) } }
                        td { (case.push) }
                        td { (ago(case.opened_at, now)) }
                        td { (state(case)) }
                        td { (case.why) }
                    }
                }
            }
        }
    }
}

fn state(case: &CaseRow) -> Markup {
    html! {
        @match &case.verdict {
            Some(verdict) => span class={ "tag " (verdict.kind.as_str()) } { (verdict.kind) },
            None => span.tag.open { "open" },
        }
        @if case.is_shadow() { " " span.tag.shadow { "shadow" } }
    }
}

/// One case: what it is about, how it stands, everything it asked for and what became of it.
pub fn case(case: &CaseRow, requests: &[Value], now: Timestamp) -> String {
    let opened_by = match &case.cause {
        Cause::Rule { name, version } => format!("rule {name} (version {version})"),
        Cause::Person { name } => name.to_string(),
    };
    let body = html! {
        h1 { (case.id) " " (case.params.kind()) " " (state(case)) }
        p.why { (case.why) }
        dl {
            dt { "About" } dd { (case.subject) }
            dt { "Seen on push" } dd { (case.push) }
            dt { "Opened" } dd { (moment(case.opened_at)) ", " (ago(case.opened_at, now)) ", by " (opened_by) }
            @if let Some(run) = &case.opened_by { dt { "By the run" } dd { code { (run) } " " a href={ "/api/explain/" (run) } { "why" } } }
            @if let Some(at) = case.closed_at { dt { "Closed" } dd { (moment(at)) } }
            @if let Some(verdict) = &case.verdict {
                dt { "Verdict" }
                dd {
                    (verdict.kind)
                    @if let Some(probability) = verdict.probability { ", probability " (format!("{probability:.3}")) }
                    @for named in &verdict.pushes {
                        br; "push " (named.push)
                        @if let Some(revision) = &named.revision { " " code { (revision) } }
                        " " (format!("{:.3}", named.probability))
                    }
                }
            }
        }
        @if !case.shared_by.is_empty() {
            h2 { "Labels that share it" }
            table {
                thead { tr { th { "Label" } th { "Seen on push" } th { "By the run" } th { "State" } } }
                tbody {
                    @for sharer in &case.shared_by {
                        tr {
                            td { (sharer.label) }
                            td { (sharer.push) }
                            td { code { (sharer.run) } " " a href={ "/api/explain/" (sharer.run) } { "why" } }
                            td { (sharer.fate.as_str()) }
                        }
                    }
                }
            }
        }
        h2 { "Asked for" }
        @if requests.is_empty() { p.quiet { "Nothing." } } @else {
            table {
                thead { tr { th { "Request" } th { "Push" } th { "Times" } th { "State" } th { "Arrived" } th { "At the CI" } } }
                tbody {
                    @for request in requests {
                        @let asked = &request["request"];
                        tr {
                            td { (asked["key"]["step"]) "." (asked["key"]["slot"]) }
                            td { (asked["push"]) }
                            td { (asked["times"]) }
                            td { span class={ "tag " (text(&request["state"])) } { (text(&request["state"])) } " " (text(&request["reason"])) }
                            td { (request["arrived"]) }
                            td { code { (text(&request["receipt"])) } " " (text(&request["detail"])) }
                        }
                    }
                }
            }
        }
    };
    frame(&format!("{} · sheriffd", case.id), &body)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn moment(at: Timestamp) -> Markup {
    html! { time datetime=(at) { (at) } }
}

fn ago(at: Timestamp, now: Timestamp) -> Markup {
    let seconds = now.since(at).as_secs();
    let words = match seconds {
        0..60 => "just now".to_owned(),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    };
    html! { time datetime=(at) title=(at) { (words) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_shows_the_labels_that_share_it_and_what_becomes_of_each() {
        let search: CaseRow = serde_json::from_value(serde_json::json!({
            "id": 7, "cause": { "rule": { "name": "backfill", "version": "0" } }, "mode": "live", "budget": null,
            "subject": { "project": "autoland", "label": "A", "signature": { "group": "g", "test": "t" } },
            "label": "A", "platform": "linux", "params": { "kind": "find-culprit" }, "push": 14, "opened_by": null,
            "opened_at": "2026-06-01T10:00:00Z", "wake_at": null, "verdict": null, "closed_at": null, "why": "",
            "throttle_key": "",
            "shared_by": [{
                "label": "test-mac/opt-<b>", "platform": "mac", "push": 15, "rule": "backfill", "fate": "waits",
                "run": { "backend": "tc", "task": "fail", "run": 0 },
            }],
        }))
        .unwrap();
        let page = case(&search, &[], Timestamp(0));
        assert!(page.contains("<h2>Labels that share it</h2>"), "{page}");
        assert!(page.contains("<td>test-mac/opt-&lt;b&gt;</td><td>15</td>"), "{page}");
        assert!(page.contains("<td>waits for it</td>"), "{page}");
        let alone = CaseRow {
            shared_by: Vec::new(),
            ..search
        };
        assert!(!case(&alone, &[], Timestamp(0)).contains("share it"));
    }
}
