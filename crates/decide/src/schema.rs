//! The JSON Schema (draft-07) of the contract.

use serde_json::{Value, json};

/// The schema of one line in; the definition `answer` in it is the schema of one line out. Published by
/// `sheriffd schema decide`.
pub fn schema() -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "sheriffd decide",
        "description": "One line of input: a case with its evidence. definitions.answer: the line that answers it.",
        "oneOf": [
            { "$ref": "#/definitions/find-culprit" },
            { "$ref": "#/definitions/until-hit" },
            { "$ref": "#/definitions/validate" },
            { "$ref": "#/definitions/find-perf-culprit" },
            { "$ref": "#/definitions/baseline" }
        ],
        "definitions": {
            "find-culprit": object(
                &["kind", "candidates"],
                json!({
                    "kind": { "const": "find-culprit" },
                    "candidates": { "type": "integer", "minimum": 1, "maximum": sheriffd_stats::culprit::MAX_CANDIDATES,
                        "description": "pushes between last good and first bad" },
                    "runnable": { "type": "array", "items": push(), "description": "default: all pushes" },
                    "prior": { "type": "array", "items": { "type": "number", "minimum": 0 },
                        "description": "relative prior of each push; default: uniform" },
                    "no_culprit_prior": number(0.0, 0.9999, 0.4),
                    "history": past("runs before the range"),
                    "tail": past("runs after the range"),
                    "rates": object(&["p0", "p1"], json!({
                        "p0": { "type": "number", "minimum": 0, "maximum": 1 },
                        "p1": { "type": "number", "minimum": 0, "maximum": 1 }
                    })),
                    "evidence": { "type": "array", "items": object(&["push"], json!({
                        "push": push(), "failed": count(), "passed": count(), "pending": count()
                    })) },
                    "params": object(&[], json!({
                        "confidence": confidence(), "parallel": integer(1, 1_000, 8),
                        "round_price": number(0.0, 1_000.0, 4.0), "max_jobs": integer(0, u32::MAX, 300),
                        "min_rate": number(0.0, sheriffd_stats::culprit::MAX_MIN_RATE, 0.0)
                    })),
                    "seed": seed()
                }),
            ),
            "until-hit": object(
                &["kind"],
                json!({
                    "kind": { "const": "until-hit" },
                    "evidence": object(&[], json!({ "failed": count(), "passed": count(), "pending": count() })),
                    "history": past("earlier runs of the subject"),
                    "params": object(&[], json!({
                        "confidence": confidence(),
                        "rate": { "type": "number", "minimum": 1e-6, "maximum": 0.999_999, "default": 0.02 },
                        "round_price": number(0.0, 1_000.0, 1.0),
                        "max_jobs": integer(0, sheriffd_stats::until_hit::MAX_JOBS, 100)
                    }))
                }),
            ),
            "validate": object(
                &["kind", "evidence"],
                json!({
                    "kind": { "const": "validate" },
                    "evidence": { "type": "array", "minItems": 1, "items": object(&["platform"], json!({
                        "platform": { "type": "string" }, "failed": count(), "passed": count(), "pending": count()
                    })) },
                    "params": object(&[], json!({
                        "ok_rate": share(1.0, 0.002), "bad_rate": share(1.0, 0.05),
                        "alpha": share(0.5, 0.01), "beta": share(0.5, 0.05),
                        "parallel": integer(1, 1_000, 6), "max_jobs": integer(0, u32::MAX, 400)
                    }))
                }),
            ),
            "find-perf-culprit": object(
                &["kind", "candidates"],
                json!({
                    "kind": { "const": "find-perf-culprit" },
                    "candidates": { "type": "integer", "minimum": 1, "maximum": sheriffd_stats::perf::MAX_CANDIDATES },
                    "history": values("values before the range"),
                    "tail": values("values after the range"),
                    "evidence": { "type": "array", "items": object(&["push"], json!({
                        "push": push(), "values": values("values of this push"), "pending": count()
                    })) },
                    "params": object(&[], json!({
                        "confidence": confidence(), "min_shift": number(0.0001, 0.5, 0.02),
                        "parallel": integer(1, 100, 1), "max_jobs": integer(0, u32::MAX, 500)
                    })),
                    "seed": seed()
                }),
            ),
            "baseline": object(
                &["kind"],
                json!({
                    "kind": { "const": "baseline" },
                    "previous": values("values of the previous baseline"),
                    "values": values("values since"),
                    "pending": count(),
                    "params": object(&[], json!({
                        "precision": number(1e-6, 1.0, 0.01), "confidence": confidence(),
                        "max_jobs": integer(0, u32::MAX, 200)
                    }))
                }),
            ),
            "answer": { "oneOf": [
                object(&["run", "verdict", "posterior", "why"], json!({
                    "run": { "type": "array", "items": object(&["times"], json!({
                        "push": push(), "platform": { "type": "string" },
                        "times": { "type": "integer", "minimum": 1 }
                    })) },
                    "verdict": { "oneOf": [{ "type": "null" }, { "$ref": "#/definitions/verdict" }] },
                    "posterior": { "type": "object", "description": "what the evidence says, by kind: docs/decide.md" },
                    "why": { "type": "string" }
                })),
                object(&["error", "line"], json!({
                    "error": { "type": "string" }, "line": { "type": "integer", "minimum": 1 }
                }))
            ] },
            "verdict": object(&["kind"], json!({
                "kind": { "enum": [
                    "culprit", "no-culprit", "undecided", "hit", "not-reproducible", "stable", "flaky", "broken",
                    "no-change", "established"
                ] },
                "pushes": { "type": "array", "items": push() },
                "probability": { "type": "number", "minimum": 0, "maximum": 1 },
                "rate_below": { "type": "number" },
                "confidence": { "type": "number" },
                "platforms": { "type": "array", "items": { "type": "string" } },
                "rate": interval(),
                "shift": interval(),
                "mean": { "type": "number" },
                "half_width": { "type": "number" },
                "n": { "type": "integer" }
            }))
        }
    })
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
}

fn number(low: f64, high: f64, default: f64) -> Value {
    json!({ "type": "number", "minimum": low, "maximum": high, "default": default })
}

/// A number over 0 and under `high`.
fn share(high: f64, default: f64) -> Value {
    json!({ "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": high, "default": default })
}

fn integer(low: u32, high: u32, default: u32) -> Value {
    json!({ "type": "integer", "minimum": low, "maximum": high, "default": default })
}

fn count() -> Value {
    integer(0, u32::MAX, 0)
}

fn confidence() -> Value {
    number(0.5, 0.9999, 0.95)
}

fn push() -> Value {
    json!({ "type": "integer", "minimum": 1, "description": "counted from 1, the push after the last good one" })
}

fn past(description: &str) -> Value {
    let mut past = object(&[], json!({ "failed": count(), "passed": count() }));
    past["description"] = json!(description);
    past
}

fn values(description: &str) -> Value {
    json!({ "type": "array", "items": { "type": "number" }, "description": description })
}

fn interval() -> Value {
    object(
        &["low", "high"],
        json!({ "low": { "type": "number" }, "high": { "type": "number" } }),
    )
}

fn seed() -> Value {
    json!({ "type": "integer", "minimum": 0, "default": 0,
        "description": "settles which futures are looked at; the same line always has the same answer" })
}
