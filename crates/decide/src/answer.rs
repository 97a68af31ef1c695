//! The lines that go out.

use serde::{Serialize, Serializer};

use sheriffd_stats::{baseline, culprit, perf, until_hit, validate};

/// Masses under this are left out of a line: they are 0 as printed.
const SHOWN: f64 = 0.000_000_5;

/// A line with a step.
#[derive(Serialize)]
pub(super) struct Answer {
    run: Vec<Run>,
    verdict: Option<Verdict>,
    posterior: Posterior,
    why: String,
}

/// A line with an error.
#[derive(Serialize)]
pub(super) struct Refusal {
    pub error: String,
    pub line: u64,
}

/// A probability or rate: six decimals are more than any of them is worth, and shorter to read.
struct Rounded(f64);

impl Serialize for Rounded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((self.0 * 1e6).round() / 1e6)
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Run {
    Push { push: usize, times: u32 },
    Platform { platform: String, times: u32 },
    Times { times: u32 },
}

#[derive(Serialize)]
struct Interval {
    low: Rounded,
    high: Rounded,
}

impl From<(f64, f64)> for Interval {
    fn from((low, high): (f64, f64)) -> Self {
        Interval {
            low: Rounded(low),
            high: Rounded(high),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Verdict {
    Culprit {
        pushes: Vec<usize>,
        probability: Rounded,
        #[serde(skip_serializing_if = "Option::is_none")]
        shift: Option<Interval>,
    },
    NoCulprit {
        probability: Rounded,
    },
    Undecided {
        #[serde(skip_serializing_if = "Option::is_none")]
        pushes: Option<Vec<usize>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        probability: Option<Rounded>,
        #[serde(skip_serializing_if = "Option::is_none")]
        platforms: Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        rate: Option<Interval>,
    },
    Hit,
    NotReproducible {
        rate_below: f64,
        confidence: f64,
    },
    Stable {
        platforms: Vec<String>,
        rate: Interval,
    },
    Flaky {
        platforms: Vec<String>,
        rate: Interval,
    },
    Broken {
        platforms: Vec<String>,
        rate: Interval,
    },
    NoChange {
        probability: Rounded,
    },
    Established {
        mean: f64,
        half_width: f64,
        n: usize,
    },
}

impl Verdict {
    /// An end without a finding, and nothing to add.
    fn undecided() -> Verdict {
        Verdict::Undecided {
            pushes: None,
            probability: None,
            platforms: None,
            rate: None,
        }
    }

    fn undecided_between(set: &[(usize, f64)]) -> Verdict {
        let probability = Some(Rounded(set.iter().map(|(_, mass)| mass).sum()));
        Verdict::Undecided {
            pushes: Some(numbers(set)),
            probability,
            platforms: None,
            rate: None,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Posterior {
    Culprit {
        no_culprit: Rounded,
        p0: Rounded,
        p1: Rounded,
        pushes: Vec<Mass>,
    },
    UntilHit {
        rate: Rounded,
        above: Rounded,
    },
    Validate {
        rate: Interval,
    },
    Perf {
        no_change: Rounded,
        shift: Interval,
        pushes: Vec<Mass>,
    },
    Baseline {
        mean: Option<f64>,
        half_width: Option<f64>,
        n: usize,
    },
}

#[derive(Serialize)]
struct Mass {
    push: usize,
    mass: Rounded,
}

/// The candidates with a mass to show, likeliest first.
fn masses(pushes: &[f64]) -> Vec<Mass> {
    let mut shown: Vec<(usize, f64)> = pushes
        .iter()
        .enumerate()
        .filter(|(_, mass)| **mass >= SHOWN)
        .map(|(i, mass)| (i + 1, *mass))
        .collect();
    shown.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    shown
        .into_iter()
        .map(|(push, mass)| Mass {
            push,
            mass: Rounded(mass),
        })
        .collect()
}

fn runs(run: &[(usize, u32)]) -> Vec<Run> {
    run.iter()
        .map(|(push, times)| Run::Push {
            push: *push,
            times: *times,
        })
        .collect()
}

fn once(times: u32) -> Vec<Run> {
    if times == 0 {
        Vec::new()
    } else {
        vec![Run::Times { times }]
    }
}

fn numbers(set: &[(usize, f64)]) -> Vec<usize> {
    set.iter().map(|(push, _)| *push).collect()
}

impl Answer {
    /// The step of `find-culprit`.
    pub fn culprit(step: &culprit::Step) -> Answer {
        use culprit::Verdict as V;
        let verdict = step.verdict.as_ref().map(|verdict| match verdict {
            V::Culprit { pushes, probability } => Verdict::Culprit {
                pushes: numbers(pushes),
                probability: Rounded(*probability),
                shift: None,
            },
            V::NoCulprit { probability } => Verdict::NoCulprit {
                probability: Rounded(*probability),
            },
            V::Undecided { pushes, .. } => Verdict::undecided_between(pushes),
        });
        let posterior = Posterior::Culprit {
            no_culprit: Rounded(step.belief.no_culprit),
            p0: Rounded(step.belief.p0),
            p1: Rounded(step.belief.p1),
            pushes: masses(&step.belief.pushes),
        };
        Answer {
            run: runs(&step.run),
            verdict,
            posterior,
            why: step.why.clone(),
        }
    }

    /// The step of `until-hit`.
    pub fn until_hit(step: &until_hit::Step, problem: &until_hit::Problem) -> Answer {
        use until_hit::Verdict as V;
        let verdict = step.verdict.map(|verdict| match verdict {
            V::Hit => Verdict::Hit,
            V::NotReproducible { rate_below, .. } => Verdict::NotReproducible {
                rate_below,
                confidence: problem.params.confidence,
            },
            V::Undecided => Verdict::undecided(),
        });
        let posterior = Posterior::UntilHit {
            rate: Rounded(step.rate),
            above: Rounded(step.above),
        };
        Answer {
            run: once(step.times),
            verdict,
            posterior,
            why: step.why.clone(),
        }
    }

    /// The step of `validate` for platforms of these names.
    pub fn validate(step: &validate::Step, names: &[String]) -> Answer {
        use validate::Finding;
        let verdict = step.verdict.as_ref().map(|verdict| {
            let platforms = verdict.platforms.iter().map(|index| names[*index].clone()).collect();
            let rate = Interval::from(verdict.rate);
            match verdict.finding {
                Finding::Stable => Verdict::Stable { platforms, rate },
                Finding::Flaky => Verdict::Flaky { platforms, rate },
                Finding::Broken => Verdict::Broken { platforms, rate },
                Finding::Undecided => Verdict::Undecided {
                    pushes: None,
                    probability: None,
                    platforms: Some(platforms),
                    rate: Some(rate),
                },
            }
        });
        let asked = names.iter().zip(&step.times).filter(|(_, times)| **times > 0);
        let run = asked
            .map(|(name, times)| Run::Platform {
                platform: name.clone(),
                times: *times,
            })
            .collect();
        Answer {
            run,
            verdict,
            posterior: Posterior::Validate { rate: step.rate.into() },
            why: step.why.clone(),
        }
    }

    /// The step of `find-perf-culprit`.
    pub fn perf(step: &perf::Step) -> Answer {
        use perf::Verdict as V;
        let verdict = step.verdict.as_ref().map(|verdict| match verdict {
            V::Culprit { push, probability } => Verdict::Culprit {
                pushes: vec![*push],
                probability: Rounded(*probability),
                shift: Some(step.shift.into()),
            },
            V::NoChange { probability } => Verdict::NoChange {
                probability: Rounded(*probability),
            },
            V::Undecided { pushes } => Verdict::undecided_between(pushes),
        });
        let posterior = Posterior::Perf {
            no_change: Rounded(step.no_change),
            shift: step.shift.into(),
            pushes: masses(&step.pushes),
        };
        Answer {
            run: runs(&step.run),
            verdict,
            posterior,
            why: step.why.clone(),
        }
    }

    /// The step of `baseline`.
    pub fn baseline(step: &baseline::Step) -> Answer {
        let verdict = step.verdict.map(|verdict| match (verdict, step.estimate) {
            (baseline::Verdict::Established, Some(known)) => Verdict::Established {
                mean: known.mean,
                half_width: known.half_width,
                n: known.n,
            },
            _ => Verdict::undecided(),
        });
        let posterior = Posterior::Baseline {
            mean: step.estimate.map(|known| known.mean),
            half_width: step.estimate.map(|known| known.half_width),
            n: step.estimate.map_or(0, |known| known.n),
        };
        Answer {
            run: once(step.times),
            verdict,
            posterior,
            why: step.why.clone(),
        }
    }
}
