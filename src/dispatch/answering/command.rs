//! Commands as people write them in a chat.

mod remedy;
#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

use crate::alert::SilenceMatcher;
use crate::record::closed_set;

use words::{before_for, leading_span, matchers, word};

/// The most requests that `/slow` lists.
const MOST_SLOW: u32 = 20;
/// How many it lists where it is not said.
const USUAL_SLOW: u32 = 5;
/// Longer is surely a slip.
const LONGEST_SPAN: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Characters of a reason or a comment in the audit.
const LONGEST_REASON: usize = 500;
/// Matchers of one silence.
const MOST_MATCHERS: usize = 16;

closed_set! {
    /// Over what time `/spend` adds up.
    SpendOver ("time of /spend") {
        /// Since midnight.
        Today => "today",
        /// The last seven days.
        Week => "7d",
        /// Since the first of the month.
        Month => "month",
    }
}

closed_set! {
    /// What `/spend` tells apart.
    SpendBy ("grouping of /spend") {
        /// Models.
        Model => "model",
        /// Channels.
        Channel => "channel",
        /// Clients' keys.
        Key => "key",
    }
}

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// How it stands.
    Status,
    /// What was spent.
    Spend {
        /// Over what time.
        over: SpendOver,
        /// By what.
        by: Option<SpendBy>,
    },
    /// How the channels are.
    Channels,
    /// The slowest requests.
    Slow {
        /// How many.
        most: u32,
    },
    /// Closes a channel.
    Disable {
        /// Which.
        channel: String,
        /// For how long; until somebody enables it where not said.
        span: Option<Duration>,
        /// Why.
        reason: Option<String>,
    },
    /// Opens a channel.
    Enable {
        /// Which.
        channel: String,
    },
    /// Silences alerts.
    Silence {
        /// Which.
        matchers: Vec<SilenceMatcher>,
        /// For how long.
        span: Duration,
        /// Why; may be empty.
        comment: String,
    },
    /// What can be asked for.
    Help,
}

/// Why a text that begins like a command is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadCommand {
    /// There is none of this name.
    Unknown(String),
    /// `/spend` takes a time and a grouping, not this.
    SpendWord(String),
    /// `/slow` takes a number, not this.
    SlowWord(String),
    /// `/disable` or `/enable` (this one) names no channel.
    NoChannel(&'static str),
    /// `/enable` takes a channel and nothing else.
    EnableMore(String),
    /// What follows `for` is no length of time.
    Span(String),
    /// `/silence` does not say which alerts.
    SilenceNothing,
    /// `/silence` does not say how long.
    SilenceForever,
    /// This is no `name=value`.
    Matcher(String),
    /// A text is too long for the audit.
    TooLong,
}

const NAMES: [&str; 8] = [
    "status", "spend", "channels", "slow", "disable", "enable", "silence", "help",
];

impl Command {
    /// What `text` asks for; `None` where it is no command, or is meant for another bot than `bot`.
    #[must_use]
    pub fn parse(text: &str, bot: Option<&str>) -> Option<Result<Self, BadCommand>> {
        let text = text.trim().strip_prefix('/')?;
        let (head, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let name = match head.split_once('@') {
            None => head,
            Some((name, addressed)) => {
                let is_ours = bot.is_some_and(|own| own.eq_ignore_ascii_case(addressed));
                is_ours.then_some(name)?
            }
        };
        if name.is_empty() {
            return None;
        }
        Some(parse(&name.to_ascii_lowercase(), rest.trim()))
    }

    /// Whether it changes something.
    #[must_use]
    pub const fn changes(&self) -> bool {
        matches!(
            self,
            Self::Disable { .. } | Self::Enable { .. } | Self::Silence { .. }
        )
    }
}

fn parse(name: &str, rest: &str) -> Result<Command, BadCommand> {
    match name {
        "status" => Ok(Command::Status),
        "spend" => spend(rest),
        "channels" => Ok(Command::Channels),
        "slow" => slow(rest),
        "disable" => disable(rest),
        "enable" => enable(rest),
        "silence" => silence(rest),
        // Telegram's own first command of every chat with a bot.
        "help" | "start" => Ok(Command::Help),
        other => Err(BadCommand::Unknown(other.to_owned())),
    }
}

fn spend(rest: &str) -> Result<Command, BadCommand> {
    let (mut over, mut by) = (SpendOver::Today, None);
    let mut words = rest.split_whitespace();
    while let Some(word) = words.next() {
        let unknown = || BadCommand::SpendWord(word.to_owned());
        if word.eq_ignore_ascii_case("by") {
            let what = words.next().ok_or_else(unknown)?;
            let what: SpendBy = what
                .parse()
                .map_err(|_| BadCommand::SpendWord(what.to_owned()))?;
            by = Some(what);
        } else {
            over = word.to_ascii_lowercase().parse().map_err(|_| unknown())?;
        }
    }
    Ok(Command::Spend { over, by })
}

fn slow(rest: &str) -> Result<Command, BadCommand> {
    let most = match rest {
        "" => USUAL_SLOW,
        number => number
            .parse()
            .ok()
            .filter(|count| (1..=MOST_SLOW).contains(count))
            .ok_or_else(|| BadCommand::SlowWord(number.to_owned()))?,
    };
    Ok(Command::Slow { most })
}

fn disable(rest: &str) -> Result<Command, BadCommand> {
    let (channel, rest) = word(rest);
    if channel.is_empty() {
        return Err(BadCommand::NoChannel("disable"));
    }
    let (span, reason) = match word(rest) {
        (word, rest) if word.eq_ignore_ascii_case("for") => {
            let (span, rest) = leading_span(rest)?;
            (Some(span), rest)
        }
        _ => (None, rest),
    };
    let reason = bounded(reason)?;
    Ok(Command::Disable {
        channel: channel.to_owned(),
        span,
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
    })
}

fn enable(rest: &str) -> Result<Command, BadCommand> {
    match word(rest) {
        ("", _) => Err(BadCommand::NoChannel("enable")),
        (channel, "") => Ok(Command::Enable {
            channel: channel.to_owned(),
        }),
        (_, more) => Err(BadCommand::EnableMore(more.to_owned())),
    }
}

fn silence(rest: &str) -> Result<Command, BadCommand> {
    let (what, after) = before_for(rest).ok_or(match rest {
        "" => BadCommand::SilenceNothing,
        _ => BadCommand::SilenceForever,
    })?;
    let (span, comment) = leading_span(after)?;
    let matchers = matchers(what)?;
    Ok(Command::Silence {
        matchers,
        span,
        comment: bounded(comment)?.to_owned(),
    })
}

fn bounded(text: &str) -> Result<&str, BadCommand> {
    if text.chars().count() > LONGEST_REASON {
        return Err(BadCommand::TooLong);
    }
    Ok(text)
}
