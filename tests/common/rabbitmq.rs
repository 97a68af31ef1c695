//! A RabbitMQ node for one test binary: its own name, ports, database, log and port mapper, all on loopback. Tests that do
//! nothing to the node itself share one, each in a virtual host of its own.
//!
//! Two test runs at once do not meet. The node ends with the test binary, however that ends: it runs under a shell
//! that waits for the pipe from us to close, and stops the node by its process id then.

// Every test binary uses another part of it.
#![allow(dead_code)]

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lapin::{Connection, ConnectionProperties};
use tempfile::TempDir;

/// A user who may do everything.
pub const ADMIN: (&str, &str) = ("guest", "guest");
/// A user with the rights of a Pulse user: reads every exchange, owns `queue/sheriff/…` and `exchange/sheriff/…`.
pub const SHERIFF: (&str, &str) = ("sheriff", "correct horse");
/// A user who may log in and nothing else.
pub const NOBODY: (&str, &str) = ("nobody", "battery staple");

/// Where the server's scripts are, besides the search path: the search path's ones may change the user.
const SERVER_SCRIPTS: [&str; 3] = [
    "/usr/lib/rabbitmq/bin",
    "/usr/local/lib/rabbitmq/bin",
    "/opt/rabbitmq/sbin",
];
/// A loaded two-core machine starts a node in 5 to 20 seconds.
const START_TIMEOUT: Duration = Duration::from_secs(90);
/// A free port may be taken by somebody else before the node binds it.
const START_ATTEMPTS: usize = 3;

/// The virtual hosts of the shared node: at least as many as the tests of one binary that ask for one.
const SHARED_VHOSTS: usize = 30;

/// A running node.
pub struct RabbitMq {
    directory: TempDir,
    scripts: PathBuf,
    ports: Ports,
    make: Make,
    running: Option<Running>,
}

/// A virtual host of a node: the exchanges and queues in it meet no others.
#[derive(Clone)]
pub struct Vhost {
    port: u16,
    name: String,
}

/// What a node is to be like.
#[derive(Clone, Copy)]
struct Make {
    tls: bool,
    schedulers: Schedulers,
    /// Virtual hosts besides `/`.
    vhosts: usize,
}

/// One that shares the machine with the tests, and has the usual virtual host alone.
const MODEST: Make = Make {
    tls: false,
    schedulers: Schedulers::One,
    vhosts: 0,
};

struct Running {
    shell: Child,
    /// Closing it ends the node, and removes its directory unless `keep` was the last word.
    lifeline: Option<ChildStdin>,
}

/// How many threads of the node's virtual machine do its work.
#[derive(Clone, Copy)]
enum Schedulers {
    /// One: the tests share the machine.
    One,
    /// One for each core.
    AllCores,
}

impl Schedulers {
    fn argument(self) -> &'static str {
        match self {
            Schedulers::One => "+S 1:1",
            Schedulers::AllCores => "",
        }
    }
}

#[derive(Clone, Copy)]
struct Ports {
    amqp: u16,
    amqps: u16,
    distribution: u16,
    mapper: u16,
}

/// The node that the tests of this binary share.
pub fn shared() -> &'static RabbitMq {
    static NODE: OnceLock<RabbitMq> = OnceLock::new();
    NODE.get_or_init(|| {
        RabbitMq::make(Make {
            vhosts: SHARED_VHOSTS,
            ..MODEST
        })
    })
}

/// A virtual host of the shared node that no other test of this binary has.
pub fn shared_vhost() -> Vhost {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(
        number < SHARED_VHOSTS,
        "the shared node needs more virtual hosts: SHARED_VHOSTS"
    );
    Vhost {
        port: shared().port(),
        name: vhost_name(number),
    }
}

fn vhost_name(number: usize) -> String {
    format!("test-{number}")
}

impl Vhost {
    /// Where no broker is.
    pub fn nowhere() -> Vhost {
        Vhost {
            port: 1,
            name: "/".to_owned(),
        }
    }

    /// The port for AMQP without TLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its name at the broker.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same one, seen through another port: one that leads to the node's.
    pub fn through(&self, port: u16) -> Vhost {
        Vhost { port, ..self.clone() }
    }

    /// A URL for other clients, as the administrator.
    pub fn admin_url(&self) -> String {
        let name = self.name.replace('/', "%2f");
        format!("amqp://{}:{}@127.0.0.1:{}/{name}", ADMIN.0, ADMIN.1, self.port)
    }

    /// A connection as the administrator, for arranging and looking.
    pub async fn admin(&self) -> Connection {
        Connection::connect(&self.admin_url(), ConnectionProperties::default())
            .await
            .expect("the administrator connects")
    }
}

impl RabbitMq {
    /// Starts a node of one's own.
    pub fn start() -> RabbitMq {
        RabbitMq::make(MODEST)
    }

    /// Starts a node that uses the whole machine, as one in service does: for benches.
    #[allow(dead_code)]
    pub fn start_unbound() -> RabbitMq {
        RabbitMq::make(Make {
            schedulers: Schedulers::AllCores,
            ..MODEST
        })
    }

