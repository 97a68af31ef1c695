//! Every recorded message decodes, to what it says.

use std::fmt::Write as _;

use sheriffd::event::{Event, JobEvent, PushEvent, RequestEvent};
use sheriffd::wire::{Decoded, decode};

use crate::message::{RECORDINGS, deliveries, settings};

/// An event on one line, for golden files.
fn line(event: &Event) -> String {
    fn or_dash(text: Option<impl std::fmt::Display>) -> String {
        text.map_or_else(|| "-".to_owned(), |text| text.to_string())
    }
    match event {
        Event::Job(job) => {
            let JobEvent {
                run,
                state,
                reason,
                latest,
                at,
                facts,
                ..
            } = &**job;
            format!(
                "{run} {}({}){} at {at} | {} {}@{} | {} | {}/{} {}",
                state.as_str(),
                or_dash(reason.as_deref()),
                if *latest { "" } else { " superseded by a later run" },
                or_dash(facts.project.as_ref()),
                or_dash(facts.push.as_ref()),
                or_dash(facts.revision.as_ref()),
                or_dash(facts.label.as_ref()),
                or_dash(facts.platform.as_deref()),
                or_dash(facts.option.as_deref()),
                or_dash(facts.kind.as_deref()),
            )
        }
        Event::Push(push) => {
            let PushEvent {
                project,
                push,
                revision,
                at,
                user,
                changesets,
            } = &**push;
            let (push, at, user) = (or_dash(push.as_ref()), or_dash(at.as_ref()), or_dash(user.as_ref()));
            format!(
                "{project} {push} {revision} at {at} by {user}, {} changesets",
                changesets.len()
            )
        }
        Event::Request(request) => {
            let RequestEvent {
                project,
                push,
                requester,
                kind,
                ..
            } = &**request;
            format!(
                "{project} {} by {}: {kind:?}",
                or_dash(push.as_ref()),
                or_dash(requester.as_ref())
            )
        }
        Event::PerfAlert(alert) => format!("{alert:?}"),
        Event::Timer(tick) => format!("{tick:?}"),
    }
}

/// The events of a recording, one a line, and the first in full.
fn golden(file: &str, fallback: Option<&str>) -> String {
    let mut text = String::new();
    let mut first = None;
    for delivery in deliveries(file, fallback) {
        match decode(&delivery, &settings()) {
            Ok(Decoded::Events(events)) => {
                for event in &events {
                    writeln!(
                        text,
                        "{}: {}",
                        delivery.exchange.rsplit('/').next().unwrap_or_default(),
                        line(event)
                    )
                    .expect("text");
                }
                first = first.or_else(|| events.into_iter().next());
            }
            other => panic!("{file}, message {}: {other:?}", delivery.tag),
        }
    }
    writeln!(text, "\n{:#?}", first.expect("an event")).expect("text");
    text
}

#[test]
fn every_recorded_message_becomes_the_event_that_it_tells() {
    for (file, fallback) in RECORDINGS {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(file.replace(['/', '.'], "-"), golden(file, fallback));
        });
    }
}

#[test]
fn the_same_message_twice_is_the_same_event_twice() {
    for (file, fallback) in RECORDINGS {
        for delivery in deliveries(file, fallback) {
            let again = sheriffd::event::Delivery {
                redelivered: true,
                tag: delivery.tag + 1000,
                ..delivery.clone()
            };
            assert_eq!(decode(&delivery, &settings()), decode(&again, &settings()), "{file}");
        }
    }
}

#[test]
fn what_is_not_read_of_a_message_may_change_freely() {
    for (file, fallback) in RECORDINGS {
        for delivery in deliveries(file, fallback) {
            let mut body: serde_json::Value = serde_json::from_slice(&delivery.body).expect("JSON");
            let more = serde_json::json!({"deep": [{"er": [null, "𐂁\n", 1e300]}]});
            body["a_field_of_tomorrow"] = more.clone();
            for inner in ["payload", "status", "task", "display", "details", "build"] {
                if let Some(object) = body.get_mut(inner).and_then(serde_json::Value::as_object_mut) {
                    object.insert("a_field_of_tomorrow".into(), more.clone());
                }
            }
            let changed = sheriffd::event::Delivery {
                body: body.to_string().into(),
                ..delivery.clone()
            };
            assert_eq!(decode(&changed, &settings()), decode(&delivery, &settings()), "{file}");
        }
    }
}
