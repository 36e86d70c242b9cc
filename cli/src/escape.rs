//! Text from the network, made fit for a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with everything escaped that would move the cursor, change colours, give the terminal commands, or reorder what
/// stands there: the control characters C0, DEL and C1, line separators, and what controls the direction of writing.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\t' | '\n' | '\r' => escaped.extend(character.escape_default()),
            '\0'..='\u{ff}' if is_harmful(character) => {
                write!(escaped, "\\x{:02x}", character as u32).unwrap_or_default()
            }
            _ if is_harmful(character) => escaped.extend(character.escape_unicode()),
            _ => escaped.push(character),
        }
    }
    escaped.into()
}

/// JSON with the same characters escaped, which RFC 8259 §7 allows in strings for any: its reader sees no difference, and a terminal
/// does nothing that it is not to do. Between strings there are newlines alone of them.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    let is_harmful = |character| is_harmful(character) && character != '\n';
    if !text.contains(is_harmful) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        // Each of them is one unit of UTF-16.
        match is_harmful(character) {
            true => write!(escaped, "\\u{:04x}", character as u32).unwrap_or_default(),
            false => escaped.push(character),
        }
    }
    escaped.into()
}

fn is_harmful(character: char) -> bool {
    // Unicode's categories Cc, Zl and Zp, and its property Bidi_Control.
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}')
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::{json, printable};

    #[test]
    fn harmless_text_is_left_as_it_is() {
        for text in ["", "hello", "grüß dich, שלום, 你好 👩‍👩‍👧", r#"{"path": "C:\\x"}"#] {
            assert_eq!(printable(text), text);
        }
    }

    #[test]
    fn json_says_the_same_without_controls() {
        let value = serde_json::json!({ "a": "\x1b[2J\x7f\u{9b}31m\u{202e}\u{2028}\u{61c}", "b": "grüß dich 👩‍👩‍👧" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let escaped = json(&text);
        assert!(!escaped.contains(|character| super::is_harmful(character) && character != '\n'), "{escaped}");
        assert!(escaped.contains("\\u009b31m\\u202e\\u2028\\u061c") && escaped.contains("grüß dich 👩‍👩‍👧"), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }

    #[test]
    fn controls_are_escaped() {
        assert_eq!(printable("\x1b[2J\x07"), r"\x1b[2J\x07");
        assert_eq!(printable("a\tb\r\nc\0\x7f"), r"a\tb\r\nc\x00\x7f");
        // The C1 form of ESC [, which a terminal in 8-bit mode obeys.
        assert_eq!(printable("\u{9b}31m"), r"\x9b31m");
        assert_eq!(printable("gpj.\u{202e}exe\u{2028}"), r"gpj.\u{202e}exe\u{2028}");
    }
}
