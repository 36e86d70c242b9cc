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

fn is_harmful(character: char) -> bool {
    // Unicode's categories Cc, Zl and Zp, and its property Bidi_Control.
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}')
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn harmless_text_is_left_as_it_is() {
        for text in ["", "hello", "grüß dich, שלום, 你好 👩‍👩‍👧", r#"{"path": "C:\\x"}"#] {
            assert_eq!(printable(text), text);
        }
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
