//! Rules that are fed with samples, and act on the channels of a ledger.

use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;
use tollgate::alert::{AlertEvent, AlertId};
use tollgate::channel::{Closing, Registry};
use tollgate::clock::UnixMicros;
use tollgate::config::BudgetSettings;
use tollgate::ledger::{Journal, Ledger};
use tollgate::money::NanoUsd;
use tollgate::record::{Api, Dimensions, GateReason, ModelNames, Owner, Sample, Worst};
use tollgate::rules::{
    Closed, Closure, Demand, Hands, KnownNames, Recovery, Reservation, Rules, parse,
};

/// A dollar, in nano-dollars.
pub(crate) const USD: i64 = 1_000_000_000;

/// The text of a file without rules.
pub(crate) const NO_RULES: &str = "groups: []\n";

/// Carries out what rules decide, whatever else a channel is needed for, and records it.
#[derive(Debug)]
struct Carried {
    channels: Arc<Registry>,
    journal: Arc<Journal>,
}

impl Hands for Carried {
    fn close(&self, closure: &Closure, now: UnixMicros) -> Closed {
        let closing = Closing {
            owner: Owner::Alert(closure.alert.to_string().into()),
            reason: GateReason::Alert,
            until: closure.until,
            who: None,
            note: Some(Arc::clone(&closure.note)),
        };
        match self.channels.close(&closure.channel, closing, now) {
            Ok(_) => Closed::Done,
            Err(_) => Closed::NoSuchChannel,
        }
    }

    fn reopen(&self, channel: &str, alert: &AlertId, _recovery: Recovery, now: UnixMicros) {
        let owner = Owner::Alert(alert.to_string().into());
        self.channels
            .reopen(channel, &owner, None, None, now)
            .unwrap();
    }

    fn free(&self, alert: &AlertId, now: UnixMicros) {
        for channel in self.channels.iter() {
            self.reopen(&channel.name, alert, Recovery::Open, now);
        }
    }

    fn changed(&self, event: &AlertEvent) {
        assert!(self.journal.alert_changed(event));
    }
}

/// The rules of a file with this text.
pub(crate) fn rules(ledger: &Ledger, channels: &Arc<Registry>, text: &str) -> Arc<Rules> {
    let loaded = parse(
        Path::new("rules/test.yaml"),
        text,
        &TimeZone::UTC,
        &KnownNames::default(),
    );
    let hands = Carried {
        channels: Arc::clone(channels),
        journal: ledger.journal(),
    };
    let set = loaded.unwrap_or_else(|problems| panic!("{problems}")).set;
    Arc::new(Rules::new(
        &set,
        BudgetSettings::default(),
        false,
        Arc::new(hands),
    ))
}

fn of<'a>(channel: &'a str, key: Option<&'a str>) -> Dimensions<'a> {
    Dimensions {
        channel,
        api: Api::Chat,
        key,
        model: ModelNames {
            asked: Some("gpt-5-mini"),
            ..ModelNames::default()
        },
        tags: None,
    }
}

/// A request through `channel` that ends now, cost so much, and used 1,000 tokens.
pub(crate) fn spend(rules: &Rules, channel: &str, key: Option<&str>, cost_nanousd: i64) {
    let now = UnixMicros::now();
    let sample = Sample {
        started_at: now,
        ended_at: now,
        dimensions: of(channel, key),
        error: false,
        settles: false,
        cost_nanousd: Some(cost_nanousd),
        tokens: Some(1_000),
        input_tokens: Some(600),
        output_tokens: Some(400),
        latency_us: Some(3_000_000),
        ttft_us: None,
        pace_milli: None,
        position: None,
    };
    rules.observe(&sample, Reservation::default(), now);
}

/// A request that is about to go to `channel`, and may cost so much; `None` where nobody knows.
pub(crate) fn ask(
    rules: &Rules,
    channel: &str,
    key: Option<&str>,
    worst_nanousd: Option<i64>,
) -> Option<Reservation> {
    let now = UnixMicros::now();
    let demand = Demand {
        started_at: now,
        dimensions: of(channel, key),
        worst: Worst {
            cost: worst_nanousd.map(NanoUsd),
            input_tokens: Some(1_000),
            output_tokens: Some(2_000),
            ..Worst::default()
        },
    };
    rules.admit(&demand, now).ok()
}
