//! The configuration: layers, errors, secrets, origins.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use sheriffd::bus::bindings::{Binding, Source};
use sheriffd::config::{BackendChoice, Config, LoadOptions, Loaded, Origin};
use sheriffd::event::{Duration, Project};
use tempfile::TempDir;

/// A folder with a configuration file and drop-ins.
struct Files {
    folder: TempDir,
    environment: Vec<(String, String)>,
    set: Vec<String>,
}

fn file(text: &str) -> Files {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("sheriffd.toml"), text).unwrap();
    Files {
        folder,
        environment: Vec::new(),
        set: Vec::new(),
    }
}

impl Files {
    fn path(&self) -> PathBuf {
        self.folder.path().join("sheriffd.toml")
    }

    fn drop_in(self, name: &str, text: &str) -> Files {
        let folder = self.folder.path().join("sheriffd.toml.d");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), text).unwrap();
        self
    }

    fn environment(mut self, name: &str, value: &str) -> Files {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, flag: &str) -> Files {
        self.set.push(flag.to_owned());
        self
    }

    fn try_load(&self) -> Result<Loaded, Vec<String>> {
        let options = LoadOptions {
            file: Some(self.path()),
            environment: self.environment.clone(),
            set: self.set.clone(),
        };
        // Messages name the file by its path, which differs from run to run.
        let folder = format!("{}/", self.folder.path().display());
        Config::load(&options).map_err(|errors| {
            errors
                .iter()
                .map(|error| error.to_string().replace(&folder, ""))
                .collect()
        })
    }

    fn load(&self) -> Loaded {
        self.try_load().unwrap_or_else(|errors| panic!("{}", errors.join("\n")))
    }

    fn errors(&self) -> String {
        match self.try_load() {
            Ok(_) => panic!("it was accepted"),
            Err(errors) => errors.join("\n"),
        }
    }
}

#[test]
fn nothing_given_is_a_complete_configuration() {
    let config = Config::load(&LoadOptions::default()).unwrap().config;
    assert_eq!(config, Config::default());
    assert_eq!(config.top.backend, BackendChoice::DryRun);
    assert!(config.web.listen.ip().is_loopback());
    assert_eq!(config.broker.sources, [Source::TaskclusterQueue, Source::HgpushesV1]);
}

#[test]
fn later_layers_win_over_earlier_ones() {
    let files =
        file("[broker]\nprefetch = 600\nbatch_max = 1\nqueue = \"file\"\nenvironment = \"file\"\nvhost = \"file\"")
            .drop_in(
                "20-b.toml",
                "[broker]\nqueue = \"b\"\nenvironment = \"b\"\nvhost = \"b\"",
            )
            .drop_in("10-a.toml", "[broker]\nqueue = \"a\"")
            .drop_in("readme.txt", "no setting")
            .environment("SHERIFFD__BROKER__ENVIRONMENT", "environment")
            .environment("SHERIFFD__BROKER__VHOST", "environment")
            .flag("broker.vhost=flag");
    let loaded = files.load();
    let broker = &loaded.config.broker;
    assert_eq!((broker.prefetch, broker.batch_max), (600, 1));
    assert_eq!(
        (broker.queue.as_str(), broker.environment.as_deref()),
        ("b", Some("environment"))
    );
    assert_eq!(broker.vhost, "flag");
    let origin = |key: &str| {
        loaded
            .explanation
            .entries
            .iter()
            .find(|e| e.key == key)
            .unwrap()
            .origin
            .clone()
    };
    assert_eq!(
        origin("broker.prefetch"),
        Origin::File {
            path: files.path(),
            line: 2
        }
    );
    assert_eq!(
        origin("broker.environment"),
        Origin::Environment("SHERIFFD__BROKER__ENVIRONMENT".to_owned())
    );
    assert_eq!(origin("broker.vhost"), Origin::Flag("broker.vhost".to_owned()));
    assert_eq!(origin("broker.quorum"), Origin::Default);
}

