//! How text looks on a terminal.

/// A look, by parameters of SGR (ECMA-48 §8.3.117).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Dim,
    Bold,
    Good,
    Bad,
}

impl Style {
    /// `text` in this look where there are `colors`.
    pub(crate) fn paint(self, text: &str, colors: bool) -> String {
        let code = match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Dim => Some("2"),
            Self::Bad => Some("31"),
            Self::Good => Some("32"),
        };
        match code.filter(|_| colors && !text.is_empty()) {
            Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
            None => text.to_owned(),
        }
    }
}

/// Whether colours are wanted on a terminal: by NO_COLOR (<https://no-color.org>) they are not, and a dumb one has none.
pub(crate) fn colors(is_terminal: bool) -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    is_terminal && !is_unwanted && !is_dumb()
}

/// Whether the terminal can only show lines, one after another: those that the line editor does not take.
pub(crate) fn is_dumb() -> bool {
    let name = std::env::var_os("TERM").unwrap_or_default();
    ["dumb", "cons25", "emacs"].iter().any(|dumb| name.eq_ignore_ascii_case(dumb))
}
