//! Jobs that a rule or a person wants on pushes: `fill`, `add`, `range`, and people's requests on the bus.
//!
//! Gathers from the books what the openings decide on, and makes drafts of what they say.

use sha2::{Digest as _, Sha256};

use super::apply::{Engine, Patience};
use super::batch::Batch;
use super::ledger::{JobsOn, Lack, Ledger, LedgerError};
use super::opening::field::{Field, Wanted, collective};
use super::opening::{Draft, Opening, add, fill, range};
use crate::event::{
    AddParams, CaseKind, CaseParams, Duration, Event, FillParams, Label, OpenRequest, Project, PushId, RangeParams,
    Reason, RequestEvent, RequestKind, Revision, Subject, Timestamp,
};

/// How long the same request of whoever is a repeat: pages are clicked twice and messages come twice; the next hour's
/// wish for more runs is a wish for more runs.
pub(super) const REPEATS_WITHIN: Duration = Duration::from_secs(3600);
/// Pushes before the one in question whose jobs show what exists, where no task graph does.
const SHOWN: u32 = 50;
/// Pushes before the newest among which a settled one is looked for.
const SETTLED_WITHIN: u32 = 200;
/// Pushes of one range at most, however far its ends are apart.
const RANGE_MAX: u64 = 2_000;

/// What comes of a wish, and more than the reason's own sentence where nothing does.
pub(super) type Outcome = (Opening, Option<String>);

/// Jobs that are wanted.
struct Wish<'a> {
    project: &'a Project,
    push: Option<PushId>,
    revision: Option<&'a Revision>,
    what: What,
    /// Whether a case about the same that ended answers it.
    once: bool,
}

/// Which jobs.
enum What {
    Fill(FillParams, PushId),
    Add(AddParams),
    Range(RangeParams),
    Backfill(Label, RangeParams),
}

impl What {
    /// Pushes to look at before the one in question, and after it.
    fn window(&self, push: PushId) -> (u32, u32) {
        match self {
            What::Fill(params, _) => {
                let reach = params.neighbours.max(params.gap);
                (reach, reach)
            }
            What::Add(_) => (SHOWN, 0),
            What::Range(params) => {
                let span = params
                    .from
                    .map_or(0, |from| push.0.saturating_sub(from.0).min(RANGE_MAX));
                let back = params
                    .back
                    .max(params.delta)
                    .max(u32::try_from(span).unwrap_or(u32::MAX));
                (back.max(SHOWN), params.delta)
            }
            What::Backfill(_, params) => (params.back.max(SHOWN), 0),
        }
    }

    fn wants_graph(&self) -> bool {
        matches!(self, What::Fill(..) | What::Add(_))
    }

    fn decide(&self, field: &Field, push: PushId) -> Wanted {
        match self {
            What::Fill(params, settled) => fill::fill(field, push, params, *settled),
            What::Add(params) => add::add(field, push, params),
            What::Range(params) => range::range(field, push, params),
            What::Backfill(label, params) => range::backfill(field, label, push, params),
        }
    }

    /// What the jobs are called together.
    fn name(&self) -> String {
        let narrowed = |text: String, word: &str, names: &[String]| match names.is_empty() {
            true => text,
            false => format!("{text} {word} {}", collective(names)),
        };
        match self {
            What::Fill(params, _) => collective(&params.labels),
            What::Add(params) => {
                let mut text = narrowed(collective(&params.labels), "on", &params.platforms);
                text = narrowed(text, "of", &params.suites);
                for (is_set, word) in [(params.failed, " that failed"), (params.existing_only, " that exist")] {
                    text.push_str(if is_set { word } else { "" });
                }
                text
            }
            What::Range(params) => collective(&params.labels),
            What::Backfill(label, _) => label.to_string(),
        }
    }

    fn params(self) -> CaseParams {
        match self {
            What::Fill(params, _) => CaseParams::Fill(params),
            What::Add(params) => CaseParams::Add(params),
            What::Range(params) | What::Backfill(_, params) => CaseParams::Range(params),
        }
    }
}

pub(super) fn no(reason: Reason, why: impl Into<String>) -> Outcome {
    (Opening::No(reason), Some(why.into()))
}

impl Engine {
    /// What comes of a rule that matched an event that is not about a run.
    pub(super) fn wish_of_rule(
        &self,
        ledger: &mut dyn Ledger,
        batch: &Batch,
        event: &Event,
        params: &CaseParams,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        match (params, event) {
            (CaseParams::Fill(params), Event::Push(push)) => {
                self.fill_settled(ledger, batch, &push.project, push.push, params, now)
            }
            (CaseParams::Fill(params), Event::Timer(_)) => match &params.project {
                Some(project) => {
                    let project = Project::from(project.as_str());
                    self.fill_settled(ledger, batch, &project, None, params, now)
                }
                None => Ok(no(Reason::FactsUnknown, "the rule names no project")),
            },
            (_, Event::Request(request)) => match of_request(request, params) {
                Ok(What::Backfill(label, _)) if !matches!(params, CaseParams::Range(_)) => {
                    self.search(ledger, request, params, label)
                }
                Ok(what) => {
                    let wish = Wish {
                        project: &request.project,
                        push: request.push,
                        revision: request.revision.as_ref(),
                        what,
                        once: false,
                    };
                    self.wish(ledger, batch.patience, wish, now)
                }
                // Which job a number means, a service may know.
                Err((Reason::FactsUnknown, _))
                    if names_a_number_alone(request)
                        && self.settings().has_job_numbers
                        && batch.patience.waits_for(Lack::Task) =>
                {
                    Ok((Opening::Wait(Lack::Task), None))
                }
                Err((reason, why)) => Ok(no(reason, why)),
            },
            _ => Ok((Opening::No(Reason::NotPossible), None)),
        }
    }

