//! Channels of a new-api or one-api follow the gates: every generation of its API, and every way in
//! which it fails.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tollgate::channel::{Closing, GateObserver, Registry};
use tollgate::clock::UnixMicros;
use tollgate::config::{BaseUrl, ChannelSettings, NewApiSettings, Secret, Settings};
use tollgate::record::{ChannelEvent, GateReason, Owner};
use tollgate::sources::new_api::{Follower, FollowerStats, Pauses, SyncResult};

use crate::support::answers;
use crate::support::client::Request;
use crate::support::new_api::{Fault, Kind, OutsideGateway, TOKEN, USER};
use crate::support::tollgate::{Setup, Tollgate, free_port};
use crate::support::upstream::Upstream;
use crate::support::{Gate, eventually};

const ENABLED: i64 = 1;
const DISABLED: i64 = 2;
const AUTO_DISABLED: i64 = 3;

/// Short, so that a test that waits for many tries does not take long.
const PAUSES: Pauses = Pauses {
    first: Duration::from_millis(5),
    longest: Duration::from_millis(40),
};

/// Tells the follower that something happened to a gate.
#[derive(Debug)]
struct Told(watch::Sender<u64>);

impl GateObserver for Told {
    fn changed(&self, _event: &ChannelEvent) {
        self.0.send_modify(|changes| *changes += 1);
    }
}

/// A follower at work, and the gates that it follows. It ends when dropped, as in a crash.
struct Following {
    runtime: Runtime,
    gates: Arc<Registry>,
    stats: Arc<FollowerStats>,
}

impl Following {
    /// Follows the channel `a` as 7 and `b` as 8, whose gates are closed by an operator where
    /// `closed` names them.
    fn start(base_url: &str, data: &Path, closed: &[&str]) -> Self {
        let (following, follower) = Self::made(base_url, data, closed);
        following.runtime.spawn(follower.run());
        following
    }

    /// The same, and does not begin yet.
    fn made(base_url: &str, data: &Path, closed: &[&str]) -> (Self, Follower) {
        let channel = |(name, new_api): (&str, Option<u64>)| ChannelSettings {
            name: Arc::from(name),
            new_api,
            ..ChannelSettings::openai(BaseUrl::openai())
        };
        let settings = Settings {
            channels: [("a", Some(7)), ("b", Some(8)), ("inside", None)]
                .map(channel)
                .into(),
            ..Settings::defaults(data)
        };
        let gateway = NewApiSettings {
            base_url: base_url.parse().unwrap(),
            token: Secret::new(TOKEN),
            user: Some(USER),
        };
        let (changes, told) = watch::channel(0);
        let gates = Arc::new(Registry::new(&settings, Arc::new(Told(changes))).unwrap());
        let runtime = Runtime::new().unwrap();
        let (channels, registry) = (&settings.channels, Arc::clone(&gates));
        let follower = Follower::new(gateway, channels, data, registry, told, PAUSES).unwrap();
        let following = Self {
            runtime,
            stats: follower.stats(),
            gates,
        };
        for name in closed {
            following.closes(name, Owner::Operator, None);
        }
        (following, follower)
    }

    fn closes(&self, channel: &str, owner: Owner, until: Option<UnixMicros>) {
        let closing = Closing {
            owner,
            reason: GateReason::Operator,
            until,
            who: None,
            note: None,
        };
        let now = UnixMicros::now();
        self.gates.close(channel, closing, now).unwrap();
    }

    fn opens(&self, channel: &str) {
        let now = UnixMicros::now();
        let by = Owner::Operator;
        self.gates.reopen(channel, &by, None, None, now).unwrap();
    }

    fn count(&self, channel: &str, result: SyncResult) -> u64 {
        let mut channels = self.stats.channels().iter();
        let of = channels.find(|of| &**of.name() == channel).unwrap();
        of.count(result)
    }

    fn synced(&self, channel: &str) -> bool {
        let mut channels = self.stats.channels().iter();
        channels
            .find(|of| &**of.name() == channel)
            .unwrap()
            .synced()
    }

    /// Waits until the channel follows, having been seen behind or not.
    fn until_status(&self, gateway: &OutsideGateway, channel: &str, id: u64, status: i64) {
        eventually(&format!("channel {id} has the status {status}"), || {
            (gateway.status(id) == status && self.synced(channel)).then_some(())
        });
    }
}

