//! What a service's answer to a request that acts means for the books.
//!
//! In: the outcome of one exchange. Out: the answer, or a [`RequestError`]. Never: hope: whatever does not say for
//! certain that nothing was done is in doubt.

use crate::net::ask::{AskError, answer_words};
use crate::net::http::{Answer, SendError};

use super::RequestError;

/// The answer of `who` to a request that acts, when it is a success.
///
/// | what came back | what it means |
/// |---|---|
/// | no connection | [`RequestError::Busy`]: nothing was sent |
/// | nothing in time, a lost connection | [`RequestError::InDoubt`] |
/// | 2xx, whole | the answer |
/// | 2xx, cut short | [`RequestError::InDoubt`] |
/// | 3xx | [`RequestError::Refused`]: the configured address is not the service's |
/// | 401, 403, 407 | [`RequestError::Refused`], with the service's words: they name the missing scopes |
/// | 408, 409 | [`RequestError::InDoubt`]: 409 says that something like it exists, perhaps from an attempt of ours |
/// | 425, 429, 503 with `Retry-After` | [`RequestError::Busy`]: the service itself turned it away |
/// | any other 4xx | [`RequestError::NotPossible`] |
/// | any other 5xx, 503 too | [`RequestError::InDoubt`]: a gateway says the same after the service has acted |
pub fn accepted(who: &str, outcome: Result<Answer, SendError>) -> Result<Answer, RequestError> {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(error @ SendError::NotSent(_)) => {
            return Err(RequestError::Busy {
                retry_after: None,
                detail: format!("{who} {error}"),
            });
        }
        Err(error @ SendError::NoAnswer(_)) => return Err(RequestError::InDoubt(format!("{who} {error}"))),
    };
    let detail = || format!("{who} answered HTTP {}: {}", answer.status, answer_words(&answer));
    match answer.status {
        200..=299 => match &answer.cut {
            None => Ok(answer),
            Some(cut) => Err(RequestError::InDoubt(format!("{}; {cut}", detail()))),
        },
        300..=399 => {
            let to = answer
                .location
                .as_deref()
                .map_or_else(|| "nowhere".to_owned(), crate::net::http::quote);
            let status = answer.status;
            Err(RequestError::Refused(format!(
                "{who} answered HTTP {status} and points to {to}: configure the service's own address"
            )))
        }
        401 | 403 | 407 => Err(RequestError::Refused(detail())),
        425 | 429 => Err(RequestError::Busy {
            retry_after: answer.retry_after,
            detail: detail(),
        }),
        503 if answer.retry_after.is_some() => Err(RequestError::Busy {
            retry_after: answer.retry_after,
            detail: detail(),
        }),
        408 | 409 => Err(RequestError::InDoubt(detail())),
        400..=499 => Err(RequestError::NotPossible(detail())),
        _ => Err(RequestError::InDoubt(detail())),
    }
}

/// A question to be asked again later.
pub fn busy(error: AskError) -> RequestError {
    let detail = error.to_string();
    match error {
        AskError::Later { retry_after, .. } => RequestError::Busy { retry_after, detail },
        _ => RequestError::Busy {
            retry_after: None,
            detail,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::http::Cut;
    use std::time::Duration;

    fn answer(status: u16, retry_after: Option<u64>) -> Result<Answer, SendError> {
        let retry_after = retry_after.map(Duration::from_secs);
        Ok(Answer {
            status,
            retry_after,
            location: None,
            body: b"words".to_vec(),
            cut: None,
        })
    }

    fn kind(outcome: Result<Answer, SendError>) -> &'static str {
        match accepted("the CI", outcome) {
            Ok(_) => "accepted",
            Err(RequestError::NotPossible(_)) => "not possible",
            Err(RequestError::Refused(_)) => "refused",
            Err(RequestError::NotYet(_)) => "not yet",
            Err(RequestError::Busy { .. }) => "busy",
            Err(RequestError::InDoubt(_)) => "in doubt",
        }
    }

    #[test]
    fn only_an_answer_that_excludes_the_deed_is_not_in_doubt() {
        for (status, meaning) in [
            (200, "accepted"),
            (201, "accepted"),
            (302, "refused"),
            (400, "not possible"),
            (401, "refused"),
            (403, "refused"),
            (404, "not possible"),
            (408, "in doubt"),
            (409, "in doubt"),
            (422, "not possible"),
            (429, "busy"),
            (500, "in doubt"),
            (502, "in doubt"),
            (503, "in doubt"),
            (504, "in doubt"),
        ] {
            assert_eq!(kind(answer(status, None)), meaning, "{status}");
        }
        assert_eq!(kind(answer(503, Some(3))), "busy");
        assert_eq!(kind(Err(SendError::NotSent("no route".into()))), "busy");
        assert_eq!(kind(Err(SendError::NoAnswer("time-out".into()))), "in doubt");
    }

    #[test]
    fn a_success_whose_body_was_lost_is_in_doubt() {
        let cut = answer(200, None).map(|answer| Answer {
            cut: Some(Cut::Lost("reset".into())),
            ..answer
        });
        assert_eq!(kind(cut), "in doubt");
    }
}