    /// What comes of a person's wish for jobs.
    pub(super) fn wish_by_hand(
        &self,
        ledger: &mut dyn Ledger,
        batch: &Batch,
        request: &RequestEvent,
        open: &OpenRequest,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        let mut push = request.push;
        let what = match &open.params {
            // A person knows whether more is to come on the push, and names it all the same.
            CaseParams::Fill(params) => What::Fill(params.clone(), PushId(u64::MAX)),
            CaseParams::Add(params) => What::Add(params.clone()),
            CaseParams::Range(params) => {
                push = params.to.or(push);
                What::Range(params.clone())
            }
            _ => return Ok((Opening::No(Reason::NotPossible), None)),
        };
        let wish = Wish {
            project: &request.project,
            push,
            revision: request.revision.as_ref(),
            what,
            once: false,
        };
        self.wish(ledger, batch.patience, wish, now)
    }

    /// Fills the newest push of a project whose jobs have come: its younger ones are not missing anything yet. Looked
    /// for up to a push, or up to the newest.
    pub(super) fn fill_settled(
        &self,
        ledger: &mut dyn Ledger,
        batch: &Batch,
        project: &Project,
        up_to: Option<PushId>,
        params: &FillParams,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        // The largest number that the books can hold.
        let newest = up_to.unwrap_or(PushId(i64::MAX as u64));
        let mut field = Field {
            pushes: ledger.pushes_around(project, newest, SETTLED_WITHIN, 0)?,
            ..Field::default()
        };
        self.add_jobs(ledger, project, &mut field, now)?;
        let Some(settled) = fill::settled(&field, now.minus(self.settings().jobs_appear_within)) else {
            return Ok(no(Reason::NotYet, "no push with jobs is old enough to be missing some"));
        };
        let wish = Wish {
            project,
            push: Some(settled),
            revision: None,
            what: What::Fill(params.clone(), settled),
            once: true,
        };
        self.wish(ledger, batch.patience, wish, now)
    }

    /// What there is of each label on the pushes of the field.
    fn add_jobs(
        &self,
        ledger: &mut dyn Ledger,
        project: &Project,
        field: &mut Field,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        if let (Some(first), Some(last)) = (field.pushes.first(), field.pushes.last()) {
            let lost_before = now.minus(self.settings().runs_end_within);
            let jobs = ledger.jobs_between(project, first.push, last.push, lost_before)?;
            field.jobs = jobs
                .into_iter()
                .map(|(label, push, jobs): (Label, PushId, JobsOn)| ((label, push), jobs))
                .collect();
        }
        Ok(())
    }

    fn wish(
        &self,
        ledger: &mut dyn Ledger,
        patience: Patience,
        wish: Wish<'_>,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        let Wish { project, what, .. } = wish;
        let may_ask_for_push = self.settings().has_pushlog && patience.waits_for(Lack::Push);
        let Some(push) = wish.push else {
            if wish.revision.is_some() && may_ask_for_push {
                return Ok((Opening::Wait(Lack::Push), None));
            }
            let which = wish
                .revision
                .map_or_else(String::new, |revision| format!(" with revision {revision}"));
            return Ok(no(
                Reason::FactsUnknown,
                format!("no push of {project}{which} is known"),
            ));
        };
        let (back, forward) = what.window(push);
        let mut field = Field {
            pushes: ledger.pushes_around(project, push, back, forward)?,
            ..Field::default()
        };
        if !field.can_run_on(push) {
            if may_ask_for_push {
                return Ok((Opening::Wait(Lack::Push), None));
            }
            return Ok(no(
                Reason::FactsUnknown,
                format!("push {push} of {project} is not known, or its revision is not"),
            ));
        }
        field.graph = ledger.graph_of(project, push)?;
        if what.wants_graph() && field.graph.is_none() && self.settings().has_graphs && patience.waits_for(Lack::Graph)
        {
            return Ok((Opening::Wait(Lack::Graph), None));
        }
        field.known = ledger.labels_of(project)?;
        self.add_jobs(ledger, project, &mut field, now)?;
        let (targets, unable) = match what.decide(&field, push) {
            Wanted::Jobs { targets, unable } => (targets, unable),
            Wanted::No(reason, why) => return Ok(no(reason, why)),
        };
        let subject = Subject {
            project: project.clone(),
            label: Label::from(what.name()),
            signature: None,
            series: None,
        };
        // The jobs lie on pushes up to the last of them.
        let last = targets.iter().map(|target| target.push).max().unwrap_or(push).max(push);
        let params = what.params();
        if let Some(known) = ledger.case_about(params.kind(), &subject, Some(last))? {
            let is_open = ledger.case(known)?.is_some_and(|case| case.verdict.is_none());
            if is_open || wish.once {
                return Ok((Opening::Join(known), None));
            }
        }
        let draft = Draft {
            targets,
            unable,
            ..Draft::about(params, subject.clone(), subject.label, last)
        };
        Ok((Opening::Open(Box::new(draft)), None))
    }

