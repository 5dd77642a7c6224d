//! Reads `receivers`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::names::ReceiverNames;
use super::targets::{ReceiverKind, ReceiverSettings, TargetSettings};
use super::{Language, TemplateSettings, email, machines, robots, telegram, templates};
use crate::config::base_url::BaseUrl;
use crate::config::channels::name_of_own;
use crate::config::reader::{Given, Reader};
use crate::config::secret::Secret;
use crate::config::section::Section;
use crate::config::units::{self, Refusal};

/// A try that takes longer holds what waits behind it.
const LONGEST_TRY: Duration = Duration::from_secs(5 * 60);

/// A receiver, and what is checked when all of them are known.
struct GivenReceiver {
    settings: ReceiverSettings,
    fallback: Option<(String, Given)>,
}

/// Bots by their tokens: where the Bot API is that one is known at, and who said so.
pub(super) type Bots = Vec<(Secret, BaseUrl, Arc<str>)>;

/// Reads `receivers`. `names` gets all names, also of receivers that are refused for something else.
pub(super) fn read(
    top: &mut Section<'_>,
    reader: &mut Reader<'_>,
    timezone: &TimeZone,
    names: &mut ReceiverNames,
) -> Vec<ReceiverSettings> {
    let mut given = Vec::new();
    let mut bots = Bots::new();
    top.list(reader, "receivers", |section, reader| {
        given.extend(receiver(section, reader, timezone, names, &mut bots));
    });
    fallbacks(reader, &mut given, names);
    given.into_iter().map(|given| given.settings).collect()
}

/// Who is told where no route says so: the receivers that are nobody's fallback, and all where each
/// is another's.
pub(super) fn told_by_default(receivers: &[ReceiverSettings]) -> Vec<Arc<str>> {
    let all = || receivers.iter().map(|receiver| &receiver.name);
    let fallbacks: Vec<_> = receivers
        .iter()
        .filter_map(|receiver| receiver.fallback.as_ref())
        .collect();
    let mut first: Vec<_> = all()
        .filter(|name| !fallbacks.contains(name))
        .cloned()
        .collect();
    if first.is_empty() {
        first.extend(all().cloned());
    }
    first
}

fn receiver(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    timezone: &TimeZone,
    names: &mut ReceiverNames,
    bots: &mut Bots,
) -> Option<GivenReceiver> {
    let name = name_of_own(section, reader, &mut names.0, "receiver");
    let mut language = Language::En;
    let words = units::word(Language::ALL, Language::as_str);
    section.set(reader, "language", &mut language, words);
    let mut timezone = timezone.clone();
    section.set(reader, "timezone", &mut timezone, units::time_zone);
    let mut send_resolved = true;
    let resolved = section.set(reader, "send_resolved", &mut send_resolved, units::switch);
    let path = section.key("fallback");
    let fallback = section.values(reader, "fallback").pop();
    let fallback = fallback.map(|given| (path, given));
    let mut give_up_after = ReceiverSettings::USUALLY_TRIED_FOR;
    section.set_duration(reader, "give_up_after", &mut give_up_after, units::duration);
    let mut timeout = ReceiverSettings::USUAL_TIMEOUT;
    section.set_duration(reader, "timeout", &mut timeout, time_of_a_try);
    let mut own = TemplateSettings::default();
    section.section(reader, "templates", |section, reader| {
        own = templates(section, reader);
    });
    let target = target(section, reader, name.as_ref(), bots);
    let kind = target.as_ref().map(TargetSettings::kind);
    if let Some(place) = resolved.filter(|_| !send_resolved)
        && kind == Some(ReceiverKind::Alertmanager)
    {
        let message =
            "an Alertmanager that is not told of ends shows each alert as firing for 72 hours";
        let hint =
            Some("take it away; a route of Alertmanager's says who hears that alerts resolved");
        reader.warning(&place, &section.key("send_resolved"), message, hint);
    }
    Some(GivenReceiver {
        settings: ReceiverSettings {
            name: name?,
            target: target?,
            language,
            timezone,
            send_resolved,
            fallback: None,
            give_up_after,
            timeout,
            templates: own,
        },
        fallback,
    })
}

