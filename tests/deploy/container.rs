//! The image and the compose file: what they refer to exists and fits together.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use sheriffd::bus::bindings::{Source, bindings_for};
use sheriffd::config::{Config, LoadOptions};
use sheriffd::rules::EventKind;

use super::demo::Demo;
use super::{assert_is_command, path, read, texts, yaml};

const IMAGE: &str = "deploy/Dockerfile";

/// The image's instructions with their arguments, continued lines joined.
fn instructions() -> Vec<(String, String)> {
    let text = read(IMAGE);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines
        .join("\n")
        .replace("\\\n", " ")
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(instruction, arguments)| (instruction.to_owned(), arguments.trim().to_owned()))
        .collect()
}

fn arguments_of(instruction: &str) -> Vec<String> {
    instructions()
        .into_iter()
        .filter(|(name, _)| name == instruction)
        .map(|(_, arguments)| arguments)
        .collect()
}

/// The words of an instruction in its JSON form.
fn words(instruction: &str) -> Vec<String> {
    let arguments = arguments_of(instruction).pop().expect("the instruction is there");
    serde_json::from_str(&arguments).expect("it is a JSON list")
}

fn services() -> Value {
    yaml("deploy/compose.yaml")["services"].clone()
}

/// The configuration that the compose file gives the daemon.
fn composed() -> Config {
    let environment = services()["sheriffd"]["environment"].clone();
    let variables = environment.as_object().expect("variables by name");
    let options = LoadOptions {
        file: Some(path("deploy/compose/sheriffd.toml")),
        // Interpolated by compose from the caller's environment.
        environment: variables
            .keys()
            .map(|name| (name.clone(), "correct horse".to_owned()))
            .collect(),
        set: Vec::new(),
    };
    Config::load(&options).unwrap().config
}

#[test]
fn what_the_image_copies_exists() {
    let made: Vec<String> = arguments_of("RUN");
    for copy in arguments_of("COPY") {
        let words: Vec<&str> = copy.split(' ').collect();
        match words.as_slice() {
            ["--from=build", source, _] => {
                assert!(
                    made.iter().any(|run| run.ends_with(&format!(" {source}"))),
                    "{source} is not made"
                );
            }
            [sources @ .., _] => {
                for source in sources {
                    assert!(path(source).exists(), "{source} does not exist");
                }
            }
            [] => panic!("COPY copies nothing"),
        }
    }
}

#[test]
fn the_image_builds_with_the_toolchain_and_profile_of_the_crate() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let version = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    let from = arguments_of("FROM");
    assert_eq!(from[0], format!("rust:{version}-bookworm AS build"));
    assert!(manifest["profile"].get("dist").is_some());
    let build = arguments_of("RUN").remove(0);
    assert!(
        build.contains("cargo build --locked --profile dist --bin sheriffd"),
        "{build}"
    );
}

#[test]
fn what_is_left_out_of_the_image_is_nothing_that_the_program_contains() {
    let ignored = read(".dockerignore");
    let folders: Vec<&str> = ignored
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains('*') && path(line).is_dir())
        .collect();
    assert!(folders.contains(&"tests"));
    let mut unread = vec![path("src")];
    while let Some(folder) = unread.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            if file.is_dir() {
                unread.push(file);
                continue;
            }
            let Ok(text) = std::fs::read_to_string(&file) else {
                continue;
            };
            // What stands in a module of tests is not built into the program.
            let program = text.split("#[cfg(test)]").next().unwrap_or_default();
            for line in program.lines().filter(|line| line.contains("include_")) {
                let left_out = folders.iter().find(|folder| line.contains(&format!("../{folder}/")));
                assert!(left_out.is_none(), "{}: {line}", file.display());
            }
        }
    }
}

#[test]
fn the_image_starts_a_command_that_the_program_has() {
    assert_eq!(words("ENTRYPOINT"), ["/usr/bin/sheriffd"]);
    let command = words("CMD");
    assert_is_command(&command.iter().map(String::as_str).collect::<Vec<_>>(), IMAGE);
}

