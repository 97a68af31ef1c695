//! The configuration and the rules of the tests' daemons.

use crate::fake_taskcluster::FakeTaskcluster;
use crate::rabbitmq::{SHERIFF, Vhost};

/// Rules under which a failure of a test that used to pass is searched for, at the CI.
pub const LIVE: &str = r#"
version: 1
rules:
  - name: backfill-new-orange
    on: job.finished
    match: { outcome: failed, kind: test }
    when: history.passed_before(event)
    open: { kind: find-culprit, max_depth: 25, parallel: 4, max_jobs: 40 }
    mode: live
"#;

/// What a test chooses of a configuration.
pub struct Setting<'a> {
    /// Where it meets the CI's messages.
    pub broker: Vhost,
    /// The project that is watched: its name is the queue's too, so that no two tests share one.
    pub project: &'a str,
    /// The CI.
    pub ci: &'a FakeTaskcluster,
    /// Whether there are credentials for it.
    pub credentials: bool,
    /// Whoever wants to hear of verdicts.
    pub verdicts: Option<String>,
}

impl<'a> Setting<'a> {
    /// A daemon of this project that may ask the CI and tells nobody.
    pub fn new(broker: &Vhost, project: &'a str, ci: &'a FakeTaskcluster) -> Setting<'a> {
        Setting {
            broker: broker.clone(),
            project,
            ci,
            credentials: true,
            verdicts: None,
        }
    }

    /// The queue that the daemon reads.
    pub fn queue(&self) -> String {
        format!("queue/{}/sheriffd/{}", SHERIFF.0, self.project)
    }

    /// The configuration as a file.
    pub fn toml(&self) -> String {
        let credentials = match self.credentials {
            true => "client_id = \"project/sheriffd\"\naccess_token = \"literal:the-access-token\"\n",
            false => "",
        };
        let verdicts = match &self.verdicts {
            Some(url) => format!("[notify]\nurl = \"literal:{url}\"\n"),
            None => String::new(),
        };
        // The times are as short as they may be: what a test waits for is decided by them. Each orange has a case of its own.
        format!(
            "backend = \"taskcluster\"\n\
             [broker]\n\
             url = \"amqp://127.0.0.1:{}\"\n\
             vhost = \"{}\"\n\
             user = \"{}\"\n\
             password = \"literal:{}\"\n\
             environment = \"{}\"\n\
             retry_min = \"50ms\"\n\
             retry_max = \"500ms\"\n\
             [projects]\n\
             watch = [\"{}\"]\n\
             [engine]\n\
             storm_labels = 0\n\
             [limits]\n\
             requests_per_second = 100.0\n\
             [dispatch]\n\
             lease = \"10s\"\n\
             look_after = \"1s\"\n\
             looks = 100\n\
             retry_after = \"1s\"\n\
             [backends.taskcluster]\n\
             root_url = \"{}\"\n\
             timeout = \"1s\"\n\
             find_settle = \"10s\"\n\
             {credentials}{verdicts}",
            self.broker.port(),
            self.broker.name(),
            SHERIFF.0,
            SHERIFF.1,
            self.project,
            self.project,
            self.ci.root_url(),
        )
    }
}
