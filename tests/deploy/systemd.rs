//! The systemd unit: directives that exist, a command that exists, secrets that reach the configuration.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use sheriffd::config::{Config, LoadOptions};

use super::{assert_is_command, path, read, sheriffd};

const UNIT: &str = "deploy/sheriffd.service";
/// The exposure that `systemd-analyze security` gives the unit at most, in tenths (0 is best, 100 worst).
const MAX_EXPOSURE: &str = "15";

/// The directives of systemd.unit(5), systemd.service(5), systemd.exec(5) and systemd.kill(5) that the unit may use. A
/// misspelt directive would be passed over by systemd with a warning that nobody reads.
const KNOWN: [(&str, &[&str]); 3] = [
    ("Unit", &["Description", "Documentation", "Wants", "After"]),
    (
        "Service",
        &[
            "Type",
            "NotifyAccess",
            "ExecStart",
            "ExecReload",
            "TimeoutStartSec",
            "TimeoutStopSec",
            "WatchdogSec",
            "Restart",
            "RestartSec",
            "RestartPreventExitStatus",
            "DynamicUser",
            "StateDirectory",
            "StateDirectoryMode",
            "ConfigurationDirectory",
            "WorkingDirectory",
            "UMask",
            "LoadCredential",
            "Environment",
            "NoNewPrivileges",
            "CapabilityBoundingSet",
            "AmbientCapabilities",
            "ProtectSystem",
            "ProtectHome",
            "PrivateTmp",
            "PrivateDevices",
            "PrivateUsers",
            "ProtectClock",
            "ProtectHostname",
            "ProtectControlGroups",
            "ProtectKernelLogs",
            "ProtectKernelModules",
            "ProtectKernelTunables",
            "ProtectProc",
            "ProcSubset",
            "RemoveIPC",
            "RestrictAddressFamilies",
            "RestrictNamespaces",
            "RestrictRealtime",
            "RestrictSUIDSGID",
            "LockPersonality",
            "MemoryDenyWriteExecute",
            "SystemCallArchitectures",
            "SystemCallFilter",
            "SystemCallErrorNumber",
            "LimitCORE",
        ],
    ),
    ("Install", &["WantedBy"]),
];

/// Section, directive, value; in the order of the file.
fn directives() -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut directives = Vec::new();
    for line in read(UNIT).lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
            continue;
        }
        let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{line} is no directive"));
        directives.push((section.clone(), name.to_owned(), value.to_owned()));
    }
    directives
}

fn values(name: &str) -> Vec<String> {
    directives()
        .into_iter()
        .filter(|(_, directive, _)| directive == name)
        .map(|(_, _, value)| value)
        .collect()
}

#[test]
fn every_directive_is_known_in_its_section() {
    for (section, name, _) in directives() {
        let known = KNOWN
            .iter()
            .find(|(known, _)| *known == section)
            .map(|(_, names)| *names);
        assert!(
            known.is_some_and(|names| names.contains(&name.as_str())),
            "[{section}] {name}"
        );
    }
}

#[test]
fn the_unit_starts_a_command_that_the_program_has() {
    let start = values("ExecStart").concat();
    let words: Vec<&str> = start.split(' ').collect();
    assert_eq!(words[0], "/usr/bin/sheriffd");
    assert_is_command(&words[1..], UNIT);
}

#[test]
fn errors_that_a_restart_does_not_mend_prevent_it() {
    let prevented = values("RestartPreventExitStatus").concat();
    let prevented: Vec<i32> = prevented.split(' ').map(|code| code.parse().unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("sheriffd.toml");
    fs::write(&broken, "no_such_setting = 1").unwrap();

    let usage = sheriffd(&["run", "--no-such-flag"]);
    let configuration = sheriffd(&["run", "--config", &broken.display().to_string()]);

    let codes = [usage, configuration].map(|output| output.status.code().unwrap());
    assert_eq!(prevented, codes);
}

#[test]
fn the_credentials_of_the_unit_reach_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    for credential in values("LoadCredential") {
        let (name, source) = credential.split_once(':').unwrap();
        assert_eq!(source, format!("/etc/sheriffd/credentials/{name}"));
        fs::write(folder.path().join(name), "correct horse\n").unwrap();
    }
    let environment = values("Environment").into_iter().map(|assignment| {
        let (name, value) = assignment.split_once('=').unwrap();
        (
            name.to_owned(),
            value.replace("%d", &folder.path().display().to_string()),
        )
    });
    let options = LoadOptions {
        file: Some(path("deploy/sheriffd.example.toml")),
        environment: environment.collect(),
        set: vec!["broker.user=sheriffs".to_owned()],
    };
    let config = Config::load(&options).unwrap().config;
    assert_eq!(config.broker.password.expose(), "correct horse");
}

#[test]
fn the_store_of_the_example_is_in_the_folder_that_the_unit_makes() {
    let options = LoadOptions {
        file: Some(path("deploy/sheriffd.example.toml")),
        ..LoadOptions::default()
    };
    let config = Config::load(&options).unwrap().config;
    let state = format!("/var/lib/{}", values("StateDirectory").concat());
    assert_eq!(config.store.path.parent(), Some(state.as_ref()));
    let configuration = format!("/etc/{}", values("ConfigurationDirectory").concat());
    assert!(config.rules.paths.iter().all(|path| path.starts_with(&configuration)));
}

#[test]
fn directives_that_may_stand_once_stand_once() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (_, name, _) in directives() {
        *counts.entry(name).or_default() += 1;
    }
    // The second one takes calls away from the first.
    counts.remove("SystemCallFilter");
    let repeated: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(repeated.is_empty(), "{repeated:?}");
}

/// Where systemd is, it has the last word; elsewhere the tests above stand alone.
#[test]
fn systemd_takes_the_unit_and_finds_it_well_shut() {
    let analyze = |arguments: &[&str], unit: &std::path::Path| {
        let mut command = Command::new("systemd-analyze");
        command.args(arguments).arg(unit).output()
    };
    // Verifying looks for the program, which is not installed where tests run.
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("sheriffd.service");
    let text = read(UNIT).replace("/usr/bin/sheriffd", env!("CARGO_BIN_EXE_sheriffd"));
    fs::write(&unit, text).unwrap();
    let Ok(verified) = analyze(&["verify", "--man=no"], &unit) else {
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    let about_ours: Vec<&str> = said.lines().filter(|line| line.contains("sheriffd.service")).collect();
    assert!(about_ours.is_empty(), "{said}");

    let security = ["security", "--offline=true", "--threshold", MAX_EXPOSURE, "--no-pager"];
    let rated = analyze(&security, &unit).expect("systemd-analyze was there a moment ago");
    assert!(
        rated.status.success(),
        "{}{}",
        String::from_utf8_lossy(&rated.stdout),
        String::from_utf8_lossy(&rated.stderr)
    );
}
