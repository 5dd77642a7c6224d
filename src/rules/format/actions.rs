//! What a rule may do, and does: `mode`, `actions`.

use std::sync::Arc;
use std::time::Duration;

use super::KnownNames;
use super::words::{none_of, word};
use crate::alert::Mode;
use crate::config::{Place, Reader, Refusal, Section, duration, months, switch, whole};
use crate::rules::{Action, Dimension, Matcher, Recovery, Span, Unbounded, Until};

/// What is sent where a refusal does not say.
const TOO_MANY_REQUESTS: u16 = 429;

/// The actions that there are, as they are written.
pub(super) const ACTIONS: &str =
    "write one of `- block: {}`, `- disable_channel: {}` and `- notify: [NAME]`";

/// What an action needs to know of its rule.
pub(super) struct Surroundings<'a> {
    pub(super) span: Option<&'a Span>,
    pub(super) matcher: &'a Matcher,
    pub(super) by: &'a [Dimension],
    pub(super) known: &'a KnownNames,
}

/// Reads `mode`; what is not said is as in the group, and there `notify`.
pub(super) fn read_mode(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<Mode> {
    let mut mode = None;
    section.set(reader, "mode", &mut mode, word(Mode::ALL, Mode::as_str));
    mode
}

/// Reads `actions`.
pub(super) fn read(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    around: &Surroundings<'_>,
) -> Vec<Action> {
    let mut actions: Vec<Action> = Vec::new();
    section.list(reader, "actions", |section, reader| {
        let before = actions.len();
        let given = ["disable_channel", "block", "notify"];
        let given = given.into_iter().filter(|key| section.has(key)).count();
        section.section(reader, "disable_channel", |section, reader| {
            if section.place.is_some() {
                actions.extend(disable_channel(section, reader, around));
            }
        });
        section.section(reader, "block", |section, reader| {
            if section.place.is_some() {
                actions.push(block(section, reader));
            }
        });
        actions.extend(notify(section, reader, around.known));
        let Some(place) = section.place.clone() else {
            return;
        };
        let key = section.key("");
        let key = key.trim_end_matches('.');
        let refusal = match given {
            0 if section.is_empty() => Some("names no action"),
            // What else it names is an unknown key.
            0 | 1 => None,
            _ => Some("is more than one action"),
        };
        if let Some(message) = refusal {
            reader.problem(&place, key, message, Some(ACTIONS));
        }
        for index in before..actions.len() {
            if let Some(message) = repeated(&actions[..index], &actions[index]) {
                reader.problem(&place, key, message, Some("take one away"));
            }
        }
    });
    actions
}

fn repeated(earlier: &[Action], action: &Action) -> Option<&'static str> {
    let same = |other: &Action| match (other, action) {
        (Action::Block { .. }, Action::Block { .. }) => Some("the rule blocks twice"),
        (Action::Notify(_), Action::Notify(_)) => {
            Some("the rule notifies twice; one list takes all receivers")
        }
        (
            Action::DisableChannel { channel: one, .. },
            Action::DisableChannel { channel: other, .. },
        ) if one == other => Some("the rule closes the same channel twice"),
        _ => None,
    };
    earlier.iter().find_map(same)
}

fn disable_channel(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    around: &Surroundings<'_>,
) -> Option<Action> {
    let channel = channel(section, reader, around);
    let mut until = None;
    let path = section.key("until");
    for given in section.values(reader, "until") {
        match until_of(&given.text, around.span) {
            Ok(stated) => {
                if let Some(doubt) = months(&given.text) {
                    reader.doubt(&given, &path, &doubt);
                }
                until = Some(stated);
            }
            Err(refusal) => reader.refuse(&given, &path, &refusal),
        }
    }
    let mut recovery = Some(Recovery::Open);
    let words = word(Recovery::ALL, Recovery::as_str);
    section.set(reader, "recovery", &mut recovery, words);
    let mut allow_last = false;
    section.set(reader, "allow_last", &mut allow_last, switch);
    let usual = || match around.span? {
        Span::Calendar(_) => Some(Until::WindowEnd),
        Span::Rolling(_) => Some(Until::Resolved),
    };
    Some(Action::DisableChannel {
        channel: channel?,
        until: until.or_else(usual)?,
        recovery: recovery?,
        allow_last,
    })
}

