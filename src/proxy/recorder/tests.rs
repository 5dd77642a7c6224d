use super::super::admission::{Destination, Extent};
use super::*;
use crate::channel::{Registry, Unobserved};
use crate::config::{BaseUrl, BudgetSettings, ChannelSettings};
use crate::ledger::query::{RequestFilter, StoredRequest};
use crate::ledger::{Closed, Ledger, Reader, Settings, Takeover};
use crate::meter::Meter;
use crate::pricing::Prices;
use crate::protocol::bounds;
use crate::rules::{KnownNames, NoHands, Rules, parse};

/// One channel, where `fast` is `gpt-5`.
fn channels() -> Registry {
    let mut settings = crate::config::Settings::defaults(std::path::Path::new(""));
    settings.channels = vec![ChannelSettings {
        name: "a".into(),
        ..ChannelSettings::openai(BaseUrl::openai())
    }];
    settings.models.aliases = vec![("fast".into(), "gpt-5".into())];
    Registry::new(&settings, Arc::new(Unobserved)).unwrap()
}

struct Room {
    folder: tempfile::TempDir,
    ledger: Ledger,
    sinks: Arc<Sinks>,
}

impl Room {
    fn open() -> Self {
        Self::with(Rules::none())
    }

    fn with(rules: Rules) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&Settings::new(folder.path()), Takeover::Refuse).unwrap();
        let sinks = Arc::new(Sinks {
            journal: ledger.journal(),
            deferred: ledger.deferred(),
            meter: Arc::new(Meter::new(10)),
            prices: Arc::new(Prices::builtin()),
            rules: Arc::new(rules),
            channels: Arc::new(channels()),
        });
        Self {
            folder,
            ledger,
            sinks,
        }
    }

    fn recorder(&self, started: Instant) -> Recorder {
        Recorder::open(Arc::clone(&self.sinks), UnixMicros::now(), started)
    }

    fn rows(self) -> Vec<StoredRequest> {
        assert_eq!(self.ledger.close(Duration::from_secs(30)), Closed::Complete);
        let reader = Reader::open(self.folder.path()).unwrap();
        reader.requests(&RequestFilter::default()).unwrap().requests
    }
}

#[test]
fn only_the_first_end_counts() {
    let room = Room::open();
    let start = Instant::now();
    let mut recorder = room.recorder(start);
    recorder.close(Ending::OK, start);
    recorder.close(Ending::bare(Outcome::Internal, None), start);
    drop(recorder);
    let rows = room.rows();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].outcome, Outcome::Ok);
}

/// One channel never says what came of the request, one refuses it, a third answers: what the
/// first may bill is in no row, and so in the bound.
#[test]
fn what_an_earlier_channel_may_bill_stays_in_the_bound() {
    let text = "groups: [{name: g, rules: [{alert: Spend, metric: cost, window: day, \
         critical: 100 USD, mode: enforce, actions: [{block: {}}]}]}]";
    let (zone, known) = (jiff::tz::TimeZone::UTC, crate::rules::KnownNames::default());
    let loaded = crate::rules::parse("r.yaml".as_ref(), text, &zone, &known).unwrap();
    let hands = Arc::new(crate::rules::NoHands);
    let rules = Rules::new(&loaded.set, BudgetSettings::default(), false, hands);
    let mut room = Room::open();
    let Some(sinks) = Arc::get_mut(&mut room.sinks) else {
        panic!("nobody else has them")
    };
    sinks.rules = Arc::new(rules);
    let rules = Arc::clone(&room.sinks.rules);
    let start = Instant::now();
    let mut recorder = room.recorder(start);
    let now = recorder.clock(start);
    let ask = |recorder: &mut Recorder, channel: &str| {
        let destination = Destination {
            channel: Arc::from(channel),
            provider: Some("openai"),
            meant: None,
            called: Some(Arc::from("gpt-4o")),
        };
        let body = bounds(Api::Chat, br#"{"messages": [], "max_tokens": 1000}"#);
        let asked = recorder.ask(&destination, now, || Extent::Within(body.as_ref().unwrap()));
        asked.unwrap();
        recorder.admit(&destination.channel);
    };
    let shown = || {
        let view = rules.view(now).remove(0);
        let bound = view.overshoot_bound.flatten().unwrap().value;
        (bound, view.alerts[0].reserved.unwrap().value)
    };
    ask(&mut recorder, "silent");
    let (_, one) = shown();
    assert!(one > 0);
    ask(&mut recorder, "refusing");
    assert_eq!(shown(), (0, 2 * one));
    recorder.give_back();
    assert_eq!(shown(), (0, one));
    ask(&mut recorder, "answering");
    recorder.close(Ending::OK, start);
    assert_eq!(shown(), (one, 0));
}

#[test]
fn an_account_nobody_closed_is_closed_by_its_drop() {
    let room = Room::open();
    let channel = Arc::from("a");
    let mut recorder = room.recorder(Instant::now());
    recorder.admit(&channel);
    drop(recorder);
    let panicking = room.recorder(Instant::now());
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _recorder = panicking;
        panic!("in a filter");
    }));
    let mut outcomes: Vec<_> = room.rows().iter().map(|row| row.outcome).collect();
    outcomes.sort();
    assert_eq!(outcomes, [Outcome::Interrupted, Outcome::Internal]);
}

