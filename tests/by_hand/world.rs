//! A store that a daemon has filled at a simulated CI, up to now, and the program on it as people call it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output};
use std::sync::Arc;

use sheriffd::bus::{Batch, Bus as _};
use sheriffd::clock::{Clock, SystemClock};
use sheriffd::engine::settings::{EngineSettings, globs};
use sheriffd::event::{Duration, Label, PushId};
use sheriffd::rules::RuleSet;
use sheriffd::sim::{Meter, NewTest, Plan, SimCi};
use sheriffd::store::Handle;
use sheriffd::store::sqlite::SqliteStore;
use tempfile::TempDir;

pub const LINUX: &str = "test-linux2404-64/opt-mochitest-plain";
pub const WINDOWS: &str = "test-windows11-64/opt-mochitest-plain";
pub const TALOS: &str = "test-linux2404-64/opt-talos-tp5o";
/// A test that fails now and then on Linux from the third push on.
pub const TEST: &str = "dom/a/test_a.html";
pub const GROUP: &str = "dom/a/mochitest.toml";
/// The push that made the series `tp5o` of [`TALOS`] step.
pub const SLOW_SINCE: u64 = 12;
/// The newest push.
pub const LAST: u64 = 20;

/// A rule that opens nothing, so that failures are read.
const RULES: &str = "
version: 1
rules:
  - name: look
    description: What failed is read of every orange.
    on: job.finished
    match: { outcome: failed }
    when: history.runs(event) < 0
    open: { kind: until-hit, max_jobs: 1 }
    mode: shadow
";

fn plan(start: sheriffd::event::Timestamp) -> Plan {
    Plan {
        project: "autoland".into(),
        start,
        pushes: LAST,
        between: Duration::from_secs(20 * 60),
        labels: [LINUX, WINDOWS, TALOS].into_iter().map(Label::from).collect(),
        skipped: 0.0,
        background: 0.2,
        infra: 0.0,
        defects: Vec::new(),
        meters: vec![Meter {
            label: Label::from(TALOS),
            suite: "tp5o".to_owned(),
            level: 250.0,
            noise: 0.01,
            steps: vec![(PushId(SLOW_SINCE), 1.1)],
        }],
        uplifts: Vec::new(),
        seed: 5,
    }
}

/// A daemon that runs. Dropping it ends it.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// The address of its pages, once it has said so.
    pub fn address(&self) -> Option<SocketAddr> {
        let log = std::fs::read_to_string(&self.log).ok()?;
        let line = log.lines().find(|line| line.contains("sheriffd is starting"))?;
        line.split_whitespace()
            .find_map(|word| word.strip_prefix("address="))?
            .parse()
            .ok()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with a store and a configuration in it.
pub struct World {
    folder: TempDir,
}

impl World {
    /// Twenty pushes of the last day, heard of by a daemon that has asked for nothing.
    pub async fn of_yesterday() -> World {
        let folder = tempfile::tempdir().unwrap();
        let tests = vec![NewTest {
            path: TEST.to_owned(),
            group: GROUP.to_owned(),
            push: PushId(3),
            rates: vec![(Label::from(LINUX), 0.4), (Label::from(WINDOWS), 0.0)],
        }];
        let start = SystemClock.now().minus(Duration::from_secs(24 * 3_600));
        let ci = SimCi::with_tests(plan(start), tests);
        let mut bus = ci.bus();
        let rules = Arc::new(RuleSet::parse(&[("rules.yaml", RULES)]).unwrap());
        let store = Handle::start(SqliteStore::open(&folder.path().join("sheriffd.db")).unwrap()).unwrap();
        let settings = EngineSettings {
            read_failures: true,
            read_values: true,
            measured: globs(["*talos*"]).unwrap(),
            has_pushlog: true,
            ..EngineSettings::default()
        };
        let pipeline = ci.daemon(&rules, store, Arc::new(ci.facts()), settings);
        while ci.step().is_some() {
            let zero = Duration::ZERO;
            while let Batch::Deliveries(deliveries) = bus.next(1_000, zero, zero).await.unwrap() {
                pipeline.take(&deliveries).await.unwrap();
            }
            pipeline.settle(&mut Vec::new()).await.unwrap();
        }
        let world = World { folder };
        std::fs::create_dir(world.path("rules")).unwrap();
        std::fs::write(world.path("rules/rules.yaml"), RULES).unwrap();
        world.configure("");
        world
    }

    /// Writes the configuration: nobody is asked for jobs, no broker is there, and what is given.
    pub fn configure(&self, more: &str) {
        // Nobody listens on port 9 of this machine.
        let config = format!(
            "[broker]\nurl = \"amqp://127.0.0.1:9\"\n[projects]\nwatch = [\"autoland\"]\n[web]\nlisten = \"127.0.0.1:0\"\n\
             [backends.taskcluster]\nroot_url = \"http://127.0.0.1:9\"\n{more}"
        );
        std::fs::write(self.path("sheriffd.toml"), config).unwrap();
    }

    /// Starts the daemon in the folder.
    pub fn daemon(&self) -> Daemon {
        let log = self.path("log");
        let stderr = std::fs::File::create(&log).unwrap();
        let child = self.command(&["run"]).stderr(stderr).spawn();
        Daemon {
            child: child.expect("the daemon starts"),
            log,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sheriffd"));
        command
            .current_dir(self.folder.path())
            .args(["--config", "sheriffd.toml"])
            .args(arguments)
            .env_remove("SHERIFFD_CONFIG")
            .env_remove("NOTIFY_SOCKET")
            .env("USER", "tester");
        command
    }

    /// Runs a command to its end: its exit code, and all that it said.
    pub fn says(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().expect("the program starts");
        let said = [stdout, stderr].concat();
        (status.code(), String::from_utf8(said).expect("text"))
    }

    /// Runs a command that succeeds and prints JSON.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let (code, said) = self.says(&[arguments, &["--format", "json"]].concat());
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        serde_json::from_str(&said).expect("JSON")
    }
}
