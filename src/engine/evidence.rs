//! From the books to what bears on a case. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use super::ledger::{ActionRow, ActionState, CaseRow, Counts, PushRow, RunRow, View};
use super::settings::EngineSettings;
use crate::cases::{Evidence, Numbers, PushEvidence, TargetEvidence};
use crate::event::{
    ActionKey, CaseId, CaseKind, CausedBy, Label, Outcome, PushId, Reason, RunKey, RunState, Signature, Timestamp,
    test_path,
};

/// What one run says of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// It failed in the way that is looked for.
    Failed,
    /// It would have failed in that way, and did not.
    Passed,
    /// It has not ended.
    Pending,
    /// Nothing.
    Nothing,
}

/// What a run says of a signature (`None`: of the job as a whole). An infra outcome says nothing. A failure with
/// another signature is a pass of this one only if its test is known to have run; while what failed is not known, it
/// is nothing yet. A green run of a chunked suite counts only if it is known to have run the test's group.
fn says(run: &RunRow, signature: Option<&Signature>, is_chunked: bool, lost_before: Timestamp) -> Says {
    let outcome = match run.state {
        RunState::Pending | RunState::Running if run.at < lost_before => return Says::Nothing,
        RunState::Pending | RunState::Running => return Says::Pending,
        RunState::Finished(Outcome::Infra | Outcome::Cancelled) => return Says::Nothing,
        RunState::Finished(outcome) => outcome,
    };
    let failed = outcome == Outcome::Failed;
    let Some(signature) = signature else {
        return if failed { Says::Failed } else { Says::Passed };
    };
    let ran_group = match (&signature.group, &run.groups) {
        (Some(group), Some(groups)) => groups.contains(group),
        _ => false,
    };
    match (failed, &run.signatures) {
        (true, Some(signatures)) if signatures.contains(signature) => Says::Failed,
        (true, None) => Says::Nothing,
        (true, Some(_)) if ran_group => Says::Passed,
        (true, Some(_)) => Says::Nothing,
        (false, _) if ran_group || (!is_chunked && run.groups.is_none()) => Says::Passed,
        (false, _) => Says::Nothing,
    }
}

/// What a run says of a test: like [`says`], but the test's name may be written in the ways of its harness, and a green
/// run counts only if it is known to have run the test's group.
fn says_of_test(run: &RunRow, test: &Signature, lost_before: Timestamp) -> Says {
    let ran_group = match (&test.group, &run.groups) {
        (Some(group), Some(groups)) => groups.contains(group),
        _ => false,
    };
    let failed = |signatures: &[Signature]| {
        signatures
            .iter()
            .any(|signature| test_path::is_named(&signature.test, &test.test))
    };
    match (says(run, None, false, lost_before), &run.signatures) {
        (Says::Failed, None) => Says::Nothing,
        (Says::Failed, Some(signatures)) if failed(signatures) => Says::Failed,
        (Says::Failed | Says::Passed, _) if ran_group => Says::Passed,
        (Says::Failed | Says::Passed, _) => Says::Nothing,
        (other, _) => other,
    }
}

/// Runs of a subject, counted by push.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    by_push: HashMap<PushId, (Counts, u32)>,
}

impl Tally {
    /// Counts the runs of a view.
    pub fn of(
        view: &View,
        label: &Label,
        signature: Option<&Signature>,
        settings: &EngineSettings,
        now: Timestamp,
    ) -> Tally {
        let lost_before = now.minus(settings.runs_end_within);
        let mut tally = Tally::default();
        for run in &view.runs {
            // Without a signature only the very same job speaks: other chunks of the suite run other tests.
            if signature.is_none() && run.label != *label {
                continue;
            }
            let is_chunked = signature.is_some_and(|signature| signature.group.is_some()) && run.label != *label;
            let (counts, pending) = tally.by_push.entry(run.push).or_default();
            match says(run, signature, is_chunked, lost_before) {
                Says::Failed => counts.failed += 1,
                Says::Passed => counts.passed += 1,
                Says::Pending => *pending += 1,
                Says::Nothing => {}
            }
        }
        tally
    }

    fn on(&self, push: PushId) -> (Counts, u32) {
        self.by_push.get(&push).copied().unwrap_or_default()
    }
}

