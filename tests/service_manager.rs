//! What the service manager hears.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use sheriffd::telemetry::service;

/// Tells a copy of this test binary that it is the service. Its environment is set before it starts: changing one's
/// own is not safe beside other threads.
const AS_SERVICE: &str = "SHERIFFD_TEST_AS_SERVICE";
const TEST: &str = "the_service_manager_hears_of_each_state";

#[test]
fn the_service_manager_hears_of_each_state() {
    if std::env::var_os(AS_SERVICE).is_some() {
        service::tell_ready().unwrap();
        service::tell_status("draining\nREADY=0").unwrap();
        service::tell_alive().unwrap();
        service::tell_stopping().unwrap();
        assert_eq!(service::watchdog_interval(), Some(Duration::from_secs(15)));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();

    let service = Command::new(std::env::current_exe().unwrap())
        .args([TEST, "--exact"])
        .env(AS_SERVICE, "1")
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .env("WATCHDOG_USEC", "30000000")
        .env_remove("WATCHDOG_PID")
        .output()
        .unwrap();

    assert!(service.status.success(), "{}", String::from_utf8_lossy(&service.stdout));
    let heard: Vec<String> = (0..4)
        .map(|_| {
            let mut message = [0; 256];
            let length = socket.recv(&mut message).unwrap();
            String::from_utf8_lossy(&message[..length]).trim_end().to_owned()
        })
        .collect();
    assert_eq!(
        heard,
        ["READY=1", "STATUS=draining READY=0", "WATCHDOG=1", "STOPPING=1"]
    );
}

#[test]
fn without_a_service_manager_nothing_happens() {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        service::tell_ready().unwrap();
        service::tell_stopping().unwrap();
    }
}
