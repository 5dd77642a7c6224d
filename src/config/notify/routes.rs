//! Reads `routes`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::facts::{self, cover};
use super::names::{ReceiverNames, each, existing};
use super::{FactMatcher, RouteSettings};
use crate::config::problem::Place;
use crate::config::reader::Reader;
use crate::config::section::Section;
use crate::config::units::{self, Refusal};

/// A first message that waits longer comes when nobody needs it any more.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// As long as what was told is remembered over restarts, less a day for what is late.
const LONGEST_REPEAT: Duration = Duration::from_secs(30 * 24 * 3600);

/// An Alertmanager takes an alert for resolved 72 hours after it was told last. Repeats that are further
/// apart than this leave no room for a weekend of mute times.
const LONGEST_TO_ALERTMANAGER: Duration = Duration::from_secs(12 * 3600);

/// What routes may refer to.
pub(super) struct Known<'a> {
    pub(super) receivers: &'a ReceiverNames,
    /// Who is told where nothing is said.
    pub(super) everybody: &'a [Arc<str>],
    /// Those that are Alertmanagers.
    pub(super) alertmanagers: &'a [Arc<str>],
    pub(super) mute_times: &'a HashMap<Arc<str>, Place>,
    pub(super) channels: &'a [Arc<str>],
}

/// Reads `routes`; where there is none, one route to everybody, and `None` without receivers.
pub(super) fn read(
    top: &mut Section<'_>,
    reader: &mut Reader<'_>,
    known: &Known<'_>,
) -> Option<RouteSettings> {
    let usual = RouteSettings::to(known.everybody.to_vec());
    let mut routes = None;
    top.section(reader, "routes", |section, reader| {
        let route = route(section, reader, known, &usual, true);
        let Some(place) = section.place.clone().filter(|_| !section.is_empty()) else {
            return;
        };
        if known.receivers.0.is_empty() {
            let message = "there are no receivers that alerts could go to";
            let hint = Some("name them under `receivers`, or take `routes` away");
            reader.problem(&place, "routes", message, hint);
        } else {
            routes = Some(route);
        }
    });
    routes.or_else(|| (!known.everybody.is_empty()).then_some(usual))
}

/// Reads a route and those below it. What it does not say is as in `parent`.
fn route(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    known: &Known<'_>,
    parent: &RouteSettings,
    topmost: bool,
) -> RouteSettings {
    let mut route = RouteSettings {
        goes_on: false,
        mute_times: Vec::new(),
        active_times: Vec::new(),
        routes: Vec::new(),
        matchers: matchers(section, reader, known, topmost),
        ..parent.clone()
    };
    let mut named = None;
    if let Some((place, receivers)) = known.receivers.listed(section, reader, "receivers") {
        named = Some(place.clone());
        let key = section.key("receivers");
        if section.lists_nothing(reader, "receivers") {
            let hint = Some("name a receiver; rules with `mode: shadow` are told to nobody");
            reader.problem(&place, &key, "names nobody", hint);
        }
        if !receivers.is_empty() {
            route.receivers = receivers;
        }
    }
    if let Some(group_by) = facts::listed(section, reader, "group_by") {
        route.group_by = group_by;
    }
    let repeat = times(section, reader, &mut route);
    let to_alertmanager = |name: &&Arc<str>| known.alertmanagers.contains(name);
    if let Some((place, key)) = repeat
        .map(|place| (place, "repeat_interval"))
        .or(named.map(|place| (place, "receivers")))
        && route.repeat_interval >= LONGEST_TO_ALERTMANAGER
        && let Some(name) = route.receivers.iter().find(to_alertmanager)
    {
        let message = format!(
            "`{name}` is an Alertmanager, which takes an alert that it is not told again in 72 hours \
             for resolved; a silence or `mute_times` may keep repeats back for days"
        );
        let hint = Some("give its route a `repeat_interval` below 12h, as `4h`");
        reader.warning(&place, &section.key(key), &message, hint);
    }
    // The topmost has none of the three: they are no keys of it, unless somebody writes them.
    let mut goes_on = None;
    if !topmost || section.has("continue") {
        goes_on = section.set(reader, "continue", &mut route.goes_on, units::switch);
    }
    route.mute_times = time_names(section, reader, known, "mute_times");
    route.active_times = time_names(section, reader, known, "active_times");
    if topmost {
        let matches = ["match", "unless"].into_iter().find(|key| section.has(key));
        for key in matches.into_iter().chain(goes_on.map(|_| "continue")) {
            let place = section.place_of(reader, key).unwrap_or(Place::Default);
            let message = "the topmost route takes every alert, and none comes after it";
            let hint = Some("write it at a route below, under `routes.routes`");
            reader.problem(&place, &section.key(key), message, hint);
        }
    }
    below(section, reader, known, &mut route, topmost);
    route
}

