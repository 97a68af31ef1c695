//! A Taskcluster deployment for tests: index, queue, artifacts, hooks, auth, over HTTP on a free port.
//!
//! It speaks the recorded wire format, writes down every request exactly as it came, and can be told to fail in each
//! way a real one does. A test starts it inside itself; `examples/fake_taskcluster.rs` runs it as a process of its own,
//! set up and asked over HTTP under `/__fake/`.
//!
//! It is written on bare sockets, because no HTTP server can be made to hang up in the middle of an answer.

// Every test binary uses another part of it.
#![allow(dead_code)]

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The largest request that is read.
const MAX_REQUEST: usize = 16 * 1024 * 1024;

/// A request as it came.
#[derive(Debug, Clone, Serialize)]
pub struct Recorded {
    pub method: String,
    /// The path, percent-decoded.
    pub path: String,
    /// Path and query as they were sent.
    pub target: String,
    /// Header names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body; null where it was none or no JSON.
    pub body: Value,
}

/// How the fake fails a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Fault {
    /// It answers this, and does nothing.
    Answer {
        status: u16,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        body: String,
    },
    /// It never answers. With `acts` it has done what it was asked to.
    Hang { acts: bool },
    /// It closes the connection after reading the request.
    Close { acts: bool },
    /// It closes the connection in the middle of its answer.
    CloseMidway { acts: bool },
    /// It does what it was asked to and answers this.
    ActAndAnswer { status: u16, body: String },
}

/// A fault for the requests whose method and path begin like this, so many times.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Planned {
    pub method: String,
    pub path: String,
    #[serde(default = "once")]
    pub times: u32,
    pub fault: Fault,
}

fn once() -> u32 {
    1
}

/// How an artifact is given out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// By a redirect to a store, as Taskcluster does: the store is this fake too.
    #[default]
    Redirected,
    /// By a redirect to this address.
    Elsewhere(String),
    /// At once.
    Inline,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Artifact {
    pub content: String,
    pub storage: Storage,
    /// Compressed, as docker-worker stores artifacts.
    pub gzip: bool,
}

/// What is known to the fake.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct World {
    /// Task definitions by task id.
    pub tasks: BTreeMap<String, Value>,
    /// The tasks of groups, each with its status and its definition; given out two a page.
    pub groups: BTreeMap<String, Vec<Value>>,
    /// Pushlogs by repository, each by the number of the push.
    pub pushlogs: BTreeMap<String, BTreeMap<u64, Value>>,
    /// Task ids by index path.
    pub index: BTreeMap<String, String>,
    /// Artifacts by task id and name.
    pub artifacts: BTreeMap<String, BTreeMap<String, Artifact>>,
    /// Last fires by `group/hook`, newest first.
    pub fires: BTreeMap<String, Vec<Value>>,
    /// Whether the lists of last fires say that there is more.
    pub more_fires: bool,
    /// How many tasks wait, by task queue.
    pub pending: BTreeMap<String, u64>,
    /// Whether the queue service is too old for `queue.taskQueueCounts`.
    pub counts_the_old_way: bool,
    /// What `auth.currentScopes` says.
    pub scopes: Vec<String>,
    /// The client id and access token that every request to the API has to be signed with; `None`: whoever asks is served.
    pub credentials: Option<(String, String)>,
    /// What `hooks.triggerHook` answers, instead of an answer of its own.
    pub hook_answer: Option<Value>,
    /// When action tasks are created, in milliseconds since 1970; the system's time otherwise.
    pub now: Option<i64>,
    /// Faults to come, each used up in order.
    pub faults: Vec<Planned>,
}

#[derive(Default)]
struct State {
    world: World,
    requests: Vec<Recorded>,
    made: u64,
}

/// The deployment. Dropping it ends it.
pub struct FakeTaskcluster {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for FakeTaskcluster {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeTaskcluster {
    /// Starts it on a free port of this machine.
    pub async fn start() -> FakeTaskcluster {
        FakeTaskcluster::start_at("127.0.0.1:0").await
    }

