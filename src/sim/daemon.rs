//! The daemon at a simulated CI: the real pipeline, put together for the demo and for tests.

use std::sync::Arc;

use super::SimCi;
use crate::clock::Clock;
use crate::daemon::brakes;
use crate::daemon::pipeline::{Pipeline, PipelineSettings};
use crate::dispatch::limits::Limits;
use crate::dispatch::{DispatchSettings, Dispatcher};
use crate::engine::Engine;
use crate::engine::settings::EngineSettings;
use crate::enrich::FactSource;
use crate::event::Duration;
use crate::rules::RuleSet;
use crate::store::Handle;
use crate::wire::{DEFAULT_MAX_BODY, WireSettings};

/// How long facts are asked for that cannot be had.
const FACTS_WITHIN: Duration = Duration::from_secs(600);

impl SimCi {
    /// The pipeline of a daemon that hears this CI and asks it for jobs, on the CI's clock. `facts` are mostly the CI's
    /// own ([`SimCi::facts`]), with others beside them where a test needs those.
    pub fn daemon(
        &self,
        rules: &Arc<RuleSet>,
        store: Handle,
        facts: Arc<dyn FactSource>,
        settings: EngineSettings,
    ) -> Pipeline {
        let clock: Arc<dyn Clock> = self.clock();
        let dispatcher = Dispatcher::new(
            store.clone(),
            Arc::new(self.backend()),
            Arc::clone(&clock),
            DispatchSettings::default(),
        );
        // Simulated requests cost nobody's CI anything: the rate is no matter here, the budgets of jobs are.
        let limits = Limits {
            requests_per_second: 1_000.0,
            concurrency: 1_000,
            ..Limits::default()
        };
        Pipeline::new(
            Engine::new(Arc::clone(rules), settings),
            store,
            facts,
            dispatcher,
            brakes(limits, rules),
            clock,
            PipelineSettings {
                wire: WireSettings {
                    backend: self.name().clone(),
                    max_body: DEFAULT_MAX_BODY,
                },
                facts_within: FACTS_WITHIN,
            },
        )
    }
}