fn time_of_a_try(text: &str) -> Result<Duration, Refusal> {
    match units::duration(text)? {
        time if time <= LONGEST_TRY => Ok(time),
        _ => Err(Refusal::new(
            "is longer than five minutes",
            "write how long one try may take, as `10s`; `give_up_after` says how long it is tried",
        )),
    }
}

/// Reads the one section that says what the receiver is.
fn target(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    name: Option<&Arc<str>>,
    bots: &mut Bots,
) -> Option<TargetSettings> {
    let given: Vec<ReceiverKind> = ReceiverKind::ALL
        .iter()
        .copied()
        .filter(|kind| section.has(kind.as_str()))
        .collect();
    let mut target = None;
    for kind in ReceiverKind::ALL.iter().copied() {
        section.section(reader, kind.as_str(), |section, reader| {
            // The keys are asked for in any case, so that they are known.
            let is_given = given.contains(&kind);
            let found = match kind {
                ReceiverKind::Telegram => telegram::read(section, reader, name, bots),
                ReceiverKind::Feishu => robots::feishu(section, reader),
                ReceiverKind::Wecom => robots::wecom(section, reader),
                ReceiverKind::Dingtalk => robots::dingtalk(section, reader),
                ReceiverKind::Slack => robots::slack(section, reader),
                ReceiverKind::Email => email::read(section, reader),
                ReceiverKind::Webhook => machines::webhook(section, reader),
                ReceiverKind::Alertmanager => machines::alertmanager(section, reader),
            };
            target = target.take().or(found.filter(|_| is_given));
        });
    }
    let place = section.place.clone()?;
    let key = section.key("");
    let key = key.trim_end_matches('.');
    let kinds: Vec<&str> = ReceiverKind::ALL.iter().map(|kind| kind.as_str()).collect();
    match given.as_slice() {
        [] => {
            let message = "does not say where the receiver is";
            let hint = format!("give it one of {}", kinds.join(", "));
            reader.problem(&place, key, message, Some(&hint));
            None
        }
        [_] => target,
        [one, other, ..] => {
            let message = format!("is `{one}` and `{other}` at once");
            let hint = Some("make it two receivers; a route names both");
            reader.problem(&place, key, message, hint);
            None
        }
    }
}

/// Brings the fallbacks in, and refuses those that lead nowhere or back.
fn fallbacks(reader: &mut Reader<'_>, given: &mut [GivenReceiver], names: &ReceiverNames) {
    let mut next: HashMap<Arc<str>, Arc<str>> = HashMap::new();
    for receiver in &mut *given {
        let Some((key, given)) = &receiver.fallback else {
            continue;
        };
        match names.one(&given.text) {
            Ok(fallback) => {
                next.insert(Arc::clone(&receiver.settings.name), Arc::clone(&fallback));
                receiver.settings.fallback = Some(fallback);
            }
            Err(refusal) => reader.refuse(given, key, &refusal),
        }
    }
    let mut told: Vec<Arc<str>> = Vec::new();
    for receiver in given {
        let Some((key, given)) = &receiver.fallback else {
            continue;
        };
        let start = &receiver.settings.name;
        let mut way: Vec<&Arc<str>> = vec![start];
        while let Some(follows) = way.last().and_then(|last| next.get(*last)) {
            if follows == start {
                break;
            }
            if way.contains(&follows) {
                way.clear();
                break;
            }
            way.push(follows);
        }
        let ends_here = way.last().and_then(|last| next.get(*last)) == Some(start);
        // One circle is told once.
        if !ends_here || told.contains(start) {
            continue;
        }
        told.extend(way.iter().map(|name| Arc::clone(name)));
        let message = if way.len() == 1 {
            format!("`{start}` falls back on itself")
        } else {
            let names: Vec<&str> = way.iter().map(|name| &***name).collect();
            format!("the fallbacks go round: {} → {start}", names.join(" → "))
        };
        let hint = Some("take one away: what cannot be told to the last is told to nobody");
        reader.problem(&given.place, key, message, hint);
    }
}
