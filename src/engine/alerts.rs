//! Performance alerts and uplifts on their way to a case: what the books know of them is filled in.

use sha2::{Digest, Sha256};

use super::advance::BACK;
use super::apply::Engine;
use super::ledger::{Lack, Ledger, LedgerError, ViewQuery};
use super::opening::{self, Opening, numbers};
use super::wish::{Outcome, no};
use crate::event::{
    BaselineParams, CaseParams, FindPerfCulpritParams, Label, OpenRequest, PerfAlert, Project, PushId, Reason,
    RequestEvent, Timestamp,
};

impl Engine {
    /// Fills in what the books know of an alert: its pushes by their revisions, the job that measures its series.
    pub(super) fn place_alert(&self, ledger: &mut dyn Ledger, alert: &mut PerfAlert) -> Result<(), LedgerError> {
        if let (None, Some(revision)) = (alert.push, &alert.revision) {
            alert.push = ledger.push_of(&alert.project, revision)?;
        }
        if let (None, Some(revision)) = (alert.previous_push, &alert.previous_revision) {
            alert.previous_push = ledger.push_of(&alert.project, revision)?;
        }
        if alert.label.is_none()
            && let Some(task) = &alert.task
        {
            alert.label = ledger.job_of_task(task)?.map(|(label, _)| label);
        }
        if alert.label.is_none() {
            let measuring = ledger.labels_measuring(&alert.project, alert.measure())?;
            let on_platform = |label: &&Label| label.as_str().contains(&*alert.platform);
            alert.label = measuring.iter().find(on_platform).cloned();
        }
        if let (None, Some(push)) = (&alert.label, alert.push) {
            let since = PushId(push.0.saturating_sub(BACK.into()));
            let known: Vec<Label> = ledger
                .labels_since(&alert.project, since)?
                .into_iter()
                .map(|(label, _)| label)
                .collect();
            let suite = alert.test.split(' ').next().unwrap_or_default();
            alert.label = numbers::label_by_name(&known, &alert.platform, suite).cloned();
        }
        Ok(())
    }

    /// Whether an alert is heard of for the first time.
    pub(super) fn is_new(
        &self,
        ledger: &mut dyn Ledger,
        alert: &PerfAlert,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let digest = Sha256::digest(format!("perf-alert {} {}", alert.project, alert.id));
        ledger.first_request(&digest.into(), Timestamp(i64::MIN), now)
    }

    /// What has to be fetched before an alert can be looked at, if anything.
    pub(super) fn lack_of_alert(
        &self,
        ledger: &mut dyn Ledger,
        alert: &PerfAlert,
        depth: u32,
    ) -> Result<Option<Lack>, LedgerError> {
        if alert.label.is_none() && alert.task.is_some() {
            return Ok(Some(Lack::Task));
        }
        if !self.settings().has_pushlog || !self.settings().is_linear(&alert.project) {
            return Ok(None);
        }
        match (alert.push, &alert.label) {
            (None, _) => Ok(alert.revision.is_some().then_some(Lack::Push)),
            (Some(push), Some(label)) => {
                let view = ledger.view(&ViewQuery {
                    project: alert.project.clone(),
                    label: label.clone(),
                    series: label.clone(),
                    spans_series: false,
                    also: Vec::new(),
                    around: push,
                    back: depth,
                    forward: 0,
                    since: Timestamp::default(),
                    rates_since: Vec::new(),
                    signature: None,
                })?;
                Ok(opening::has_holes(&view, push).then_some(Lack::Pushes))
            }
            (Some(_), None) => Ok(None),
        }
    }

    /// What an alert leads to under a rule.
    pub(super) fn on_alert(
        &self,
        ledger: &mut dyn Ledger,
        alert: &PerfAlert,
        params: &FindPerfCulpritParams,
    ) -> Result<Opening, LedgerError> {
        let opening = numbers::on_alert(alert, params, self.settings());
        self.unless_known(ledger, opening)
    }

