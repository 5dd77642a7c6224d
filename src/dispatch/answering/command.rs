//! Commands as people write them in a chat.

use std::time::Duration;

use crate::alert::SilenceMatcher;
use crate::config::Language;
use crate::record::closed_set;

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

/// What stands before the word `for` and after it; a `for` between quotation marks is none.
fn before_for(text: &str) -> Option<(&str, &str)> {
    let mut from = 0;
    loop {
        let (at, word) = next_word(text, from)?;
        let end = at + word.len();
        if word.eq_ignore_ascii_case("for") {
            return Some((text[..at].trim(), text[end..].trim()));
        }
        from = end;
    }
}

/// The next word from a place on, and where it is; white space between quotation marks is part of it.
fn next_word(text: &str, from: usize) -> Option<(usize, &str)> {
    let rest = text.get(from..)?;
    let begin = from + (rest.len() - rest.trim_start().len());
    let rest = text.get(begin..).filter(|rest| !rest.is_empty())?;
    let (mut quoted, mut escaped) = (false, false);
    let end = rest.find(|char: char| {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return char.is_whitespace() && !quoted,
        }
        false
    });
    Some((begin, &rest[..end.unwrap_or(rest.len())]))
}

/// The matchers of `rule=Spend channel=a*`, of `Spend{channel="a"}` as alerts are written, or of a
/// rule's name, which may have spaces in it.
fn matchers(text: &str) -> Result<Vec<SilenceMatcher>, BadCommand> {
    let bad = |part: &str| BadCommand::Matcher(part.to_owned());
    let (rule, pairs) = match text.split_once('{') {
        Some((rule, labels)) if !rule.contains('=') => {
            let labels = labels.strip_suffix('}').ok_or_else(|| bad(text))?;
            (rule.trim(), labels)
        }
        _ if !text.contains('=') => (text, ""),
        _ => ("", text),
    };
    let mut matchers = Vec::new();
    if !rule.is_empty() {
        matchers.push(SilenceMatcher::new("rule".into(), rule.into()));
    }
    let mut rest = pairs.trim_matches([',', ' ']);
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(|| bad(rest))?;
        let name = name.trim();
        let (value, after) = value(after).ok_or_else(|| bad(rest))?;
        if name.is_empty() || name.contains(char::is_whitespace) || value.is_empty() {
            return Err(bad(rest));
        }
        matchers.push(SilenceMatcher::new(name.into(), value.into()));
        rest = after.trim_start_matches([',', ' ', '\t', '\n', '\u{3000}']);
    }
    match matchers.len() {
        0 => Err(BadCommand::SilenceNothing),
        1..=MOST_MATCHERS => Ok(matchers),
        _ => Err(BadCommand::TooLong),
    }
}

/// A value and what is behind it: quoted as in JSON, or up to the next white space or comma.
fn value(text: &str) -> Option<(String, &str)> {
    if text.starts_with('"') {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let value = values.next()?.ok()?;
        let rest = text.get(values.byte_offset()..)?;
        return Some((value, rest));
    }
    let end = text.find(|char: char| char == ',' || char.is_whitespace());
    let (value, rest) = text.split_at(end.unwrap_or(text.len()));
    Some((value.to_owned(), rest))
}

/// The first word and the rest.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

/// The length of time that `text` begins with (`1h 30m`), above zero, and the rest.
fn leading_span(text: &str) -> Result<(Duration, &str), BadCommand> {
    let (first, _) = word(text);
    let mut found = None;
    let mut end = 0;
    while let Some((at, word)) = next_word(text, end) {
        end = at + word.len();
        match humantime::parse_duration(&text[..end]) {
            Ok(span) => found = Some((span, &text[end..])),
            // `1 h`: the number alone is none.
            Err(_) if found.is_none() && word == first => {}
            Err(_) => break,
        }
    }
    match found {
        Some((span, rest)) if !span.is_zero() && span <= LONGEST_SPAN => Ok((span, rest.trim())),
        _ => Err(BadCommand::Span(first.to_owned())),
    }
}

fn bounded(text: &str) -> Result<&str, BadCommand> {
    if text.chars().count() > LONGEST_REASON {
        return Err(BadCommand::TooLong);
    }
    Ok(text)
}

impl BadCommand {
    /// What to write instead.
    #[must_use]
    pub fn remedy(&self, language: Language) -> String {
        match language {
            Language::En => self.in_english(),
            Language::Zh => self.in_chinese(),
        }
    }