#[test]
fn what_was_made_in_the_background_counts_for_whoever_had_it_made() {
    let text = "groups: [{name: g, rules: [{alert: Spend, metric: cost, window: day, \
                by: [model, key, 'tag:team'], critical: 9 USD}]}]";
    let zone = jiff::tz::TimeZone::UTC;
    let loaded = parse("r.yaml".as_ref(), text, &zone, &KnownNames::default()).unwrap();
    let hands = Arc::new(NoHands);
    let room = Room::with(Rules::new(
        &loaded.set,
        BudgetSettings::default(),
        false,
        hands,
    ));
    let id = Some(Arc::from("resp_1"));
    let mut making = room.recorder(Instant::now());
    let admission = making.admission();
    admission.api = Api::Responses;
    admission.billable = true;
    admission.requested_model = Some("fast".into());
    admission.key = Some("team-a".into());
    admission.tags.insert("team".into(), "a".into());
    making.admit(&Arc::from("a"));
    making.goes_as(Some("gpt-5".into()), Some("gpt-5".into()));
    making.names_response(id.clone());
    making.usage_comes_later();
    making.close(Ending::OK, Instant::now());

    let mut looking = room.recorder(Instant::now());
    looking.admission().api = Api::Responses;
    looking.admission().key = Some("operator".into());
    looking.admit(&Arc::from("a"));
    let mut tokens = Tokens::default();
    tokens[crate::record::TokenType::Output] = Some(1_000);
    let observed = Observed {
        usage: Some(Usage {
            tokens,
            units: Units::NONE,
            total: tokens.sum(),
            source: UsageSource::Reported,
        }),
        served_model: Some("gpt-5-2025-08-07".into()),
        ..Observed::default()
    };
    looking.observed(&observed);
    looking.names_response(id);
    assert!(looking.settles(&observed));
    looking.close(Ending::OK, Instant::now());

    let alerts = room.sinks.rules.view(UnixMicros::now()).remove(0).alerts;
    let spent = alerts.iter().filter_map(|alert| {
        let labels = ["model", "key", "tag:team"].map(|label| alert.labels.get(label));
        Some((
            labels.map(|label| label.map_or("", |label| label)),
            alert.value?.value,
        ))
    });
    // A thousand tokens at 10 USD a million.
    assert_eq!(
        spent.collect::<Vec<_>>(),
        [(["gpt-5", "team-a", "a"], 10_000_000)]
    );
    let rows = room.rows();
    let told = rows
        .iter()
        .find(|row| row.deferral == Some(Deferral::Settled));
    let told = told.unwrap();
    assert_eq!(told.requested_model.as_deref(), Some("fast"));
    assert_eq!(told.key.as_deref(), Some("team-a"));
    assert_eq!(told.tags["team"], "a");
    assert!(!told.billable);
}