    /// Starts a node that also speaks TLS, with a certificate for `localhost` of [`RabbitMq::ca_file`].
    pub fn start_with_tls() -> RabbitMq {
        RabbitMq::make(Make { tls: true, ..MODEST })
    }

    fn make(make: Make) -> RabbitMq {
        let scripts = server_scripts();
        for attempt in 1.. {
            let directory = tempfile::Builder::new()
                .prefix("sheriffd-rabbitmq-")
                .tempdir()
                .expect("a temporary directory");
            let mut node = RabbitMq {
                directory,
                scripts: scripts.clone(),
                ports: Ports::free(),
                make,
                running: None,
            };
            node.write_configuration();
            match node.boot() {
                Ok(()) => return node,
                Err(log) if attempt == START_ATTEMPTS => panic!("RabbitMQ does not start:\n{log}"),
                Err(_) => {}
            }
        }
        unreachable!("the loop ends by its last attempt")
    }

    /// The port for AMQP without TLS.
    pub fn port(&self) -> u16 {
        self.ports.amqp
    }

    /// The port for AMQP with TLS.
    pub fn tls_port(&self) -> u16 {
        self.ports.amqps
    }

    /// The authority that signed the node's certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The virtual host that every node has.
    pub fn vhost(&self) -> Vhost {
        Vhost {
            port: self.ports.amqp,
            name: "/".to_owned(),
        }
    }

    /// A connection to it as the administrator, for arranging and looking.
    pub async fn admin(&self) -> Connection {
        self.vhost().admin().await
    }