    fn in_english(&self) -> String {
        match self {
            Self::Unknown(name) => match near(name) {
                Some(known) => format!("There is no /{name}. Did you mean /{known}?"),
                None => format!("There is no /{name}. /help lists what there is."),
            },
            Self::SpendWord(word) => format!(
                "“{word}” says nothing to /spend. Write /spend [today|7d|month] [by \
                 model|channel|key]."
            ),
            Self::SlowWord(word) => {
                format!("“{word}” is no number of requests. Write /slow 5; at most {MOST_SLOW}.")
            }
            Self::NoChannel("disable") => {
                "Say which channel: /disable CHANNEL [for 1h] [reason]. /channels lists them."
                    .to_owned()
            }
            Self::NoChannel(_) => {
                "Say which channel: /enable CHANNEL. /channels lists them.".to_owned()
            }
            Self::EnableMore(more) => {
                format!("/enable takes one channel; “{more}” is too much.")
            }
            Self::Span(text) => format!(
                "“{text}” is no length of time above zero. Write numbers with units: for 90s, \
                 for 1h 30m, for 7d."
            ),
            Self::SilenceNothing => {
                "Say which alerts: /silence RULE for 2h, or /silence rule=Spend channel=a* for 2h \
                 [comment]."
                    .to_owned()
            }
            Self::SilenceForever => "Say for how long: /silence … for 2h [comment].".to_owned(),
            Self::Matcher(part) => format!(
                "“{part}” is no name=value. Write /silence rule=Spend channel=a* for 2h; values \
                 with spaces go between quotation marks."
            ),
            Self::TooLong => format!(
                "That is too long: a reason has at most {LONGEST_REASON} characters, a silence at \
                 most {MOST_MATCHERS} matchers."
            ),
        }
    }

    fn in_chinese(&self) -> String {
        match self {
            Self::Unknown(name) => match near(name) {
                Some(known) => format!("没有 /{name} 命令。您是要 /{known} 吗？"),
                None => format!("没有 /{name} 命令。发送 /help 查看可用命令。"),
            },
            Self::SpendWord(word) => format!(
                "/spend 不认识“{word}”。请写 /spend [today|7d|month] [by model|channel|key]。"
            ),
            Self::SlowWord(word) => {
                format!("“{word}”不是请求数量。请写 /slow 5，最多 {MOST_SLOW}。")
            }
            Self::NoChannel("disable") => {
                "请指明渠道：/disable 渠道 [for 1h] [原因]。/channels 列出全部渠道。".to_owned()
            }
            Self::NoChannel(_) => {
                "请指明渠道：/enable 渠道。/channels 列出全部渠道。".to_owned()
            }
            Self::EnableMore(more) => format!("/enable 只接受一个渠道，“{more}”是多余的。"),
            Self::Span(text) => format!(
                "“{text}”不是大于零的时长。请写数字和单位：for 90s、for 1h 30m、for 7d。"
            ),
            Self::SilenceNothing => {
                "请指明告警：/silence 规则 for 2h，或 /silence rule=Spend channel=a* for 2h [备注]。"
                    .to_owned()
            }
            Self::SilenceForever => "请指明时长：/silence … for 2h [备注]。".to_owned(),
            Self::Matcher(part) => format!(
                "“{part}”不是 名称=值。请写 /silence rule=Spend channel=a* for 2h；含空格的值请加引号。"
            ),
            Self::TooLong => format!(
                "内容太长：原因最多 {LONGEST_REASON} 个字符，一次静默最多 {MOST_MATCHERS} 个条件。"
            ),
        }
    }
}

