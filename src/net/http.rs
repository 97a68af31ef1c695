//! One HTTP exchange: one request out, one bounded answer in.
//!
//! In: a built request and a limit. Out: an [`Answer`] of any status, or a [`SendError`] that says whether the
//! request can have arrived. Never: retrying (not even where the client library would), redirects, unbounded bodies.

use std::error::Error as _;
use std::io::{self, Write};
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, LOCATION, RETRY_AFTER};

use crate::event::Timestamp;

/// The longest wait a peer can ask for: an hour. A longer one is a mistake more often than a plan.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// How long a connection may take to come up. Shorter than any answer's time-out, so that a peer that cannot be
/// reached is told apart from one that took the request and went silent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of an answer that is no success is read, in bytes: enough for any message.
const MAX_WORDS: usize = 64 * 1024;

/// How much of a peer's words goes into a message, in characters.
const QUOTE_CHARS: usize = 300;

/// Whether connections are kept for the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Yes: for questions that may be asked again.
    Keep,
    /// No: for requests that act. On a kept connection that the peer is about to close, such a request would be lost
    /// half way, and be in doubt for nothing.
    Fresh,
}

/// The client could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the HTTP client could not be set up: {0}")]
pub struct ClientError(String);

/// A client that does what it is told once: no redirects, no retries, `timeout` for each exchange from its first byte
/// to its last.
pub fn client(timeout: Duration, reuse: Reuse) -> Result<reqwest::Client, ClientError> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("sheriffd/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT.min(timeout / 2))
        .timeout(timeout);
    let builder = match reuse {
        Reuse::Keep => builder,
        Reuse::Fresh => builder.pool_max_idle_per_host(0),
    };
    builder.build().map_err(|error| ClientError(chain(&error)))
}

/// No answer came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The request did not leave: no name, no route, no connection, no TLS, or it could not be built.
    #[error("could not be reached: {0}")]
    NotSent(String),
    /// The request left, wholly or in part, and its answer did not come: a time-out, a lost connection, nonsense
    /// instead of HTTP.
    #[error("did not answer: {0}")]
    NoAnswer(String),
}

/// What a peer answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// How long the peer asks to be left alone, at most [`MAX_RETRY_AFTER`].
    pub retry_after: Option<Duration>,
    /// Where the peer points to.
    pub location: Option<String>,
    /// The body, decompressed; its beginning only where `cut` says so. Empty when it went into a sink.
    pub body: Vec<u8>,
    /// Why the body is not whole, when it is not.
    pub cut: Option<Cut>,
}

/// Why a body was not read to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// It is larger than the limit, counted after decompression.
    #[error("it is too large: {0}")]
    TooLarge(String),
    /// The connection ended first.
    #[error("the connection was lost half way: {0}")]
    Lost(String),
    /// It is not compressed the way its header says.
    #[error("it cannot be decompressed: {0}")]
    Garbled(String),
}

impl Answer {
    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the status points elsewhere.
    pub fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
    }

    /// The body's beginning as one printable line, for messages.
    pub fn quote(&self) -> String {
        quote(&String::from_utf8_lossy(&self.body))
    }
}

/// The beginning of somebody else's words as one printable line: control characters and line ends become spaces, so
/// that a peer cannot write lines of its own into a log.
pub fn quote(text: &str) -> String {
    let mut line = String::new();
    let mut blank = true;
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if line.chars().count() >= QUOTE_CHARS {
            line.push('…');
            break;
        }
        if c != ' ' || !blank {
            line.push(c);
        }
        blank = c == ' ';
    }
    line.truncate(line.trim_end().len());
    line
}

/// Sends `request` once and reads at most `max_body` bytes of its answer. `now` dates a `Retry-After` that names a
/// moment.
pub async fn exchange(
    client: &reqwest::Client,
    request: reqwest::Request,
    max_body: usize,
    now: Timestamp,
) -> Result<Answer, SendError> {
    let mut sink = Bounded::new(max_body);
    let mut answer = exchange_into(client, request, &mut sink, now).await?;
    answer.body.append(&mut sink.bytes);
    Ok(answer)
}