#[test]
fn every_type_is_read_from_a_file_and_from_text() {
    let typed = file(
        r#"
        backend = "webhook"
        [broker]
        sources = ["taskcluster-github", "own-requests"]
        bindings = ["exchange/a #", "exchange/b x.*"]
        batch_linger = "1s500ms"
        quorum = true
        [limits]
        requests_per_second = 3
        [backends.webhook]
        url = "https://ci.example.com/jobs"
        [web]
        listen = "0.0.0.0:80"
        "#,
    )
    .load();
    let text = file("")
        .flag("backend=webhook")
        .flag(r#"broker.sources=["taskcluster-github", "own-requests"]"#)
        .flag("broker.bindings=exchange/a #, exchange/b x.*")
        .flag("broker.batch_linger=1s500ms")
        .flag("broker.quorum=true")
        .flag("limits.requests_per_second=3")
        .flag("backends.webhook.url=https://ci.example.com/jobs")
        .flag("web.listen=0.0.0.0:80")
        .load();
    assert_eq!(typed.config, text.config);
    assert_eq!(
        typed.config.broker.bindings,
        Some(vec![Binding::new("exchange/a", "#"), Binding::new("exchange/b", "x.*")])
    );
    assert_eq!(typed.config.broker.batch_linger, Duration::from_millis(1_500));
}

#[test]
fn all_errors_are_told_at_once_each_with_its_place() {
    let files = file(
        r#"
prefetch = 5
[broker]
prefech = 10
batch_max = "many"
max_body_bytes = 99
url = "amqps://me:hunter2@pulse.example.com"
batch_linger = "5 minutes"
sources = ["pulse"]
[brocker]
user = "x"
[limits]
concurrency = -1
[store]
path = 3
[nothing]
"#,
    )
    .environment("SHERIFFD__TELEMETRY__LOG_FORMAT", "xml")
    .environment("SHERIFFD__TELEMETRY__LOGLEVEL", "info")
    .flag("web.listen=localhost")
    .flag("nonsense");
    insta::assert_snapshot!(files.errors(), @r#"
    `--set nonsense` sets nothing: write it as `--set section.key=value`
    sheriffd.toml:2: there is no setting `prefetch`; did you mean `broker.prefetch`?
    sheriffd.toml:4: there is no setting `broker.prefech`; did you mean `broker.prefetch`?
    sheriffd.toml:5: `broker.batch_max` is "many", but must be a whole number, 1 to 10000
    sheriffd.toml:6: `broker.max_body_bytes` is 99, but must be a whole number, 1024 to 67108864
    sheriffd.toml:7: `broker.url` is "amqps://***@pulse.example.com", but must be a broker's address, as amqps://pulse.example.com (it must not hold a user or password: set broker.user and broker.password)
    sheriffd.toml:8: `broker.batch_linger` is "5 minutes", but must be a span of time, as "30s", "4h" or "2d", 0s to 10s (there is no unit ` minutes`: write ms, s, m, h or d)
    sheriffd.toml:9: `broker.sources` is ["pulse"], but must be a list, each one of taskcluster-queue, hgpushes-v1, hgpushes-v2, taskcluster-github, treeherder-requests, own-requests, own-perf-alerts
    sheriffd.toml:10: there is no setting `brocker`; did you mean `broker`?
    sheriffd.toml:13: `limits.concurrency` is -1, but must be a whole number, 1 to 256
    sheriffd.toml:15: `store.path` is 3, but must be a path
    sheriffd.toml:16: there is no setting `nothing`
    environment variable SHERIFFD__TELEMETRY__LOGLEVEL: there is no setting `telemetry.loglevel`; did you mean `telemetry.log_level`?
    environment variable SHERIFFD__TELEMETRY__LOG_FORMAT: `telemetry.log_format` is "xml", but must be one of text, json
    flag --set web.listen: `web.listen` is "localhost", but must be an address with a port, as 127.0.0.1:8642 or [::1]:8642 (invalid socket address syntax)
    "#);
}

#[test]
fn what_is_not_toml_is_named_by_line_and_column_without_showing_it() {
    let errors = file("[broker]\npassword = hunter2\n")
        .drop_in("a.toml", "[broker\n")
        .errors();
    assert!(errors.contains("sheriffd.toml:2:12: this is not TOML"), "{errors}");
    assert!(errors.contains("a.toml:1:8: this is not TOML"), "{errors}");
    assert!(!errors.contains("hunter2"), "{errors}");
}

#[test]
fn a_file_that_is_missing_is_named() {
    let files = file("");
    fs::remove_file(files.path()).unwrap();
    assert!(
        files
            .errors()
            .starts_with("the configuration file sheriffd.toml cannot be read: ")
    );
}

#[test]
fn a_value_where_a_section_belongs_is_refused() {
    insta::assert_snapshot!(file("broker = 5\nprojects = \"try\"\nlimits.jobs_per_day.linux = 3").errors(), @r#"
    sheriffd.toml:1: `broker` is 5, but must be a section of settings, as [broker]
    sheriffd.toml:2: `projects` is "try", but must be a section of settings, as [projects]
    sheriffd.toml:3: `limits.jobs_per_day` is a section, but must be a whole number, or "unlimited"
    "#);
}

#[test]
fn settings_that_do_not_go_together_are_told_at_once() {
    let errors = file(
        r#"
        backend = "taskcluster"
        [broker]
        user = "somebody else"
        prefetch = 10
        retry_min = "1m"
        retry_max = "1s"
        bindings = []
        [backends.taskcluster]
        client_id = "sheriffd"
        decision_routes = ["gecko.{branch}"]
        [dispatch]
        lease = "1m"
        [notify]
        url = "hunter2"
        [telemetry]
        log_level = "loud,=="
        "#,
    )
    .errors();
    insta::assert_snapshot!(errors, @r#"
    broker.batch_max is 500, but no more than broker.prefetch (10) messages can ever be waiting: lower the one or raise the other
    broker.retry_min is longer than broker.retry_max: swap them
    broker.user is set and broker.password is not: set it too, as "env:NAME"
    broker.user is "somebody else", but becomes part of the queue's name: use letters, digits, `.`, `_` and `-`, at most 80 of them
    broker.bindings is an empty list, with which no message would come: leave it out
    backends.taskcluster.client_id and .access_token are credentials together: set both or neither
    dispatch.lease is 1m, but must be at least 10 times backends.taskcluster.timeout (30s): a request that is still being sent must not be taken for lost
    backends.taskcluster: `decision_routes` has the path `gecko.{branch}` with {branch}; there are {project}, {revision} and {push}
    backend is "taskcluster", which needs backends.taskcluster.root_url: set it
    notify.url is not the URL of a web server: relative URL without a base
    telemetry.log_level: `loud,==` is no log filter: invalid filter directive; write a level, as in `info`, or `info,sheriffd::bus=debug`
    "#);
}

#[test]
fn secrets_come_from_where_their_references_point() {
    let files = file("");
    let secret = files.folder.path().join("token");
    fs::write(&secret, "from a file\n").unwrap();
    let config = files
        .flag("broker.user=sheriff")
        .flag("backends.taskcluster.client_id=sheriffd")
        .flag("broker.password=env:PULSE_PASSWORD")
        .flag(&format!("backends.webhook.secret=file:{}", secret.display()))
        .flag("backends.taskcluster.access_token=literal:from a flag")
        .environment("PULSE_PASSWORD", "from the environment")
        .environment("SHERIFFD__NOTIFY__SECRET", "itself")
        .load()
        .config;
    assert_eq!(config.broker.password.expose(), "from the environment");
    assert_eq!(config.webhook.secret.unwrap().expose(), "from a file");
    assert_eq!(config.taskcluster.access_token.unwrap().expose(), "from a flag");
    assert_eq!(config.notify.secret.unwrap().expose(), "itself");
}

#[test]
fn a_secret_that_is_written_out_or_missing_is_refused_and_not_shown() {
    let files = file(
        r#"
[broker]
password = "hunter2"
[backends.taskcluster]
access_token = "env:NOT_THERE"
certificate = "file:/nowhere/token"
[notify]
secret = 12345
[backends.webhook.headers]
Authorization = "env:EMPTY"
"#,
    )
    .environment("EMPTY", "");
    insta::assert_snapshot!(files.errors(), @r#"
    sheriffd.toml:3: the secret `broker.password` is written out where others can read it: write `env:NAME` or `file:/path` instead, naming where it is (or `literal:` before it, should it be no real secret)
    sheriffd.toml:5: the secret `backends.taskcluster.access_token` is in the environment variable `NOT_THERE`, which is not set
    sheriffd.toml:6: the secret `backends.taskcluster.certificate` is in the file `/nowhere/token`, which cannot be used: No such file or directory (os error 2)
    sheriffd.toml:8: `notify.secret` is a value that is not shown, but must be a reference to a secret, as "env:NAME" or "file:/path"
    sheriffd.toml:10: the secret `backends.webhook.headers` is in the environment variable `EMPTY`, which is empty
    "#);
}

#[test]
fn further_webhooks_have_the_settings_of_the_common_one_under_their_names() {
    let text = "[notify]\nurl = \"literal:https://all.example.com/\"\ntemplate = { text = \"${verdict}\" }\n\
                [notify.sheriffs]\nurl = \"literal:https://sheriffs.example.com/\"\ntimeout = \"3s\"\n";
    let config = file(text).load().config;
    assert!(config.notify.template.is_some());
    let names: Vec<&String> = config.hooks.keys().collect();
    assert_eq!(names, ["sheriffs"]);
    assert_eq!(config.hooks["sheriffs"].timeout, Duration::from_secs(3));
    let wrong = file("[notify.sheriffs]\ntimeout = \"3s\"\n[notify.perf]\nurl = \"literal:nowhere\"\n");
    insta::assert_snapshot!(wrong.errors(), @r#"
    notify.perf.url is not the URL of a web server: relative URL without a base
    [notify.sheriffs] is a webhook and needs a url
    "#);
    insta::assert_snapshot!(file("[notify.sheriffs]\nurll = \"x\"\n").errors(), @r#"
    sheriffd.toml:2: there is no setting `notify.sheriffs.urll`; did you mean `notify.sheriffs.url`?
    "#);
}

#[test]
fn the_explanation_masks_secrets_and_reads_back_as_toml() {
    let loaded = file("[backends.webhook]\nurl = \"https://ci.example.com/?token=hunter2\"\nheaders.X-Key = \"hunter2\"\n[notify]\nsecret = \"literal:hunter2\"")
        .load();
    let text = loaded.explanation.to_string();
    let json = serde_json::to_string(&loaded.explanation).unwrap();
    assert!(!text.contains("hunter2") && !json.contains("hunter2"), "{text}");
    assert!(!format!("{:?}", loaded.config.notify).contains("hunter2"));
    assert!(text.contains("sheriffd.toml:5\n"), "{text}");
    let read_back: toml::Table = text.parse().unwrap();
    assert_eq!(read_back["broker"]["prefetch"].as_integer(), Some(1_000));
    assert_eq!(
        read_back["backends"]["webhook"]["headers"]["X-Key"].as_str(),
        Some("***")
    );
}

#[test]
fn every_setting_has_a_meaning_and_a_readable_default() {
    let explanation = Config::load(&LoadOptions::default()).unwrap().explanation;
    for entry in &explanation.entries {
        assert!(entry.doc.ends_with('.'), "{}: {}", entry.key, entry.doc);
        assert_eq!(entry.value, entry.default, "{}", entry.key);
    }
    insta::assert_snapshot!(explanation.entries[0].key, @"backend");
    let prefetch = explanation
        .entries
        .iter()
        .find(|entry| entry.key == "broker.prefetch")
        .unwrap();
    assert_eq!(prefetch.expected, "a whole number, 1 to 65535");
}

#[test]
fn the_explanation_given_as_a_file_changes_nothing() {
    let first = Config::load(&LoadOptions::default()).unwrap();
    // Masked secrets are no references.
    let text = first.explanation.to_string().replace("\"***\"", "\"literal:guest\"");
    assert_eq!(file(&text).load().config, first.config);
}

#[test]
fn projects_are_named_or_meant_by_a_pattern() {
    let config = file("[projects]\nwatch = [\"autoland\", \"org/repo\"]").load().config;
    assert_eq!(
        config.watched_projects(),
        [Project::from("autoland"), Project::from("org/repo")]
    );
    let config = file("[projects]\nwatch = [\"autoland\", \"mozilla-*\"]").load().config;
    assert_eq!(
        config.watched_projects(),
        [],
        "a pattern cannot be bound: all messages are needed"
    );
    let errors = file("[projects]\nwatch = [\"mozilla-[\"]").errors();
    assert!(
        errors.starts_with("sheriffd.toml:2: `projects.watch` is [\"mozilla-[\"], but must be a list"),
        "{errors}"
    );
}

#[test]
fn a_limit_of_jobs_can_be_lifted() {
    let limits = file("[limits]\njobs_per_day = \"unlimited\"\njobs_per_rule_per_day = 5")
        .load()
        .config
        .limits;
    assert_eq!((limits.jobs_per_day.0, limits.jobs_per_rule_per_day.0), (None, Some(5)));
    assert_eq!(limits.jobs_per_hour, Config::default().limits.jobs_per_hour);
}

#[test]
fn a_body_is_a_table_or_json_in_a_text() {
    let table = file("[backends.webhook.body]\njobs = [{ label = \"${label}\", times = 2 }]")
        .load()
        .config;
    let text = file("")
        .flag(r#"backends.webhook.body={"jobs": [{"label": "${label}", "times": 2}]}"#)
        .load()
        .config;
    assert_eq!(
        table.webhook.body,
        Some(serde_json::json!({"jobs": [{"label": "${label}", "times": 2}]}))
    );
    assert_eq!(table, text);
}

proptest! {
    #[test]
    fn no_file_and_no_flag_makes_it_panic(text in "[a-z\\[\\].=\"'0-9 \\n{},#é-]{0,80}", flag in ".{0,40}") {
        let _ = file(&text).flag(&flag).try_load();
    }

    #[test]
    fn a_misspelt_setting_is_an_error_whatever_its_value(
        name in "[a-z_]{1,12}", value in prop_oneof![Just("1"), Just("true"), Just("\"text\""), Just("[]"), Just("{ a = 1 }")],
    ) {
        let known = Config::load(&LoadOptions::default()).unwrap().explanation;
        prop_assume!(!known.entries.iter().any(|entry| entry.key == format!("broker.{name}")));
        let errors = file(&format!("[broker]\n{name} = {value}\n")).errors();
        prop_assert!(errors.starts_with(&format!("sheriffd.toml:2: there is no setting `broker.{name}`")), "{}", errors);
    }
}
