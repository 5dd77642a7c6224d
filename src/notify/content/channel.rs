//! What templates may name of a channel's notice.

use serde_json::{Value as Json, json};

use super::rendering::{Rendering, links};
use super::{ChannelContent, alerts, words};
use crate::config::Language;
use crate::notify::Tone;
use crate::record::{ChannelEvent, GateReason, GateState, Owner};

/// Changes that are told, the last ones.
const MOST_EVENTS: usize = 12;
/// Models that are named.
const MOST_MODELS: usize = 20;

/// A channel that closed is critical where a model has no other.
pub(super) fn tone(content: &ChannelContent) -> Tone {
    match content.events.last().map(|event| event.state) {
        Some(GateState::Closed | GateState::Probing) if !content.without_channel.is_empty() => {
            Tone::Critical
        }
        Some(GateState::Closed) => Tone::Warning,
        Some(GateState::Open) => Tone::Good,
        Some(GateState::Probing) | None => Tone::Neutral,
    }
}

pub(super) fn view(content: &ChannelContent, rendering: &Rendering<'_>) -> Json {
    let language = rendering.language;
    let first = content.events.len().saturating_sub(MOST_EVENTS);
    let told = &content.events[first..];
    let events = told.iter().map(|event| {
        json!({
            "at": rendering.moment(event.at),
            "text": sentence(event, rendering),
            "owner": words::owner(&event.owner, event.who.as_deref(), language),
            "reason": words::gate_reason(event.reason, language),
            "note": event.note.as_deref(),
            "until": event.until.map(|at| rendering.moment_and_distance(at)),
        })
    });
    let models = &content.without_channel;
    let last = content.events.last();
    json!({
        "title": title(content, language),
        "channel": &*content.channel,
        "state": last.map(|event| event.state.as_str()),
        "state_word": last.map(|event| words::gate_state(event.state, language)),
        "events": events.collect::<Vec<_>>(),
        "more": content.more + first,
        "without_channel": models.iter().take(MOST_MODELS).map(|model| &**model).collect::<Vec<_>>(),
        "more_models": models.len().saturating_sub(MOST_MODELS),
        "links": links(&content.links, language),
    })
}

/// `Channel azure-1 closed by the breaker: too many requests failed or were slow`.
fn title(content: &ChannelContent, language: Language) -> String {
    let channel = alerts::short(&content.channel);
    let Some(last) = content.events.last() else {
        return match language {
            Language::En => format!("Channel {channel}"),
            Language::Zh => format!("渠道 {channel}"),
        };
    };
    let owner = words::owner(&last.owner, last.who.as_deref(), language);
    let owner = alerts::short(&owner);
    let reason = match (last.reason, last.note.as_deref()) {
        // That a person or an alert did it is said by who they are.
        (GateReason::Operator | GateReason::Alert, None) => None,
        (GateReason::Operator | GateReason::Alert, Some(note)) => Some(note),
        (reason, _) => Some(words::gate_reason(reason, language)),
    };
    let because = reason.map_or_else(String::new, |reason| {
        format!("{}{reason}", words::colon(language))
    });
    let what = match (last.state, last.hold, language) {
        (GateState::Open, _, Language::En) => format!("Channel {channel} is open again{because}"),
        (GateState::Open, _, Language::Zh) => format!("渠道 {channel} 已重新打开{because}"),
        (GateState::Probing, _, Language::En) => {
            format!("Channel {channel} is probing: one request goes first")
        }
        (GateState::Probing, _, Language::Zh) => format!("渠道 {channel} 试探中：先放行一个请求"),
        (GateState::Closed, GateState::Closed, Language::En) => {
            format!("Channel {channel} closed by {owner}{because}")
        }
        (GateState::Closed, GateState::Closed, Language::Zh) => {
            format!("渠道 {channel} 已被{}关闭{because}", words::amid(&owner))
        }
        (GateState::Closed, _, Language::En) => format!("Channel {channel} is still closed"),
        (GateState::Closed, _, Language::Zh) => format!("渠道 {channel} 仍处于关闭状态"),
    };
    if last.state == GateState::Open || content.without_channel.is_empty() {
        return what;
    }
    let count = content.without_channel.len();
    match (language, content.without_channel.as_slice()) {
        (Language::En, [only]) => format!("{what}; no channel left for {}", alerts::short(only)),
        (Language::Zh, [only]) => format!("{what}；{} 没有可用渠道", alerts::short(only)),
        (Language::En, _) => format!("{what}; {count} models without a channel"),
        (Language::Zh, _) => format!("{what}；{count} 个模型没有可用渠道"),
    }
}

/// A change: who did what, why, until when.
fn sentence(event: &ChannelEvent, rendering: &Rendering<'_>) -> String {
    let language = rendering.language;
    let owner = words::owner(&event.owner, event.who.as_deref(), language);
    let owner = match language {
        Language::En => owner,
        Language::Zh => words::amid(&owner),
    };
    let reason = match event.reason {
        // Who did it says so.
        GateReason::Operator | GateReason::Alert => String::new(),
        reason => words::bracketed(words::gate_reason(reason, language), language),
    };
    let mut text = match (event.hold, language) {
        (GateState::Closed, Language::En) => format!("closed by {owner}{reason}"),
        (GateState::Closed, Language::Zh) => format!("被{owner}关闭{reason}"),
        (GateState::Probing, Language::En) => format!("{owner} lets one request try{reason}"),
        (GateState::Probing, Language::Zh) => format!("{owner}放行一个请求试探{reason}"),
        (GateState::Open, Language::En) => format!("{owner} holds it no longer{reason}"),
        (GateState::Open, Language::Zh) => format!("{owner}不再关闭它{reason}"),
    };
    let still_closed = event.hold == GateState::Open && event.state == GateState::Closed;
    if still_closed {
        text += words::either(
            language,
            "; others still hold it closed",
            "；仍被其他方关闭",
        );
    }
    if let Some(until) = event.until.filter(|_| event.hold != GateState::Open) {
        let until = rendering.moment_and_distance(until);
        let probes = event.owner == Owner::Breaker;
        text += match (probes, language) {
            (true, Language::En) => "; next try ",
            (true, Language::Zh) => "；下次试探 ",
            (false, Language::En) => "; until ",
            (false, Language::Zh) => "；直到 ",
        };
        text += &until;
    }
    text.trim().to_owned()
}
