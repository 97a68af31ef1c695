//! Breakers: where asking does no good at the moment, requests wait, and one now and then tries whether it does again.
//!
//! In: how the last requests were answered, how the last runs ended, when the last request went out. Out: whether to go
//! on, to try, or to wait. Never: state of its own: both are derived from the store, so a restart changes nothing.

use crate::event::{Duration, Timestamp};

/// How far back answers and runs are looked at.
pub const WINDOW: Duration = Duration::from_secs(3600);
/// Answers that are looked at, at most: a breaker closes after a few good answers, not after an hour of them.
pub const ANSWERS: u32 = 20;
/// Answers that it takes to say anything.
const ANSWERS_NEEDED: u32 = 5;
/// How long a backend that fails is left alone between two tries.
const BACKEND_REST: Duration = Duration::from_secs(60);
/// How long a backend that refuses our credentials is left alone between two tries.
const REFUSED_REST: Duration = Duration::from_secs(300);
/// How long a platform whose runs fail by infrastructure is left alone between two tries.
const PLATFORM_REST: Duration = Duration::from_secs(600);

/// How a backend answered a request, as far as its health goes: the better first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answered {
    /// It answered: yes, no, or not yet.
    Well,
    /// It did not, or said that it cannot.
    Failed,
    /// It does not take our credentials.
    Refused,
}

impl Answered {
    /// The word in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Answered::Well => "answered",
            Answered::Failed => "failed",
            Answered::Refused => "refused",
        }
    }

    /// The answer of a word.
    pub fn of(word: &str) -> Option<Answered> {
        [Answered::Well, Answered::Failed, Answered::Refused]
            .into_iter()
            .find(|answered| answered.as_str() == word)
    }
}

/// What a breaker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Requests may go out.
    Closed,
    /// One may, to see whether things are better.
    Probe,
    /// None may before this moment.
    Open(Timestamp),
}

impl Gate {
    /// Whether the breaker is open, trying or not.
    pub fn is_open(self) -> bool {
        self != Gate::Closed
    }
}

fn after(last: Timestamp, rest: Duration, now: Timestamp) -> Gate {
    let next = last.plus(rest);
    // A last try in the future is a clock that was set back: it says nothing.
    if now >= next || last > now {
        Gate::Probe
    } else {
        Gate::Open(next)
    }
}

/// Whether credentials are refused: they are while the newest answer says so.
pub fn credentials(answers: &[(Timestamp, Answered)], now: Timestamp) -> Gate {
    match answers.first() {
        Some((at, Answered::Refused)) => after(*at, REFUSED_REST, now),
        _ => Gate::Closed,
    }
}

/// Whether a backend is failing: by the share of failures among its newest answers (newest first), of which the last
/// one is a failure too: one good answer lets requests go out again.
pub fn backend(answers: &[(Timestamp, Answered)], share: f64, now: Timestamp) -> Gate {
    let fresh = || answers.iter().filter(|(at, _)| *at <= now && now.since(*at) <= WINDOW);
    let total = fresh().count() as u32;
    let failed = fresh().filter(|(_, answered)| *answered == Answered::Failed).count() as u32;
    match fresh().next() {
        Some((at, Answered::Failed)) if total >= ANSWERS_NEEDED && f64::from(failed) >= share * f64::from(total) => {
            after(*at, BACKEND_REST, now)
        }
        _ => Gate::Closed,
    }
}

/// Runs of a platform that ended lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    /// All of them.
    pub total: u32,
    /// Those that ended by infrastructure.
    pub infra: u32,
}

/// Whether a platform is failing: by the share of infra outcomes. `last` is when we last asked for a run there.
pub fn platform(ended: Ended, needed: u32, share: f64, last: Option<Timestamp>, now: Timestamp) -> Gate {
    if ended.total < needed.max(1) || f64::from(ended.infra) < share * f64::from(ended.total) {
        return Gate::Closed;
    }
    last.map_or(Gate::Probe, |last| after(last, PLATFORM_REST, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(10_000_000);

    fn answers(words: &[Answered]) -> Vec<(Timestamp, Answered)> {
        words
            .iter()
            .map(|word| (NOW.minus(Duration::from_secs(1)), *word))
            .collect()
    }

    #[test]
    fn refused_credentials_are_tried_again_after_a_rest_and_good_ones_at_once() {
        use Answered::{Failed, Refused, Well};
        assert_eq!(credentials(&answers(&[Well, Refused]), NOW), Gate::Closed);
        assert_eq!(credentials(&answers(&[Failed, Refused]), NOW), Gate::Closed);
        let refused = answers(&[Refused, Well]);
        assert!(matches!(credentials(&refused, NOW), Gate::Open(_)));
        assert_eq!(credentials(&refused, NOW.plus(REFUSED_REST)), Gate::Probe);
    }

    #[test]
    fn a_backend_is_left_alone_when_most_answers_are_failures() {
        use Answered::{Failed, Well};
        assert_eq!(
            backend(&answers(&[Failed; 4]), 0.5, NOW),
            Gate::Closed,
            "too few to say"
        );
        assert!(matches!(backend(&answers(&[Failed; 5]), 0.5, NOW), Gate::Open(_)));
        assert_eq!(
            backend(&answers(&[Failed; 5]), 0.5, NOW.plus(BACKEND_REST)),
            Gate::Probe
        );
        let better = answers(&[Well, Failed, Failed, Failed, Failed, Failed]);
        assert_eq!(backend(&better, 0.5, NOW), Gate::Closed);
        let mostly_well = answers(&[Failed, Well, Well, Well, Well]);
        assert_eq!(backend(&mostly_well, 0.5, NOW), Gate::Closed);
        let long_ago = answers(&[Failed; 5]);
        assert_eq!(backend(&long_ago, 0.5, NOW.plus(WINDOW * 2)), Gate::Closed);
    }

    #[test]
    fn a_platform_is_left_alone_while_its_runs_end_by_infrastructure() {
        let bad = Ended { total: 20, infra: 12 };
        assert_eq!(platform(bad, 21, 0.5, None, NOW), Gate::Closed, "too few to say");
        assert_eq!(platform(bad, 20, 0.7, None, NOW), Gate::Closed, "not so bad");
        assert_eq!(platform(bad, 20, 0.5, None, NOW), Gate::Probe);
        assert!(matches!(platform(bad, 20, 0.5, Some(NOW), NOW), Gate::Open(_)));
        let rested = NOW.minus(PLATFORM_REST);
        assert_eq!(platform(bad, 20, 0.5, Some(rested), NOW), Gate::Probe);
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_for_longer() {
        let tomorrow = NOW.plus(Duration::from_secs(86_400));
        assert_eq!(credentials(&[(tomorrow, Answered::Refused)], NOW), Gate::Probe);
        assert_eq!(
            platform(Ended { total: 20, infra: 20 }, 20, 0.5, Some(tomorrow), NOW),
            Gate::Probe
        );
    }
}
