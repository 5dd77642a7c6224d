//! What alerts do to channels, and what is left of it.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::alert::{Labels, Mode, Severity};
use crate::channel::Unobserved;
use crate::config::{BaseUrl, ChannelSettings, Settings};
use crate::dispatch::News;
use crate::ledger::{Ledger, Reader, Settings as LedgerFiles, Takeover};
use crate::record::GateState;

const NOW: UnixMicros = UnixMicros(1_763_632_800_000_000);
const PATIENCE: Duration = Duration::from_secs(60);

struct Run {
    ledger: Ledger,
    channels: Arc<Registry>,
    hands: Enforcement,
}

fn run(folder: &Path, names: &[&str]) -> Run {
    let channels = names.iter().map(|name| ChannelSettings {
        name: Arc::from(*name),
        ..ChannelSettings::openai(BaseUrl::openai())
    });
    let settings = Settings {
        channels: channels.collect(),
        ..Settings::defaults(folder)
    };
    let ledger = Ledger::open(&LedgerFiles::new(folder), Takeover::Refuse).unwrap();
    let channels = Arc::new(Registry::new(&settings, Arc::new(Unobserved)).unwrap());
    let hands = Enforcement::new(Arc::clone(&channels), ledger.journal(), Arc::default());
    Run {
        ledger,
        channels,
        hands,
    }
}

impl Run {
    fn holds(&self, channel: &str) -> Vec<String> {
        let status = self.channels.gate_status(channel, NOW).unwrap();
        let holds = status.holds.iter();
        holds.map(|hold| hold.closing.owner.to_string()).collect()
    }
}

fn alert(rule: &str, channel: &str) -> AlertId {
    AlertId {
        rule: Arc::from(rule),
        labels: Labels::new([(Arc::from("channel"), Arc::from(channel))]),
    }
}

fn closure(rule: &str, channel: &str) -> Closure {
    Closure {
        channel: Arc::from(channel),
        alert: alert(rule, channel),
        until: Some(NOW.plus(Duration::from_secs(60))),
        recovery: Recovery::Open,
        allow_last: false,
        note: Arc::from("52 USD of 50 USD"),
    }
}

fn event(state: AlertState, told: bool) -> AlertEvent {
    AlertEvent {
        at: NOW,
        alert: alert("Spend", "east"),
        state,
        severity: Some(Severity::Critical),
        active_since: Some(NOW),
        fired_at: Some(NOW),
        cleared_since: None,
        critical_since: Some(NOW),
        critical_cleared_since: None,
        told,
        value: None,
        limit: None,
        window_end: None,
        mode: Mode::Enforce,
        actions: Vec::new(),
    }
}

#[test]
fn an_alert_closes_its_channel_and_frees_only_what_it_closed() {
    let folder = TempDir::new().unwrap();
    let run = run(folder.path(), &["east", "west"]);
    for rule in ["Spend", "Errors"] {
        assert_eq!(run.hands.close(&closure(rule, "east"), NOW), Closed::Done);
    }
    let spend = r#"alert:Spend{channel="east"}"#;
    let errors = r#"alert:Errors{channel="east"}"#;
    assert_eq!(run.holds("east"), [spend, errors]);
    let status = run.channels.gate_status("east", NOW).unwrap();
    assert_eq!(status.holds[0].closing.until, closure("", "").until);
    assert_eq!(
        status.holds[0].closing.note.as_deref(),
        Some("52 USD of 50 USD")
    );
    run.hands
        .reopen("east", &alert("Spend", "east"), Recovery::Open, NOW);
    assert_eq!(run.holds("east"), [errors]);
    // Of other labels it is another alert.
    run.hands
        .reopen("east", &alert("Errors", "west"), Recovery::Open, NOW);
    assert_eq!(run.holds("east"), [errors]);
}