    /// A search for what a backfill request is about.
    fn search(
        &self,
        ledger: &mut dyn Ledger,
        request: &RequestEvent,
        params: &CaseParams,
        label: Label,
    ) -> Result<Outcome, LedgerError> {
        if params.kind() == CaseKind::FindCulprit && !self.settings().is_linear(&request.project) {
            return Ok((Opening::No(Reason::NotLinear), None));
        }
        let Some(push) = request.push else {
            return Ok(no(Reason::FactsUnknown, "the request names no push that is known"));
        };
        let subject = Subject {
            project: request.project.clone(),
            label: label.clone(),
            signature: None,
            series: None,
        };
        if let Some(open) = ledger.case_about(params.kind(), &subject, None)? {
            return Ok((Opening::Join(open), None));
        }
        let draft = Draft::about(params.clone(), subject, label, push);
        Ok((Opening::Open(Box::new(draft)), None))
    }

    /// Fills in what the books know of a request: the revision of its push, and which job a backfill is about where it
    /// names a task.
    pub(super) fn complete(ledger: &mut dyn Ledger, request: &mut RequestEvent) -> Result<(), LedgerError> {
        if let (Some(push), None) = (request.push, &request.revision) {
            let row = ledger.pushes_around(&request.project, push, 0, 0)?.pop();
            request.revision = row.filter(|row| row.push == push).and_then(|row| row.revision);
        }
        let RequestKind::Backfill {
            task: Some(task),
            label,
            ..
        } = &mut request.kind
        else {
            return Ok(());
        };
        if (label.is_none() || request.push.is_none())
            && let Some((known, push)) = ledger.job_of_task(task)?
        {
            label.get_or_insert(known);
            request.push.get_or_insert(push);
        }
        Ok(())
    }
}

/// Whether a backfill request says which job it means by a number and nothing else that is known here.
fn names_a_number_alone(request: &RequestEvent) -> bool {
    matches!(
        &request.kind,
        RequestKind::Backfill {
            job: Some(_),
            label: None,
            ..
        }
    )
}

/// What a rule with these parameters makes of a request.
fn of_request(request: &RequestEvent, params: &CaseParams) -> Result<What, (Reason, String)> {
    let refused = |why: &str| Err((Reason::NotPossible, why.to_owned()));
    match (&request.kind, params) {
        (RequestKind::FillPush, CaseParams::Fill(params)) => Ok(What::Fill(params.clone(), PushId(u64::MAX))),
        (RequestKind::AddJobs { labels }, CaseParams::Add(params)) => {
            let mut params = params.clone();
            if params.labels.is_empty() {
                params.labels = labels.iter().map(ToString::to_string).collect();
                params.labels.sort();
                params.labels.dedup();
            }
            Ok(What::Add(params))
        }
        (RequestKind::AllTalos { times }, CaseParams::Add(params)) => Ok(What::Add(AddParams {
            times: (*times).clamp(1, 100),
            ..params.clone()
        })),
        (
            RequestKind::Backfill { label, job, .. },
            CaseParams::Range(_) | CaseParams::FindCulprit(_) | CaseParams::UntilHit(_),
        ) => {
            let range = match params {
                CaseParams::Range(params) => params.clone(),
                _ => RangeParams::default(),
            };
            match (label, job) {
                (Some(label), _) => Ok(What::Backfill(
                    label.clone(),
                    RangeParams {
                        labels: vec![label.to_string()],
                        ..range
                    },
                )),
                (None, Some(job)) => Err((
                    Reason::FactsUnknown,
                    format!(
                        "which job number {job} is, is not known here: name it by `label` or `task_id`, or set \
                         `enrich.treeherder_url` to a service that knows such numbers"
                    ),
                )),
                (None, None) => Err((Reason::FactsUnknown, "the task is not known here".to_owned())),
            }
        }
        (RequestKind::CancelAll, _) => refused("what runs on a push is not ours to cancel"),
        _ => refused("a case of this kind cannot come of such a request"),
    }
}

/// The identity of what a request asks for, whoever asks.
pub(super) fn digest(request: &RequestEvent) -> Result<[u8; 32], LedgerError> {
    let text = serde_json::to_vec(&(&request.project, request.push, &request.revision, &request.kind))
        .map_err(|error| LedgerError::Rejected(format!("a request cannot be written down: {error}")))?;
    Ok(Sha256::digest(text).into())
}

/// The beginning of a digest, to tell two things apart.
pub(super) fn short(digest: &[u8; 32]) -> String {
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
