//! What only time changes, and what providers say of their plans: once a second.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::channel::Registry;
use crate::clock::UnixMicros;
use crate::meter::Meter;
use crate::rules::{Rule, Rules};

const EVERY: Duration = Duration::from_secs(1);

/// Ticks; never returns. Aside, since thousands of alerts take a moment.
pub(in crate::app) async fn tick(rules: Arc<Rules>, channels: Arc<Registry>, meter: Arc<Meter>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut folding = Folding::default();
    loop {
        ticks.tick().await;
        folding.tell(&rules);
        let (rules, channels, meter) = (
            Arc::clone(&rules),
            Arc::clone(&channels),
            Arc::clone(&meter),
        );
        // An error means that the process ends.
        let _ = spawn_blocking(move || once(&rules, &channels, &meter, UnixMicros::now())).await;
    }
}

/// The rules of which it was told that they have more combinations than `max_series`.
#[derive(Debug, Default)]
struct Folding(HashSet<Arc<str>>);

impl Folding {
    /// Tells of those that it was not yet told of.
    fn tell(&mut self, rules: &Rules) {
        for rule in self.not_told(rules) {
            tracing::warn!(
                rule = %rule.name,
                max_series = rule.max_series,
                "a rule has more combinations of labels than `max_series`: all further ones share one \
                 alert and one budget; raise it, or take a label out of `by`"
            );
        }
    }

    fn not_told(&mut self, rules: &Rules) -> Vec<Arc<Rule>> {
        let mut folding = rules.folding();
        folding.retain(|rule| self.0.insert(Arc::clone(&rule.name)));
        folding
    }
}

fn once(rules: &Rules, channels: &Registry, meter: &Meter, now: UnixMicros) {
    if rules.is_empty() {
        return;
    }
    for channel in channels.iter() {
        let quotas = meter.limits(&channel.name, now).quotas;
        let known: Vec<&str> = quotas.iter().map(|quota| quota.window.as_str()).collect();
        rules.forget_quotas(&channel.name, &known, now);
        for quota in &quotas {
            rules.quota(
                &channel.name,
                &quota.window,
                millionths(quota.used_ratio),
                now,
            );
        }
    }
    rules.tick(now);
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a share; what is beyond every number saturates"
)]
fn millionths(ratio: f64) -> i64 {
    (ratio * 1_000_000.0).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{AlertState, Mode};
    use crate::config::{BaseUrl, BudgetSettings, ChannelSettings};
    use crate::protocol::{LimitsSeen, QuotaSeen, QuotaWindow};
    use crate::record::{Api, Dimensions, ModelNames, Sample};
    use crate::rules::{KnownNames, NoHands, Reservation, parse};

    const NOW: UnixMicros = UnixMicros(1_763_632_800_000_000);

    /// The rules of a file with this rule, and nobody to act for them.
    fn rules(rule: &str) -> Rules {
        let text = format!("groups:\n- name: g\n  rules:\n  - {{{rule}}}\n");
        let zone = jiff::tz::TimeZone::UTC;
        let loaded = parse("r.yaml".as_ref(), &text, &zone, &KnownNames::default()).unwrap();
        assert_eq!(loaded.set.rules[0].mode, Mode::Notify);
        let budgets = BudgetSettings::default();
        Rules::new(&loaded.set, budgets, false, Arc::new(NoHands))
    }

    #[test]
    fn more_combinations_than_a_rule_may_have_are_told_of_once() {
        let rules = rules(
            "alert: Spend, metric: requests, window: 1h, by: [channel], max_series: 1, \
             critical: 9 requests",
        );
        let mut folding = Folding::default();
        let mut told = |channel| {
            let sample = Sample {
                started_at: NOW,
                ended_at: NOW,
                dimensions: Dimensions {
                    channel,
                    api: Api::Chat,
                    key: None,
                    model: ModelNames::default(),
                    tags: None,
                },
                error: false,
                settles: false,
                cost_nanousd: None,
                tokens: None,
                input_tokens: None,
                output_tokens: None,
                latency_us: None,
                ttft_us: None,
                pace_milli: None,
                position: None,
            };
            rules.observe(&sample, Reservation::default(), NOW);
            folding.not_told(&rules).len()
        };
        assert_eq!(["a", "a", "b", "b", "c"].map(&mut told), [0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_plan_that_is_used_up_fires_until_it_begins_anew() {
        let name: Arc<str> = Arc::from("codex");
        let channels = Registry::of(vec![ChannelSettings {
            name: Arc::clone(&name),
            ..ChannelSettings::openai(BaseUrl::openai())
        }])
        .unwrap();
        let rules = rules("alert: Quota, metric: quota_used, by: [channel], critical: 90%");
        let meter = Meter::new(10);
        let state = |now| {
            once(&rules, &channels, &meter, now);
            let alert = rules.view(now).remove(0).alerts.into_iter().next();
            alert.map_or(AlertState::Inactive, |alert| alert.state)
        };
        assert_eq!(state(NOW), AlertState::Inactive);
        let resets_at = NOW.plus(Duration::from_secs(600));
        meter.in_flight(&name).note_limits(LimitsSeen {
            quotas: vec![QuotaSeen {
                family: None,
                windows: [
                    Some(QuotaWindow {
                        minutes: 300,
                        used_ratio: 0.95,
                        resets_at: Some(resets_at),
                    }),
                    None,
                ],
            }],
            ..LimitsSeen::default()
        });
        assert_eq!(state(NOW), AlertState::Firing);
        assert_eq!(state(UnixMicros(resets_at.0 - 1)), AlertState::Firing);
        assert_eq!(state(resets_at), AlertState::Inactive);
    }
}
