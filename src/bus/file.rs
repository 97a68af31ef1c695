//! Recorded messages: JSON Lines, plain or gzip, from files or standard input.
//!
//! In: sources, and the function that reads one line (the wire module's; this one knows no format). Out: batches in
//! the order of the recording, then [`Batch::End`]. Never: holding more than a few batches, stopping at a bad line: it
//! is counted and named.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use flate2::bufread::MultiGzDecoder;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Batch, Bus, BusError};
use crate::event::{Delivery, Duration};

/// The longest line that is read, in bytes; the rest of a longer one is skipped. Over the largest body the daemon can
/// be set to read, and its escapes.
const MAX_LINE: u64 = 128 * 1024 * 1024;
/// Lines read ahead of their use travel in groups: one wake-up for many.
const GROUP: usize = 128;
/// Groups that may wait to be used.
const GROUPS_AHEAD: usize = 8;
/// Bad lines that are kept to be named; all are counted.
const BAD_LINES_KEPT: usize = 100;
/// What a gzip file begins with (RFC 1952, 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Where a recording is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recording {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl FromStr for Recording {
    type Err = std::convert::Infallible;

    /// `-` is standard input; all else is a path.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "-" {
            Recording::Stdin
        } else {
            Recording::File(PathBuf::from(text))
        })
    }
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recording::Stdin => f.write_str("standard input"),
            Recording::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A line that holds no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// The recording it is in.
    pub recording: String,
    /// Its number there, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// The lines so far that hold no message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BadLines {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub first: Vec<BadLine>,
}

/// A [`Bus`] of recorded messages. Acknowledging means nothing to it.
pub struct FileBus {
    groups: mpsc::Receiver<Result<Vec<Delivery>, BusError>>,
    ready: std::vec::IntoIter<Delivery>,
    bad: Arc<Mutex<BadLines>>,
}

impl FileBus {
    /// Reads these recordings, one after the other, on a thread of its own.
    ///
    /// `read` makes a delivery of a line, given the delivery's tag: the message's number over all recordings, from 1.
    /// `Ok(None)` is a line without a message (a blank one).
    ///
    /// # Errors
    /// The reading thread cannot be started. That a recording cannot be read is told by [`Bus::next`], when it is
    /// reached.
    pub fn start<R>(recordings: Vec<Recording>, read: R) -> Result<FileBus, BusError>
    where
        R: FnMut(&str, u64) -> Result<Option<Delivery>, String> + Send + 'static,
    {
        let (sender, groups) = mpsc::channel(GROUPS_AHEAD);
        let bad = Arc::new(Mutex::new(BadLines::default()));
        let mut reader = Reader {
            read,
            tag: 0,
            group: Vec::new(),
            sender,
            bad: Arc::clone(&bad),
        };
        std::thread::Builder::new()
            .name("recordings".to_owned())
            .spawn(move || {
                for recording in &recordings {
                    if let Err(Stop) = reader.recording(recording) {
                        return;
                    }
                }
                // Whether somebody still wants the last group is theirs to know.
                let _ = reader.send();
            })
            .map_err(|error| BusError::Unavailable(format!("no thread can be started to read recordings: {error}")))?;
        Ok(FileBus {
            groups,
            ready: Vec::new().into_iter(),
            bad,
        })
    }

