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
        for quota in meter.limits(&channel.name, now).quotas {
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