#[test]
fn every_generation_of_the_gateway_follows() {
    for kind in Kind::ALL {
        let gateway = OutsideGateway::start(kind, [(7, ENABLED), (8, ENABLED)]);
        let data = tempfile::tempdir().unwrap();
        let following = Following::start(&gateway.base_url(), data.path(), &[]);
        for _ in 0..2 {
            following.closes("a", Owner::Operator, None);
            following.until_status(&gateway, "a", 7, DISABLED);
            following.opens("a");
            following.until_status(&gateway, "a", 7, ENABLED);
        }
        let twice = [(7, DISABLED), (7, ENABLED), (7, DISABLED), (7, ENABLED)];
        assert_eq!(gateway.changes(), twice, "{kind:?}");
        eventually("the counter", || {
            (following.count("a", SyncResult::Changed) == 4).then_some(())
        });
        assert_eq!(following.count("a", SyncResult::Failed), 0, "{kind:?}");
        let asked = gateway.requests();
        assert!(asked.iter().all(|line| !line.contains("/8")), "{asked:?}");
        // What the older ones do not know is asked for once.
        let posts = asked.iter().filter(|line| line.starts_with("POST")).count();
        assert_eq!(posts, if kind == Kind::Newer { 4 } else { 1 }, "{kind:?}");
    }
}

#[test]
fn an_update_of_the_gateway_is_no_reason_to_stop_following() {
    let gateway = OutsideGateway::start(Kind::Older, [(7, ENABLED), (8, ENABLED)]);
    let data = tempfile::tempdir().unwrap();
    let following = Following::start(&gateway.base_url(), data.path(), &["a"]);
    following.until_status(&gateway, "a", 7, DISABLED);
    gateway.becomes(Kind::Newer);
    following.opens("a");
    following.until_status(&gateway, "a", 7, ENABLED);
    gateway.becomes(Kind::One);
    following.closes("a", Owner::Operator, None);
    following.until_status(&gateway, "a", 7, DISABLED);
}

#[test]
fn what_somebody_disabled_by_hand_stays_disabled() {
    let gateway = OutsideGateway::start(Kind::Newer, [(7, DISABLED), (8, ENABLED)]);
    let data = tempfile::tempdir().unwrap();
    let following = Following::start(&gateway.base_url(), data.path(), &["a"]);
    following.until_status(&gateway, "a", 7, DISABLED);
    following.opens("a");
    // The other channel moves after it, so its turn has come when that one's has.
    following.closes("b", Owner::Operator, None);
    following.until_status(&gateway, "b", 8, DISABLED);
    eventually("the opening is dealt with", || {
        (following.count("a", SyncResult::Unchanged) >= 2).then_some(())
    });
    assert!(following.synced("a"));
    assert_eq!(gateway.changes(), [(8, DISABLED)]);

    // Also after a restart, with both open.
    drop(following);
    let following = Following::start(&gateway.base_url(), data.path(), &[]);
    following.until_status(&gateway, "b", 8, ENABLED);
    following.until_status(&gateway, "a", 7, DISABLED);
    assert_eq!(gateway.changes(), [(8, DISABLED), (8, ENABLED)]);
}

#[test]
fn what_tollgate_disabled_is_enabled_after_a_restart() {
    let gateway = OutsideGateway::start(Kind::One, [(7, ENABLED), (8, ENABLED)]);
    let data = tempfile::tempdir().unwrap();
    let following = Following::start(&gateway.base_url(), data.path(), &["a", "b"]);
    following.until_status(&gateway, "a", 7, DISABLED);
    following.until_status(&gateway, "b", 8, DISABLED);
    drop(following);

    let following = Following::start(&gateway.base_url(), data.path(), &["b"]);
    following.until_status(&gateway, "a", 7, ENABLED);
    following.until_status(&gateway, "b", 8, DISABLED);
    following.opens("b");
    following.until_status(&gateway, "b", 8, ENABLED);
    assert_eq!(gateway.changes().len(), 4);
}

#[test]
fn what_another_process_disabled_before_this_one_follows_is_known() {
    let gateway = OutsideGateway::start(Kind::Newer, [(7, ENABLED), (8, ENABLED)]);
    let data = tempfile::tempdir().unwrap();
    let old = Following::start(&gateway.base_url(), data.path(), &[]);
    let (new, follower) = Following::made(&gateway.base_url(), data.path(), &["a"]);
    old.closes("a", Owner::Operator, None);
    old.until_status(&gateway, "a", 7, DISABLED);
    drop(old);
    new.runtime.spawn(follower.run());
    new.until_status(&gateway, "a", 7, DISABLED);
    new.opens("a");
    new.until_status(&gateway, "a", 7, ENABLED);
}

