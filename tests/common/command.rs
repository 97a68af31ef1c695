//! The program as its users start it.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs the program with these arguments to its end.
pub fn sheriffd<T: AsRef<OsStr>>(arguments: &[T]) -> Output {
    sheriffd_reading(arguments, b"")
}

/// Runs the program with these arguments and this standard input to its end.
pub fn sheriffd_reading<T: AsRef<OsStr>>(arguments: &[T], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sheriffd"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // Who does not read its input may have ended already.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("the program ends");
    writer.join().expect("the input is written");
    output
}

/// Runs the program, which must succeed, and reads the JSON it prints.
pub fn json<T: AsRef<OsStr>>(arguments: &[T]) -> Value {
    read(&sheriffd(arguments))
}

/// The JSON that the program printed; it must have succeeded.
pub fn read(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "exit {:?}: {}",
        output.status.code(),
        errors(output)
    );
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// What the program wrote to standard error.
pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Writes JSON Lines into a file of a folder.
pub fn write_lines(folder: &Path, name: &str, lines: impl IntoIterator<Item = Value>) -> PathBuf {
    let path = folder.join(name);
    let text: String = lines.into_iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, text).expect("the folder is writable");
    path
}