    /// The lines so far that hold no message.
    pub fn bad_lines(&self) -> BadLines {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Bus for FileBus {
    /// `linger` is not needed here: what is not there yet is a moment away, or nobody has written it yet.
    async fn next(&mut self, max: usize, _linger: Duration, idle: Duration) -> Result<Batch, BusError> {
        if self.ready.as_slice().is_empty() {
            match tokio::time::timeout_at(Instant::now() + idle, self.groups.recv()).await {
                Err(_) => return Ok(Batch::Idle),
                Ok(None) => return Ok(Batch::End),
                Ok(Some(group)) => self.ready = group?.into_iter(),
            }
        }
        Ok(Batch::Deliveries(self.ready.by_ref().take(max.max(1)).collect()))
    }

    async fn ack(&mut self, _tag: u64) -> Result<(), BusError> {
        Ok(())
    }

    async fn close(&mut self) {
        self.groups.close();
        self.ready = Vec::new().into_iter();
    }
}

/// Nobody listens any more, or the trouble was told.
struct Stop;

/// The reading side.
struct Reader<R> {
    read: R,
    tag: u64,
    group: Vec<Delivery>,
    sender: mpsc::Sender<Result<Vec<Delivery>, BusError>>,
    bad: Arc<Mutex<BadLines>>,
}

impl<R> Reader<R>
where
    R: FnMut(&str, u64) -> Result<Option<Delivery>, String>,
{
    fn recording(&mut self, recording: &Recording) -> Result<(), Stop> {
        let told = |error: io::Error| BusError::Refused(format!("the recording {recording} cannot be read: {error}"));
        match read_lines(recording, |number, line| self.line(recording, number, line)) {
            Ok(ControlFlow::Continue(())) => Ok(()),
            Ok(ControlFlow::Break(stop)) => Err(stop),
            Err(error) => {
                self.send()?;
                // Whether anybody hears it or not, this was the last.
                let _ = self.sender.blocking_send(Err(told(error)));
                Err(Stop)
            }
        }
    }

    fn line(&mut self, recording: &Recording, number: u64, line: Result<&str, String>) -> ControlFlow<Stop> {
        match line.and_then(|text| (self.read)(text, self.tag + 1)) {
            Ok(None) => {}
            Ok(Some(delivery)) => {
                self.tag += 1;
                self.group.push(delivery);
                if self.group.len() >= GROUP
                    && let Err(stop) = self.send()
                {
                    return ControlFlow::Break(stop);
                }
            }
            Err(reason) => self.note(BadLine {
                recording: recording.to_string(),
                line: number,
                reason,
            }),
        }
        ControlFlow::Continue(())
    }

    fn send(&mut self) -> Result<(), Stop> {
        if self.group.is_empty() {
            return Ok(());
        }
        self.sender
            .blocking_send(Ok(std::mem::take(&mut self.group)))
            .map_err(|_| Stop)
    }

    fn note(&mut self, line: BadLine) {
        let mut bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        bad.count += 1;
        if bad.first.len() < BAD_LINES_KEPT {
            bad.first.push(line);
        }
    }
}

/// Reads a recording line by line: `each` gets the line's number, from 1, and its text without the line break, or what
/// is wrong with it (not UTF-8, too long), and says whether to go on. A recording that begins with a line that is
/// nothing but `{` is one object spread over many lines: `each` gets it as a whole.
///
/// # Errors
/// The recording cannot be opened or read.
pub fn read_lines<B>(
    recording: &Recording,
    mut each: impl FnMut(u64, Result<&str, String>) -> ControlFlow<B>,
) -> io::Result<ControlFlow<B>> {
    let mut lines = open(recording)?;
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        if lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        if number == 1 && bytes.trim_ascii() == b"{" {
            lines.by_ref().take(MAX_LINE).read_to_end(&mut bytes)?;
        }
        let whole = bytes.ends_with(b"\n") || (bytes.len() as u64) < MAX_LINE;
        let line = if whole {
            let text = std::str::from_utf8(&bytes).map_err(|error| format!("the line is not UTF-8: {error}"));
            text.map(|text| text.trim_end_matches(['\n', '\r']))
        } else {
            skip_line(&mut lines)?;
            Err(format!("the line is longer than {MAX_LINE} bytes"))
        };
        if let ControlFlow::Break(end) = each(number, line) {
            return Ok(ControlFlow::Break(end));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Opens a recording; whether it is compressed is told by its first bytes, not by its name.
fn open(recording: &Recording) -> io::Result<Box<dyn BufRead>> {
    let mut raw: Box<dyn BufRead> = match recording {
        Recording::Stdin => Box::new(BufReader::new(io::stdin())),
        Recording::File(path) => Box::new(BufReader::new(File::open(path)?)),
    };
    if raw.fill_buf()?.starts_with(&GZIP_MAGIC) {
        return Ok(Box::new(BufReader::new(MultiGzDecoder::new(raw))));
    }
    Ok(raw)
}

/// Reads over the rest of a line without keeping it.
fn skip_line(lines: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let buffer = lines.fill_buf()?;
        let (used, ended) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        lines.consume(used);
        if ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    /// A line is its message's body; `!` begins a bad one.
    fn read(line: &str, tag: u64) -> Result<Option<Delivery>, String> {
        if line.starts_with('!') {
            return Err("it begins with `!`".to_owned());
        }
        Ok((!line.is_empty()).then(|| Delivery {
            exchange: "e".into(),
            routing_key: "".into(),
            cc: Vec::new(),
            redelivered: false,
            body: line.to_owned().into(),
            tag,
        }))
    }

    fn recorded(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn start(files: &[&tempfile::NamedTempFile]) -> FileBus {
        FileBus::start(
            files
                .iter()
                .map(|file| Recording::File(file.path().to_owned()))
                .collect(),
            read,
        )
        .unwrap()
    }

    async fn drain(bus: &mut FileBus) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        while let Batch::Deliveries(deliveries) = bus.next(50, IDLE, IDLE).await.unwrap() {
            assert!(!deliveries.is_empty() && deliveries.len() <= 50);
            all.extend(
                deliveries
                    .into_iter()
                    .map(|d| (String::from_utf8(d.body.to_vec()).unwrap(), d.tag)),
            );
        }
        all
    }

    #[tokio::test]
    async fn recordings_follow_each_other_under_one_count() {
        let (first, second) = (recorded(b"a\n\nb\r\n"), recorded(b"c"));
        let mut bus = start(&[&first, &second]);
        assert_eq!(
            drain(&mut bus).await,
            [("a".to_owned(), 1), ("b".to_owned(), 2), ("c".to_owned(), 3)]
        );
        assert!(
            matches!(bus.next(1, IDLE, IDLE).await, Ok(Batch::End)),
            "the end stays the end"
        );
    }

    #[tokio::test]
    async fn a_compressed_recording_is_known_by_its_content() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        for number in 0..1_000 {
            writeln!(encoder, "{number}").unwrap();
        }
        let file = recorded(&encoder.finish().unwrap());
        let lines = drain(&mut start(&[&file])).await;
        assert_eq!((lines.len(), lines[999].clone()), (1_000, ("999".to_owned(), 1_000)));
    }

    #[tokio::test]
    async fn one_object_over_many_lines_is_read_as_a_whole() {
        let (whole, lines) = (recorded(b"{\n \"a\": 1\n}\n"), recorded(b"b\n{\n"));
        let mut bus = start(&[&whole, &lines]);
        let texts: Vec<String> = drain(&mut bus).await.into_iter().map(|(text, _)| text).collect();
        assert_eq!(texts, ["{\n \"a\": 1\n}", "b", "{"]);
    }

    #[tokio::test]
    async fn bad_lines_are_named_and_stop_nothing() {
        let file = recorded(b"a\n!x\n\xff\nb\n");
        let mut bus = start(&[&file]);
        assert_eq!(drain(&mut bus).await.len(), 2);
        let bad = bus.bad_lines();
        assert_eq!((bad.count, bad.first.len()), (2, 2));
        assert_eq!(
            (bad.first[0].line, bad.first[0].reason.as_str()),
            (2, "it begins with `!`")
        );
        assert!(bad.first[1].reason.contains("not UTF-8"), "{}", bad.first[1].reason);
    }

    #[tokio::test]
    async fn a_recording_that_is_missing_is_named_after_what_came_before_it() {
        let file = recorded(b"a\n");
        let missing = Recording::File("nowhere.jsonl".into());
        let mut bus = FileBus::start(vec![Recording::File(file.path().to_owned()), missing], read).unwrap();
        assert!(matches!(bus.next(5, IDLE, IDLE).await, Ok(Batch::Deliveries(_))));
        let error = bus.next(5, IDLE, IDLE).await.unwrap_err().to_string();
        assert!(
            error.starts_with("the recording nowhere.jsonl cannot be read"),
            "{error}"
        );
        assert!(matches!(bus.next(5, IDLE, IDLE).await, Ok(Batch::End)));
    }

    #[test]
    fn a_dash_is_standard_input() {
        assert_eq!("-".parse(), Ok(Recording::Stdin));
        assert_eq!("./-".parse(), Ok(Recording::File("./-".into())));
    }
}
