//! What Tollgate did about an alert, or would have done, in words.

use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use super::rendering::Rendering;
use super::templates::Templates;
use super::words;
use crate::alert::{ActionTaken, AlertEvent, AlertState, Mode};
use crate::clock::UnixMicros;
use crate::config::Language;

/// Actions that are told.
const MOST: usize = 8;

/// Whether something was done: the word that stands before it.
const fn heading(event: &AlertEvent, taken: &ActionTaken) -> &'static str {
    match (event.state, taken.done, event.mode) {
        (AlertState::Inactive, true, _) => "did",
        (_, true, _) => "done",
        (_, false, Mode::Enforce) => "not_done",
        (_, false, _) => "would",
    }
}

/// Each action with the word before it. Whom a rule tells is no news for who is told.
pub(super) fn views(event: &AlertEvent, rendering: &Rendering<'_>) -> Vec<Json> {
    let language = rendering.language;
    let told = event
        .actions
        .iter()
        .filter(|taken| &*taken.action != "notify");
    told.take(MOST)
        .map(|taken| {
            let heading = heading(event, taken);
            let is_over = event.state == AlertState::Inactive;
            let text = text(event, taken, is_over, rendering);
            json!({
                "action": &*taken.action,
                "done": taken.done,
                "heading": words::word(heading, language),
                "text": text.unwrap_or_else(|| taken.detail.to_string()),
            })
        })
        .collect()
}

/// What was done about an alert, or would have been: a line each, as messages have it.
#[must_use]
pub fn told(
    event: &AlertEvent,
    language: Language,
    timezone: &TimeZone,
    now: UnixMicros,
) -> Vec<String> {
    let rendering = Rendering {
        language,
        timezone,
        templates: &Templates::default(),
        now,
    };
    let line = |view: &Json| {
        let part = |name: &str| view[name].as_str().unwrap_or_default().to_owned();
        let colon = words::colon(language);
        format!("{}{colon}{}", part("heading"), part("text"))
    };
    views(event, &rendering).iter().map(line).collect()
}

/// What was done about an alert that is over, in a few words; `None` where nothing was, or there are no
/// words for it.
pub(super) fn done(event: &AlertEvent, rendering: &Rendering<'_>) -> Option<String> {
    let done = event.actions.iter().filter(|taken| taken.done);
    let texts: Vec<String> = done
        .filter_map(|taken| text(event, taken, true, rendering))
        .collect();
    (!texts.is_empty()).then(|| texts.join(words::comma(rendering.language)))
}

/// An action in the words of the language; `None` of one that it has no words for.
fn text(
    event: &AlertEvent,
    taken: &ActionTaken,
    is_over: bool,
    rendering: &Rendering<'_>,
) -> Option<String> {
    let language = rendering.language;
    let until = taken.until.or_else(|| until_of(&taken.detail));
    // When it would have ended is nothing to know of what has ended.
    let until = until.filter(|_| !is_over).map(|at| rendering.moment(at));
    let text = match &*taken.action {
        "disable_channel" => {
            let channel = channel(event, taken)?;
            if !taken.done && event.mode == Mode::Enforce {
                return withheld(&channel, taken, language);
            }
            match language {
                Language::En => format!("closed channel {channel}"),
                Language::Zh => format!("关闭渠道 {channel}"),
            }
        }
        "block" => refusal(taken, is_over, language),
        _ => return None,
    };
    Some(match (until, language) {
        (None, _) => text,
        (Some(until), Language::En) => format!("{text} until {until}"),
        (Some(until), Language::Zh) => format!("{text}，至 {until}"),
    })
}

fn refusal(taken: &ActionTaken, is_over: bool, language: Language) -> String {
    let status = number_in(&taken.detail);
    match language {
        Language::En => {
            let refuses = match (taken.done, is_over) {
                (true, false) => "refusing requests",
                _ => "refused requests",
            };
            match status {
                Some(status) => format!("{refuses} with status {status}"),
                None => refuses.to_owned(),
            }
        }
        Language::Zh => match status {
            Some(status) => format!("拒绝请求（状态码 {status}）"),
            None => "拒绝请求".to_owned(),
        },
    }
}

/// Why a channel was not closed.
fn withheld(channel: &str, taken: &ActionTaken, language: Language) -> Option<String> {
    if taken.detail.contains("no channel named") {
        return Some(match language {
            Language::En => format!("there is no channel {channel}"),
            Language::Zh => format!("没有名为 {channel} 的渠道"),
        });
    }
    if !taken.detail.contains("stays open") {
        return None;
    }
    let model = quoted(&taken.detail).nth(1);
    Some(match (language, model) {
        (Language::En, None) => {
            format!("channel {channel} stays open: it is the last open channel")
        }
        (Language::En, Some(model)) => {
            format!("channel {channel} stays open: it is the last open channel for {model}")
        }
        (Language::Zh, None) => format!("渠道 {channel} 保持启用：它是最后一个可用渠道"),
        (Language::Zh, Some(model)) => {
            format!("渠道 {channel} 保持启用：它是 {model} 的最后一个可用渠道")
        }
    })
}

/// The channel of an action. What was done names it; else it is what the alert is about.
fn channel(event: &AlertEvent, taken: &ActionTaken) -> Option<String> {
    let named = quoted(&taken.detail).next().map(ToOwned::to_owned);
    let labelled = event.alert.labels.get("channel");
    named.or_else(|| labelled.map(ToString::to_string))
}

/// What stands in backticks.
fn quoted(detail: &str) -> impl Iterator<Item = &str> {
    detail
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| !name.is_empty())
}

/// The status that requests are refused with.
fn number_in(detail: &str) -> Option<u16> {
    detail.split(' ').find_map(|word| word.parse().ok())
}

/// Until when, of an action that was not done.
fn until_of(detail: &str) -> Option<UnixMicros> {
    let (_, moment) = detail.rsplit_once(" until ")?;
    moment.parse::<jiff::Timestamp>().ok().map(UnixMicros::from)
}
