//! What a stretch of work costs this process: time, processor time, and which threads took it.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// Linux counts processor time for user space in hundredths of a second, whatever the kernel's own tick is.
const TICK: Duration = Duration::from_millis(10);

/// A reading of clock and processor time.
pub struct Meter {
    started: Instant,
    threads: BTreeMap<u32, (String, u64)>,
    process: u64,
}

/// What was used between two readings.
#[derive(Debug, Clone)]
pub struct Cost {
    /// Time on the clock.
    pub wall: Duration,
    /// Processor time, in user space and in the kernel on our behalf, of all threads.
    pub cpu: Duration,
    /// The same by the name of the thread; numbered names count as one.
    pub threads: BTreeMap<String, Duration>,
}

impl Meter {
    pub fn start() -> Meter {
        Meter {
            threads: threads(),
            process: ticks("/proc/self/stat").map_or(0, |(_, ticks)| ticks),
            started: Instant::now(),
        }
    }

    /// What was used since the start, by threads that still live and as a whole.
    pub fn read(&self) -> Cost {
        let wall = self.started.elapsed();
        let process = ticks("/proc/self/stat").map_or(0, |(_, ticks)| ticks) - self.process;
        let mut by_name: BTreeMap<String, Duration> = BTreeMap::new();
        for (id, (name, now)) in threads() {
            let before = self.threads.get(&id).map_or(0, |(_, before)| *before);
            let name = name
                .trim_end_matches(|c: char| c.is_ascii_digit() || c == '-')
                .to_owned();
            *by_name.entry(name).or_default() += TICK * u32::try_from(now - before).unwrap_or(u32::MAX);
        }
        Cost {
            wall,
            cpu: TICK * u32::try_from(process).unwrap_or(u32::MAX),
            threads: by_name,
        }
    }
}

impl Cost {
    /// Things done in a second.
    pub fn rate(&self, count: usize) -> f64 {
        count as f64 / self.wall.as_secs_f64()
    }

    /// Microseconds of processor time for each.
    pub fn cpu_each(&self, count: usize) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / count as f64
    }

    /// `store 21.3, tokio 30.0`: microseconds for each, by thread, the greatest first.
    pub fn by_thread(&self, count: usize) -> String {
        let mut threads: Vec<(&String, &Duration)> = self.threads.iter().filter(|(_, time)| !time.is_zero()).collect();
        threads.sort_by(|a, b| b.1.cmp(a.1));
        let one = |(name, time): (&String, &Duration)| format!("{name} {:.1}", time.as_secs_f64() * 1e6 / count as f64);
        threads.into_iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

fn threads() -> BTreeMap<u32, (String, u64)> {
    let Ok(entries) = fs::read_dir("/proc/self/task") else {
        return BTreeMap::new();
    };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let id = entry.file_name().to_str()?.parse().ok()?;
            Some((id, ticks(entry.path().join("stat").to_str()?)?))
        })
        .collect()
}

/// A thread's or process's name and its ticks in user space and kernel (proc(5): fields 2, 14 and 15).
fn ticks(path: &str) -> Option<(String, u64)> {
    let text = fs::read_to_string(path).ok()?;
    // The name stands in parentheses and may hold any character.
    let (head, tail) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = tail.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((name, user + system))
}
