//! The one way to the terminal.

use std::io::{self, IsTerminal as _, Write as _};

use anstyle::Style;

/// Where a command writes, and whether a person with colours reads it.
#[derive(Debug)]
pub(super) struct Output {
    styled: bool,
    width: Option<u16>,
    progress: bool,
}

impl Output {
    /// Standard output of this process. Styled only on a terminal that is not `dumb`, and when
    /// `NO_COLOR` is not set (<https://no-color.org>).
    pub(super) fn of_process() -> Self {
        let terminal = io::stdout().is_terminal();
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            styled: terminal && !forbidden && !dumb,
            width: terminal.then(terminal_width).flatten(),
            progress: io::stderr().is_terminal(),
        }
    }

    /// An output of a known form, for tests of what is written.
    #[cfg(test)]
    pub(super) fn plain(width: Option<u16>) -> Self {
        Self {
            styled: false,
            width,
            progress: false,
        }
    }

    /// The same with colours.
    #[cfg(test)]
    pub(super) fn styled() -> Self {
        Self {
            styled: true,
            width: None,
            progress: false,
        }
    }

    /// Whether to use colours.
    pub(super) fn is_styled(&self) -> bool {
        self.styled
    }

    /// Columns of the terminal; `None` when it is none, or does not tell.
    pub(super) fn width(&self) -> Option<u16> {
        self.width
    }

    /// Whether a person sees standard error: then progress is worth showing there.
    pub(super) fn shows_progress(&self) -> bool {
        self.progress
    }

    /// `text` in `style`, or as it is.
    pub(super) fn paint(&self, style: Style, text: &str) -> String {
        if self.styled {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    /// Writes an answer. Fails with `BrokenPipe` when nobody reads any more, which ends a command
    /// without a word.
    #[allow(
        clippy::unused_self,
        reason = "the one place that writes belongs to the type that knows how"
    )]
    pub(super) fn text(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Says something beside the answer, on standard error.
    pub(super) fn note(&self, text: &str) {
        self.say("note", text);
    }

    /// Says why there is no answer, on standard error.
    pub(super) fn error(&self, text: &str) {
        self.say("error", text);
    }

    #[allow(
        clippy::unused_self,
        reason = "the one place that writes belongs to the type that knows how"
    )]
    fn say(&self, kind: &str, text: &str) {
        // With standard error gone there is nobody left to tell.
        let _ = writeln!(io::stderr().lock(), "{kind}: {text}");
    }
}

fn terminal_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}
