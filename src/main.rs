//! The `sheriffd` program: hands its arguments over to [`sheriffd::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    sheriffd::cli::main()
}
