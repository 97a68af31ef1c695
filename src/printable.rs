//! What others wrote, on its way to a terminal or a log: it moves no cursor and begins no line.
//!
//! In: text of messages, services and files (labels, failures, words of a CI). Out: the same text, with control characters
//! shown instead of obeyed, as JSON escapes them: JSON that holds them stays the same JSON. Never: hiding that they were
//! there.

use std::fmt;
use std::io::{self, Write};

/// Writes text on one line: each control character as its escape (`\n`, `\u001b`).
///
/// # Errors
/// `out` does not take it.
pub fn write_line(out: &mut dyn fmt::Write, text: &str) -> fmt::Result {
    for character in text.chars() {
        if is_control(character) {
            out.write_str(&escape(character))?;
        } else {
            out.write_char(character)?;
        }
    }
    Ok(())
}

/// A control character as JSON writes it.
fn escape(control: char) -> String {
    match control {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        other => format!("\\u{:04x}", u32::from(other)),
    }
}

/// Control characters, and those that turn the direction of what stands around them.
fn is_control(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A terminal or file that gets what a command prints: line ends and tabs are ours, every other control character is
/// shown as its escape.
pub struct Printable<W> {
    inner: W,
    /// The beginning of a character whose end has not been written yet.
    begun: Vec<u8>,
}

impl<W: Write> Printable<W> {
    /// Prints into `inner`.
    pub fn new(inner: W) -> Printable<W> {
        Printable {
            inner,
            begun: Vec::new(),
        }
    }

    fn print(&mut self, text: &str) -> io::Result<()> {
        let mut rest = text;
        while let Some(at) = rest.find(|character| is_control(character) && !matches!(character, '\n' | '\t')) {
            let (fine, from) = rest.split_at(at);
            self.inner.write_all(fine.as_bytes())?;
            let mut characters = from.chars();
            if let Some(control) = characters.next() {
                self.inner.write_all(escape(control).as_bytes())?;
            }
            rest = characters.as_str();
        }
        self.inner.write_all(rest.as_bytes())
    }
}

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Almost all that is printed is plain.
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t');
        if self.begun.is_empty() && bytes.iter().all(is_plain) {
            return self.inner.write_all(bytes).map(|()| bytes.len());
        }
        let joined;
        let mut rest = if self.begun.is_empty() {
            bytes
        } else {
            joined = [std::mem::take(&mut self.begun).as_slice(), bytes].concat();
            &joined
        };
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.print(text)?;
                    break;
                }
                Err(error) => {
                    let (sound, broken) = rest.split_at(error.valid_up_to());
                    // What was just found to be sound.
                    self.print(std::str::from_utf8(sound).unwrap_or_default())?;
                    let Some(length) = error.error_len() else {
                        self.begun = broken.to_vec();
                        break;
                    };
                    self.print("\u{fffd}")?;
                    rest = broken.get(length..).unwrap_or_default();
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn printed(pieces: &[&[u8]]) -> String {
        let mut out = Printable::new(Vec::new());
        for piece in pieces {
            out.write_all(piece).unwrap();
        }
        String::from_utf8(out.inner).unwrap()
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        let text = "C1 find-culprit\ttést-linux64/opt – ✓\n";
        assert_eq!(printed(&[text.as_bytes()]), text);
    }

    #[test]
    fn what_would_move_a_cursor_or_turn_the_text_is_shown() {
        assert_eq!(printed(&[b"a\x1b[2Jb\rc\x07"]), "a\\u001b[2Jb\\rc\\u0007");
        assert_eq!(printed(&["\u{9b}2J \u{202e}txt".as_bytes()]), "\\u009b2J \\u202etxt");
        let mut line = String::new();
        write_line(&mut line, "ok\n2026-06-01 ERROR forged").unwrap();
        assert_eq!(line, "ok\\n2026-06-01 ERROR forged");
    }

    #[test]
    fn a_character_that_comes_in_two_pieces_is_one() {
        assert_eq!(printed(&[b"\xc2", b"\x9bx", b"\xe2\x9c", b"\x93"]), "\\u009bx\u{2713}");
        assert_eq!(printed(&[b"a\xffb"]), "a\u{fffd}b");
    }

    proptest! {
        #[test]
        fn nothing_printed_controls_anything(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..8)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let text = printed(&pieces);
            prop_assert!(!text.contains(|c| is_control(c) && !matches!(c, '\n' | '\t')));
        }
    }
}
