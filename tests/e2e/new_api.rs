//! Channels of a new-api or one-api follow the gates: every generation of its API, and every way in
//! which it fails.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tollgate::channel::{Closing, GateStatus, Hold};
use tollgate::clock::UnixMicros;
use tollgate::config::{BaseUrl, ChannelSettings, NewApiSettings, Secret};
use tollgate::record::{GateReason, GateState, Owner};
use tollgate::sources::new_api::{Follower, FollowerStats, Gates, Pauses, SyncResult};

use crate::support::eventually;
use crate::support::new_api::{Fault, Kind, OutsideGateway, TOKEN, USER};
use crate::support::tollgate::free_port;

const ENABLED: i64 = 1;
const DISABLED: i64 = 2;
const AUTO_DISABLED: i64 = 3;

/// Short, so that a test that waits for many tries does not take long.
const PAUSES: Pauses = Pauses {
    first: Duration::from_millis(5),
    longest: Duration::from_millis(40),
};

/// Gates that the test moves.
#[derive(Default)]
struct Hands(Mutex<BTreeMap<String, Hold>>);

impl Gates for Hands {
    fn gate(&self, channel: &str, _now: UnixMicros) -> Option<GateStatus> {
        let hold = self.0.lock().unwrap().get(channel).cloned();
        Some(GateStatus {
            state: hold.as_ref().map_or(GateState::Open, |hold| hold.state),
            holds: hold.into_iter().collect(),
            in_flight: 0,
            next_probe: None,
            cooling: Vec::new(),
        })
    }
}

/// A follower at work, and the gates that it follows. It ends when dropped, as in a crash.
struct Following {
    runtime: Runtime,
    gates: Arc<Hands>,
    changes: watch::Sender<u64>,
    stats: Arc<FollowerStats>,
}

impl Following {
    /// Follows the channel `a` as 7 and `b` as 8, whose gates are closed by an operator where
    /// `closed` names them.
    fn start(base_url: &str, data: &Path, closed: &[&str]) -> Self {
        let gates = Arc::new(Hands::default());
        let (changes, told) = watch::channel(0);
        let settings = NewApiSettings {
            base_url: base_url.parse().unwrap(),
            token: Secret::new(TOKEN),
            user: Some(USER),
        };
        let channel = |(name, new_api): (&str, Option<u64>)| ChannelSettings {
            name: Arc::from(name),
            new_api,
            ..ChannelSettings::openai(BaseUrl::openai())
        };
        let channels = [("a", Some(7)), ("b", Some(8)), ("inside", None)].map(channel);
        let runtime = Runtime::new().unwrap();
        let view = Arc::clone(&gates);
        let follower = Follower::new(settings, &channels, data, view, told, PAUSES).unwrap();
        let stats = follower.stats();
        let following = Self {
            runtime,
            gates,
            changes,
            stats,
        };
        for name in closed {
            following.closes(name, Owner::Operator, None);
        }
        following.runtime.spawn(follower.run());
        following
    }

    fn closes(&self, channel: &str, owner: Owner, until: Option<UnixMicros>) {
        let hold = Hold {
            since: UnixMicros::now(),
            closing: Closing {
                owner,
                reason: GateReason::Operator,
                until,
                who: None,
                note: None,
            },
            state: GateState::Closed,
        };
        self.gates
            .0
            .lock()
            .unwrap()
            .insert(channel.to_owned(), hold);
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn opens(&self, channel: &str) {
        self.gates.0.lock().unwrap().remove(channel);
        self.changes.send_modify(|changes| *changes += 1);
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
            assert!(failed >= 1, "{kind:?} {faults:?}");
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
    gateway.fails([Fault::Pretends; 3]);
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
