//! What templates may name of a channel's notice.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::alerts::{self, Standing};
use super::rendering::{Rendering, links};
use super::{ChannelContent, words};
use crate::alert::{Labels, Quantity, Unit};
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
            "note": note(event, language),
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

/// What is said of a change besides its reason. What an alert says in its own words, English and in the
/// finest units, is told as values; what is none is no news beside the alert's name.
fn note(event: &ChannelEvent, language: Language) -> Option<String> {
    let note = event.note.as_deref()?;
    match event.owner {
        Owner::Alert(_) => stood_at(note, language),
        Owner::Operator | Owner::Breaker => Some(note.to_owned()),
    }
}

/// What an alert stood at when it closed a channel: `$103.20 of $100.00` of `103.2 USD at a limit of
/// 100 USD`, as rules write it.
fn stood_at(note: &str, language: Language) -> Option<String> {
    let (value, limit) = note.split_once(" at a limit of ")?;
    let (value, limit) = (quantity(value)?, quantity(limit)?);
    let kind = match value.unit {
        Unit::Usd | Unit::Tokens | Unit::Requests => Standing::Budget,
        _ => Standing::Ceiling,
    };
    Some(alerts::stands(value, limit, kind, false, language))
}

/// A quantity as it displays itself.
fn quantity(text: &str) -> Option<Quantity> {
    Unit::ALL.iter().find_map(|unit| {
        let one = |value| Quantity { unit: *unit, value };
        let shown = one(unit.scale()).to_string();
        let (scale, digits) = match unit {
            Unit::Ratio => (unit.scale() / 100, "100"),
            _ => (unit.scale(), "1"),
        };
        let number = text.strip_suffix(shown.strip_prefix(digits)?)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let places = usize::try_from(scale.ilog10()).ok()?;
        let digits = format!("{whole}{fraction:0<places$}");
        let found = one(digits.parse().ok()?);
        // Whatever else there may be in it: it is what it reads as, or none.
        (found.to_string() == text).then_some(found)
    })
}

/// `Channel azure-1 closed by the breaker: too many failed or slow requests`.
fn title(content: &ChannelContent, language: Language) -> String {
    let channel = alerts::short(&content.channel);
    let Some(last) = content.events.last() else {
        return match language {
            Language::En => format!("Channel {channel}"),
            Language::Zh => format!("渠道 {channel}"),
        };
    };
    let owner = alerts::short(&owner_of(content, last, language));
    let reason = match last.reason {
        // That a person or an alert did it is said by who they are.
        GateReason::Operator | GateReason::Alert => note(last, language),
        reason => Some(words::gate_reason(reason, language).to_owned()),
    };
    let because = reason.map_or_else(String::new, |reason| {
        format!("{}{reason}", words::colon(language))
    });
    let what = match (last.state, last.hold, language) {
        (GateState::Open, _, Language::En) => format!("Channel {channel} is open again{because}"),
        (GateState::Open, _, Language::Zh) => format!("渠道 {channel} 已重新启用{because}"),
        (GateState::Probing, _, Language::En) => {
            format!("Channel {channel} is on trial: one request is let through")
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

/// Who did it. An alert that tells nothing but this channel apart goes by its rule.
fn owner_of(content: &ChannelContent, event: &ChannelEvent, language: Language) -> String {
    let own = Labels::new([("channel".into(), Arc::clone(&content.channel))]).to_string();
    let rule = match &event.owner {
        Owner::Alert(alert) => alert.strip_suffix(&own),
        Owner::Operator | Owner::Breaker => None,
    };
    let owner = rule.map_or_else(|| event.owner.clone(), |rule| Owner::Alert(rule.into()));
    words::owner(&owner, event.who.as_deref(), language)
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
        (GateState::Probing, Language::En) => format!("{owner} lets one request through on trial"),
        (GateState::Probing, Language::Zh) => format!("{owner}放行一个试探请求"),
        (GateState::Open, Language::En) => format!("released by {owner}{reason}"),
        (GateState::Open, Language::Zh) => format!("{owner}解除关闭{reason}"),
    };
    let still_closed = event.hold == GateState::Open && event.state == GateState::Closed;
    if still_closed {
        text += words::either(
            language,
            "; still held closed by others",
            "；仍被其他方关闭",
        );
    }
    if let Some(until) = event.until.filter(|_| event.hold != GateState::Open) {
        let until = rendering.moment_and_distance(until);
        let probes = event.owner == Owner::Breaker;
        text += match (probes, language) {
            (true, Language::En) => "; next trial at ",
            (true, Language::Zh) => "；下次试探 ",
            (false, Language::En) => ", until ",
            (false, Language::Zh) => "，至 ",
        };
        text += &until;
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_an_alert_says_of_a_closing_is_told_in_humane_figures() {
        for (note, en, zh) in [
            (
                "103.2 USD at a limit of 100 USD",
                Some("$103.20 of $100.00"),
                Some("$103.20 / $100.00"),
            ),
            (
                "1200000 tokens at a limit of 1000000 tokens",
                Some("1.2M of 1M tokens"),
                Some("120 万 / 100 万 token"),
            ),
            (
                "12.5% at a limit of 5%",
                Some("12.5 % (limit 5 %)"),
                Some("12.5 %（阈值 5 %）"),
            ),
            (
                "4.5s at a limit of 2s",
                Some("4.5 s (limit 2 s)"),
                Some("4.5 s（阈值 2 s）"),
            ),
            ("Spend{channel=\"a\"}", None, None),
            ("+1 USD at a limit of 2 USD", None, None),
        ] {
            assert_eq!(stood_at(note, Language::En).as_deref(), en, "{note}");
            assert_eq!(stood_at(note, Language::Zh).as_deref(), zh, "{note}");
        }
    }

    proptest! {
        #[test]
        fn a_quantity_is_read_as_it_is_written(value in -1_000_000_000_000_000..1_000_000_000_000_000_i64) {
            for unit in Unit::ALL {
                let written = Quantity { unit: *unit, value };
                prop_assert_eq!(quantity(&written.to_string()), Some(written));
            }
        }
    }
}