    /// Starts it at an address.
    pub async fn start_at(address: &str) -> FakeTaskcluster {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone(), address));
            }
        });
        FakeTaskcluster { address, state, server }
    }

    pub fn root_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it knows, to be changed.
    pub fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut lock(&self.state).world);
    }

    /// Plans a fault for the next request like this.
    pub fn fail(&self, method: &str, path: &str, fault: Fault) {
        let (method, path) = (method.to_owned(), path.to_owned());
        self.change(|world| {
            world.faults.push(Planned {
                method,
                path,
                times: 1,
                fault,
            })
        });
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.state).requests.clone()
    }

    /// The requests so far that ask for something to be done.
    pub fn deeds(&self) -> Vec<Recorded> {
        self.requests()
            .into_iter()
            .filter(|request| request.method != "GET")
            .collect()
    }

    /// Adds a push: its decision task, the index entry, and its artifacts.
    pub fn add_push(&self, project: &str, revision: &str, decision: &str, actions: &str) {
        self.change(|world| {
            let path = format!("gecko.v2.{project}.revision.{revision}.taskgraph.decision");
            world.index.insert(path, decision.to_owned());
            world.add_artifact(decision, "public/actions.json", actions);
        });
    }
}

impl World {
    pub fn add_artifact(&mut self, task: &str, name: &str, content: &str) {
        let artifact = Artifact {
            content: content.to_owned(),
            ..Artifact::default()
        };
        self.artifacts
            .entry(task.to_owned())
            .or_default()
            .insert(name.to_owned(), artifact);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no test panics while it holds the fake's state")
}

/// An answer to be written.
struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Reply {
    fn json(status: u16, body: &Value) -> Reply {
        let headers = [("content-type".to_owned(), "application/json".to_owned())].into();
        Reply {
            status,
            headers,
            body: body.to_string().into_bytes(),
        }
    }

    fn not_found(what: &str) -> Reply {
        Reply::json(
            404,
            &json!({"code": "ResourceNotFound", "message": format!("{what} not found")}),
        )
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!(
            "HTTP/1.1 {} X\r\nconnection: close\r\ncontent-length: {}\r\n",
            self.status,
            self.body.len()
        );
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// What is done with a connection.
enum Conduct {
    Reply(Reply),
    Half(Reply),
    Hang,
    Close,
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, address: SocketAddr) {
    let Some(request) = read(&mut stream).await else { return };
    match conduct(&state, request, address) {
        Conduct::Reply(reply) => {
            let _ = stream.write_all(&reply.bytes()).await;
            let _ = stream.shutdown().await;
        }
        Conduct::Half(reply) => {
            let bytes = reply.bytes();
            let _ = stream.write_all(&bytes[..bytes.len() - reply.body.len() / 2 - 1]).await;
            let _ = stream.shutdown().await;
        }
        // Until the peer gives up.
        Conduct::Hang => while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {},
        Conduct::Close => {}
    }
}

async fn read(stream: &mut TcpStream) -> Option<Recorded> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        if bytes.len() > MAX_REQUEST {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let body_start = head_end + 4;
    while bytes.len() < body_start + length.min(MAX_REQUEST) {
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
    }
    let body = serde_json::from_slice(&bytes[body_start..body_start + length]).unwrap_or_default();
    let path = percent_decode(target.split('?').next().unwrap_or_default());
    Some(Recorded {
        method,
        path,
        target,
        headers,
        body,
    })
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail
            .get(..2)
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn conduct(state: &Mutex<State>, request: Recorded, address: SocketAddr) -> Conduct {
    let mut state = lock(state);
    if request.path.starts_with("/__fake/") {
        return Conduct::Reply(control(&mut state, &request));
    }
    state.requests.push(request.clone());
    if let Some(reply) = unauthorised(&state.world, &request, address) {
        return Conduct::Reply(reply);
    }
    let planned = state.world.faults.iter_mut().find(|planned| {
        planned.times > 0 && request.method == planned.method && request.path.starts_with(&planned.path)
    });
    let fault = planned.map(|planned| {
        planned.times -= 1;
        planned.fault.clone()
    });
    match fault {
        None => Conduct::Reply(answer(&mut state, &request, address)),
        Some(Fault::Answer { status, headers, body }) => Conduct::Reply(Reply {
            status,
            headers,
            body: body.into_bytes(),
        }),
        Some(Fault::ActAndAnswer { status, body }) => {
            answer(&mut state, &request, address);
            Conduct::Reply(Reply {
                status,
                headers: BTreeMap::new(),
                body: body.into_bytes(),
            })
        }
        Some(Fault::Hang { acts }) => {
            acts.then(|| answer(&mut state, &request, address));
            Conduct::Hang
        }
        Some(Fault::Close { acts }) => {
            acts.then(|| answer(&mut state, &request, address));
            Conduct::Close
        }
        Some(Fault::CloseMidway { acts }) => {
            let reply = if acts {
                answer(&mut state, &request, address)
            } else {
                Reply::json(200, &json!({}))
            };
            Conduct::Half(reply)
        }
    }
}

/// What a process of its own is set up and asked by.
fn control(state: &mut State, request: &Recorded) -> Reply {
    match (request.method.as_str(), request.path.as_str()) {
        ("PUT", "/__fake/world") => match serde_json::from_value(request.body.clone()) {
            Ok(world) => {
                state.world = world;
                Reply::json(200, &json!({}))
            }
            Err(error) => Reply::json(400, &json!({"message": error.to_string()})),
        },
        ("POST", "/__fake/fault") => match serde_json::from_value(request.body.clone()) {
            Ok(planned) => {
                state.world.faults.push(planned);
                Reply::json(200, &json!({}))
            }
            Err(error) => Reply::json(400, &json!({"message": error.to_string()})),
        },
        ("GET", "/__fake/requests") => Reply::json(200, &json!(state.requests)),
        _ => Reply::not_found(&request.path),
    }
}

fn answer(state: &mut State, request: &Recorded, address: SocketAddr) -> Reply {
    let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["api", "queue", "v1", "ping"]) => Reply::json(200, &json!({"alive": true})),
        ("GET", ["api", "auth", "v1", "scopes", "current"]) => Reply::json(200, &json!({"scopes": state.world.scopes})),
        ("GET", ["api", "index", "v1", "task", path]) => match state.world.index.get(*path) {
            Some(task) => Reply::json(
                200,
                &json!({
                    "namespace": path, "taskId": task, "rank": 0, "data": {}, "expires": "2100-01-01T00:00:00.000Z",
                }),
            ),
            None => Reply::not_found("Indexed task"),
        },
        ("GET", ["api", "index", "v1", "tasks", path]) => {
            let under = format!("{path}.");
            let tasks: Vec<Value> = state
                .world
                .index
                .iter()
                .filter(|(name, _)| name.strip_prefix(&under).is_some_and(|rest| !rest.contains('.')))
                .map(|(name, task)| json!({"namespace": name, "taskId": task, "rank": 0, "data": {}}))
                .collect();
            Reply::json(200, &json!({"tasks": tasks}))
        }
        ("GET", ["api", "queue", "v1", "task-group", group, "list"]) => match state.world.groups.get(*group) {
            Some(tasks) => list_group(tasks, &request.target),
            None => Reply::not_found(group),
        },
        ("GET", ["api", "queue", "v1", "task", task]) => match state.world.tasks.get(*task) {
            Some(definition) => Reply::json(200, definition),
            None => Reply::not_found(task),
        },
        ("GET", ["api", "queue", "v1", "task", task, "status"]) => match state.world.tasks.get(*task) {
            Some(_) => Reply::json(200, &json!({"status": {"taskId": task, "state": "pending"}})),
            None => Reply::not_found(task),
        },
        ("GET", ["api", "queue", "v1", "task-queues", pool @ .., "counts"]) if !state.world.counts_the_old_way => {
            count_pending(&state.world, &pool.join("/"))
        }
        ("GET", ["api", "queue", "v1", "pending", pool @ ..]) => count_pending(&state.world, &pool.join("/")),
        ("PUT", ["api", "queue", "v1", "task", task]) => create_task(state, task, &request.body),
        ("GET", ["api", "queue", "v1", "task", task, "runs", _, "artifacts"]) => {
            let artifacts = state.world.artifacts.get(*task).into_iter().flatten();
            let list: Vec<Value> = artifacts
                .map(|(name, _)| json!({"storageType": "s3", "name": name, "contentType": "x"}))
                .collect();
            Reply::json(200, &json!({"artifacts": list}))
        }
        ("GET", ["api", "queue", "v1", "task", task, "runs", _, "artifacts", name @ ..])
        | ("GET", ["api", "queue", "v1", "task", task, "artifacts", name @ ..]) => {
            give(state, task, &name.join("/"), address)
        }
        ("GET", [repository, "json-pushes"]) => match state.world.pushlogs.get(*repository) {
            Some(pushes) => list_pushes(pushes, &request.target),
            None => Reply::not_found(repository),
        },
        ("GET", ["__store", task, name @ ..]) => {
            let artifact = state
                .world
                .artifacts
                .get(*task)
                .and_then(|all| all.get(&name.join("/")));
            artifact.map_or_else(|| Reply::not_found("object"), content)
        }
        ("GET", ["api", "hooks", "v1", "hooks", group, hook @ .., "last-fires"]) => {
            let fires = state
                .world
                .fires
                .get(&format!("{group}/{}", hook.join("/")))
                .cloned()
                .unwrap_or_default();
            match state.world.more_fires {
                true => Reply::json(200, &json!({"lastFires": fires, "continuationToken": "more"})),
                false => Reply::json(200, &json!({"lastFires": fires})),
            }
        }
        ("POST", ["api", "hooks", "v1", "hooks", group, hook @ .., "trigger"]) => {
            let hook = format!("{group}/{}", hook.join("/"));
            trigger(state, &hook, &request.body)
        }
        _ => Reply::not_found(&request.path),
    }
}

/// A pushlog from after one push to another, as hg.mozilla.org answers; this fake is its server too.
fn list_pushes(pushes: &BTreeMap<u64, Value>, target: &str) -> Reply {
    let bound = |name: &str| -> Option<u64> {
        let (_, value) = target.split_once(name)?;
        value.split('&').next()?.parse().ok()
    };
    let (after, to) = (bound("startID=").unwrap_or(0), bound("endID=").unwrap_or(u64::MAX));
    let listed = pushes.iter().filter(|(number, _)| **number > after && **number <= to);
    let listed: BTreeMap<String, &Value> = listed.map(|(number, push)| (number.to_string(), push)).collect();
    Reply::json(200, &json!({"lastpushid": pushes.keys().last(), "pushes": listed}))
}

/// What Taskcluster's services say to a request of a client that they do not know, or know no longer.
fn unauthorised(world: &World, request: &Recorded, address: SocketAddr) -> Option<Reply> {
    let (client, token) = world.credentials.as_ref()?;
    let is_signed = !request.path.starts_with("/api/")
        || request.headers.contains_key("authorization") && is_signed_by(request, address, client, token);
    let message = "Bad mac\n\n---\n\n* method:     task\n* errorCode:  AuthenticationFailed\n* statusCode: 401";
    (!is_signed).then(|| Reply::json(401, &json!({"code": "AuthenticationFailed", "message": message})))
}

fn count_pending(world: &World, pool: &str) -> Reply {
    let Some(pending) = world.pending.get(pool) else {
        return Reply::not_found(pool);
    };
    let (provisioner, worker_type) = pool.split_once('/').unwrap_or((pool, ""));
    Reply::json(
        200,
        &json!({
            "taskQueueId": pool, "provisionerId": provisioner, "workerType": worker_type, "pendingTasks": pending,
        }),
    )
}

/// A page of a task group; the token of a page is the number of its first task.
fn list_group(tasks: &[Value], target: &str) -> Reply {
    let token = target.split("continuationToken=").nth(1).unwrap_or("0");
    let first: usize = token
        .split('&')
        .next()
        .unwrap_or_default()
        .parse()
        .expect("a token of ours");
    let page: Vec<&Value> = tasks.iter().skip(first).take(2).collect();
    match first + 2 < tasks.len() {
        true => Reply::json(
            200,
            &json!({"tasks": page, "continuationToken": (first + 2).to_string()}),
        ),
        false => Reply::json(200, &json!({"tasks": page})),
    }
}

fn give(state: &State, task: &str, name: &str, address: SocketAddr) -> Reply {
    let Some(artifact) = state.world.artifacts.get(task).and_then(|all| all.get(name)) else {
        return Reply::not_found("Artifact");
    };
    let location = match &artifact.storage {
        Storage::Inline => return content(artifact),
        Storage::Elsewhere(url) => url.clone(),
        Storage::Redirected => format!("http://{address}/__store/{task}/{name}"),
    };
    let mut reply = Reply::json(303, &json!({"storageType": "s3", "url": location}));
    reply.headers.insert("location".to_owned(), location);
    reply
}

fn content(artifact: &Artifact) -> Reply {
    if !artifact.gzip {
        return Reply {
            status: 200,
            headers: BTreeMap::new(),
            body: artifact.content.clone().into_bytes(),
        };
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder
        .write_all(artifact.content.as_bytes())
        .expect("memory takes everything");
    let body = encoder.finish().expect("memory takes everything");
    Reply {
        status: 200,
        headers: [("content-encoding".to_owned(), "gzip".to_owned())].into(),
        body,
    }
}

fn create_task(state: &mut State, task: &str, definition: &Value) -> Reply {
    if state.world.tasks.contains_key(task) {
        return Reply::json(
            409,
            &json!({"code": "RequestConflict", "message": format!("task {task} already exists")}),
        );
    }
    state.world.tasks.insert(task.to_owned(), definition.clone());
    Reply::json(200, &json!({"status": {"taskId": task, "state": "unscheduled"}}))
}

/// Fires a hook: makes an action task as taskgraph's hooks do.
fn trigger(state: &mut State, hook: &str, payload: &Value) -> Reply {
    state.made += 1;
    let fixed = state
        .world
        .hook_answer
        .as_ref()
        .and_then(|answer| answer.pointer("/status/taskId")?.as_str());
    let task = fixed.map_or_else(|| format!("Action{:016}", state.made), str::to_owned);
    let created = match state.world.now {
        Some(now) => jiff::Timestamp::from_millisecond(now).expect("the test's time is one"),
        None => jiff::Timestamp::now(),
    };
    let user = |name: &str| payload.pointer(&format!("/user/{name}")).cloned().unwrap_or_default();
    let action = |name: &str| {
        payload
            .pointer(&format!("/decision/action/{name}"))
            .cloned()
            .unwrap_or_default()
    };
    let definition = json!({
        "taskGroupId": user("taskGroupId"),
        "created": created.to_string(),
        "metadata": {"description": action("description"), "name": format!("Action: {}", action("title"))},
        "payload": {"env": {
            "ACTION_TASK_GROUP_ID": user("taskGroupId"),
            "ACTION_TASK_ID": user("taskId").to_string(),
            "ACTION_INPUT": user("input").to_string(),
            "ACTION_CALLBACK": action("cb_name"),
        }},
        "tags": {"kind": "action-callback"},
        "extra": {"parent": user("taskGroupId"), "action": {"name": action("name")}},
    });
    state.world.tasks.insert(task.clone(), definition);
    let fire = json!({
        "firedBy": "triggerHook", "taskId": task, "taskCreateTime": created.to_string(), "result": "success",
        "error": "",
    });
    state.world.fires.entry(hook.to_owned()).or_default().insert(0, fire);
    match &state.world.hook_answer {
        Some(answer) => Reply::json(200, answer),
        None => Reply::json(
            200,
            &json!({"status": {"taskId": task, "state": "pending", "runs": []}}),
        ),
    }
}

/// The Hawk header of a signed request.
fn signature(request: &Recorded) -> hawk::Header {
    let header = request.headers.get("authorization").expect("the request is signed");
    let header = header.strip_prefix("Hawk ").expect("by Hawk");
    header.parse().expect("in its form")
}

/// Whether a request, and its body, are signed by a client with this token.
fn is_signed_by(request: &Recorded, address: SocketAddr, client: &str, token: &str) -> bool {
    let header = signature(request);
    let host = address.ip().to_string();
    let hash = (!request.body.is_null()).then(|| {
        let body = request.body.to_string();
        hawk::PayloadHasher::hash("application/json", hawk::SHA256, body).expect("a hash")
    });
    let signed = hawk::RequestBuilder::new(&request.method, &host, address.port(), &request.target)
        .hash(hash.as_deref())
        .request();
    let key = hawk::Key::new(token, hawk::SHA256).expect("a key");
    let is_fresh = std::time::Duration::from_secs(300);
    header.id.as_deref() == Some(client) && signed.validate_header(&header, &key, is_fresh)
}

/// Checks a request's Hawk signature, and that of its body; returns the decoded `ext`.
pub fn check_signature(request: &Recorded, root_url: &str, client: &str, token: &str) -> Value {
    use base64::Engine as _;
    let address: SocketAddr = root_url
        .strip_prefix("http://")
        .expect("http")
        .parse()
        .expect("an address");
    let header = signature(request);
    assert_eq!(header.id.as_deref(), Some(client));
    assert!(is_signed_by(request, address, client, token), "the signature is wrong");
    let ext = header
        .ext
        .map(|ext| base64::engine::general_purpose::STANDARD.decode(ext).expect("base64"));
    ext.map_or(Value::Null, |ext| serde_json::from_slice(&ext).expect("JSON"))
}

/// All recorded requests by method and path, for assertions.
pub fn counts(requests: &[Recorded]) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for request in requests {
        *counts
            .entry(format!("{} {}", request.method, request.path))
            .or_default() += 1;
    }
    counts
}
