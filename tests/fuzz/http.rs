//! Requests to the pages: raw bytes over a socket.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use sheriffd::clock::SystemClock;
use sheriffd::event::Timestamp;
use sheriffd::rules::RuleSet;
use sheriffd::store::Handle;
use sheriffd::store::sqlite::{Pause, PauseEffect, PauseScope, SqliteStore};
use sheriffd::web::{Readiness, RulesShown, WebState, serve};

use crate::cases;
use crate::mutate::{mutated, pick};

/// How long an answer may take before we hang up.
const PATIENCE: Duration = Duration::from_secs(5);

const REQUESTS: [&str; 8] = [
    "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "GET /api/cases?open=true&project=autoland&limit=3 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "GET /api/cases/C1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "GET /cases/C18446744073709551615 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "GET /api/explain/fzO32Yv0QGuYP7UEh9t8TA/0 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nhost: a\r\naccept: */*\r\nconnection: close\r\n\r\n",
    "POST /readyz HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nconnection: close\r\n\r\nabcd",
    "GET /api/summary HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n",
];

#[test]
fn requests_to_the_pages() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let rules = RuleSet::parse(&[]).expect("no rules are sound rules");
    let mut store = SqliteStore::in_memory().expect("a store");
    let hostile = Pause {
        scope: PauseScope::Project,
        name: "<script>alert(1)</script>".into(),
        reason: "\"><img src=x onerror=alert(1)>".into(),
        owner: "'".into(),
        since: Timestamp(0),
        expires: None,
        effect: PauseEffect::Queue,
    };
    store.transact(|books| books.pause(&hostile)).expect("a pause");
    let state = WebState {
        store: Handle::start(store).expect("a thread"),
        metrics: sheriffd::telemetry::install_metrics().expect("metrics"),
        readiness: Arc::new(Readiness::default()),
        clock: Arc::new(SystemClock),
        rules: Arc::new(RwLock::new(RulesShown::of(&rules))),
        reload: None,
        token: None,
        engine: None,
    };
    let address = runtime
        .block_on(serve(([127, 0, 0, 1], 0).into(), state))
        .expect("a free port");
    let connect = || {
        let stream = TcpStream::connect(address).expect("the pages are served");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream
    };
    let ask = |request: &[u8]| -> Vec<u8> {
        let mut stream = connect();
        stream.write_all(request).expect("the request is sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the answer comes");
        answer
    };
    // A server may hang up on nonsense before it has all of it, and wait for the rest of a request that never comes: then
    // we hang up.
    let poke = |request: &[u8]| -> Vec<u8> {
        let mut stream = connect();
        let _ = stream.write_all(request);
        if !request.windows(4).any(|end| end == b"\r\n\r\n") {
            let _ = stream.shutdown(Shutdown::Write);
        }
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).unwrap_or(0);
        answer.truncate(length);
        answer
    };
    let page = String::from_utf8(ask(REQUESTS[0].as_bytes())).expect("pages are text");
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
    let all: Vec<Vec<u8>> = REQUESTS.iter().map(|text| text.as_bytes().to_vec()).collect();
    cases(
        "http-requests",
        2_000,
        |random| {
            let sound = pick(random, &all);
            let other = pick(random, &all);
            mutated(random, sound, other)
        },
        |case| {
            let answer = poke(case);
            assert!(
                !answer.starts_with(b"HTTP/1.1 500"),
                "{}",
                String::from_utf8_lossy(&answer)
            );
        },
    );
    assert!(
        ask(REQUESTS[0].as_bytes()).starts_with(b"HTTP/1.1 200"),
        "the pages are still there"
    );
}