/// Which channel it closes: `Some(None)` for that of the alert, `None` where nobody can tell.
#[expect(
    clippy::option_option,
    reason = "an action without a channel is a good one"
)]
fn channel(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    around: &Surroundings<'_>,
) -> Option<Option<Arc<str>>> {
    let key = section.key("channel");
    if let Some(given) = section.values(reader, "channel").pop() {
        let known = around.known.channels.as_deref();
        let missing = known.filter(|known| !known.iter().any(|name| **name == *given.text));
        if let Some(known) = missing {
            let names: Vec<&str> = known.iter().map(|name| &**name).collect();
            let remedy = none_of(&given.text, &names).remedy.unwrap_or_default();
            let refusal = Refusal::new("is no channel of the settings", &remedy);
            reader.refuse(&given, &key, &refusal);
            return None;
        }
        return Some(Some(Arc::from(given.text)));
    }
    if around.by.contains(&Dimension::Channel) {
        return Some(None);
    }
    let exact = around.matcher.channel.as_ref();
    if let Some(pattern) = exact.filter(|pattern| pattern.is_exact()) {
        return Some(Some(Arc::from(pattern.as_str())));
    }
    if !section.has("channel") {
        let place = section.place.clone().unwrap_or(Place::Default);
        let message = "the rule does not say which channel to close";
        let hint = Some(
            "write `by: [channel]` for the one that the alert is about, or `channel:` with a name",
        );
        reader.problem(&place, &key, message, hint);
    }
    None
}

fn until_of(text: &str, span: Option<&Span>) -> Result<Until, Refusal> {
    const FORM: &str = "write `window_end`, `resolved`, a duration as `30m`, or `manual`";
    match text {
        "manual" => Ok(Until::Manual),
        "resolved" => Ok(Until::Resolved),
        "window_end" => match span {
            Some(Span::Rolling(_)) => Err(Refusal::new(
                "never comes: a rolling window has no end",
                "write `resolved`, a duration as `30m`, or `manual`; or a calendar window",
            )),
            _ => Ok(Until::WindowEnd),
        },
        _ => duration(text).map(Until::For).map_err(|refusal| {
            if text.starts_with(|first: char| first.is_ascii_digit()) {
                return refusal;
            }
            Refusal::new("is not known", FORM)
        }),
    }
}

fn block(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Action {
    let mut status = TOO_MANY_REQUESTS;
    section.set(reader, "status", &mut status, whole(400, 499));
    let mut unbounded = Some(Unbounded::Admit);
    let words = word(Unbounded::ALL, Unbounded::as_str);
    section.set(reader, "unbounded", &mut unbounded, words);
    Action::Block {
        status,
        unbounded: unbounded.unwrap_or(Unbounded::Admit),
    }
}

fn notify(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    known: &KnownNames,
) -> Option<Action> {
    let (place, given) = section.listed(reader, "notify")?;
    let key = section.key("notify");
    let mut receivers: Vec<Arc<str>> = Vec::new();
    if given.is_empty() {
        let hint = Some("write `- notify: [ops]` with the names of receivers");
        reader.problem(&place, &key, "names nobody", hint);
    }
    let is_known = |text: &str| {
        // Where there are none at all, that is what is told.
        let known = known.receivers.as_deref().filter(|known| !known.is_empty());
        let Some(known) = known.filter(|known| !known.iter().any(|name| **name == *text)) else {
            return Ok(());
        };
        let names: Vec<&str> = known.iter().map(|name| &**name).collect();
        let remedy = none_of(text, &names).remedy.unwrap_or_default();
        Err(Refusal::new("is no receiver of the settings", &remedy))
    };
    for given in given {
        if given.text.trim().is_empty() || receivers.iter().any(|name| **name == *given.text) {
            let refusal = Refusal::new("is empty or in the list twice", "take it away");
            reader.refuse(&given, &key, &refusal);
        } else if let Err(refusal) = is_known(&given.text) {
            reader.refuse(&given, &key, &refusal);
        } else {
            receivers.push(Arc::from(given.text));
        }
    }
    if known.receivers.as_ref().is_some_and(Vec::is_empty) {
        let message = "nobody is told: the settings have no receivers";
        let hint = Some("name some under `receivers` in the settings, or take the action away");
        reader.warning(&place, &key, message, hint);
    }
    Some(Action::Notify(receivers))
}

/// `for` and its like: how long something has to be so.
pub(super) fn hold(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
) -> Duration {
    let mut hold = Duration::ZERO;
    section.set_duration(reader, key, &mut hold, crate::config::duration_or_zero);
    hold
}
