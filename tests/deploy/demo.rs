//! A running daemon to ask: `sheriffd demo`, on a free port.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// The demo at its end, with its pages still up. Ends with this value.
pub struct Demo {
    process: Child,
    /// The port of its pages, on loopback.
    pub port: u16,
}

impl Demo {
    pub fn start() -> Demo {
        let mut process = Command::new(env!("CARGO_BIN_EXE_sheriffd"))
            .args(["demo", "--pushes", "4", "--speed", "0", "--keep-running"])
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let mut story = BufReader::new(process.stdout.take().expect("its output is piped"));
        let mut line = String::new();
        while !line.contains("stays up at") {
            line.clear();
            let read = story.read_line(&mut line).expect("its output can be read");
            assert!(read > 0, "the demo ended early");
        }
        let (_, after) = line.split_once("127.0.0.1:").expect("it tells its address");
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        let port = digits.parse().expect("a port is a number");
        Demo { process, port }
    }

    /// The body of a page.
    pub fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the pages are up");
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("it takes a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(" 200 "), "{path}: {head}");
        body.to_owned()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
