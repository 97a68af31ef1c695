//! Which requests go out now, in one transaction with the reading of every account: no two dispatchers can both see room
//! that only one of them may use.
//!
//! In: what is queued, the accounts, pauses, breakers. Out: requests marked as being sent, and those held back, each with
//! a reason. Never: the network.
//!
//! Nobody starves. Requests go by urgency, and a wait of half an hour makes one as urgent as a new one of the step above;
//! among equals the rules take turns. A request that needs more of an account than is left just now must not be overtaken
//! for ever by smaller ones: once it has waited for an hour, nothing else is charged to that account until it fits.

use std::collections::{HashMap, HashSet};

use super::breaker::{self, Answered, Ended, Gate};
use super::limits::{Accounts, Brakes, Charge, Cost};
use super::pools;
use super::rate::Bucket;
use super::together::Bundles;
use crate::engine::ledger::LedgerError;
use crate::event::{ActionKey, Duration, JobRequest, Reason, Timestamp};
use crate::store::sqlite::{Books, Due, Pause, PauseEffect, PauseScope};

/// Requests looked at in one round.
pub(super) const ROUND: u32 = 200;
/// How long a request that a limit holds back is not looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// The same while a pause is in force: a resume should show soon.
const LOOK_AGAIN_PAUSED: Duration = Duration::from_secs(10);
/// The same for one that cannot fit as things are: only another configuration, or jobs that never came, can change that.
const LOOK_AGAIN_HOPELESS: Duration = Duration::from_secs(3600);
/// How long a request that needs more of an account than is left can be overtaken by others.
const OVERTAKEN_AT_MOST: Duration = Duration::from_secs(3600);
/// Requests for which accounts are kept free together.
const RESERVING: u32 = 20;
/// How long a run may wait for a machine and still count as waiting: older ones are lost, not waiting.
const PENDING_FOR: Duration = Duration::from_secs(24 * 3600);
/// How old news of a tree may be and still hold something back: a service that is gone must not close trees for ever.
const TREE_NEWS: Duration = Duration::from_secs(3600);
/// The platform of which nothing is known.
const UNKNOWN_PLATFORM: &str = "unknown";

/// What one look at the queue came to.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    /// Marked as being sent, by the calls that they go out with.
    pub sent: Bundles,
    /// Held back or dropped, for a reason that is new.
    pub held: Vec<(JobRequest, Reason)>,
}

/// What is to become of a request.
enum Fate {
    Send {
        cost: Cost,
        charges: Vec<Charge>,
    },
    Hold {
        reason: Reason,
        /// For people, where the reason alone does not say what they would ask next.
        detail: Option<String>,
        until: Timestamp,
    },
    Drop(Reason, String),
}

impl Fate {
    fn hold(reason: Reason, until: Timestamp) -> Fate {
        Fate::Hold {
            reason,
            detail: None,
            until,
        }
    }
}

/// Marks what may be sent now as being sent. The backend: its name, and how many requests it takes with one call.
pub(super) fn claim(
    books: &mut Books<'_>,
    brakes: &Brakes,
    (backend, most_together): (&str, usize),
    now: Timestamp,
    lease: Timestamp,
) -> Result<Claimed, LedgerError> {
    let mut claimed = Claimed {
        sent: Bundles::of(most_together),
        held: Vec::new(),
    };
    let oldest = books.waiting_longest(now.minus(OVERTAKEN_AT_MOST), now.plus(LOOK_AGAIN), RESERVING)?;
    let queued = books.queued(now, ROUND)?;
    if queued.is_empty() && oldest.is_empty() {
        return Ok(claimed);
    }
    let mut desk = Desk::open(books, brakes, backend, now)?;
    let first: HashSet<ActionKey> = oldest.iter().map(|due| due.request.key).collect();
    let rest = queued.into_iter().filter(|due| !first.contains(&due.request.key));
    let waited_longest = oldest.len();
    let mut is_full = false;
    for (place, due) in oldest.into_iter().chain(rest).enumerate() {
        // When no further call may be made, a request can still go along with one that is made anyway.
        if is_full && !claimed.sent.takes(&due) {
            continue;
        }
        let fate = match desk.gate(books, &due)? {
            Some(fate) => fate,
            None => desk.account(books, &due, place < waited_longest)?,
        };
        let key = due.request.key;
        match fate {
            Fate::Send { .. } if desk.room == 0 && !claimed.sent.takes(&due) => is_full = true,
            Fate::Send { cost, charges } => {
                if books.begin_sending(key, backend, cost.job_ms, now, lease)? {
                    books.reserve_builds(key, &cost.builds, cost.build_ms)?;
                    desk.sent(books, &due, &charges)?;
                    let is_further_call = claimed.sent.add(due, |due| {
                        due.sent_at = Some(now);
                        due.attempts += 1;
                    });
                    desk.room -= u32::from(is_further_call);
                }
            }
            Fate::Hold { reason, detail, until } => {
                books.hold(key, reason, detail.as_deref(), until)?;
                if due.reason != Some(reason) {
                    claimed.held.push((due.request, reason));
                }
            }
            Fate::Drop(reason, detail) => {
                books.drop_queued(key, reason, &detail, now)?;
                books.wake_case(key, now)?;
                claimed.held.push((due.request, reason));
            }
        }
    }
    desk.close(books, claimed.sent.calls())?;
    Ok(claimed)
}

