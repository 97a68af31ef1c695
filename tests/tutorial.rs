//! The tutorial, walked: its files are written, its commands run, and what it shows is what they say.
//!
//! A block with `file=NAME` is that file, one with `append=NAME` goes to its end, `sh run` is run and says nothing, and in
//! `console` each line after `$ ` is run and what follows is what it says. `…` stands for anything: on a line of its own
//! for any lines, else for any text. With `SHERIFFD_BLESS=1` what is shown is written anew; read it before it is committed.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

const DOCUMENT: &str = "docs/tutorial.md";
const FOLDER: &str = "docs/tutorial";

/// What stands between two fences, and in which lines of the document.
struct Block<'a> {
    info: &'a str,
    lines: Vec<&'a str>,
    begins: usize,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let body = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        blocks.push(Block {
            info,
            lines: body.collect(),
            begins: number + 1,
        });
    }
    blocks
}

/// Runs a command in the reader's folder; returns all that it says.
fn run(folder: &Path, command: &str) -> (bool, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_sheriffd"));
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {command}\n}} 2>&1")])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", program.parent().unwrap().display()))
        .env_remove("SHERIFFD_CONFIG")
        .output()
        .expect("sh can be started");
    (
        output.status.success(),
        String::from_utf8(output.stdout).expect("what it says is text"),
    )
}

/// Whether a line is the one that is shown.
fn is_line(shown: &str, said: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = said.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    rest.is_empty() || last == Some("")
}

/// Whether what was said is what is shown.
fn is_shown(shown: &[&str], said: &[&str]) -> bool {
    match shown.split_first() {
        None => said.is_empty(),
        Some((&"…", rest)) => (0..=said.len()).any(|skipped| is_shown(rest, &said[skipped..])),
        Some((first, rest)) => said
            .split_first()
            .is_some_and(|(line, more)| is_line(first, line) && is_shown(rest, more)),
    }
}

/// What differs from one run to the next.
fn lasting(said: &str) -> String {
    let is_timed = |line: &str| line.ends_with(" messages a second");
    let line = |line: &str| match is_timed(line) {
        true => "  … seconds, … messages a second".to_owned(),
        false => line.to_owned(),
    };
    said.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Runs the commands of a block; returns what it should show, or what is wrong.
fn walk(block: &Block<'_>, folder: &Path) -> Result<String, String> {
    let mut anew = String::new();
    let mut lines = block.lines.iter().copied().peekable();
    while let Some(line) = lines.next() {
        let command = line.strip_prefix("$ ").expect("a console begins with a command");
        let mut shown = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
            shown.push(line);
        }
        let (_, said) = run(folder, command);
        let _ = writeln!(anew, "$ {command}");
        if !said.is_empty() {
            let _ = writeln!(anew, "{}", lasting(said.trim_end_matches('\n')));
        }
        let said: Vec<&str> = said.lines().collect();
        if !is_shown(&shown, &said) && std::env::var_os("SHERIFFD_BLESS").is_none() {
            return Err(format!(
                "$ {command}\nshown:\n{}\nsaid:\n{}",
                shown.join("\n"),
                said.join("\n")
            ));
        }
    }
    Ok(anew)
}

#[test]
fn the_tutorial_shows_what_its_commands_say() {
    let text = fs::read_to_string(DOCUMENT).unwrap();
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    for entry in fs::read_dir(FOLDER).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    let (mut commands, mut anew) = (0, Vec::new());
    for block in blocks(&text) {
        let named = |key: &str| block.info.split(' ').find_map(|word| word.strip_prefix(key));
        let body: String = block.lines.iter().map(|line| format!("{line}\n")).collect();
        if let Some(name) = named("file=") {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, body).unwrap();
        } else if let Some(name) = named("append=") {
            let file = folder.join(name);
            let before = fs::read_to_string(&file).unwrap();
            fs::write(&file, format!("{before}\n{body}")).unwrap();
        } else if block.info == "sh run" {
            let (succeeded, said) = run(folder, &body);
            assert!(succeeded && said.is_empty(), "{body}{said}");
        } else if block.info == "console" {
            let shown = walk(&block, folder).unwrap_or_else(|wrong| panic!("{DOCUMENT}:{}: {wrong}", block.begins));
            commands += shown.lines().filter(|line| line.starts_with("$ ")).count();
            anew.push((block.begins, block.lines.len(), shown));
        }
    }
    assert!(commands >= 9, "{commands}");
    if std::env::var_os("SHERIFFD_BLESS").is_some() {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (begins, length, shown) in anew.into_iter().rev() {
            lines.splice(begins..begins + length, shown.lines().map(str::to_owned));
        }
        fs::write(DOCUMENT, lines.join("\n") + "\n").unwrap();
    }
}

#[test]
fn an_ellipsis_stands_for_any_text_or_any_lines_and_for_nothing_else() {
    assert!(is_line("took … seconds", "took 0.3 seconds") && is_line("a…", "abc") && is_line("a", "a"));
    assert!(!is_line("a", "ab") && !is_line("… b", "a c") && !is_line("a… c", "ab"));
    assert!(is_shown(&["a", "…", "z"], &["a", "b", "c", "z"]) && is_shown(&["…"], &[]));
    assert!(!is_shown(&["a", "…"], &["b"]) && !is_shown(&["a"], &["a", "b"]));
}
