//! A person asks for a case, and is answered at once: at the command line and through the API.

use serde::Serialize;

use super::apply::{Discarded, Engine, Note, Patience};
use super::ledger::{CaseRow, DecisionResult, Lack, Ledger, LedgerError};
use crate::event::{Event, Reason, RequestEvent, Timestamp};

/// What came of a person's request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Answer {
    /// A case was opened; it may have ended already.
    Opened {
        /// The case after its first step.
        case: Box<CaseRow>,
    },
    /// There is an open case about it.
    Joined {
        /// That case.
        case: Box<CaseRow>,
    },
    /// It waits in the inbox until the daemon has fetched what is not known yet.
    Waits {
        /// What that is.
        lack: Lack,
        /// The request's name, for `sheriffd explain`.
        event: String,
    },
    /// No case was opened.
    Refused {
        /// Why, as a word.
        reason: &'static str,
        /// Why, in a sentence.
        why: String,
    },
}

impl Engine {
    /// Applies a person's request to open a case, and says what came of it.
    ///
    /// # Errors
    /// The books are busy or damaged; the caller's transaction is rolled back and nothing has happened.
    pub fn open(
        &mut self,
        ledger: &mut dyn Ledger,
        request: RequestEvent,
        now: Timestamp,
    ) -> Result<Answer, LedgerError> {
        let project = request.project.clone();
        let has_push = request.push.is_some();
        let event = Event::Request(Box::new(request));
        let name = event.id();
        let notes = self.apply(ledger, vec![event], Patience::Fresh, now)?;
        for note in notes {
            return Ok(match note {
                Note::Waits(lack) => Answer::Waits { lack, event: name },
                Note::Discarded(Discarded::NotWatched) => Answer::Refused {
                    reason: Discarded::NotWatched.as_str(),
                    why: format!("{project} is not watched: see `projects` of the configuration"),
                },
                Note::Decided(decision) => {
                    let case = match decision.case {
                        Some(id) => ledger.case(id)?.map(Box::new),
                        None => None,
                    };
                    match (decision.result, case) {
                        (DecisionResult::Opened, Some(case)) => Answer::Opened { case },
                        (_, Some(case)) => Answer::Joined { case },
                        (result, None) => Answer::Refused {
                            reason: result.as_str(),
                            why: why(result, &decision.detail, has_push),
                        },
                    }
                }
                _ => continue,
            });
        }
        Ok(Answer::Refused {
            reason: Discarded::NoCaseKind.as_str(),
            why: "no case can come of such a request".to_owned(),
        })
    }
}

/// Why no case was opened: what the opening said of it, or the reason's own sentence.
fn why(result: DecisionResult, detail: &serde_json::Value, has_push: bool) -> String {
    if let Some(why) = detail.get("why").and_then(serde_json::Value::as_str) {
        return why.to_owned();
    }
    match result {
        DecisionResult::No(Reason::FactsUnknown) if !has_push => {
            "the push is not known: name it by its number with --push, or let the daemon ask a pushlog \
             (`enrich.pushlog_url`)"
                .to_owned()
        }
        DecisionResult::No(reason) => reason.sentence().to_owned(),
        DecisionResult::Opened => "it was opened and is gone".to_owned(),
    }
}
