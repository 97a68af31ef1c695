//! Somebody else's services at the broker: publishes with Python's pika.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

const SCRIPT: &str = "tests/e2e/publish.py";
/// The distribution's own, for which it packages pika: another one in the search path need not have it.
const PYTHON: &str = "/usr/bin/python3";

/// The exchanges that a sheriffd with the usual sources listens to.
const EXCHANGES: [&str; 6] = [
    "exchange/taskcluster-queue/v1/task-pending",
    "exchange/taskcluster-queue/v1/task-running",
    "exchange/taskcluster-queue/v1/task-completed",
    "exchange/taskcluster-queue/v1/task-failed",
    "exchange/taskcluster-queue/v1/task-exception",
    "exchange/hgpushes/v1",
];

/// A message as it is published.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub exchange: String,
    pub routing_key: String,
    pub cc: Vec<String>,
    pub body: Body,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    Json(Value),
    Bytes(Vec<u8>),
}

impl Message {
    /// The same envelope with another body.
    pub fn saying(&self, bytes: impl Into<Vec<u8>>) -> Message {
        Message {
            body: Body::Bytes(bytes.into()),
            ..self.clone()
        }
    }

    fn line(&self) -> Value {
        let mut line = json!({ "exchange": self.exchange, "routingKey": self.routing_key, "cc": self.cc });
        match &self.body {
            Body::Json(payload) => line["payload"] = payload.clone(),
            Body::Bytes(bytes) => line["base64"] = json!(STANDARD.encode(bytes)),
        }
        line
    }
}

/// Publishes at one broker.
pub struct Publisher {
    url: String,
}

/// Messages on their way to the broker.
pub struct Publishing {
    script: Child,
    _lines: NamedTempFile,
}

impl Publisher {
    /// A publisher at this address, where the exchanges of a CI exist from now on.
    pub fn at(url: String) -> Publisher {
        let publisher = Publisher { url };
        let declarations = EXCHANGES.map(|exchange| json!({ "exchange": exchange }));
        publisher.start(declarations.into_iter()).finish();
        publisher
    }

    /// Publishes these, in order; the broker has them when this returns.
    pub fn publish<'a>(&self, messages: impl IntoIterator<Item = &'a Message>) {
        self.begin(messages).finish();
    }

    /// Begins to publish these, in order.
    pub fn begin<'a>(&self, messages: impl IntoIterator<Item = &'a Message>) -> Publishing {
        self.start(messages.into_iter().map(Message::line))
    }

    fn start(&self, lines: impl Iterator<Item = Value>) -> Publishing {
        let mut file = NamedTempFile::new().expect("a temporary file");
        for line in lines {
            writeln!(file, "{line}").expect("the messages are written");
        }
        file.flush().expect("the messages are written");
        let script = Command::new(PYTHON)
            .arg(SCRIPT)
            .arg(&self.url)
            .arg(file.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Python is not installed, and these tests publish with it: run scripts/install-test-deps.sh");
        Publishing { script, _lines: file }
    }
}

impl Publishing {
    /// Waits until the broker has all of them.
    pub fn finish(self) {
        let output = self.script.wait_with_output().expect("the script can be waited for");
        assert!(
            output.status.success(),
            "{SCRIPT} failed; without the module pika, run scripts/install-test-deps.sh:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
