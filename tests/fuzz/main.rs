//! Hostile input in bulk: sound input of every kind, mutated by a seed, into everything that reads what others wrote.
//!
//! Each reader gets a fixed number of cases from a fixed seed, so that a failure fails again; `scripts/fuzz.sh` goes on
//! with other seeds for hours. It stands in for cargo-fuzz, which needs a nightly compiler (docs/robustness.md).
//!
//! What a case may not do: panic, hang, overflow the stack, or give a refusal that is long or not printable (it goes into
//! logs and terminals).

#[path = "../common/fake_taskcluster.rs"]
mod fake_taskcluster;
mod http;
mod mutate;
mod rules;
mod taskcluster;
mod wire;

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use sheriffd::stats::random::Random;

/// What a case takes at most before it counts as endless: a thousand times what the slowest takes.
const ENDLESS: Duration = Duration::from_secs(60);

/// How many times as many cases as in every test run, and from which seed: for `scripts/fuzz.sh`.
fn told(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Runs this many cases of a reader, each with a chance of its own. A case that fails is written into a file and named.
pub fn cases(reader: &str, count: u64, case: impl Fn(&mut Random) -> Vec<u8> + Send, read: impl Fn(&[u8]) + Sync) {
    let first = told("FUZZ_SEED", 0) * 1_000_000_007;
    let count = count * told("FUZZ_TIMES", 1);
    let current: Mutex<(u64, Vec<u8>)> = Mutex::default();
    let (alive, is_alive) = channel();
    std::thread::scope(|scope| {
        let watched = &current;
        scope.spawn(move || {
            // Tells of an endless case: a test that only times out does not say which input it was.
            loop {
                match is_alive.recv_timeout(ENDLESS) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        let (seed, input) = watched.lock().unwrap().clone();
                        eprintln!(
                            "{reader}, seed {seed} does not end: {}",
                            keep(reader, seed, &input).display()
                        );
                        std::process::exit(1);
                    }
                }
            }
        });
        for place in 0..count {
            let seed = first.wrapping_add(place);
            let input = case(&mut Random::new(seed));
            current.lock().unwrap().clone_from(&(seed, input.clone()));
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| read(&input)));
            if outcome.is_err() {
                panic!("{reader}, seed {seed}: {}", keep(reader, seed, &input).display());
            }
            let _ = alive.send(());
        }
        drop(alive);
    });
    println!("{reader}: {count} cases");
}

/// Writes an input that failed where it can be looked at.
fn keep(reader: &str, seed: u64, input: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("fuzz-{reader}-{seed}"));
    std::fs::write(&path, input).expect("the temporary folder can be written");
    path
}

/// A refusal is short, one line, and moves no cursor.
pub fn is_presentable(words: &str) {
    assert!(words.len() < 2_000, "{} bytes: {words}", words.len());
    assert!(!words.contains(char::is_control), "{words:?}");
}

/// The content of the files of a folder of the test data with this ending, in order.
pub fn corpus(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} has no {ending}");
    paths
        .iter()
        .map(|path| std::fs::read(path).expect("the file can be read"))
        .collect()
}

/// The lines of such files.
pub fn lines(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    corpus(folder, ending)
        .iter()
        .flat_map(|file| {
            file.split(|byte| *byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
        })
        .filter(|line| !line.is_empty())
        .collect()
}