#[test]
fn a_person_who_enables_a_closed_channel_there_is_not_fought() {
    let gateway = OutsideGateway::start(Kind::Newer, [(7, ENABLED), (8, ENABLED)]);
    let data = tempfile::tempdir().unwrap();
    let following = Following::start(&gateway.base_url(), data.path(), &["a"]);
    following.until_status(&gateway, "a", 7, DISABLED);
    gateway.change(7, ENABLED);
    following.closes("b", Owner::Operator, None);
    following.until_status(&gateway, "b", 8, DISABLED);
    assert_eq!(gateway.status(7), ENABLED);
    // It is open here too now; what they disable themselves from then on is theirs.
    following.opens("a");
    eventually("the opening is dealt with", || {
        (following.count("a", SyncResult::Unchanged) >= 1).then_some(())
    });
    gateway.change(7, DISABLED);
    following.opens("b");
    following.until_status(&gateway, "b", 8, ENABLED);
    assert_eq!(gateway.status(7), DISABLED);
}

#[test]
fn the_gateways_own_recovery_does_not_open_what_is_closed_here() {
    let gateway = OutsideGateway::start(Kind::Newer, [(7, AUTO_DISABLED), (8, ENABLED)]);
    let data = tempfile::tempdir().unwrap();
    let following = Following::start(&gateway.base_url(), data.path(), &["a"]);
    following.until_status(&gateway, "a", 7, DISABLED);
    gateway.recover();
    assert_eq!(gateway.status(7), DISABLED);
    following.opens("a");
    following.until_status(&gateway, "a", 7, ENABLED);
}

#[test]
fn what_it_disables_by_itself_meanwhile_is_its_own_to_enable() {
    let gateway = OutsideGateway::start(Kind::Newer, [(7, ENABLED), (8, ENABLED)]);
    let data = tempfile::tempdir().unwrap();
    let following = Following::start(&gateway.base_url(), data.path(), &["a"]);
    following.until_status(&gateway, "a", 7, DISABLED);
    gateway.change(7, AUTO_DISABLED);
    following.opens("a");
    eventually("the opening is dealt with", || {
        (following.count("a", SyncResult::Unchanged) == 1).then_some(())
    });
    assert_eq!(gateway.status(7), AUTO_DISABLED);
}

#[test]
fn whatever_fails_is_tried_again_until_it_is_done() {
    use Fault::{BadGateway, Drop, DropAfter, Pretends, SaysNo, TooOften};
    for kind in [Kind::Newer, Kind::One] {
        for faults in [
            vec![
                Drop,
                BadGateway,
                SaysNo,
                TooOften(None),
                TooOften(Some(3600)),
            ],
            vec![Pretends, Drop],
            vec![DropAfter, DropAfter, DropAfter],
        ] {
            let gateway = OutsideGateway::start(kind, [(7, ENABLED), (8, ENABLED)]);
            gateway.fails(faults.clone());
            let data = tempfile::tempdir().unwrap();
            let following = Following::start(&gateway.base_url(), data.path(), &["a"]);
            following.until_status(&gateway, "a", 7, DISABLED);
            let failed = following.count("a", SyncResult::Failed);
            assert!(failed >= 1, "{kind:?}, {} faults", faults.len());
            gateway.fails(faults.clone());
            following.opens("a");
            following.until_status(&gateway, "a", 7, ENABLED);
            assert!(following.count("a", SyncResult::Failed) > failed);
        }
    }
}

#[test]
fn a_yes_is_believed_when_it_shows() {
    let gateway = OutsideGateway::start(Kind::Newer, [(7, ENABLED), (8, ENABLED)]);
    let data = tempfile::tempdir().unwrap();
    let following = Following::start(&gateway.base_url(), data.path(), &[]);
    gateway.fails([const { Fault::Pretends }; 3]);
    following.closes("a", Owner::Operator, None);
    following.until_status(&gateway, "a", 7, DISABLED);
    assert_eq!(following.count("a", SyncResult::Failed), 3);
    assert_eq!(gateway.changes(), [(7, DISABLED)]);
}

#[test]
fn a_newer_wish_takes_the_place_of_one_that_could_not_be_granted() {
    let gateway = OutsideGateway::start(Kind::Newer, [(7, ENABLED), (8, ENABLED)]);
    gateway.takes("another-token");
    let data = tempfile::tempdir().unwrap();
    let following = Following::start(&gateway.base_url(), data.path(), &["a"]);
    eventually("tries", || {
        (following.count("a", SyncResult::Failed) >= 2).then_some(())
    });
    assert!(!following.synced("a"));
    following.opens("a");
    eventually("nothing is wished any more", || {
        following.synced("a").then_some(())
    });
    gateway.takes(TOKEN);
    following.closes("b", Owner::Operator, None);
    following.until_status(&gateway, "b", 8, DISABLED);
    assert_eq!(gateway.changes(), [(8, DISABLED)]);
}