/// Like [`exchange`], with the decompressed body of a success handed to `sink` as it comes. A sink that fails ends the
/// reading: the answer is then `cut`. The words of any other answer are its `body`, up to [`MAX_WORDS`].
pub async fn exchange_into<W: Write + Send>(
    client: &reqwest::Client,
    request: reqwest::Request,
    sink: &mut W,
    now: Timestamp,
) -> Result<Answer, SendError> {
    let response = client.execute(request).await.map_err(send_error)?;
    let headers = response.headers();
    let mut answer = Answer {
        status: response.status().as_u16(),
        retry_after: retry_after(headers, now),
        location: headers.get(LOCATION).and_then(|v| v.to_str().ok()).map(str::to_owned),
        body: Vec::new(),
        cut: None,
    };
    // Artifacts are stored compressed, and served so whether or not the request offered to accept that.
    let gzip = headers
        .get(CONTENT_ENCODING)
        .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"gzip"));
    if answer.is_success() {
        answer.cut = read(response, gzip, sink).await;
    } else {
        let mut words = Bounded::new(MAX_WORDS);
        answer.cut = read(response, gzip, &mut words).await;
        answer.body = words.into_bytes();
    }
    Ok(answer)
}

/// Reads a body into `sink`; says why it is not whole, when it is not.
async fn read<W: Write + Send>(response: reqwest::Response, gzip: bool, sink: &mut W) -> Option<Cut> {
    if !gzip {
        return pour(response, sink).await;
    }
    let mut decoder = MultiGzDecoder::new(sink);
    match pour(response, &mut decoder).await {
        None => decoder.try_finish().err().map(|e| Cut::Garbled(e.to_string())),
        cut => cut,
    }
}

/// Writes the body's chunks to `sink` until its end, or until one of the two fails.
async fn pour<W: Write + Send>(mut response: reqwest::Response, sink: &mut W) -> Option<Cut> {
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                if let Err(error) = sink.write_all(&chunk) {
                    return Some(match error.kind() {
                        io::ErrorKind::FileTooLarge => Cut::TooLarge(error.to_string()),
                        _ => Cut::Garbled(error.to_string()),
                    });
                }
            }
            Ok(None) => return None,
            Err(error) => return Some(Cut::Lost(chain(&error.without_url()))),
        }
    }
}

/// A sink in memory, up to a limit.
pub struct Bounded {
    bytes: Vec<u8>,
    max: usize,
}

impl Bounded {
    /// An empty sink with room for `max` bytes.
    pub fn new(max: usize) -> Bounded {
        Bounded { bytes: Vec::new(), max }
    }

    /// What it took in.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Write for Bounded {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        let room = self.max - self.bytes.len();
        self.bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Err(too_large(self.max));
        }
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a sink answers that has taken in all it may.
pub fn too_large(max: usize) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {max} bytes"))
}

/// Whether a failed send can have reached the peer. The URL is left out: it may carry a key.
fn send_error(error: reqwest::Error) -> SendError {
    let before = error.is_connect() || error.is_builder();
    let timeout = error.is_timeout();
    let detail = chain(&error.without_url());
    if before {
        SendError::NotSent(detail)
    } else if timeout {
        SendError::NoAnswer(format!("time-out ({detail})"))
    } else {
        SendError::NoAnswer(detail)
    }
}

/// An error with its causes, in one line: the outermost one alone says only that sending failed.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    quote(&text)
}

/// `Retry-After` as RFC 9110, section 10.2.3, has it: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?;
            Timestamp(date.timestamp().as_millisecond()).since(now)
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(retry: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry.parse().unwrap());
        headers
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now = Timestamp::parse("2026-03-04T05:06:00Z").unwrap();
        assert_eq!(retry_after(&headers("17"), now), Some(Duration::from_secs(17)));
        assert_eq!(
            retry_after(&headers("Wed, 04 Mar 2026 05:06:30 GMT"), now),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            retry_after(&headers("Wed, 04 Mar 2026 05:05:30 GMT"), now),
            Some(Duration::ZERO)
        );
        assert_eq!(retry_after(&headers("soon"), now), None);
    }

    #[test]
    fn nobody_can_ask_us_to_wait_for_days() {
        assert_eq!(retry_after(&headers("99999999"), Timestamp(0)), Some(MAX_RETRY_AFTER));
    }

    #[test]
    fn a_quote_is_one_bounded_line() {
        assert_eq!(quote("  a\n\tb\u{1b}[31mc  "), "a b [31mc");
        assert_eq!(quote(&"x".repeat(5_000)).chars().count(), QUOTE_CHARS + 1);
    }

    #[test]
    fn a_bounded_body_takes_its_limit_and_no_more() {
        let mut sink = Bounded::new(3);
        assert!(sink.write_all(b"abc").is_ok());
        assert!(sink.write_all(b"d").is_err());
        assert_eq!(sink.bytes, b"abc");
    }
}
