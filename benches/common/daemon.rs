//! The daemon's pipeline as `sheriffd run` puts it together, on any store.

use std::sync::Arc;

use sheriffd::backends::Backend;
use sheriffd::clock::{Clock, SystemClock};
use sheriffd::daemon::pipeline::{Pipeline, PipelineSettings};
use sheriffd::dispatch::limits::Limits;
use sheriffd::dispatch::{DispatchSettings, Dispatcher};
use sheriffd::engine::Engine;
use sheriffd::engine::settings::EngineSettings;
use sheriffd::enrich::FactSource;
use sheriffd::event::{BackendName, Duration};
use sheriffd::rules::RuleSet;
use sheriffd::store::Handle;
use sheriffd::store::sqlite::SqliteStore;
use sheriffd::wire::{DEFAULT_MAX_BODY, WireSettings};

/// The CI that the messages speak of.
pub const CI: &str = "firefox-ci";

/// How the messages of [`CI`] are read.
pub fn wire_settings() -> WireSettings {
    WireSettings {
        backend: BackendName::from(CI),
        max_body: DEFAULT_MAX_BODY,
    }
}

/// The steps of the daemon on a store.
pub fn pipeline(
    store: SqliteStore,
    rules: RuleSet,
    facts: Arc<dyn FactSource>,
    backend: Arc<dyn Backend>,
    limits: Limits,
) -> Pipeline {
    let rules = Arc::new(rules);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Handle::start(store).expect("the store's thread");
    let dispatcher = Dispatcher::new(store.clone(), backend, Arc::clone(&clock), DispatchSettings::default());
    Pipeline::new(
        // Hundreds of labels fail on one push here, and each is to be a case.
        Engine::new(
            Arc::clone(&rules),
            EngineSettings {
                storm_labels: 0,
                ..EngineSettings::default()
            },
        ),
        store,
        facts,
        dispatcher,
        sheriffd::daemon::brakes(limits, &rules),
        clock,
        PipelineSettings {
            wire: wire_settings(),
            facts_within: Duration::from_secs(600),
        },
    )
}
