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
use std::num::NonZero;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use answer::{Answer, Refusal};
use request::Request;
pub use schema::schema;

/// Bytes of one line at most: 100,000 values of a perf series with room to spare.
const MAX_LINE: u64 = 4 << 20;

/// Lines read ahead, and answered together at most.
const AHEAD: usize = 32;

/// A line of more than [`MAX_LINE`] bytes.
struct TooLong;

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
    Culprit(#[from] sheriffd_stats::culprit::ProblemError),
    #[error(transparent)]
    UntilHit(#[from] sheriffd_stats::until_hit::ParamsError),
    #[error(transparent)]
    Validate(#[from] sheriffd_stats::validate::ProblemError),
    #[error(transparent)]
    Perf(#[from] sheriffd_stats::perf::ProblemError),
    #[error(transparent)]
    Baseline(#[from] sheriffd_stats::baseline::ProblemError),
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

/// Answers every line of `input` on `output`, in order, on as many threads as there are processors. Whoever waits for an
/// answer before writing the next line gets it: lines are answered together only when they are there together. Blank lines
/// are skipped, but counted in the line numbers of errors.
///
/// # Errors
///
/// Reading or writing fails; a line that makes no sense is no error here but is answered by one.
pub fn run(input: impl BufRead + Send + 'static, mut output: impl Write) -> io::Result<Summary> {
    let (sender, lines) = sync_channel(AHEAD);
    // Not a scoped thread: when the output is closed, nobody waits for another line.
    thread::spawn(move || read_lines(input, &sender));
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let mut summary = Summary::default();
    while let Ok(first) = lines.recv() {
        let together = std::iter::once(first).chain(lines.try_iter().take(AHEAD - 1));
        let together = together.collect::<io::Result<Vec<Line>>>()?;
        for written in answer_all(&together, workers) {
            match written.decided {
                true => summary.decided += 1,
                false => summary.refused += 1,
            }
            output.write_all(&written.text)?;
        }
    }
    output.flush()?;
    Ok(summary)
}

/// A line of the input that is not blank.
struct Line {
    /// From 1.
    number: u64,
    text: Result<Vec<u8>, TooLong>,
}

/// Its answer as it is printed.
struct Written {
    text: Vec<u8>,
    decided: bool,
}

/// Sends what is read until the end, an error, or nobody listens.
fn read_lines(mut input: impl BufRead, lines: &SyncSender<io::Result<Line>>) {
    let mut number = 0;
    loop {
        number += 1;
        let text = match read_line(&mut input) {
            Ok(None) => return,
            Ok(Some(Ok(text))) if text.trim_ascii().is_empty() => continue,
            Ok(Some(text)) => Ok(Line { number, text }),
            Err(error) => Err(error),
        };
        let ended = text.is_err();
        if lines.send(text).is_err() || ended {
            return;
        }
    }
}

/// The next line with its line feed; `None` at the end.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<Result<Vec<u8>, TooLong>>> {
    let mut line = Vec::new();
    if input.take(MAX_LINE + 1).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() as u64 > MAX_LINE {
        skip_line(input)?;
        return Ok(Some(Err(TooLong)));
    }
    Ok(Some(Ok(line)))
}

/// The answers in the order of the lines.
fn answer_all(lines: &[Line], workers: usize) -> Vec<Written> {
    let share = lines.len().div_ceil(workers);
    let (own, others) = lines.split_at(share.min(lines.len()));
    thread::scope(|scope| {
        let others: Vec<_> = others
            .chunks(share)
            .map(|chunk| scope.spawn(|| chunk.iter().map(answer).collect::<Vec<Written>>()))
            .collect();
        let mut written: Vec<Written> = own.iter().map(answer).collect();
        for worker in others {
            written.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        written
    })
}

fn answer(line: &Line) -> Written {
    let decided = match &line.text {
        Ok(text) => decide(text),
        Err(TooLong) => Err(LineError::TooLong),
    };
    let mut text = match &decided {
        Ok(answer) => as_json(answer),
        Err(error) => as_json(&Refusal {
            error: error.to_string(),
            line: line.number,
        }),
    };
    text.push(b'\n');
    Written {
        text,
        decided: decided.is_ok(),
    }
}

fn as_json(answer: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).expect("an answer has text for keys, and nothing that fails")
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
            Answer::culprit(&sheriffd_stats::culprit::plan(&problem, seed)?)
        }
        Request::UntilHit(request) => {
            let problem = request.problem();
            Answer::until_hit(&sheriffd_stats::until_hit::plan(&problem)?, &problem)
        }
        Request::Validate(request) => {
            let (names, platforms, params) = request.problem();
            Answer::validate(&sheriffd_stats::validate::plan(&platforms, &params)?, &names)
        }
        Request::FindPerfCulprit(request) => {
            let (problem, seed) = request.problem();
            Answer::perf(&sheriffd_stats::perf::plan(&problem, seed)?)
        }
        Request::Baseline(request) => {
            let params = request.params();
            Answer::baseline(&sheriffd_stats::baseline::plan(
                &request.previous,
                &request.values,
                request.pending,
                &params,
            )?)
        }
    })
}