    /// Stops the node in good order; its data stay.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            if let Some(mut lifeline) = running.lifeline.take() {
                // It fails where the shell has ended by itself: then there is nothing to stop.
                let _ = lifeline.write_all(b"keep\n");
            }
            running.shell.wait().expect("the node's shell can be waited for");
        }
    }

    /// Starts the node again after [`RabbitMq::stop`], on the same ports with the same data.
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "the node is running");
        if let Err(log) = self.boot() {
            panic!("RabbitMQ does not start again:\n{log}");
        }
    }

    /// Runs a command of the node's own tool against it.
    pub fn control(&self, arguments: &[&str]) {
        let output = Command::new(self.scripts.join("rabbitmqctl"))
            .args(["--node", &self.name()])
            .args(arguments)
            // The tool knows the node by the secret in this folder.
            .env("HOME", self.directory.path())
            .env("ERL_EPMD_PORT", self.ports.mapper.to_string())
            .output()
            .expect("rabbitmqctl can be started");
        assert!(
            output.status.success(),
            "rabbitmqctl {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn name(&self) -> String {
        format!("sheriffd-{}-{}@localhost", std::process::id(), self.ports.amqp)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_configuration(&self) {
        let mut configuration = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\nload_definitions = {}\ndisk_free_limit.absolute = 50MB\n\
             log.file.level = warning\nheartbeat = 30\n",
            self.ports.amqp,
            self.path("definitions.json").display(),
        );
        if self.make.tls {
            make_certificates(self.directory.path());
            let file = |name: &str| self.path(name).display().to_string();
            configuration.push_str(&format!(
                "listeners.ssl.1 = 127.0.0.1:{}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
                 ssl_options.keyfile = {}\nssl_options.verify = verify_none\n\
                 ssl_options.fail_if_no_peer_cert = false\n",
                self.ports.amqps,
                file("ca.pem"),
                file("server.pem"),
                file("server.key"),
            ));
        }
        fs::write(self.path("rabbitmq.conf"), configuration).expect("the configuration is written");
        fs::write(self.path("definitions.json"), definitions(self.make.vhosts)).expect("the definitions are written");
        fs::write(self.path("enabled_plugins"), "[].\n").expect("the plug-ins are written");
    }

    /// Starts the processes and waits for the port; the log when they do not come up.
    fn boot(&mut self) -> Result<(), String> {
        let node = self.name();
        let log = fs::File::create(self.path("output.log")).expect("the log is created");
        // The shell is the one process that we start, in a group of its own. When our end of its standard input
        // closes, it asks the node to stop, gives it time, and ends what is left of both by process id. A test binary
        // that ends does not drop its statics: then nobody says `keep`, and the shell removes the directory too.
        let script = r#"
            epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 </dev/null & mapper=$!
            "$1" </dev/null & node=$!
            ( while kill -0 $node 2>/dev/null; do sleep 0.2; done; kill -HUP $$ ) 2>/dev/null & watch=$!
            trap 'kill $mapper; exit 1' HUP
            read -r last_word
            trap '' HUP
            kill $watch 2>/dev/null
            kill -TERM $node 2>/dev/null
            for _ in $(seq 100); do kill -0 $node 2>/dev/null || break; sleep 0.1; done
            kill -KILL $node 2>/dev/null
            kill $mapper 2>/dev/null
            [ "$last_word" = keep ] || rm -rf "$2"
            exit 0
        "#;
        let mut shell = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(self.scripts.join("rabbitmq-server"))
            .arg(self.directory.path())
            .process_group(0)
            .env_remove("NOTIFY_SOCKET")
            .env("HOME", self.directory.path())
            .env("ERL_EPMD_PORT", self.ports.mapper.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", node)
            .env("RABBITMQ_CONFIG_FILE", self.path("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", self.path("advanced.config"))
            .env("RABBITMQ_CONF_ENV_FILE", self.path("rabbitmq-env.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.path("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", self.path("mnesia"))
            .env("RABBITMQ_LOG_BASE", self.path("log"))
            .env("RABBITMQ_PID_FILE", self.path("node.pid"))
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string())
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                // No polling by idle threads: the tests share the machine.
                format!(
                    "-kernel inet_dist_use_interface {{127,0,0,1}} +sbwt none +sbwtdcpu none +sbwtdio none {}",
                    self.make.schedulers.argument()
                ),
            )
            // Straight to the virtual machine instead of through a second shell that would have to be stopped too.
            .env("RABBITMQ_ALLOW_INPUT", "1")
            .env("RABBITMQ_SERVER_START_ARGS", "-noinput")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("the log is shared"))
            .stderr(log)
            .spawn()
            .expect("a shell can be started");
        let lifeline = shell.stdin.take();
        self.running = Some(Running { shell, lifeline });
        self.wait_for_port()
    }

    fn wait_for_port(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        let port = if self.make.tls {
            self.ports.amqps
        } else {
            self.ports.amqp
        };
        while Instant::now() < deadline {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(());
            }
            let running = self.running.as_mut().expect("the node was started");
            if running
                .shell
                .try_wait()
                .expect("the node's shell can be asked")
                .is_some()
            {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.stop();
        Err(fs::read_to_string(self.path("output.log")).unwrap_or_else(|error| error.to_string()))
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Ports {
    /// Four different free ports.
    fn free() -> Ports {
        let holders: Vec<TcpListener> = (0..4)
            .map(|_| TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port"))
            .collect();
        let port = |index: usize| {
            holders[index]
                .local_addr()
                .expect("a bound socket has an address")
                .port()
        };
        Ports {
            amqp: port(0),
            amqps: port(1),
            distribution: port(2),
            mapper: port(3),
        }
    }
}

fn server_scripts() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    SERVER_SCRIPTS
        .iter()
        .map(PathBuf::from)
        .chain(std::env::split_paths(&path))
        .find(|directory| directory.join("rabbitmq-server").is_file())
        .expect("RabbitMQ is not installed, and these tests need a real one: run scripts/install-test-deps.sh")
}

/// Users as in the documentation of the constants, in `/` and in this many virtual hosts more. Exchanges are declared by the
/// tests.
fn definitions(vhosts: usize) -> String {
    let user = |(name, password): (&str, &str), tags: &str| {
        format!(r#"{{"name":"{name}","password":"{password}","tags":"{tags}"}}"#)
    };
    let own = "^(queue/sheriff/.*|exchange/sheriff/.*)$";
    let rights = [
        (ADMIN.0, ".*", ".*", ".*"),
        (SHERIFF.0, own, own, "^(queue/sheriff/.*|exchange/.*)$"),
        (NOBODY.0, "^$", "^$", "^$"),
    ];
    let hosts: Vec<String> = std::iter::once("/".to_owned())
        .chain((0..vhosts).map(vhost_name))
        .collect();
    let named = hosts.iter().map(|host| format!(r#"{{"name":"{host}"}}"#));
    let permissions = hosts.iter().flat_map(|host| {
        rights.map(|(name, configure, write, read)| {
            format!(
                r#"{{"user":"{name}","vhost":"{host}","configure":"{configure}","write":"{write}","read":"{read}"}}"#
            )
        })
    });
    format!(
        r#"{{"vhosts":[{}],"users":[{},{},{}],"permissions":[{}]}}"#,
        named.collect::<Vec<_>>().join(","),
        user(ADMIN, "administrator"),
        user(SHERIFF, ""),
        user(NOBODY, ""),
        permissions.collect::<Vec<_>>().join(","),
    )
}

/// An authority, and a certificate of `localhost` signed by it.
fn make_certificates(directory: &Path) {
    fs::write(
        directory.join("server.ext"),
        "subjectAltName = DNS:localhost, IP:127.0.0.1\n",
    )
    .expect("written");
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    openssl(
        directory,
        &[
            &[
                "req",
                "-x509",
                "-days",
                "2",
                "-subj",
                "/CN=Test authority",
                "-keyout",
                "ca.key",
                "-out",
                "ca.pem",
            ],
            &key[..],
        ]
        .concat(),
    );
    openssl(
        directory,
        &[
            &[
                "req",
                "-subj",
                "/CN=localhost",
                "-keyout",
                "server.key",
                "-out",
                "server.csr",
            ],
            &key[..],
        ]
        .concat(),
    );
    openssl(
        directory,
        &[
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            "server.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "server.ext",
            "-out",
            "server.pem",
        ],
    );
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("the openssl command is not installed, and the TLS test needs it: run scripts/install-test-deps.sh");
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
