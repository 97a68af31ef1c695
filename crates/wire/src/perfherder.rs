//! What a run measured: artifacts named `perfherder-data*.json`, in the form that Perfherder takes in
//! (gecko's `performance-artifact-schema.json`): `framework`, and `suites` with `subtests`.
//!
//! In: an artifact's bytes. Out: [`Measurement`]s, named by [`series_name`]. Never: replicates (the value that stands for
//! them is beside them), more than [`MAX_MEASUREMENTS`].

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;

use super::json::{Text, error, read};
use super::{DecodeError, Unreadable};
use sheriffd_event::{Measurement, series_name};

/// What the artifacts are called: this, whatever follows, and `.json`.
pub const PERFHERDER_PREFIX: &str = "perfherder-data";

/// The most values that are kept of one artifact. The largest suites have some hundreds of subtests.
pub const MAX_MEASUREMENTS: usize = 5_000;

/// Values beyond this are none: sums and squares of such would not stay finite.
const LARGEST: f64 = 1e100;

/// Whether an artifact of this name, with or without folders before it, holds what a run measured.
pub fn is_perfherder_artifact(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.starts_with(PERFHERDER_PREFIX) && file.ends_with(".json")
}

#[derive(Deserialize)]
struct Artifact<'a> {
    #[serde(borrow)]
    suites: Vec<Suite<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Suite<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    value: Option<f64>,
    #[serde(borrow, default)]
    subtests: Vec<Subtest<'a>>,
    #[serde(borrow, default)]
    extra_options: Option<Vec<Text<'a>>>,
}

#[derive(Deserialize)]
struct Subtest<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    value: Option<f64>,
}

/// Reads an artifact. A value that is missing, or is no number of a sensible size, is passed over.
///
/// # Errors
/// It is not JSON of this form.
pub fn perfherder_data(artifact: &[u8]) -> Result<Vec<Measurement>, DecodeError> {
    let text = std::str::from_utf8(artifact)
        .map_err(|e| error(Unreadable::NotUtf8, format!("the artifact is not UTF-8: {e}")))?;
    let artifact: Artifact = read(text)?;
    let mut seen: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut found = Vec::new();
    let mut add = |series: String, value: Option<f64>, summary: bool| {
        let sound = value.filter(|value| value.abs() <= LARGEST);
        let series: Arc<str> = series.into();
        if let Some(value) = sound
            && found.len() < MAX_MEASUREMENTS
            && seen.insert(Arc::clone(&series))
        {
            found.push(Measurement { series, value, summary });
        }
    };
    for suite in &artifact.suites {
        let options = || suite.extra_options.iter().flatten().map(|option| &**option);
        add(series_name(&suite.name, None, options()), suite.value, true);
        for subtest in &suite.subtests {
            // Where the suite has no value of its own, its subtests are what it is watched by.
            let summary = suite.value.is_none();
            add(
                series_name(&suite.name, Some(&subtest.name), options()),
                subtest.value,
                summary,
            );
        }
    }
    Ok(found)
}