fn near(name: &str) -> Option<&'static str> {
    super::near(name, NAMES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Command, BadCommand> {
        Command::parse(text, Some("TollgateBot")).unwrap()
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        let Ok(Command::Silence { matchers, .. }) = parsed(text) else {
            panic!("{text}: {:?}", parsed(text));
        };
        let pair = |matcher: &SilenceMatcher| (matcher.name().into(), matcher.value().into());
        matchers.iter().map(pair).collect()
    }

    #[test]
    fn what_is_no_command_or_another_bots_is_left_alone() {
        for text in [
            "",
            "hello",
            "status",
            "/",
            "/ status",
            "/status@OtherBot",
            "see /status",
        ] {
            assert_eq!(Command::parse(text, Some("TollgateBot")), None, "{text}");
        }
        for text in [
            "/status",
            " /STATUS ",
            "/status@tollgatebot",
            "/status@TollgateBot x",
        ] {
            assert_eq!(parsed(text), Ok(Command::Status), "{text}");
        }
        // It does not know its own name yet.
        assert_eq!(Command::parse("/status@TollgateBot", None), None);
    }

    #[test]
    fn questions() {
        let spend = |over, by| Ok(Command::Spend { over, by });
        for (text, command) in [
            ("/spend", spend(SpendOver::Today, None)),
            ("/spend 7d", spend(SpendOver::Week, None)),
            (
                "/spend Month by key",
                spend(SpendOver::Month, Some(SpendBy::Key)),
            ),
            (
                "/spend by model 7d",
                spend(SpendOver::Week, Some(SpendBy::Model)),
            ),
            (
                "/spend yesterday",
                Err(BadCommand::SpendWord("yesterday".into())),
            ),
            ("/spend by", Err(BadCommand::SpendWord("by".into()))),
            ("/spend by day", Err(BadCommand::SpendWord("day".into()))),
            ("/channels", Ok(Command::Channels)),
            ("/slow", Ok(Command::Slow { most: 5 })),
            ("/slow 20", Ok(Command::Slow { most: 20 })),
            ("/slow 21", Err(BadCommand::SlowWord("21".into()))),
            ("/slow 0", Err(BadCommand::SlowWord("0".into()))),
            ("/slow -1", Err(BadCommand::SlowWord("-1".into()))),
            ("/help", Ok(Command::Help)),
            ("/start", Ok(Command::Help)),
            ("/stats", Err(BadCommand::Unknown("stats".into()))),
        ] {
            assert_eq!(parsed(text), command, "{text}");
        }
    }

    #[test]
    fn closing_and_opening() {
        let disable = |channel: &str, seconds: Option<u64>, reason: Option<&str>| {
            Ok(Command::Disable {
                channel: channel.into(),
                span: seconds.map(Duration::from_secs),
                reason: reason.map(Into::into),
            })
        };
        for (text, command) in [
            ("/disable azure-1", disable("azure-1", None, None)),
            ("/disable a too dear", disable("a", None, Some("too dear"))),
            ("/disable a for 1h", disable("a", Some(3600), None)),
            ("/disable a for 1h 30m", disable("a", Some(5400), None)),
            ("/disable a for 1 h", disable("a", Some(3600), None)),
            (
                "/disable a FOR 2h too  dear",
                disable("a", Some(7200), Some("too  dear")),
            ),
            (
                "/disable a\nfor 1h\nreason",
                disable("a", Some(3600), Some("reason")),
            ),
            ("/disable a for now", Err(BadCommand::Span("now".into()))),
            ("/disable a for 0s", Err(BadCommand::Span("0s".into()))),
            ("/disable a for 90", Err(BadCommand::Span("90".into()))),
            ("/disable a for", Err(BadCommand::Span(String::new()))),
            ("/disable", Err(BadCommand::NoChannel("disable"))),
            ("/enable", Err(BadCommand::NoChannel("enable"))),
            ("/enable a b", Err(BadCommand::EnableMore("b".into()))),
            (
                "/enable a",
                Ok(Command::Enable {
                    channel: "a".into(),
                }),
            ),
        ] {
            assert_eq!(parsed(text), command, "{text}");
        }
        let long = format!("/disable a {}", "x".repeat(LONGEST_REASON + 1));
        assert_eq!(parsed(&long), Err(BadCommand::TooLong));
    }

    #[test]
    fn silences() {
        let rule = |rule: &str| ("rule".to_owned(), rule.to_owned());
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (text, matchers) in [
            ("/silence Spend for 2h", vec![rule("Spend")]),
            ("/silence Daily Spend for 2h", vec![rule("Daily Spend")]),
            ("/silence channel=a* for 2h", vec![label("channel", "a*")]),
            (
                "/silence rule=Spend, channel=a for 2h",
                vec![rule("Spend"), label("channel", "a")],
            ),
            (
                r#"/silence model="a for b" key=k for 2h"#,
                vec![label("model", "a for b"), label("key", "k")],
            ),
            (
                r#"/silence Spend{channel="a",key="b\"}{c"} for 2h"#,
                vec![rule("Spend"), label("channel", "a"), label("key", "b\"}{c")],
            ),
            (
                r#"/silence {channel="a"} for 2h"#,
                vec![label("channel", "a")],
            ),
        ] {
            assert_eq!(pairs(text), matchers, "{text}");
        }
        let Ok(Command::Silence { span, comment, .. }) =
            parsed("/silence Spend for 1h 30m known; for today")
        else {
            panic!("no silence");
        };
        assert_eq!(span, Duration::from_secs(5400));
        assert_eq!(comment, "known; for today");
        for (text, bad) in [
            ("/silence", BadCommand::SilenceNothing),
            ("/silence for 2h", BadCommand::SilenceNothing),
            ("/silence Spend", BadCommand::SilenceForever),
            ("/silence Spend for ever", BadCommand::Span("ever".into())),
            (
                "/silence channel= for 2h",
                BadCommand::Matcher("channel=".into()),
            ),
            ("/silence a=b c for 2h", BadCommand::Matcher("c".into())),
            (r#"/silence a="b for 2h"#, BadCommand::SilenceForever),
            (
                r#"/silence Spend{a="b" for 2h"#,
                BadCommand::Matcher(r#"Spend{a="b""#.into()),
            ),
        ] {
            assert_eq!(parsed(text), Err(bad), "{text}");
        }
    }

    #[test]
    fn every_remedy_says_what_to_write() {
        for bad in [
            BadCommand::Unknown("stats".into()),
            BadCommand::Unknown("xyzzy".into()),
            BadCommand::SpendWord("x".into()),
            BadCommand::SlowWord("x".into()),
            BadCommand::NoChannel("disable"),
            BadCommand::NoChannel("enable"),
            BadCommand::SilenceNothing,
            BadCommand::SilenceForever,
            BadCommand::Matcher("x".into()),
        ] {
            for language in [Language::En, Language::Zh] {
                assert!(bad.remedy(language).contains('/'), "{bad:?}");
            }
        }
        let near = BadCommand::Unknown("stats".into()).remedy(Language::En);
        assert!(near.contains("/status"), "{near}");
    }
}