#[test]
fn a_gateway_that_is_not_there_is_asked_until_it_is() {
    let address = free_port();
    let data = tempfile::tempdir().unwrap();
    let following = Following::start(&format!("http://{address}"), data.path(), &["a"]);
    eventually("tries", || {
        (following.count("a", SyncResult::Failed) >= 3).then_some(())
    });
    assert!(!following.synced("a"));
    assert!(following.synced("b"), "nothing is wished of it");
}

#[test]
fn a_probe_that_is_due_opens_the_channel_outside() {
    let gateway = OutsideGateway::start(Kind::Newer, [(7, ENABLED), (8, ENABLED)]);
    let data = tempfile::tempdir().unwrap();
    let following = Following::start(&gateway.base_url(), data.path(), &[]);
    let soon = UnixMicros::now().plus(Duration::from_millis(300));
    following.closes("a", Owner::Breaker, Some(soon));
    following.closes("b", Owner::Breaker, None);
    following.until_status(&gateway, "b", 8, DISABLED);
    // No gate changes, only the time comes.
    eventually("it is disabled and then enabled", || {
        (gateway.changes().ends_with(&[(7, ENABLED)])).then_some(())
    });
    following.until_status(&gateway, "a", 7, ENABLED);
    assert_eq!(gateway.status(8), DISABLED, "it waits for an operator");
}

/// A Tollgate whose channel `a` is 7 in that gateway, with this access token.
fn beside(gateway: &OutsideGateway, token: &str) -> Tollgate {
    let channel = ("a", "http://127.0.0.1:9/v1", ", new_api: {id: 7}");
    let source = format!(
        "sources: {{new_api: {{base_url: '{}', token: {token}, user: {USER}}}}}",
        gateway.base_url()
    );
    Setup::channels(&[channel]).setting(&source).start()
}

fn operator(tollgate: &Tollgate, what: &str) {
    let request = Request::new("POST", &format!("/api/v1/channels/a/{what}"));
    assert_eq!(tollgate.ask(&request).status, 200);
}

fn until_synced(tollgate: &Tollgate) {
    eventually("it follows", || {
        let synced = tollgate
            .metrics()
            .sum("tollgate_new_api_synced", &[("channel", "a")]);
        (synced > 0.0).then_some(())
    });
}

#[test]
fn what_an_operator_closes_is_disabled_there_over_restarts_too() {
    let gateway = OutsideGateway::start(Kind::Newer, [(7, ENABLED)]);
    let mut tollgate = beside(&gateway, TOKEN);
    until_synced(&tollgate);
    operator(&tollgate, "disable");
    eventually("it is disabled", || {
        (gateway.status(7) == DISABLED).then_some(())
    });
    until_synced(&tollgate);
    tollgate.kill();

    // It is closed still, and somebody enabled it there meanwhile.
    gateway.change(7, ENABLED);
    tollgate.start_again();
    eventually("it is disabled again", || {
        (gateway.status(7) == DISABLED).then_some(())
    });
    operator(&tollgate, "enable");
    eventually("it is enabled", || {
        (gateway.status(7) == ENABLED).then_some(())
    });
    until_synced(&tollgate);
    let changed = [("channel", "a"), ("result", "changed")];
    let metrics = tollgate.metrics();
    assert!(metrics.sum("tollgate_new_api_sync_total", &changed) >= 1.0);

    // And what somebody disables there while it is open here is nobody else's business.
    gateway.change(7, DISABLED);
    tollgate.stop();
    tollgate.start_again();
    until_synced(&tollgate);
    assert_eq!(gateway.status(7), DISABLED);
}

#[test]
fn what_is_disabled_during_a_hand_over_is_enabled_after_it() {
    let gateway = OutsideGateway::start(Kind::Newer, [(7, ENABLED)]);
    let mut tollgate = beside(&gateway, TOKEN);
    until_synced(&tollgate);
    let silent = Gate::default();
    gateway.fails([Fault::Wait(silent.clone())]);
    operator(&tollgate, "disable");
    eventually("the old process asks for the channel", || {
        (!gateway.requests().is_empty()).then_some(())
    });
    let successor = tollgate.successor(&["--upgrade"]);
    tollgate.signal(Signal::QUIT);
    eventually("the new one is ready", || {
        (tollgate.log().matches("is ready").count() == 2).then_some(())
    });
    silent.open();
    assert!(tollgate.ended().success());
    tollgate.replace(successor);
    eventually("it is disabled", || {
        (gateway.status(7) == DISABLED).then_some(())
    });
    until_synced(&tollgate);
    operator(&tollgate, "enable");
    eventually("it is enabled", || {
        (gateway.status(7) == ENABLED).then_some(())
    });
}

