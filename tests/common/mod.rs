//! What several test binaries start for themselves. Each uses its part.

pub mod rabbitmq;
pub mod tcp_proxy;
