//! Questions: requests that change nothing, and so may be asked again.
//!
//! In: the outcome of one exchange. Out: the answer's body, or what its failure means for who asked. Never: deciding
//! whether to ask again.

use std::time::Duration;

use super::http::{Answer, Cut, SendError};

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// There is no such thing (404), or not any more (410, or 424: Taskcluster's answer for an artifact that failed
    /// to be made).
    #[error("{what} does not exist: {detail}")]
    Absent {
        /// What was asked for.
        what: String,
        /// What the service said.
        detail: String,
    },
    /// We may not know (401, 403).
    #[error("{what} was refused to us: {detail}")]
    Refused {
        /// What was asked for.
        what: String,
        /// What the service said: for Taskcluster it names the missing scopes.
        detail: String,
    },
    /// The service cannot say now: no connection, no answer in time, 429, 5xx.
    #[error("{what} cannot be had now: {detail}")]
    Later {
        /// What was asked for.
        what: String,
        /// What happened.
        detail: String,
        /// How long the service asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The answer is not what it should be: another status, too large, not readable.
    #[error("{what} is not usable: {detail}")]
    Wrong {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// The body of a successful answer to the question for `what`, or the meaning of the failure.
pub fn settle(what: &str, outcome: Result<Answer, SendError>) -> Result<Vec<u8>, AskError> {
    let what = what.to_owned();
    let answer = match outcome {
        Ok(answer) => answer,
        Err(error) => {
            return Err(AskError::Later {
                what,
                detail: error.to_string(),
                retry_after: None,
            });
        }
    };
    let detail = format!("HTTP {} {}", answer.status, answer_words(&answer));
    match answer.status {
        200..=299 => match answer.cut {
            None => Ok(answer.body),
            Some(Cut::Lost(detail)) => Err(AskError::Later {
                what,
                detail,
                retry_after: None,
            }),
            Some(cut) => Err(AskError::Wrong {
                what,
                detail: cut.to_string(),
            }),
        },
        404 | 410 | 424 => Err(AskError::Absent { what, detail }),
        401 | 403 => Err(AskError::Refused { what, detail }),
        408 | 425 | 429 | 500..=599 => Err(AskError::Later {
            what,
            detail,
            retry_after: answer.retry_after,
        }),
        _ => Err(AskError::Wrong { what, detail }),
    }
}

/// What a service says in an answer of failure: the `message` of a JSON body, otherwise the body's beginning.
pub fn answer_words(answer: &Answer) -> String {
    let json = serde_json::from_slice::<serde_json::Value>(&answer.body).ok();
    let message = json
        .as_ref()
        .and_then(|body| body.get("message"))
        .and_then(|m| m.as_str());
    match message {
        // Taskcluster puts what was asked, payload and all, after a line of dashes: not for our messages.
        Some(message) => super::http::quote(message.split("\n---").next().unwrap_or(message)),
        None => answer.quote(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<Answer, SendError> {
        let body = body.as_bytes().to_vec();
        Ok(Answer {
            status,
            retry_after: Some(Duration::from_secs(9)),
            location: None,
            body,
            cut: None,
        })
    }

    #[test]
    fn each_status_means_one_thing() {
        assert_eq!(settle("x", answer(200, "ok")), Ok(b"ok".to_vec()));
        assert!(matches!(settle("x", answer(404, "")), Err(AskError::Absent { .. })));
        assert!(matches!(settle("x", answer(403, "")), Err(AskError::Refused { .. })));
        assert!(matches!(settle("x", answer(400, "")), Err(AskError::Wrong { .. })));
        assert!(matches!(
            settle("x", answer(503, "")),
            Err(AskError::Later {
                retry_after: Some(_),
                ..
            })
        ));
        assert!(matches!(
            settle("x", Err(SendError::NoAnswer("time-out".into()))),
            Err(AskError::Later { .. })
        ));
    }

    #[test]
    fn a_services_message_is_quoted_without_what_was_asked() {
        let body = r#"{"code":"InsufficientScopes","message":"missing scopes:\n\n* a:b\n\n---\n\n* payload: {}"}"#;
        let error = settle("the index", answer(403, body)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the index was refused to us: HTTP 403 missing scopes: * a:b"
        );
    }
}