/// What the requests of one round are held against.
struct Desk<'a> {
    brakes: &'a Brakes,
    backend: &'a str,
    now: Timestamp,
    accounts: Accounts,
    pauses: Vec<Pause>,
    bucket: Bucket,
    /// Calls that may go out yet, by rate, concurrency and the backend's breakers.
    room: u32,
    /// The backend's breaker, when it is open and it is not yet time to try.
    closed_backend: Option<(Reason, Timestamp)>,
    /// How each platform's runs ended lately.
    ended: HashMap<String, Ended>,
    platforms: HashMap<String, Option<(Reason, Timestamp)>>,
    trees: HashMap<String, bool>,
    /// By worker pool: what is said of its backlog, where that is too long.
    pools: HashMap<String, Option<String>>,
}

impl<'a> Desk<'a> {
    fn open(
        books: &mut Books<'_>,
        brakes: &'a Brakes,
        backend: &'a str,
        now: Timestamp,
    ) -> Result<Desk<'a>, LedgerError> {
        let limits = &brakes.limits;
        let known = books.rate(backend)?.map(|(tokens, at)| Bucket { tokens, at });
        let bucket = Bucket::refilled(known, limits.requests_per_second, now);
        let under_way = books.sending_count(backend)?;
        let mut room = bucket.whole().min(limits.concurrency.saturating_sub(under_way));
        let answers = answers(books, backend)?;
        let mut closed_backend = None;
        for (gate, reason) in [
            (breaker::credentials(&answers, now), Reason::BackendRefused),
            (breaker::backend(&answers, limits.error_share, now), Reason::Breaker),
        ] {
            match gate {
                Gate::Closed => {}
                // One at a time, and only when none is under way.
                Gate::Probe => room = room.min(1_u32.saturating_sub(under_way)),
                Gate::Open(until) => closed_backend = closed_backend.or(Some((reason, until))),
            }
        }
        let ended = books
            .ended_by_platform(now.minus(breaker::WINDOW))?
            .into_iter()
            .map(|(platform, total, infra)| (platform, Ended { total, infra }))
            .collect();
        Ok(Desk {
            brakes,
            backend,
            now,
            accounts: Accounts::default(),
            pauses: books.pauses(now)?,
            bucket,
            room,
            closed_backend,
            ended,
            platforms: HashMap::new(),
            trees: HashMap::new(),
            pools: HashMap::new(),
        })
    }

    /// What holds a request back whatever it costs.
    fn gate(&mut self, books: &mut Books<'_>, due: &Due) -> Result<Option<Fate>, LedgerError> {
        if let Some(fate) = self.paused(due) {
            return Ok(Some(fate));
        }
        // A breaker may close before its time: a reload, good runs.
        let soon = self.now.plus(LOOK_AGAIN);
        if let Some((reason, until)) = self.closed_backend {
            return Ok(Some(Fate::hold(reason, until.min(soon))));
        }
        if self.is_tree_closed(books, due)? {
            return Ok(Some(Fate::hold(Reason::TreeClosed, self.now.plus(LOOK_AGAIN))));
        }
        if due.platform != UNKNOWN_PLATFORM
            && let Some((reason, until)) = self.platform(books, &due.platform)?
        {
            return Ok(Some(Fate::hold(reason, until.min(soon))));
        }
        let backlog = self.backlog(books, due)?;
        Ok(backlog.map(|detail| Fate::Hold {
            reason: Reason::Backlog,
            detail: Some(detail),
            until: soon,
        }))
    }

    /// The backlog of the worker pool that a request's jobs would wait in, where it is too long: by the CI's own count, or by
    /// what messages told where that is not to be had.
    fn backlog(&mut self, books: &mut Books<'_>, due: &Due) -> Result<Option<String>, LedgerError> {
        let Some(limit) = self.brakes.limits.pending_jobs_per_pool else {
            return Ok(None);
        };
        let Some(pool) = books.pool_of(&due.request.project, &due.request.label)? else {
            return Ok(None);
        };
        if let Some(known) = self.pools.get(&pool) {
            return Ok(known.clone());
        }
        let (pending, who) = match books.pool_count(&pool, self.now.minus(pools::NEWS))? {
            Some(pending) => (pending, "by the CI's own count"),
            None => (
                books.pending_in(&pool, self.now.minus(PENDING_FOR))?,
                "as far as messages told",
            ),
        };
        let is_long = pending > limit;
        let backlog = is_long.then(|| format!("{pending} jobs wait in {pool} {who}; over {limit} nothing is added"));
        self.pools.insert(pool, backlog.clone());
        Ok(backlog)
    }

    fn paused(&self, due: &Due) -> Option<Fate> {
        let in_force = self.pauses.iter().filter(|pause| match pause.scope {
            PauseScope::All => true,
            PauseScope::Rule => pause.name == due.rule,
            PauseScope::Project => pause.name == due.request.project.as_str(),
            PauseScope::Platform => pause.name == due.platform,
            PauseScope::Backend => pause.name == self.backend,
        });
        // One that drops is stronger than one that only delays.
        let pause = in_force.max_by_key(|pause| pause.effect == PauseEffect::Drop)?;
        Some(match pause.effect {
            PauseEffect::Queue => Fate::hold(Reason::Paused, self.now.plus(LOOK_AGAIN_PAUSED)),
            PauseEffect::Drop => Fate::Drop(Reason::Paused, format!("{}: {}", pause.owner, pause.reason)),
        })
    }

    fn is_tree_closed(&mut self, books: &mut Books<'_>, due: &Due) -> Result<bool, LedgerError> {
        if self.brakes.through_closed_trees.contains(&due.rule) {
            return Ok(false);
        }
        let project = due.request.project.as_str();
        if let Some(known) = self.trees.get(project) {
            return Ok(*known);
        }
        let is_closed = books
            .tree(project)?
            .is_some_and(|(status, _, at)| status != "open" && self.now.since(at) < TREE_NEWS);
        self.trees.insert(project.to_owned(), is_closed);
        Ok(is_closed)
    }

    /// What holds everything on a platform back: runs that end by infrastructure, or a backlog.
    fn platform(&mut self, books: &mut Books<'_>, platform: &str) -> Result<Option<(Reason, Timestamp)>, LedgerError> {
        if let Some(known) = self.platforms.get(platform) {
            return Ok(*known);
        }
        let (limits, now) = (&self.brakes.limits, self.now);
        let ended = self.ended.get(platform).copied().unwrap_or_default();
        let gate = match breaker::platform(ended, limits.infra_runs, limits.infra_share, None, now) {
            Gate::Closed => Gate::Closed,
            _ => {
                let last = books.last_sent_to(platform)?;
                breaker::platform(ended, limits.infra_runs, limits.infra_share, last, now)
            }
        };
        let mut held = match gate {
            Gate::Open(until) => Some((Reason::Breaker, until)),
            Gate::Closed | Gate::Probe => None,
        };
        if held.is_none()
            && let Some(limit) = limits.pending_jobs_per_platform
            && books.pending_on(platform, now.minus(PENDING_FOR))? > limit
        {
            held = Some((Reason::Backlog, now.plus(LOOK_AGAIN)));
        }
        self.platforms.insert(platform.to_owned(), held);
        Ok(held)
    }

    /// What the accounts say. For one that has waited for long the account that it lacks is kept free.
    fn account(&mut self, books: &mut Books<'_>, due: &Due, has_waited: bool) -> Result<Fate, LedgerError> {
        let cost = self.accounts.cost(books, due, self.brakes.limits.assumed_job_time)?;
        let charges = self.brakes.charges(due, &cost);
        let Some(refused) = self.accounts.first_refused(books, &charges, self.now)? else {
            return Ok(Fate::Send { cost, charges });
        };
        if refused.reason == Reason::MaxJobs {
            // The case has to make do with what it has: nothing will make room there.
            let builds = match cost.builds.as_slice() {
                [] => String::new(),
                [build] => format!(" and a build that the push lacks ({build})"),
                several => format!(" and {} builds that the push lacks", several.len()),
            };
            let (times, most) = (due.request.times, due.max_jobs);
            let detail = format!("with this (x{times}{builds}) the case would have more than its {most} jobs");
            return Ok(Fate::Drop(Reason::MaxJobs, detail));
        }
        let is_hopeless = !refused.drains() || charges.iter().any(|charge| !charge.fits_alone());
        if has_waited && !is_hopeless {
            self.accounts.reserve(refused);
        }
        let pause = if is_hopeless { LOOK_AGAIN_HOPELESS } else { LOOK_AGAIN };
        Ok(Fate::hold(refused.reason, self.now.plus(pause)))
    }

    fn sent(&mut self, books: &mut Books<'_>, due: &Due, charges: &[Charge]) -> Result<(), LedgerError> {
        self.accounts.charge(charges);
        books.rule_served(&due.rule)?;
        // One request is enough to see whether a failing platform is better; the next looks at the books again.
        self.platforms.remove(&due.platform);
        Ok(())
    }

    fn close(self, books: &mut Books<'_>, calls: usize) -> Result<(), LedgerError> {
        if calls == 0 {
            return Ok(());
        }
        let left = self.bucket.without(u32::try_from(calls).unwrap_or(u32::MAX));
        books.set_rate(self.backend, left.tokens, left.at)
    }
}

/// How a backend answered lately, newest first.
pub(super) fn answers(books: &mut Books<'_>, backend: &str) -> Result<Vec<(Timestamp, Answered)>, LedgerError> {
    let answers = books.answers(backend, breaker::ANSWERS)?;
    Ok(answers
        .into_iter()
        .filter_map(|(at, word)| Some((at, Answered::of(&word)?)))
        .collect())
}
