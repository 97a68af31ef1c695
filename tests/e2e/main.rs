//! The whole daemon with everything real around it: the binary itself, a RabbitMQ node, messages that another client
//! library publishes, a Taskcluster that speaks the recorded wire format over HTTP and writes down what it is asked.

mod brakes;
mod broker;
#[path = "../common/bulk.rs"]
mod bulk;
#[path = "../common/ci_tree.rs"]
mod ci_tree;
mod configuration;
mod crash;
mod credentials;
#[path = "../common/eventually.rs"]
mod eventually;
#[path = "../common/fake_taskcluster.rs"]
mod fake_taskcluster;
mod floods;
mod hostile;
#[path = "../common/installation.rs"]
mod installation;
mod kills;
mod network;
mod nonsense;
mod orange;
#[path = "../common/publisher.rs"]
mod publisher;
#[path = "../common/rabbitmq.rs"]
mod rabbitmq;
mod reconcile;
mod setting;
mod store;
mod story;
#[path = "../common/tcp_proxy.rs"]
mod tcp_proxy;
#[path = "../common/verdict_sink.rs"]
mod verdict_sink;