    /// What an uplift leads to under a rule.
    pub(super) fn on_uplift(
        &self,
        ledger: &mut dyn Ledger,
        project: &Project,
        push: PushId,
        params: &BaselineParams,
    ) -> Result<Opening, LedgerError> {
        let since = PushId(push.0.saturating_sub(BACK.into()));
        let known = ledger.labels_since(project, since)?;
        self.unless_known(ledger, numbers::baseline(params, project, push, &known))
    }

    /// What a person's wish for a case about numbers leads to; `None` for other kinds.
    pub(super) fn numbers_by_hand(
        &self,
        ledger: &mut dyn Ledger,
        request: &RequestEvent,
        open: &OpenRequest,
    ) -> Result<Option<Outcome>, LedgerError> {
        let Some(push) = request.push else { return Ok(None) };
        let project = &request.project;
        if super::numbers::is_numeric(open.params.kind()) && !self.settings().read_values {
            let why = "what runs measured is not read: that needs a CI to read it from (`backends.taskcluster.root_url`), and \
                       `engine.read_values`";
            return Ok(Some(no(Reason::NotPossible, why)));
        }
        match &open.params {
            CaseParams::FindPerfCulprit(_) if !self.settings().is_linear(project) => {
                Ok(Some((Opening::No(Reason::NotLinear), None)))
            }
            CaseParams::FindPerfCulprit(params) => {
                let label = match (&open.label, &open.series) {
                    (Some(label), _) => Some(label.clone()),
                    (None, Some(series)) => ledger.labels_measuring(project, series)?.into_iter().next(),
                    (None, None) => None,
                };
                let Some(label) = label else {
                    let series = open.series.as_deref().unwrap_or("nothing");
                    let why = format!(
                        "no job of {project} is known to have measured `{series}`: name the job with --label, and without \
                         --series its suite's own value is meant"
                    );
                    return Ok(Some(no(Reason::FactsUnknown, why)));
                };
                let series = match &open.series {
                    Some(series) => Some(series.clone()),
                    None => ledger.series_of(project, &label)?.into_iter().next(),
                };
                let Some(series) = series else {
                    let why = format!(
                        "{label} is not known to have measured anything on {project}: name the --series, or is the job among \
                         those whose results are read (`engine.measured`)?"
                    );
                    return Ok(Some(no(Reason::FactsUnknown, why)));
                };
                let draft = numbers::about_series(params.clone(), project.clone(), label, series, push, None);
                Ok(Some((Opening::Open(Box::new(draft)), None)))
            }
            // A person may ask a second time about the same push.
            CaseParams::Baseline(params) => {
                let since = PushId(push.0.saturating_sub(BACK.into()));
                let known = ledger.labels_since(project, since)?;
                Ok(Some(match numbers::baseline(params, project, push, &known) {
                    Opening::No(Reason::FactsUnknown) => {
                        let named = params.labels.join("`, `");
                        let why = format!("no job that ran lately on {project} fits `{named}`");
                        no(Reason::FactsUnknown, why)
                    }
                    opening => (opening, None),
                }))
            }
            _ => Ok(None),
        }
    }

    /// The opening, unless nothing can be measured or there is a case about the same already: an open one is joined, one
    /// on the same push has said it.
    fn unless_known(&self, ledger: &mut dyn Ledger, opening: Opening) -> Result<Opening, LedgerError> {
        let Opening::Open(draft) = &opening else {
            return Ok(opening);
        };
        if !self.settings().read_values {
            return Ok(Opening::No(Reason::NotPossible));
        }
        let kind = draft.params.kind();
        if let Some(open) = ledger.case_about(kind, &draft.subject, None)? {
            return Ok(Opening::Join(open));
        }
        match ledger.case_about(kind, &draft.subject, Some(draft.push))? {
            Some(_) => Ok(Opening::No(Reason::Explained)),
            None => Ok(opening),
        }
    }
}