#[test]
fn neither_gates_nor_requests_wait_for_the_gateway() {
    let gateway = OutsideGateway::start(Kind::Newer, [(7, ENABLED)]);
    let provider = Upstream::start(answers::provider);
    let source = format!(
        "sources: {{new_api: {{base_url: '{}', token: {TOKEN}, user: {USER}}}}}",
        gateway.base_url()
    );
    let channels = [
        ("a", &*provider.base_url(), ", new_api: {id: 7}"),
        ("b", &*provider.base_url(), ""),
    ];
    let tollgate = Setup::channels(&channels).setting(&source).start();
    let silent = Gate::default();
    gateway.fails([Fault::Wait(silent.clone())]);
    operator(&tollgate, "disable");
    let state = tollgate.admin("/api/v1/channels/a").json()["state"].clone();
    assert_eq!(state, "closed");
    let embed = serde_json::json!({"model": "text-embedding-3-small", "input": "x"});
    let request = Request::json("/c/b/v1/embeddings", &embed);
    assert_eq!(tollgate.send(&request).status, 200);
    assert_eq!(gateway.status(7), ENABLED);
    silent.open();
    eventually("it is disabled", || {
        (gateway.status(7) == DISABLED).then_some(())
    });
}

#[test]
fn a_gateway_that_refuses_is_told_of_once_and_without_the_token() {
    for (kind, told) in [
        (Kind::Newer, "refuses the token (401"),
        (Kind::One, "says no (200"),
    ] {
        let gateway = OutsideGateway::start(kind, [(7, ENABLED)]);
        let tollgate = beside(&gateway, "wrong-token-canary");
        operator(&tollgate, "disable");
        let failed = [("channel", "a"), ("result", "failed")];
        eventually("tries", || {
            let failures = tollgate.metrics();
            (failures.sum("tollgate_new_api_sync_total", &failed) >= 3.0).then_some(())
        });
        let synced = tollgate.metrics().sum("tollgate_new_api_synced", &[]);
        assert!(synced < 1.0, "{kind:?}");
        let log = tollgate.log();
        assert_eq!(log.matches("does not follow the gate").count(), 1, "{log}");
        assert!(log.contains(told), "{log}");
        gateway.takes("wrong-token-canary");
        until_synced(&tollgate);
        let log = tollgate.log();
        assert!(log.contains("follows the gate"), "{log}");
        assert!(!log.contains("canary"), "{log}");
    }
}

#[test]
fn behind_the_gateway_a_closed_channel_gets_the_request_that_finds_out() {
    let gateway = OutsideGateway::start(Kind::Newer, [(7, ENABLED)]);
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let provider = Upstream::start(move |request| {
        if is_well.load(Ordering::SeqCst) {
            return answers::provider(request);
        }
        answers::error("500 Internal Server Error", "server_error", "broken")
    });
    let source = format!(
        "sources: {{new_api: {{base_url: '{}', token: {TOKEN}, user: {USER}}}}}",
        gateway.base_url()
    );
    let url = provider.base_url();
    let tollgate = Setup::channels(&[("a", &url, ", new_api: {id: 7}, api_key: sk-canary")])
        .setting(&source)
        .setting("breaker: {failures: 1, probe_after: 4s, allow_last: true}")
        .start();
    // As the gateway does: by the channel's name, and only while it is enabled there.
    let embed = serde_json::json!({"model": "text-embedding-3-small", "input": "x"});
    let request = Request::json("/c/a/v1/embeddings", &embed);
    let sent_by_gateway = || {
        eventually("it is enabled there", || {
            (gateway.status(7) == ENABLED).then_some(())
        });
        tollgate.send(&request).status
    };
    assert_eq!(sent_by_gateway(), 500, "and the breaker closes the channel");
    eventually("it is disabled there", || {
        (gateway.status(7) == DISABLED).then_some(())
    });
    well.store(true, Ordering::SeqCst);
    assert_eq!(sent_by_gateway(), 200, "without a request in between");
    eventually("it is open", || {
        let state = tollgate.admin("/api/v1/channels/a").json()["state"].clone();
        (state == "open").then_some(())
    });
    until_synced(&tollgate);
    assert_eq!(gateway.changes(), [(7, DISABLED), (7, ENABLED)]);
}
