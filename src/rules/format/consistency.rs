//! What the parts of a rule mean for each other, once each is sound.

use super::KnownNames;
use super::annotations;
use crate::alert::Mode;
use crate::config::{Place, Reader, Section};
use crate::meter::window::written;
use crate::rules::measure::reach_of_requests;
use crate::rules::{Action, Dimension, Metric, Rule};

/// Notes what of a rule does not fit together. `mode_stated` is whether it or its group names a mode.
pub(super) fn check(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    rule: &Rule,
    mode_stated: bool,
    known: &KnownNames,
) {
    templates(section, reader, rule);
    limits_of_actions(section, reader, rule);
    modes(section, reader, rule, mode_stated);
    last_channel(section, reader, rule, known);
    quota(section, reader, rule);
    retention(section, reader, rule, known);
    block_without_warning(section, reader, rule);
}

fn place_of(section: &Section<'_>, reader: &Reader<'_>, key: &str) -> Place {
    let place = section.place_of(reader, key).or(section.place.clone());
    place.unwrap_or(Place::Default)
}

fn templates(section: &mut Section<'_>, reader: &mut Reader<'_>, rule: &Rule) {
    let entries = section.names(reader, "annotations");
    for error in annotations::check(rule) {
        let entry = entries.iter().find(|entry| *entry.key == *error.annotation);
        let place = entry.map_or(Place::Default, |entry| reader.at(entry.node.at));
        let key = format!("{}.{}", section.key("annotations"), error.annotation);
        let message = format!("is no good template: {}", error.reason);
        let hint = Some("write as `{{ labels.channel }} spent {{ value }} of {{ limit }}`");
        reader.problem(&place, &key, message, hint);
    }
}

/// Whether an action changes what happens to requests.
const fn acts(action: &Action) -> bool {
    matches!(action, Action::DisableChannel { .. } | Action::Block { .. })
}

/// Actions are for the critical limit.
fn limits_of_actions(section: &Section<'_>, reader: &mut Reader<'_>, rule: &Rule) {
    if rule.critical.is_some() || !rule.actions.iter().any(acts) {
        return;
    }
    let place = place_of(section, reader, "actions");
    let message = "the rule blocks or closes at its critical limit, and has none";
    let hint = Some("write `critical`; a warning alone only tells");
    reader.problem(&place, &section.key("critical"), message, hint);
}

/// A rule that says what to do and has not the mode for it, or the other way round.
fn modes(section: &Section<'_>, reader: &mut Reader<'_>, rule: &Rule, mode_stated: bool) {
    let acting = rule.actions.iter().any(acts);
    if acting && !mode_stated {
        let place = place_of(section, reader, "actions");
        let message =
            "the rule only tells: its mode is `notify`, so that nothing is blocked or closed";
        let hint = Some("write `mode: enforce` to act, `mode: shadow` to see what it would do");
        reader.warning(&place, &section.key("mode"), message, hint);
    }
    if !acting && rule.mode == Mode::Enforce && section.has("mode") {
        let place = place_of(section, reader, "mode");
        let message = "there is nothing to enforce: no action blocks or closes";
        let hint = Some(
            "add `- block: {}` or `- disable_channel: {}` to `actions`, or write `mode: notify`",
        );
        reader.warning(&place, &section.key("mode"), message, hint);
    }
}

/// Of a single channel, the last is always the only one.
fn last_channel(section: &Section<'_>, reader: &mut Reader<'_>, rule: &Rule, known: &KnownNames) {
    let single = known
        .channels
        .as_deref()
        .is_some_and(|names| names.len() == 1);
    let keeps_last = rule.actions.iter().any(|action| {
        matches!(
            action,
            Action::DisableChannel {
                allow_last: false,
                ..
            }
        )
    });
    if single && keeps_last && rule.mode == Mode::Enforce {
        let place = place_of(section, reader, "actions");
        let message = "there is a single channel, so the rule will never close it";
        let hint = Some(
            "write `allow_last: true` to close the last one too, or `block` to refuse requests",
        );
        reader.warning(&place, &section.key("actions"), message, hint);
    }
}

/// A quota is the provider's word on a plan: no request has a part in it.
fn quota(section: &Section<'_>, reader: &mut Reader<'_>, rule: &Rule) {
    if rule.metric != Metric::QuotaUsed {
        return;
    }
    let by_request = rule
        .by
        .iter()
        .any(|dimension| !matches!(dimension, Dimension::Channel | Dimension::QuotaWindow));
    let matcher = &rule.matcher;
    let matches_request = matcher.model.is_some()
        || matcher.key.is_some()
        || !matcher.apis.is_empty()
        || !matcher.tags.is_empty();
    for (wrong, key) in [(by_request, "by"), (matches_request, "match")] {
        if wrong {
            let place = place_of(section, reader, key);
            let message = "a quota belongs to a channel's plan, not to a request";
            let hint = Some("tell quotas apart by `channel` and `window` only");
            reader.problem(&place, &section.key(key), message, hint);
        }
    }
    if blocks(rule) && rule.by.contains(&Dimension::QuotaWindow) {
        let place = place_of(section, reader, "actions");
        let message = "the rule blocks nothing: its alerts are about a plan's windows, and no request \
                       belongs to one";
        let hint = Some("take `window` out of `by`; the window that is used most counts then");
        reader.problem(&place, &section.key("actions"), message, hint);
    }
}

fn blocks(rule: &Rule) -> bool {
    let mut actions = rule.actions.iter();
    actions.any(|action| matches!(action, Action::Block { .. }))
}

/// A blocking budget holds its value at the critical limit or below it, where its alert may be
/// inactive: without a warning requests are refused and nothing fires.
fn block_without_warning(section: &Section<'_>, reader: &mut Reader<'_>, rule: &Rule) {
    if rule.warning.is_some() || rule.critical.is_none() || !rule.is_budget() || !blocks(rule) {
        return;
    }
    let place = place_of(section, reader, "actions");
    let message = "the rule has no `warning`: its block keeps the value within the critical limit, so \
                   that requests may be refused while no alert fires";
    let hint = Some("write a `warning` below `critical`, as 80 % of it");
    reader.warning(&place, &section.key("warning"), message, hint);
}

/// A window that is rebuilt from single requests forgets at a restart what the ledger no longer has.
fn retention(section: &Section<'_>, reader: &mut Reader<'_>, rule: &Rule, known: &KnownNames) {
    let Some((reach, kept)) = reach_of_requests(rule).zip(known.retention) else {
        return;
    };
    if reach <= kept {
        return;
    }
    let place = place_of(section, reader, "window");
    let message = format!(
        "the rule looks back {} at single requests, and `ledger.retention` keeps them for {}: after a \
         restart what is older counts no more",
        written(reach),
        written(kept)
    );
    let hint = Some(
        "set `ledger.retention` in the settings to as long, or `none`; or choose a shorter window, or \
         one without tags, `over`, `max` and the mean of a duration, which is read from sums",
    );
    let key = section.key("window");
    if rule.block().is_some() && rule.mode == Mode::Enforce {
        reader.problem(&place, &key, message, hint);
    } else {
        reader.warning(&place, &key, message, hint);
    }
}