/// How often a subject failed and passed in a view since a moment, one run left out: for a failure rate. What came
/// before the view's window is [`View::earlier`]'s.
pub fn counts_since(
    view: &View,
    label: &Label,
    signature: Option<&Signature>,
    since: Timestamp,
    without: &RunKey,
) -> Counts {
    let speaks = |run: &&RunRow| run.at >= since && run.key != *without && (signature.is_some() || run.label == *label);
    view.runs.iter().filter(speaks).fold(Counts::default(), |sum, run| {
        let is_chunked = signature.is_some_and(|signature| signature.group.is_some()) && run.label != *label;
        match says(run, signature, is_chunked, Timestamp(i64::MIN)) {
            Says::Failed => sum.plus(Counts::new(1, 0)),
            Says::Passed => sum.plus(Counts::new(0, 1)),
            Says::Pending | Says::Nothing => sum,
        }
    })
}

/// Jobs of an action that are still to appear.
fn still_to_come(action: &ActionRow) -> u32 {
    if action.state.is_expected() {
        action.times.saturating_sub(action.arrived)
    } else {
        0
    }
}

/// Whether a request says that asking for the job on its push again is of no use: the CI cannot do it, took it and ran
/// nothing, or a person does not want it.
fn is_given_up(action: &ActionRow) -> bool {
    matches!(
        (action.state, action.reason),
        (ActionState::Refused, Some(Reason::NotPossible))
            | (ActionState::Overdue, Some(Reason::NotAppeared | Reason::InDoubt))
            | (ActionState::Dropped, Some(Reason::Paused))
    )
}

/// The pushes of a view with what is known of each.
pub fn pushes(view: &View, tally: &Tally, actions: &[ActionRow]) -> Vec<PushEvidence> {
    view.pushes
        .iter()
        .map(|row| {
            let (counts, running) = tally.on(row.push);
            let on_push = || actions.iter().filter(|action| action.push == row.push);
            let gave_up = on_push().any(is_given_up) && !on_push().any(|action| action.arrived > 0);
            PushEvidence {
                push: row.push,
                revision: row.revision.clone(),
                runnable: row.revision.is_some() && !gave_up,
                counts,
                pending: on_push().map(still_to_come).fold(running, u32::saturating_add),
                near: false,
                backed_out_by: backed_out_by(row, &view.pushes),
            }
        })
        .collect()
}

/// The first later push that says it backs this one out, as an index.
fn backed_out_by(row: &PushRow, pushes: &[PushRow]) -> Option<usize> {
    let revision = row.revision.as_ref()?.as_str();
    pushes.iter().position(|later| {
        later.push > row.push
            && later.backs_out.iter().any(|hash| {
                let hash = hash.as_str();
                hash.starts_with(revision) || revision.starts_with(hash)
            })
    })
}

/// A CI that does not name the task that makes the jobs leaves it to us to see which they are: runs of the label on the
/// push that came after the request and were not scheduled with the push.
fn with_inferred_arrivals(action: &ActionRow, view: &View) -> ActionRow {
    let mut action = action.clone();
    if let (false, Some(sent_at)) = (action.has_receipt, action.sent_at) {
        let came = view.runs.iter().filter(|run| {
            run.push == action.push
                && run.label == action.label
                && run.key.run == 0
                && run.at >= sent_at
                && run.caused_by != CausedBy::Push
        });
        action.arrived = u32::try_from(came.count()).unwrap_or(u32::MAX).min(action.times);
    }
    action
}

/// Requests of other open cases of the kind about other failures of the very same job: their runs tell of this one as
/// well. What is only decided in shadow will not come.
fn shared(case: &CaseRow, view: &View) -> Vec<ActionRow> {
    let is_sibling = |id: CaseId| {
        view.open.iter().any(|other| {
            other.id == id
                && id != case.id
                && other.label == case.label
                && other.params.kind() == case.params.kind()
                && (case.is_shadow() || !other.is_shadow())
        })
    };
    let requests = view.actions.iter().filter(|action| is_sibling(action.key.case));
    requests.map(|action| with_inferred_arrivals(action, view)).collect()
}