#[test]
fn the_last_channel_is_closed_only_where_that_is_allowed() {
    let folder = TempDir::new().unwrap();
    let run = run(folder.path(), &["east", "west"]);
    assert_eq!(
        run.hands.close(&closure("Spend", "east"), NOW),
        Closed::Done
    );
    let last = closure("Spend", "west");
    assert_eq!(run.hands.close(&last, NOW), Closed::LastOf("*".into()));
    assert_eq!(run.holds("west"), [""; 0]);
    let allowed = Closure {
        allow_last: true,
        ..last
    };
    assert_eq!(run.hands.close(&allowed, NOW), Closed::Done);
    assert_eq!(
        run.hands.close(&closure("Spend", "north"), NOW),
        Closed::NoSuchChannel
    );
}

#[test]
fn a_channel_comes_back_by_a_probe_where_the_rule_says_so() {
    let folder = TempDir::new().unwrap();
    // At its closing, or only later: the rule was edited.
    for (first, then) in [
        (Recovery::Probe, Recovery::Open),
        (Recovery::Probe, Recovery::Probe),
        (Recovery::Open, Recovery::Probe),
    ] {
        let run = run(folder.path(), &["east", "west"]);
        let closing = Closure {
            recovery: first,
            ..closure("Spend", "east")
        };
        assert_eq!(run.hands.close(&closing, NOW), Closed::Done);
        run.hands.reopen("east", &closing.alert, then, NOW);
        let status = run.channels.gate_status("east", NOW).unwrap();
        assert_eq!(status.state, GateState::Closed);
        assert_eq!(status.next_probe, Some(NOW));
        let _ = run.ledger.close(PATIENCE);
    }
}

#[test]
fn an_alert_whose_rule_is_gone_is_freed_of_all_that_it_held() {
    let folder = TempDir::new().unwrap();
    let run = run(folder.path(), &["east", "west", "north"]);
    let spend = closure("Spend", "east");
    let elsewhere = Closure {
        channel: Arc::from("west"),
        until: None,
        ..spend.clone()
    };
    let errors = closure("Errors", "east");
    for closing in [&spend, &elsewhere, &errors] {
        assert_eq!(run.hands.close(closing, NOW), Closed::Done);
    }
    run.hands.free(&spend.alert, NOW);
    assert_eq!(run.holds("east"), [r#"alert:Errors{channel="east"}"#]);
    assert_eq!(run.holds("west"), [""; 0]);
}

#[test]
fn changes_are_recorded_and_those_that_are_told_are_heard() {
    let folder = TempDir::new().unwrap();
    let run = run(folder.path(), &["east"]);
    run.hands.inbox.open();
    let firing = event(AlertState::Firing, true);
    let kept = event(AlertState::Firing, false);
    run.hands.changed(&firing);
    run.hands.changed(&kept);
    assert_eq!(run.hands.inbox.take(), [News::Alert(Arc::new(firing))]);
    assert!(run.ledger.flush(PATIENCE));
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.last_alert_events().unwrap(), [kept]);
}

#[test]
fn a_process_that_handed_over_decides_nothing_any_more() {
    let folder = TempDir::new().unwrap();
    let run = run(folder.path(), &["east", "west"]);
    let held = closure("Spend", "east");
    run.hands.close(&held, NOW);
    run.hands.changed(&event(AlertState::Firing, true));
    run.hands.retire();
    run.hands.reopen("east", &held.alert, Recovery::Open, NOW);
    run.hands.close(&closure("Spend", "west"), NOW);
    run.hands.changed(&event(AlertState::Inactive, true));
    assert_eq!(run.holds("east"), [r#"alert:Spend{channel="east"}"#]);
    assert_eq!(run.holds("west"), [""; 0]);
    assert!(run.ledger.flush(PATIENCE));
    let reader = Reader::open(folder.path()).unwrap();
    let states = reader.last_alert_events().unwrap().into_iter();
    assert_eq!(
        states.map(|event| event.state).collect::<Vec<_>>(),
        [AlertState::Firing]
    );
}
