//! An installation of sheriffd: a folder with configuration, rules and store, and the real binary in it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use crate::eventually::eventually;

/// The folder of an installation; it outlives the daemons that run in it.
pub struct Installation {
    folder: TempDir,
    starts: AtomicU32,
}

/// A daemon that runs. Dropping it kills it.
pub struct Daemon {
    child: Child,
    log: PathBuf,
    web: Option<SocketAddr>,
}

impl Installation {
    /// Writes the configuration (TOML) and the rules (YAML). Pages are on a free port whatever the configuration says.
    pub fn new(config: &str, rules: &str) -> Installation {
        let folder = tempfile::Builder::new()
            .prefix("sheriffd-e2e-")
            .tempdir()
            .expect("a temporary directory");
        fs::create_dir(folder.path().join("rules")).expect("the folder of rules is made");
        let installation = Installation {
            folder,
            starts: AtomicU32::new(0),
        };
        installation.write("sheriffd.toml", config);
        installation.write_rules(rules);
        installation
    }

    /// Writes a file of the folder.
    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).expect("the file is written");
    }

    /// Replaces the rules.
    pub fn write_rules(&self, rules: &str) {
        self.write("rules/rules.yaml", rules);
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the daemon without waiting for anything.
    pub fn launch(&self) -> Daemon {
        let mut command = self.command(&["run"]);
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        let log = self.path(&format!("log-{number}"));
        let stderr = File::create(&log).expect("the log is made");
        let child = command
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("the daemon can be started");
        Daemon { child, log, web: None }
    }

    /// Starts the daemon and waits until its pages are served.
    pub async fn start(&self) -> Daemon {
        let mut daemon = self.launch();
        let web = eventually("the daemon serves its pages", async || {
            assert!(daemon.is_running(), "the daemon has ended:\n{}", daemon.log());
            address_in(&daemon.log())
        })
        .await;
        daemon.web = Some(web);
        daemon
    }

    /// Starts the daemon and waits until it is ready.
    pub async fn start_ready(&self) -> Daemon {
        let daemon = self.start().await;
        daemon.becomes_ready().await;
        daemon
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the command can be started")
    }

    /// Runs a command that succeeds and prints JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--format", "json"]].concat());
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).expect("the command prints JSON")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // A file that may not grow is an error of a write here, and not the end of the process: see `Daemon::may_write`.
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_sheriffd")])
            .current_dir(self.folder.path())
            .args(["--config", "sheriffd.toml", "--set", "web.listen=127.0.0.1:0"])
            .args(arguments)
            .env_remove("NOTIFY_SOCKET")
            .env_remove("SHERIFFD_CONFIG");
        command
    }
}

/// The address of the pages, from the line in which the daemon says that it is starting.
fn address_in(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("sheriffd is starting"))?;
    line.split_whitespace()
        .find_map(|word| word.strip_prefix("address="))?
        .parse()
        .ok()
}

impl Daemon {
    /// What it has said so far.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Whether the process has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the daemon can be asked").is_none()
    }

    /// The address of its pages.
    pub fn web(&self) -> SocketAddr {
        self.web.expect("the daemon was waited for")
    }

    /// The status and text of one of its pages.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let web = self.web();
        let answer = reqwest::get(format!("http://{web}{path}"))
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.log()));
        (answer.status().as_u16(), answer.text().await.expect("pages are text"))
    }

    /// Whether it says that it is ready; the text says what is missing.
    pub async fn readiness(&self) -> (bool, String) {
        let (status, text) = self.get("/readyz").await;
        (status == 200, text)
    }

    pub async fn becomes_ready(&self) {
        eventually("the daemon is ready", async || self.readiness().await.0.then_some(())).await;
    }

    /// Waits until it is not ready for want of this part.
    pub async fn misses(&self, part: &str) {
        eventually(&format!("the daemon misses its {part}"), async || {
            let (ready, text) = self.readiness().await;
            (!ready && text.contains(part)).then_some(())
        })
        .await;
    }

    /// The value of a metric, named with its labels as on the page; 0 while it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let (_, page) = self.get("/metrics").await;
        page.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .map_or(0.0, |value| value.parse().expect("metrics are numbers"))
    }

    /// Waits until a metric has at least this value.
    pub async fn counts(&self, name: &str, at_least: f64) {
        eventually(&format!("{name} is {at_least}"), async || {
            (self.metric(name).await >= at_least).then_some(())
        })
        .await;
    }

    /// Waits until it has said something that contains this.
    pub async fn says(&self, text: &str) {
        eventually(&format!("the daemon says {text:?}"), async || {
            self.log().contains(text).then_some(())
        })
        .await;
    }

    /// Sends a signal, by its short name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .expect("kill can be started");
        assert!(sent.success(), "the signal cannot be sent");
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets its files grow to this size and no further, as a disk that is full does; `None`: as they like.
    pub fn may_write(&self, bytes: Option<u64>) {
        let limit = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        let set = Command::new("prlimit")
            .args([&format!("--pid={}", self.child.id()), &format!("--fsize={limit}:")])
            .status()
            .expect("prlimit can be started");
        assert!(set.success(), "the limit cannot be set");
    }

    /// Ends the process as a power failure would.
    pub fn kill(mut self) {
        self.child.kill().expect("the daemon is ours to kill");
        self.child.wait().expect("the daemon can be waited for");
    }

    /// Waits until it has ended; returns how, and all that it said.
    pub async fn ends(mut self) -> (ExitStatus, String) {
        let status = eventually("the daemon ends", async || {
            self.child.try_wait().expect("the daemon can be asked")
        })
        .await;
        (status, self.log())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the daemon said:\n{}", self.log());
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).expect("the log can be read")).into_owned()
}
