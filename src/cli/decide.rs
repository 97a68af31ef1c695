//! `sheriffd decide`: one case with its evidence a line in, the next step a line out.
//!
//! In: JSON lines, each a whole problem of one of the five kinds. Out: JSON lines in the same order, each the runs to
//! ask for or a verdict; an error line for a line that is none, and on with the next. Never: memory of an earlier
//! line. `docs/decide.md` is the contract for its users, [`schema()`] the same for machines.

mod answer;
#[cfg(test)]
mod laws;
mod request;
mod schema;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, Read, Write};

use answer::{Answer, Refusal};
use request::Request;
pub use schema::schema;

/// Bytes of one line at most: 100,000 values of a perf series with room to spare.
const MAX_LINE: u64 = 4 << 20;

/// What a run of the command did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Lines answered with a step or a verdict.
    pub decided: u64,
    /// Lines answered with an error: the exit code is 1 if there are any.
    pub refused: u64,
}

/// Why a line has no answer.
#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error("the line is longer than {MAX_LINE} bytes")]
    TooLong,
    #[error("not a request: {0}")]
    Json(String),
    #[error("`kind` is `{0}`, but must be one of find-culprit, until-hit, validate, find-perf-culprit, baseline")]
    Kind(String),
    #[error(transparent)]
    Culprit(#[from] crate::stats::culprit::ProblemError),
    #[error(transparent)]
    UntilHit(#[from] crate::stats::until_hit::ParamsError),
    #[error(transparent)]
    Validate(#[from] crate::stats::validate::ProblemError),
    #[error(transparent)]
    Perf(#[from] crate::stats::perf::ProblemError),
    #[error(transparent)]
    Baseline(#[from] crate::stats::baseline::ProblemError),
}

impl From<serde_json::Error> for LineError {
    /// Keeps the column and drops the line, which is always 1 and not the line of the stream.
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let what = text.strip_suffix(&place).unwrap_or(&text);
        LineError::Json(format!("{what} (column {})", error.column()))
    }
}

/// Answers every line of `input` on `output`. Blank lines are skipped, but counted in the line numbers of errors.
///
/// # Errors
///
/// Reading or writing fails; a line that makes no sense is no error here but is answered by one.
pub fn run(mut input: impl BufRead, mut output: impl Write) -> io::Result<Summary> {
    let mut summary = Summary::default();
    let mut line = Vec::new();
    let mut number = 0u64;
    loop {
        line.clear();
        if (&mut input).take(MAX_LINE + 1).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        let answer = if line.len() as u64 > MAX_LINE {
            skip_line(&mut input)?;
            Err(LineError::TooLong)
        } else if line.trim_ascii().is_empty() {
            continue;
        } else {
            decide(&line)
        };
        match answer {
            Ok(answer) => {
                summary.decided += 1;
                serde_json::to_writer(&mut output, &answer)?;
            }
            Err(error) => {
                summary.refused += 1;
                serde_json::to_writer(
                    &mut output,
                    &Refusal {
                        error: error.to_string(),
                        line: number,
                    },
                )?;
            }
        }
        output.write_all(b"\n")?;
    }
    output.flush()?;
    Ok(summary)
}

/// Reads up to and with the next line feed, keeping nothing.
fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffered = input.fill_buf()?;
        if buffered.is_empty() {
            return Ok(());
        }
        let end = buffered.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffered.len(), |at| at + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

fn decide(line: &[u8]) -> Result<Answer, LineError> {
    Ok(match Request::parse(line)? {
        Request::FindCulprit(request) => {
            let (problem, seed) = request.problem();
            Answer::culprit(&crate::stats::culprit::plan(&problem, seed)?)
        }
        Request::UntilHit(request) => {
            let problem = request.problem();
            Answer::until_hit(&crate::stats::until_hit::plan(&problem)?, &problem)
        }
        Request::Validate(request) => {
            let (names, platforms, params) = request.problem();
            Answer::validate(&crate::stats::validate::plan(&platforms, &params)?, &names)
        }
        Request::FindPerfCulprit(request) => {
            let (problem, seed) = request.problem();
            Answer::perf(&crate::stats::perf::plan(&problem, seed)?)
        }
        Request::Baseline(request) => {
            let params = request.params();
            Answer::baseline(&crate::stats::baseline::plan(
                &request.previous,
                &request.values,
                request.pending,
                &params,
            )?)
        }
    })
}
