//! What happens in a test: `requests`, `quotas`, `admit`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{at, named};
use crate::alert::Unit;
use crate::clock::micros;
use crate::config::{Place, Reader, Refusal, Section, duration, duration_or_zero, quantity, whole};
use crate::money::NanoUsd;
use crate::record::{Api, Outcome, Worst, is_sampled};
use crate::rules::definition::RuleSet;
use crate::rules::format::word;
use crate::rules::testing::{Asked, Beat, QuotaWord, Refuser, Requests, Whose};

/// The channel of what names none: that of settings without channels.
const USUAL_CHANNEL: &str = "openai";
/// A test with more requests of a kind has surely an `every` too small.
const MOST_TIMES: u32 = 1_000_000;
/// More tokens than any request has.
const MOST_TOKENS: u64 = 1 << 40;

pub(super) fn requests(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<Requests> {
    section.place.as_ref()?;
    let beat = beat(section, reader);
    let whose = whose(section, reader);
    let mut outcome = Some(Outcome::Ok);
    section.set(reader, "outcome", &mut outcome, sampled);
    let input_tokens = tokens(section, reader, "input_tokens");
    let output_tokens = tokens(section, reader, "output_tokens");
    let tokens = tokens(section, reader, "tokens").or_else(|| {
        let both = [input_tokens, output_tokens].into_iter().flatten();
        both.reduce(u64::saturating_add)
    });
    let cost_nanousd = money(section, reader, "cost");
    let latency_us = time(section, reader, "latency");
    let ttft_us = time(section, reader, "ttft");
    if ttft_us.is_some_and(|ttft| latency_us.is_none_or(|latency| ttft > latency)) {
        let place = section.place_of(reader, "ttft").unwrap_or(Place::Default);
        let hint = Some("write a `latency` that is no shorter: the time from header to end");
        reader.problem(
            &place,
            &section.key("ttft"),
            "is longer than the request takes",
            hint,
        );
    }
    Some(Requests {
        beat: beat?,
        whose,
        error: outcome?.is_error(),
        cost_nanousd,
        tokens,
        input_tokens,
        output_tokens,
        latency_us,
        ttft_us,
    })
}

pub(super) fn quota(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<QuotaWord> {
    let place = section.place.clone()?;
    let beat = beat(section, reader);
    let channel = channel(section, reader);
    let mut window = None;
    let parse = |text: &str| Ok(Some(Arc::from(text)));
    section.set(reader, "window", &mut window, parse);
    let mut used_ppm = None;
    let share = quantity(Unit::Ratio);
    section.set(reader, "used", &mut used_ppm, |text| share(text).map(Some));
    for (key, hint) in [
        ("window", "name the plan's window, as `window: 5h`"),
        ("used", "say how much is used, as `used: 91%`"),
    ] {
        if !section.has(key) {
            reader.problem(&place, &section.key(key), "is missing", Some(hint));
        }
    }
    Some(QuotaWord {
        beat: beat?,
        channel,
        window: window?,
        used_ppm: used_ppm?,
    })
}

pub(super) fn asked(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    set: Option<&RuleSet>,
) -> Option<Asked> {
    let place = section.place.clone()?;
    let at = at(section, reader);
    let whose = whose(section, reader);
    let mut worst = Worst::default();
    section.section(reader, "worst", |section, reader| {
        worst.cost = money(section, reader, "cost").map(NanoUsd);
        worst.input_tokens = tokens(section, reader, "input_tokens");
        worst.output_tokens = tokens(section, reader, "output_tokens");
    });
    let mut held = Duration::ZERO;
    section.set_duration(reader, "held", &mut held, duration_or_zero);
    let mut refused = None;
    section.set(reader, "expect", &mut refused, |text| match text {
        "admitted" => Ok(Some(false)),
        "blocked" => Ok(Some(true)),
        _ => Err(Refusal::new(
            "is not known",
            "write `admitted` or `blocked`",
        )),
    });
    if !section.has("expect") {
        let hint = Some("write `admitted` or `blocked`");
        reader.problem(&place, &section.key("expect"), "is missing", hint);
    }
    let mut by = None;
    section.set(reader, "by", &mut by, |text| match set {
        Some(set) => named(set, text).map(|rule| Some(Arc::clone(&rule.name))),
        None => Ok(None),
    });
    if refused == Some(false) && section.has("by") {
        let message = "an admitted request is refused by none";
        reader.problem(&place, &section.key("by"), message, None);
    }
    Some(Asked {
        place,
        at: at?,
        whose,
        worst,
        held,
        refused_by: refused?.then(|| by.map_or(Refuser::Any, Refuser::Rule)),
    })
}

fn beat(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<Beat> {
    let at = at(section, reader);
    let mut every = Duration::ZERO;
    section.set_duration(reader, "every", &mut every, duration);
    let mut times = 1;
    section.set(reader, "times", &mut times, whole(1, MOST_TIMES));
    if times > 1 && !section.has("every") {
        let place = section.place_of(reader, "times").unwrap_or(Place::Default);
        let hint = Some("say how long after each other, as `every: 1m`");
        reader.problem(&place, &section.key("every"), "is missing", hint);
    }
    Some(Beat {
        at: at?,
        every,
        times,
    })
}

fn whose(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Whose {
    let text = |text: &str| Ok(Some(Arc::from(text)));
    let mut whose = Whose {
        channel: channel(section, reader),
        api: Api::Chat,
        key: None,
        model: None,
        tags: BTreeMap::new(),
    };
    let mut api = None;
    section.set(reader, "api", &mut api, word(Api::ALL, Api::as_str));
    whose.api = api.unwrap_or(Api::Chat);
    section.set(reader, "key", &mut whose.key, text);
    section.set(reader, "model", &mut whose.model, text);
    for entry in section.names(reader, "tags") {
        let path = format!("{}.{}", section.key("tags"), entry.key);
        if let Some(given) = reader.scalar(entry, &path) {
            whose.tags.insert(entry.key.clone(), given.text);
        }
    }
    whose
}

fn channel(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Arc<str> {
    let mut channel = Arc::from(USUAL_CHANNEL);
    section.set(reader, "channel", &mut channel, |text| Ok(Arc::from(text)));
    channel
}

fn tokens(section: &mut Section<'_>, reader: &mut Reader<'_>, key: &'static str) -> Option<u64> {
    let mut tokens = None;
    let parse = whole(0, MOST_TOKENS);
    section.set(reader, key, &mut tokens, |text| parse(text).map(Some));
    tokens
}

fn money(section: &mut Section<'_>, reader: &mut Reader<'_>, key: &'static str) -> Option<i64> {
    let mut money = None;
    let parse = quantity(Unit::Usd);
    section.set(reader, key, &mut money, |text| parse(text).map(Some));
    money
}

fn time(section: &mut Section<'_>, reader: &mut Reader<'_>, key: &'static str) -> Option<u64> {
    let mut time = None;
    let parse = |text: &str| duration_or_zero(text).map(|time| Some(micros(time)));
    section.set_duration(reader, key, &mut time, parse);
    time
}

/// The outcome of a request that rules see.
fn sampled(text: &str) -> Result<Option<Outcome>, Refusal> {
    let outcome = word(Outcome::ALL, Outcome::as_str)(text)?;
    match outcome.filter(|&outcome| !is_sampled(outcome)) {
        Some(_) => Err(Refusal::new(
            "is not for rules",
            "what Tollgate itself turns away is not counted; leave such requests out",
        )),
        None => Ok(outcome),
    }
}
