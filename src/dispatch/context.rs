//! What is told of an alert or a channel besides what happened: the rule, its annotations, the window,
//! who used most of it, where to look.

mod contributors;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::links::{Links, runbook};
use crate::alert::{AlertEvent, AlertState};
use crate::channel::Registry;
use crate::clock::UnixMicros;
use crate::ledger::Reader;
use crate::ledger::query::GateEventFilter;
use crate::notify::content::{AlertChange, AlertContent, ChannelContent, RuleContent};
use crate::pricing::Prices;
use crate::record::{ChannelEvent, GateState};
use crate::rules::{Occasion, Rule, Rules, Side, Span, render, written};

/// Changes of one channel's gate that are told of one by one.
const MOST_EVENTS: usize = 20;

/// Changes before an opening among which the closing is looked for.
const MOST_BEFORE: u32 = 100;

/// Where what is told besides is looked up.
#[derive(Clone, Debug)]
pub struct Context {
    /// The rules in force.
    pub rules: Arc<Rules>,
    /// The channels.
    pub channels: Arc<Registry>,
    /// What tokens cost now: what caching saved goes by it.
    pub prices: Arc<Prices>,
    /// Where the ledger is.
    pub data_dir: PathBuf,
    /// Where messages lead.
    pub links: Links,
}

impl Context {
    /// What is told of an alert, without [contributors](Self::add_contributors). Reads memory only.
    #[must_use]
    pub fn alert_content(
        &self,
        event: &AlertEvent,
        change: AlertChange,
        now: UnixMicros,
    ) -> AlertContent {
        let rule = self.rules.rule(&event.alert.rule);
        let rule = rule.as_deref();
        let fires = event.state == AlertState::Firing;
        let view = fires.then(|| self.rules.alert(&event.alert, now)).flatten();
        // A period that began since is not the one that the value is of.
        let view = view.filter(|view| view.window_start <= event.at);
        let window_start = view.as_ref().map(|view| view.window_start);
        let time_left = view.as_ref().and_then(|view| view.exhausted_in);
        let mut links = self.links.alert(event, rule, window_start);
        let annotations = rule.map(|rule| render(rule, Occasion::from(event)));
        let annotations = annotations.unwrap_or_default();
        links.extend(runbook(|name| {
            let text = annotations.get(name)?.as_ref().ok()?;
            Some(text.as_str())
        }));
        AlertContent {
            event: event.clone(),
            change,
            fired_as: None,
            rule: rule.map(rule_content),
            annotations: annotations
                .into_iter()
                // One that cannot be filled in says why in its place.
                .map(|(name, text)| (name, text.unwrap_or_else(|error| error.to_string())))
                .collect(),
            window_start,
            forecast: view.and_then(|view| view.forecast),
            exhausted_at: time_left
                .filter(|left| !left.is_zero())
                .map(|left| now.plus(left)),
            contributors: Vec::new(),
            links,
        }
    }

    /// Says of alerts who used most of their windows. Reads the ledger, until `until` or little longer:
    /// what is not known by then, or cannot be read, is left out. Blocks.
    pub fn add_contributors(&self, alerts: &mut [AlertContent], until: Instant) {
        if Instant::now() >= until {
            return;
        }
        let reader = match Reader::open(&self.data_dir) {
            Ok(reader) => reader,
            Err(error) => {
                tracing::debug!(%error, "a message goes without contributors");
                return;
            }
        };
        for alert in alerts {
            if Instant::now() >= until {
                return;
            }
            let event = &alert.event;
            let rule = self.rules.rule(&event.alert.rule);
            let Some((rule, since)) = rule.zip(alert.window_start) else {
                continue;
            };
            let found = contributors::of(&contributors::Question {
                rule: &rule,
                labels: &event.alert.labels,
                since,
                channels: &self.channels,
                until,
            })
            .read(&reader);
            match found {
                Ok(Some(found)) => alert.contributors = found,
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "a message goes without contributors");
                    return;
                }
            }
        }
    }

    /// What is told of changes of a channel's gate, which are in order.
    #[must_use]
    pub fn channel_content(
        &self,
        channel: &Arc<str>,
        events: Vec<ChannelEvent>,
        now: UnixMicros,
    ) -> ChannelContent {
        let began = events.first().map_or(now, |event| event.at);
        let more = events.len().saturating_sub(MOST_EVENTS);
        ChannelContent {
            channel: Arc::clone(channel),
            events: events.into_iter().skip(more).collect(),
            more,
            closed_since: None,
            without_channel: self.channels.unserved_without(channel, now),
            links: self.links.channel(channel, began),
        }
    }

    /// Since when a channel had been closed that this change opens, where the ledger says. Reads a few of
    /// its rows at most.
    #[must_use]
    pub fn closed_since(&self, opening: &ChannelEvent) -> Option<UnixMicros> {
        if opening.state != GateState::Open {
            return None;
        }
        let earlier = GateEventFilter {
            channel: Some(opening.channel.to_string()),
            until: Some(opening.at),
            limit: MOST_BEFORE,
            ..GateEventFilter::default()
        };
        let reader = Reader::open(&self.data_dir).ok()?;
        let earlier = reader.gate_events(&earlier).ok()?.events;
        // The newest first.
        let closed = earlier
            .into_iter()
            .take_while(|event| event.state != GateState::Open);
        closed.last().map(|event| event.at)
    }
}

fn rule_content(rule: &Rule) -> RuleContent {
    RuleContent {
        group: Arc::clone(&rule.group),
        metric: rule.metric.as_str().into(),
        stat: rule.stat.as_str().into(),
        window: match &rule.span {
            Span::Rolling(length) => written(*length).into(),
            Span::Calendar(calendar) => calendar.unit.as_str().into(),
        },
        below: rule.side == Side::Below,
    }
}

#[cfg(test)]
pub(super) mod tests;
