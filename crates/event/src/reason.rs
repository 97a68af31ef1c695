//! Why nothing was done: one closed list, counted and explained everywhere by the same words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why an event opened no case, or an action was not sent (yet).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The rule's `when` said no.
    ConditionFalse,
    /// The rule's `when` asks for a fact that is not known.
    ConditionUnknown,
    /// The run is one of ours.
    Lineage,
    /// Whose run it is, is not known.
    LineageUnknown,
    /// A person asked for the run, and the rule does not name persons.
    Person,
    /// The run's project, label or push is not known.
    FactsUnknown,
    /// An open case has this subject already: the event is evidence there.
    Joined,
    /// A closed case explains this failure: its culprit is at or before this push, and nothing passed since.
    Explained,
    /// No earlier green run of this job within the rule's depth.
    NoLastGood,
    /// The push before the first bad one was green: there is nothing to fill in.
    NoGap,
    /// Everything that is missing is already asked for, waiting or running.
    InFlight,
    /// The project's pushes are not one line of history (`try`).
    NotLinear,
    /// A later run of this task exists: the event speaks of an old one.
    NotLatest,
    /// The rule only decides, and asks for nothing.
    Shadow,
    /// A limit of requests or jobs is reached.
    Limit,
    /// A named budget is spent.
    Budget,
    /// The case has asked for as many jobs as it may.
    MaxJobs,
    /// A person paused this.
    Paused,
    /// The CI asked us to wait, or cannot be reached.
    BackendBusy,
    /// The CI refuses our credentials.
    BackendRefused,
    /// The push's decision task is not there yet.
    NotYet,
    /// The CI cannot do it.
    NotPossible,
    /// The answer to a request was lost, and what became of it is not known.
    InDoubt,
    /// The project's tree is closed, and the rule waits for it.
    TreeClosed,
    /// Most runs on the platform end by infrastructure, or most requests to the CI fail.
    Breaker,
    /// Too many jobs wait for a machine on the platform, or in the worker pool.
    Backlog,
    /// Our own runs have failed too often today: people have enough to look at.
    Attention,
    /// The CI took the request, and its jobs did not appear.
    NotAppeared,
    /// Many labels fail on one push: one case looks for the cause, for a few of them.
    Storm,
    /// An open search looks for this signature on another label: what it finds counts for this one too.
    SameSignature,
    /// The rule acted on the same key too short a while ago.
    Throttled,
    /// Everything that was wanted ran, runs, waits or is asked for.
    NothingMissing,
    /// It is one of the hours in which the rule opens nothing.
    QuietHours,
    /// The rule waits until events like this one have stopped coming.
    Debounced,
    /// The subject had a case of this rule too short a while ago.
    OnceWithin,
    /// A text of the rule's `open` asks for a fact that is not known.
    TextUnknown,
    /// The rule's `for_each` has more elements than are looked at.
    TooMany,
    /// A person must approve the case before it asks for anything.
    AwaitingApproval,
    /// Nobody approved the case in time.
    ApprovalExpired,
    /// The rule that held the event back is no longer in force.
    RuleGone,
}