#[test]
fn the_image_does_not_run_as_root() {
    assert_eq!(arguments_of("USER"), ["sheriffd"]);
}

#[test]
fn the_health_check_of_the_image_tells_a_living_daemon_from_none() {
    let check = arguments_of("HEALTHCHECK").concat();
    let (_, command) = check.split_once("CMD ").expect("it has a command");
    let command: Vec<String> = serde_json::from_str(command).expect("it is a JSON list");
    let is_healthy = |port: u16| {
        let words: Vec<String> = command
            .iter()
            .map(|word| word.replace("8642", &port.to_string()))
            .collect();
        assert_ne!(words, command, "it asks the default port");
        let mut bash = Command::new(&words[0]);
        let output = bash.args(&words[1..]).output().expect("bash can be started");
        output.status.success()
    };
    let demo = Demo::start();
    let port = demo.port;
    assert!(is_healthy(port));
    drop(demo);
    assert!(!is_healthy(port));
}

#[test]
fn every_file_that_compose_mounts_exists() {
    for (name, service) in services().as_object().unwrap() {
        for mount in texts(&service["volumes"]) {
            let source = mount.split(':').next().unwrap_or_default();
            if source.starts_with('.') {
                assert!(path("deploy").join(source).exists(), "{name}: {source} does not exist");
            } else {
                let volumes = yaml("deploy/compose.yaml")["volumes"].clone();
                assert!(volumes.get(source).is_some(), "{name}: volume {source} is not declared");
            }
        }
    }
}

#[test]
fn services_depend_on_services_that_exist() {
    let services = services();
    for (name, service) in services.as_object().unwrap() {
        let dependencies = match &service["depends_on"] {
            Value::Object(conditions) => conditions.keys().cloned().collect(),
            names => texts(names),
        };
        for dependency in dependencies {
            assert!(services.get(&dependency).is_some(), "{name} depends on {dependency}");
        }
    }
}

#[test]
fn published_ports_are_reached_from_this_machine_only() {
    for (name, service) in services().as_object().unwrap() {
        for port in texts(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
    }
}

#[test]
fn the_parts_of_compose_find_each_other() {
    let config = composed();
    let services = services();
    assert!(services.get(&config.broker.url.host).is_some(), "{}", config.broker.url);
    let broker = &services["rabbitmq"]["environment"];
    assert_eq!(texts(&broker["RABBITMQ_DEFAULT_USER"]), [config.broker.user.as_str()]);
    let mounts = texts(&services["sheriffd"]["volumes"]);
    for rules in &config.rules.paths {
        assert!(
            mounts.contains(&format!("../rules:{}:ro", rules.display())),
            "{mounts:?}"
        );
    }
    let started_with = words("CMD").pop().unwrap();
    assert!(
        mounts.contains(&format!("./compose/sheriffd.toml:{started_with}:ro")),
        "{mounts:?}"
    );
    assert!(
        mounts.contains(&format!("store:{}", arguments_of("VOLUME").concat())),
        "{mounts:?}"
    );

    let scraped = yaml("deploy/prometheus.yml")["scrape_configs"][0]["static_configs"][0]["targets"].clone();
    assert_eq!(texts(&scraped), [format!("sheriffd:{}", config.web.listen.port())]);
    assert!(config.web.listen.ip().is_unspecified(), "other containers reach it");
    assert_eq!(arguments_of("EXPOSE"), [config.web.listen.port().to_string()]);
}

#[test]
fn compose_declares_every_exchange_that_may_be_bound() {
    let definitions: Value = serde_json::from_str(&read("deploy/compose/exchanges.json")).unwrap();
    let declared: BTreeSet<String> = definitions["exchanges"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|exchange| texts(&exchange["name"]))
        .collect();
    let events = EventKind::ALL.map(EventKind::as_str);
    let bound: BTreeSet<String> = bindings_for(events, &Source::ALL, &[], "me")
        .into_iter()
        .map(|binding| binding.exchange)
        // Exchanges of our own are declared by the daemon.
        .filter(|exchange| !exchange.starts_with("exchange/me/"))
        .collect();
    assert_eq!(declared, bound);
}