/// Reads the routes below one.
fn below(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    known: &Known<'_>,
    parent: &mut RouteSettings,
    topmost: bool,
) {
    let mut routes: Vec<RouteSettings> = Vec::new();
    let read = |section: &mut Section<'_>, reader: &mut Reader<'_>| {
        let before = reader.problems.len();
        let child = route(section, reader, known, parent, false);
        // Of matchers that are wrong nobody knows what they let through.
        let is_sound = reader.problems.len() == before;
        let takes_all = |earlier: &&RouteSettings| {
            !earlier.goes_on
                && cover(&earlier.matchers, &child.matchers)
                // Alerts of `mode: shadow` go where they are asked for, and nowhere else.
                && (asks_for_mode(earlier) || !asks_for_mode(&child))
        };
        let first = routes.iter().find(takes_all);
        if let Some(first) = first.filter(|_| is_sound) {
            let place = section.place.clone().unwrap_or(Place::Default);
            let key = section.key("");
            let message = if first.matchers.is_empty() {
                "is never asked: a route before it takes everything"
            } else {
                "is never asked: a route before it takes all that fits"
            };
            let hint = Some("put it before that one, or write `continue: true` there");
            reader.warning(&place, key.trim_end_matches('.'), message, hint);
        }
        routes.push(child);
    };
    if topmost {
        section.list(reader, "routes", read);
    } else {
        section.list_alike(reader, "routes", read);
    }
    parent.routes = routes;
}

fn asks_for_mode(route: &RouteSettings) -> bool {
    let mut facts = route.matchers.iter().map(|matcher| &*matcher.name);
    facts.any(|fact| fact == "mode")
}

fn matchers(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    known: &Known<'_>,
    topmost: bool,
) -> Vec<FactMatcher> {
    let mut matchers = Vec::new();
    for (key, negated) in [("match", false), ("unless", true)] {
        if !topmost || section.has(key) {
            matchers.extend(facts::matchers(
                section,
                reader,
                key,
                negated,
                known.channels,
            ));
        }
    }
    matchers
}

/// Reads the three times of a route. Returns where `repeat_interval` is, if it says one.
fn times(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    route: &mut RouteSettings,
) -> Option<Place> {
    section.set_duration(reader, "group_wait", &mut route.group_wait, wait);
    let interval = &mut route.group_interval;
    let interval = section.set_duration(reader, "group_interval", interval, at_least_a_second);
    let repeat = &mut route.repeat_interval;
    let repeat = section.set_duration(reader, "repeat_interval", repeat, between_repeats);
    let key = if repeat.is_some() {
        "repeat_interval"
    } else {
        "group_interval"
    };
    if let Some(place) = repeat.clone().or(interval)
        && route.repeat_interval < route.group_interval
    {
        let message =
            "`repeat_interval` is shorter than `group_interval`, which is waited for first";
        let hint = Some("raise the one, or lower the other");
        reader.warning(&place, &section.key(key), message, hint);
    }
    repeat
}

/// The time until the same is told again.
fn between_repeats(text: &str) -> Result<Duration, Refusal> {
    match at_least_a_second(text)? {
        time if time <= LONGEST_REPEAT => Ok(time),
        _ => Err(Refusal::new(
            "is longer than 30 days",
            "write when what did not change is told again, as `4h`; what was told is remembered for \
             31 days",
        )),
    }
}

/// How long something waits for more.
pub(super) fn wait(text: &str) -> Result<Duration, Refusal> {
    match units::duration_or_zero(text)? {
        wait if wait <= LONGEST_WAIT => Ok(wait),
        _ => Err(Refusal::new(
            "is longer than an hour",
            "write how long the first message waits for more, as `30s`",
        )),
    }
}

/// The time between two messages.
pub(super) fn at_least_a_second(text: &str) -> Result<Duration, Refusal> {
    match units::duration(text)? {
        time if time >= Duration::from_secs(1) => Ok(time),
        _ => Err(Refusal::new(
            "is shorter than a second",
            "write the time between two messages, as `5m`",
        )),
    }
}

fn time_names(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    known: &Known<'_>,
    key: &'static str,
) -> Vec<Arc<str>> {
    let path = section.key(key);
    let given = section.texts(reader, key);
    each(reader, &path, given, |text| {
        existing(text, known.mute_times, "no name of `mute_times`")
    })
}