impl Reason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Reason; 40] = [
        Reason::ConditionFalse,
        Reason::ConditionUnknown,
        Reason::Lineage,
        Reason::LineageUnknown,
        Reason::Person,
        Reason::FactsUnknown,
        Reason::Joined,
        Reason::Explained,
        Reason::NoLastGood,
        Reason::NoGap,
        Reason::InFlight,
        Reason::NotLinear,
        Reason::NotLatest,
        Reason::Shadow,
        Reason::Limit,
        Reason::Budget,
        Reason::MaxJobs,
        Reason::Paused,
        Reason::BackendBusy,
        Reason::BackendRefused,
        Reason::NotYet,
        Reason::NotPossible,
        Reason::InDoubt,
        Reason::TreeClosed,
        Reason::Breaker,
        Reason::Backlog,
        Reason::Attention,
        Reason::NotAppeared,
        Reason::Storm,
        Reason::SameSignature,
        Reason::Throttled,
        Reason::NothingMissing,
        Reason::QuietHours,
        Reason::Debounced,
        Reason::OnceWithin,
        Reason::TextUnknown,
        Reason::TooMany,
        Reason::AwaitingApproval,
        Reason::ApprovalExpired,
        Reason::RuleGone,
    ];

    /// The word used in metrics, commands and rule tests.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::ConditionFalse => "condition-false",
            Reason::ConditionUnknown => "condition-unknown",
            Reason::Lineage => "lineage",
            Reason::LineageUnknown => "lineage-unknown",
            Reason::Person => "person",
            Reason::FactsUnknown => "facts-unknown",
            Reason::Joined => "joined",
            Reason::Explained => "explained",
            Reason::NoLastGood => "no-last-good",
            Reason::NoGap => "no-gap",
            Reason::InFlight => "in-flight",
            Reason::NotLinear => "not-linear",
            Reason::NotLatest => "not-latest",
            Reason::Shadow => "shadow",
            Reason::Limit => "limit",
            Reason::Budget => "budget",
            Reason::MaxJobs => "max-jobs",
            Reason::Paused => "paused",
            Reason::BackendBusy => "backend-busy",
            Reason::BackendRefused => "backend-refused",
            Reason::NotYet => "not-yet",
            Reason::NotPossible => "not-possible",
            Reason::InDoubt => "in-doubt",
            Reason::TreeClosed => "tree-closed",
            Reason::Breaker => "breaker",
            Reason::Backlog => "backlog",
            Reason::Attention => "attention",
            Reason::NotAppeared => "not-appeared",
            Reason::Storm => "storm",
            Reason::SameSignature => "same-signature",
            Reason::Throttled => "throttled",
            Reason::NothingMissing => "nothing-missing",
            Reason::QuietHours => "quiet-hours",
            Reason::Debounced => "debounced",
            Reason::OnceWithin => "once-within",
            Reason::TextUnknown => "text-unknown",
            Reason::TooMany => "too-many",
            Reason::AwaitingApproval => "awaiting-approval",
            Reason::ApprovalExpired => "approval-expired",
            Reason::RuleGone => "rule-gone",
        }
    }

    /// One sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Reason::ConditionFalse => "the rule's `when` said no",
            Reason::ConditionUnknown => "the rule's `when` asks for a fact that is not known",
            Reason::Lineage => "the run is one of our own",
            Reason::LineageUnknown => "it is not known who caused the run",
            Reason::Person => "a person asked for the run, and the rule does not name persons",
            Reason::FactsUnknown => "the run's project, label or push is not known",
            Reason::Joined => "an open case has this subject: the run is evidence there",
            Reason::Explained => "a closed case explains this failure",
            Reason::NoLastGood => "no earlier green run of the job within the rule's depth",
            Reason::NoGap => "the push before the first bad one was green: nothing is missing",
            Reason::InFlight => "what is missing is already asked for, waiting or running",
            Reason::NotLinear => "the project has no linear history",
            Reason::NotLatest => "a later run of the task exists",
            Reason::Shadow => "the rule is in shadow mode: decided, not asked",
            Reason::Limit => "a limit is reached",
            Reason::Budget => "the rule's budget is spent",
            Reason::MaxJobs => "the case has asked for all the jobs it may",
            Reason::Paused => "paused by a person",
            Reason::BackendBusy => "the CI asked us to wait or cannot be reached",
            Reason::BackendRefused => "the CI refuses our credentials",
            Reason::NotYet => "the push's decision task is not there yet",
            Reason::NotPossible => "the CI cannot do it",
            Reason::InDoubt => "the answer to the request was lost",
            Reason::TreeClosed => "the project's tree is closed",
            Reason::Breaker => "most runs on the platform, or most requests to the CI, fail by infrastructure",
            Reason::Backlog => "too many jobs wait for machines on the platform, or in the worker pool",
            Reason::Attention => "our own runs have made people look at enough failures today",
            Reason::NotAppeared => "the CI took the request, and its jobs did not appear",
            Reason::Storm => "many labels fail on one push: one case looks for the cause",
            Reason::SameSignature => "an open search looks for the same failure on another label",
            Reason::Throttled => "the rule acted on the same key a short while ago",
            Reason::NothingMissing => "everything that was wanted ran, runs, waits or is asked for",
            Reason::QuietHours => "it is one of the hours in which the rule opens nothing",
            Reason::Debounced => "the rule waits until events like this one have stopped coming",
            Reason::OnceWithin => "the subject had a case of this rule a short while ago",
            Reason::TextUnknown => "a text of the rule's `open` has no value for this event",
            Reason::TooMany => "the rule's `for_each` has more elements than are looked at",
            Reason::AwaitingApproval => "a person must approve the case before it asks for anything",
            Reason::ApprovalExpired => "nobody approved the case in time",
            Reason::RuleGone => "the rule that held the event back is no longer in force",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
