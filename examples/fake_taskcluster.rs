//! The tests' Taskcluster as a process of its own: `cargo run --example fake_taskcluster -- 127.0.0.1:8080`.
//!
//! It prints its root URL and runs until it is ended. `PUT /__fake/world` sets up what it knows, `POST /__fake/fault`
//! plans a failure, `GET /__fake/requests` lists what it was asked.

#[path = "../tests/common/fake_taskcluster.rs"]
mod fake_taskcluster;

#[tokio::main]
async fn main() {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let fake = fake_taskcluster::FakeTaskcluster::start_at(&address).await;
    println!("{}", fake.root_url());
    std::future::pending::<()>().await;
}