/// Gathers what bears on an open case. `view` is taken around the case's push.
pub fn of_case(
    case: &CaseRow,
    view: &View,
    actions: &[ActionRow],
    settings: &EngineSettings,
    now: Timestamp,
) -> Evidence {
    let tally = Tally::of(view, &case.label, case.subject.signature.as_ref(), settings, now);
    let actions: Vec<ActionRow> = actions
        .iter()
        .map(|action| with_inferred_arrivals(action, view))
        .collect();
    let shared = shared(case, view);
    let on_the_way: Vec<ActionRow> = actions.iter().chain(&shared).cloned().collect();
    let mut pushes = pushes(view, &tally, &on_the_way);
    if case.subject.series.is_some() {
        count_shared(&mut pushes, case, view);
    }
    let seen_on = pushes
        .iter()
        .position(|push| push.push == case.push)
        .unwrap_or(pushes.len().saturating_sub(1));
    let lost_before = now.minus(settings.runs_end_within);
    let is_own = |run: &&RunRow| {
        let is_awaited = |action: ActionKey| action.case == case.id || shared.iter().any(|other| other.key == action);
        run.action.is_some_and(is_awaited)
    };
    let own_running = view
        .runs
        .iter()
        .filter(is_own)
        .filter(|run| run.state.outcome().is_none() && run.at >= lost_before)
        .count();
    let since_opened = view
        .runs
        .iter()
        .filter(|run| run.push == case.push && Some(&run.key) != case.opened_by.as_ref() && run.at > case.opened_at)
        .fold(Counts::default(), |sum, run| {
            match says(
                run,
                case.subject.signature.as_ref(),
                run.label != case.label,
                lost_before,
            ) {
                Says::Failed => sum.plus(Counts::new(1, 0)),
                Says::Passed => sum.plus(Counts::new(0, 1)),
                Says::Pending | Says::Nothing => sum,
            }
        });
    let to_come = actions.iter().map(still_to_come).sum::<u32>();
    Evidence {
        pushes,
        seen_on,
        before: view.before,
        targets: targets(case, view, &actions, lost_before),
        unable: case.unable.clone(),
        since_opened,
        asked: actions
            .iter()
            .map(|action| match action.state {
                ActionState::Refused | ActionState::Dropped => 0,
                ActionState::Overdue => action.arrived,
                // What the CI has to build for them counts against the case as well.
                _ => action.times.saturating_add(action.builds),
            })
            .sum(),
        awaited: shared
            .iter()
            .map(still_to_come)
            .fold(to_come.saturating_add(own_running as u32), u32::saturating_add),
        to_come,
        last_step: actions.iter().map(|action| action.key.step).max().unwrap_or(0),
        opened_at: case.opened_at,
        shadow: case.is_shadow(),
        numbers: Numbers::default(),
    }
}

/// Cases about different series of one job share its runs: what another one has asked for counts as pending here too.
fn count_shared(pushes: &mut [PushEvidence], case: &CaseRow, view: &View) {
    let of_others = |action: &&ActionRow| {
        action.key.case != case.id && action.label == case.label && action.state != ActionState::Shadow
    };
    for action in view.actions.iter().filter(of_others) {
        if let Some(push) = pushes.iter_mut().find(|push| push.push == action.push) {
            push.pending = push.pending.saturating_add(still_to_come(action));
        }
    }
}

/// What is known of the jobs that a case is about besides its label: each as a whole, or, where the case is about a
/// test, as far as the test goes.
fn targets(case: &CaseRow, view: &View, actions: &[ActionRow], lost_before: Timestamp) -> Vec<TargetEvidence> {
    let test = case.subject.signature.as_ref();
    let test = test.filter(|_| case.params.kind() == CaseKind::Validate);
    case.targets
        .iter()
        .map(|target| {
            let mut silent = 0;
            let mut counts = Counts::default();
            let mut pending = 0;
            let on_target = |label: &Label, push: PushId| *label == target.label && push == target.push;
            for run in view.runs.iter().filter(|run| on_target(&run.label, run.push)) {
                let said = match test {
                    Some(test) => says_of_test(run, test, lost_before),
                    None => says(run, None, false, lost_before),
                };
                match said {
                    Says::Failed => counts.failed += 1,
                    Says::Passed => counts.passed += 1,
                    Says::Pending => pending += 1,
                    Says::Nothing if matches!(run.state.outcome(), Some(Outcome::Passed | Outcome::Failed)) => {
                        silent += 1;
                    }
                    Says::Nothing => {}
                }
            }
            let asked = || actions.iter().filter(|action| on_target(&action.label, action.push));
            TargetEvidence {
                label: target.label.clone(),
                platform: Arc::clone(&target.platform),
                push: target.push,
                times: target.times,
                counts,
                silent,
                pending: asked().map(still_to_come).fold(pending, u32::saturating_add),
                asked: asked().next().is_some(),
                refused: asked()
                    .find(|action| action.state == ActionState::Refused || is_given_up(action) && action.arrived == 0)
                    .map(|action| action.detail.clone().unwrap_or_else(|| "the CI refused it".into())),
            }
        })
        .collect()
}
