//! What only time changes, and what providers say of their plans: once a second.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::channel::Registry;
use crate::clock::UnixMicros;
use crate::meter::Meter;
use crate::rules::Rules;

const EVERY: Duration = Duration::from_secs(1);

/// Ticks; never returns. Aside, since thousands of alerts take a moment.
pub(in crate::app) async fn tick(rules: Arc<Rules>, channels: Arc<Registry>, meter: Arc<Meter>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (rules, channels, meter) = (
            Arc::clone(&rules),
            Arc::clone(&channels),
            Arc::clone(&meter),
        );
        // An error means that the process ends.
        let _ = spawn_blocking(move || once(&rules, &channels, &meter, UnixMicros::now())).await;
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
    use crate::rules::{KnownNames, NoHands, parse};

    const NOW: UnixMicros = UnixMicros(1_763_632_800_000_000);

    #[test]
    fn a_plan_that_is_used_up_fires_until_it_begins_anew() {
        let name: Arc<str> = Arc::from("codex");
        let channels = Registry::of(vec![ChannelSettings {
            name: Arc::clone(&name),
            ..ChannelSettings::openai(BaseUrl::openai())
        }])
        .unwrap();
        let text = "groups:\n- name: g\n  rules:\n  - {alert: Quota, metric: quota_used, \
             by: [channel], critical: 90%}\n";
        let zone = jiff::tz::TimeZone::UTC;
        let loaded = parse("r.yaml".as_ref(), text, &zone, &KnownNames::default()).unwrap();
        assert_eq!(loaded.set.rules[0].mode, Mode::Notify);
        let rules = Rules::new(
            &loaded.set,
            BudgetSettings::default(),
            false,
            Arc::new(NoHands),
        );
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
