//! Conditions on events that no case kind opens on yet, and the schema of all events.

use std::collections::BTreeMap;

use super::{Run, Scope, Stop, compile};
use crate::facts::NoFacts;
use crate::field_table::FIELDS;
use crate::fields::{Access, EventKind};
use sheriffd_event::{
    Changeset, Event, Label, PerfAlert, Project, PushEvent, PushId, RequestEvent, RequestKind, Revision, Timestamp,
};

fn truth(when: &str, event: &Event) -> Result<bool, Stop> {
    let scope = Scope {
        kinds: &[EventKind::of(event)],
        lists: &BTreeMap::new(),
        estimate: false,
        each: None,
    };
    let (expr, errors) = compile(when, scope);
    let expr = expr.unwrap_or_else(|| panic!("{when}: {errors:?}"));
    Run::new(event, &NoFacts, None).truth(&expr)
}

fn push(descriptions: &[(&str, usize)]) -> Event {
    let changeset = |(description, parents): &(&str, usize)| Changeset {
        node: "1".into(),
        author: "A. Person".into(),
        description: (*description).into(),
        files: vec!["dom/a.cpp".into(), "dom/test_a.html".into()],
        parents: vec!["0".into(); *parents],
        added: None,
    };
    Event::Push(Box::new(PushEvent {
        project: Project::from("autoland"),
        push: Some(PushId(14)),
        revision: Revision::from("0123456789ab"),
        at: Timestamp::parse("2026-06-01T10:00:00Z"),
        user: None,
        changesets: descriptions.iter().map(changeset).collect(),
    }))
}

#[test]
fn a_push_says_whether_it_backs_out_merges_or_uplifts() {
    let backout = push(&[
        ("Bug 1 - change it", 1),
        ("Backed out changeset 123456789012 for failures", 1),
    ]);
    assert_eq!(
        truth("event.is_backout && !event.is_merge && !event.is_uplift", &backout),
        Ok(true)
    );
    assert_eq!(
        truth(
            "event.changesets.exists(c, c.is_backout) && size(event.files) == 4",
            &backout
        ),
        Ok(true)
    );
    assert_eq!(truth("event.description.startsWith('Backed out')", &backout), Ok(true));
    let merge = push(&[("Merge central to beta", 2)]);
    assert_eq!(truth("event.is_merge && event.is_uplift", &merge), Ok(true));
    assert_eq!(
        truth("event.is_uplift", &push(&[("Bug 2 - uplift it to beta", 1)])),
        Ok(true)
    );
}

#[test]
fn a_push_without_changesets_does_not_say() {
    assert_eq!(truth("event.is_backout", &push(&[])), Err(Stop::Unknown("is_backout")));
    assert_eq!(truth("event.user == 'x'", &push(&[])), Err(Stop::Unknown("user")));
}

#[test]
fn alerts_and_requests_have_fields() {
    let alert = Event::PerfAlert(Box::new(PerfAlert {
        id: 7,
        project: Project::from("autoland"),
        series: "abc".into(),
        push: Some(PushId(14)),
        previous_push: None,
        platform: "linux1804-64".into(),
        test: "tp5o responsiveness".into(),
        magnitude: 0.05,
        regression: true,
        at: None,
        measure: None,
        revision: None,
        previous_revision: None,
        label: None,
        task: None,
    }));
    assert_eq!(
        truth("event.regression && event.magnitude > 0.02 && event.id == 7", &alert),
        Ok(true)
    );
    assert_eq!(
        truth("event.previous_push == 1", &alert),
        Err(Stop::Unknown("previous_push"))
    );
    let request = Event::Request(Box::new(RequestEvent {
        project: Project::from("try"),
        push: None,
        revision: None,
        requester: Some("someone".into()),
        kind: RequestKind::AddJobs {
            labels: vec![Label::from("a"), Label::from("b")],
        },
    }));
    assert_eq!(
        truth(
            "event.kind == 'add' && 'b' in event.labels && event.times == 1",
            &request
        ),
        Ok(true)
    );
    assert_eq!(truth("event.label == 'a'", &request), Err(Stop::Unknown("label")));
}

#[test]
fn a_field_has_one_row_for_each_kind_of_event() {
    for kind in EventKind::ALL {
        let mut names: Vec<&str> = FIELDS
            .iter()
            .filter(|field| field.on.contains(&kind))
            .map(|field| field.name)
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{}", kind.as_str());
    }
}

#[test]
fn a_field_answers_nothing_for_events_that_do_not_have_it() {
    let event = push(&[("Bug 1 - change it", 1)]);
    for field in FIELDS
        .iter()
        .filter(|field| !field.on.contains(&EventKind::PushCreated))
    {
        if let Access::Event(get) = field.access {
            assert!(get(&event).is_none(), "{}", field.name);
        }
    }
}
