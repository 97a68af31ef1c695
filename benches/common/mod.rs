//! What several benches start for themselves. Each uses its part.

#![allow(dead_code)]

pub mod broker;
pub mod daemon;
pub mod meter;
#[path = "../../tests/common/rabbitmq.rs"]
pub mod rabbitmq;
pub mod stream;

/// The number after `--name`, or `default`. Other arguments (`cargo bench` passes `--bench`) are none of ours.
pub fn argument(name: &str, default: usize) -> usize {
    let wanted = format!("--{name}");
    let mut arguments = std::env::args();
    while let Some(argument) = arguments.next() {
        if argument == wanted {
            let value = arguments.next().unwrap_or_default();
            return value
                .parse()
                .unwrap_or_else(|error| panic!("--{name} takes a number, not {value:?}: {error}"));
        }
    }
    default
}

/// The middle one of some figures.
pub fn median(figures: &[f64]) -> f64 {
    quantile(figures, 0.5)
}

/// The figure under which a share `q` of the figures lies; the nearest rank.
pub fn quantile(figures: &[f64], q: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
