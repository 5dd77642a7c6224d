//! Gates over restarts and upgrades, with real ledgers.

use std::path::Path;

use prometheus::core::Collector as _;
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::channel::{Closing, Fault, GateStatus, Sighted, Wanted};
use crate::config::{BaseUrl, ChannelSettings, Settings};
use crate::dispatch::News;
use crate::ledger::query::GateEventFilter;
use crate::ledger::{Ledger, Settings as Files, Takeover};
use crate::meter::TrafficCollector;
use crate::record::{Api, GateReason, Outcome};

const PATIENCE: Duration = Duration::from_secs(60);

/// A run of the sidecar, as far as gates go.
struct Run {
    ledger: Ledger,
    meter: Arc<Meter>,
    watch: Arc<GateWatch>,
    registry: Arc<Registry>,
    inbox: Arc<Inbox>,
    earlier: EarlierGates,
}

impl Run {
    fn start(folder: &Path, takeover: Takeover) -> Self {
        let files = Files {
            tick: Duration::from_millis(5),
            ..Files::new(folder)
        };
        let ledger = Ledger::open(&files, takeover).unwrap();
        let meter = Arc::new(Meter::new(10));
        let inbox = Arc::new(Inbox::default());
        let watch = Arc::new(GateWatch::new(
            ledger.journal(),
            Arc::clone(&meter),
            Arc::clone(&inbox),
        ));
        let channels = ["east", "west"].map(|name| ChannelSettings {
            name: name.into(),
            ..ChannelSettings::openai(BaseUrl::openai())
        });
        let settings = Settings {
            channels: channels.into(),
            ..Settings::defaults(folder)
        };
        let registry = Arc::new(Registry::new(&settings, Arc::clone(&watch) as _).unwrap());
        let earlier = EarlierGates::new(
            Arc::clone(&registry),
            Arc::clone(&watch),
            ledger.recovery(),
            folder.to_owned(),
        );
        Self {
            ledger,
            meter,
            watch,
            registry,
            inbox,
            earlier,
        }
    }

    fn close(&self, channel: &str, owner: Owner, until: Option<UnixMicros>, note: &str) {
        let closing = Closing {
            owner,
            reason: GateReason::Operator,
            until,
            who: Some("alice".into()),
            note: Some(note.into()),
        };
        let now = UnixMicros::now();
        self.registry.close(channel, closing, now).unwrap();
    }

    fn open(&self, channel: &str, by: &Owner) {
        let now = UnixMicros::now();
        self.registry.reopen(channel, by, None, None, now).unwrap();
    }

    /// Lets the breaker close a channel.
    fn fail(&self, channel: &str) {
        let wanted = Wanted {
            named: Some(channel),
            preferred: None,
            allowed: None,
            api: Api::Chat,
            model: None,
            caller: 0,
            bond: None,
        };
        while self.gate(channel).state == GateState::Open {
            let mut placing = self.registry.placing(&wanted).unwrap();
            let mut place = placing.take(UnixMicros::now()).unwrap();
            let sighted = Sighted {
                fault: Some(Fault::Connect),
                status: None,
                code: None,
                outcome: Outcome::ConnectError,
                own_credential: true,
                pause: None,
                wait: None,
            };
            place.end(&sighted, UnixMicros::now());
        }
    }

    fn gate(&self, channel: &str) -> GateStatus {
        let status = self.registry.gate_status(channel, UnixMicros::now());
        status.unwrap()
    }

    fn notes(&self, channel: &str) -> Vec<String> {
        let holds = self.gate(channel).holds.into_iter();
        holds
            .filter_map(|hold| Some(hold.closing.note?.as_ref().to_owned()))
            .collect()
    }

    /// Waits until so many changes were told and recorded, and returns them, the newest first.
    async fn recorded(&self, folder: &Path, count: usize) -> Vec<ChannelEvent> {
        let mut changes = self.watch.subscribe();
        loop {
            assert!(self.ledger.flush(PATIENCE));
            let reader = Reader::open(folder).unwrap();
            let events = reader.gate_events(&GateEventFilter::default()).unwrap();
            if events.events.len() >= count {
                return events.events;
            }
            timeout(PATIENCE, changes.changed()).await.unwrap().unwrap();
        }
    }

    /// Series of transitions, without the family's name.
    fn transitions(&self) -> Vec<String> {
        let collector = TrafficCollector::new(Arc::clone(&self.meter)).unwrap();
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&collector.collect())
            .unwrap();
        text.lines()
            .filter_map(|line| line.strip_prefix("tollgate_channel_transitions_total"))
            .map(str::to_owned)
            .collect()
    }
}

#[tokio::test]
async fn what_was_closed_is_closed_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), Takeover::Refuse);
    let until = UnixMicros::now().plus(Duration::from_secs(3600));
    run.close("east", Owner::Operator, Some(until), "runaway");
    run.close("east", Owner::Alert("Spend".into()), None, "too much");
    run.fail("west");
    let before = [run.gate("east"), run.gate("west")];
    assert_eq!(before[1].holds[0].closing.owner, Owner::Breaker);
    drop(run);

    let mut run = Run::start(folder.path(), Takeover::Refuse);
    run.earlier.restore(Instant::now() + PATIENCE).await;
    assert!(run.earlier.complete);
    assert_eq!([run.gate("east"), run.gate("west")], before);
    // Nothing changed, so nothing is told; what changes from here on is.
    assert_eq!(run.transitions(), [""; 0]);
    run.open("west", &Owner::Operator);
    assert_eq!(
        run.transitions(),
        ["{channel=\"west\",to=\"open\",reason=\"operator\"} 1"]
    );
    assert_eq!(run.recorded(folder.path(), 4).await.len(), 4);
}

#[tokio::test]
async fn a_hold_whose_time_is_over_by_then_is_not_restored_and_its_end_is_told() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), Takeover::Refuse);
    let now = UnixMicros::now();
    let soon = now.plus(Duration::from_millis(20));
    run.close("east", Owner::Operator, Some(soon), "short");
    drop(run);
    let mut run = Run::start(folder.path(), Takeover::Refuse);
    let expiring = expire_holds(Arc::clone(&run.registry), run.watch.subscribe());
    let expiring = tokio::spawn(expiring);
    run.earlier.restore(Instant::now() + PATIENCE).await;
    let end = run.recorded(folder.path(), 2).await.remove(0);
    assert_eq!(
        (end.hold, end.reason),
        (GateState::Open, GateReason::Expired)
    );
    assert_eq!(run.gate("east").state, GateState::Open);
    expiring.abort();
}

#[tokio::test]
async fn a_hold_ends_when_its_time_is_over() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), Takeover::Refuse);
    let expiring = expire_holds(Arc::clone(&run.registry), run.watch.subscribe());
    let expiring = tokio::spawn(expiring);
    let soon = UnixMicros::now().plus(Duration::from_millis(50));
    run.close("east", Owner::Operator, Some(soon), "short");
    // Nobody asks for the gate: it is the timer that ends it.
    let end = run.recorded(folder.path(), 2).await.remove(0);
    assert_eq!(
        (end.hold, end.reason),
        (GateState::Open, GateReason::Expired)
    );
    assert!(end.at >= soon);
    expiring.abort();
}

#[tokio::test]
async fn what_is_known_late_undoes_nothing_of_this_run() {
    let folder = TempDir::new().unwrap();
    let old = Run::start(folder.path(), Takeover::Refuse);
    old.close("east", Owner::Operator, None, "old");
    old.close("west", Owner::Operator, None, "old");
    assert!(old.ledger.flush(PATIENCE));
    // The other process is the writer: nobody knows what it has still to write.
    let mut new = Run::start(folder.path(), Takeover::Wait);
    assert!(!new.earlier.look().await);
    // What it has written is known all the same.
    assert_eq!(new.notes("east"), ["old"]);
    assert_eq!(new.notes("west"), ["old"]);
    old.close("west", Owner::Operator, None, "late");
    new.close("east", Owner::Operator, None, "new");
    new.open("east", &Owner::Operator);
    new.close("west", Owner::Alert("Spend".into()), None, "new");
    drop(old);
    timeout(PATIENCE, new.earlier.follow()).await.unwrap();
    let registry = &new.registry;
    let state = |name| registry.gate_status(name, UnixMicros::now()).unwrap();
    assert_eq!(state("east").state, GateState::Open);
    assert_eq!(state("west").holds.len(), 2);
    let holds = state("west").holds.into_iter();
    let mut notes = holds.map(|hold| hold.closing.note);
    assert!(notes.any(|note| note.as_deref() == Some("late")));
}

#[tokio::test]
async fn an_end_that_came_before_the_whole_was_known_ends_nothing_later() {
    let folder = TempDir::new().unwrap();
    let old = Run::start(folder.path(), Takeover::Refuse);
    let soon = UnixMicros::now().plus(Duration::from_millis(20));
    old.close("east", Owner::Operator, Some(soon), "short");
    old.close("west", Owner::Operator, Some(soon), "short");
    assert!(old.ledger.flush(PATIENCE));
    let mut new = Run::start(folder.path(), Takeover::Wait);
    assert!(!new.earlier.look().await);
    while UnixMicros::now() < soon {
        tokio::task::yield_now().await;
    }
    new.registry.expire(UnixMicros::now());
    assert!(!new.earlier.look().await);
    assert_eq!(new.gate("east").state, GateState::Open);
    // The last word of the earlier run, which only its journal has.
    old.close("east", Owner::Operator, None, "longer");
    drop(old);
    let registry = Arc::clone(&new.registry);
    timeout(PATIENCE, new.earlier.follow()).await.unwrap();
    let state = |name| registry.gate_status(name, UnixMicros::now()).unwrap().state;
    assert_eq!(state("east"), GateState::Closed);
    assert_eq!(state("west"), GateState::Open);
}

#[tokio::test]
async fn what_the_old_process_of_an_upgrade_is_told_last_counts() {
    let folder = TempDir::new().unwrap();
    let old = Run::start(folder.path(), Takeover::Refuse);
    old.close("east", Owner::Operator, None, "before");
    let mut new = Run::start(folder.path(), Takeover::Wait);
    old.ledger.hand_over();
    new.earlier.restore(Instant::now() + PATIENCE).await;
    assert_eq!(new.notes("east"), ["before"]);
    assert!(!new.earlier.complete);
    // It tells people from here on. Both accept for a moment.
    new.inbox.open();
    old.open("east", &Owner::Operator);
    old.close("west", Owner::Operator, None, "after");
    drop(old);
    let (registry, inbox) = (Arc::clone(&new.registry), Arc::clone(&new.inbox));
    timeout(PATIENCE, new.earlier.follow()).await.unwrap();
    let state = |name| registry.gate_status(name, UnixMicros::now()).unwrap().state;
    assert_eq!(state("east"), GateState::Open);
    assert_eq!(state("west"), GateState::Closed);
    // Nobody else is there to tell them of that; of what was before, the old process did.
    let news = inbox.take().into_iter().map(|news| match news {
        News::Gate(event) => (event.channel.to_string(), event.hold),
        News::Alert(event) => panic!("{event:?}"),
    });
    assert_eq!(
        news.collect::<Vec<_>>(),
        [
            ("east".to_owned(), GateState::Open),
            ("west".to_owned(), GateState::Closed),
        ]
    );
}

#[tokio::test]
async fn only_a_change_of_the_gate_as_a_whole_is_a_transition() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), Takeover::Refuse);
    let alert = Owner::Alert("Spend".into());
    run.close("east", Owner::Operator, None, "one");
    run.close("east", alert.clone(), None, "two");
    run.close("east", Owner::Operator, None, "again");
    run.open("east", &alert);
    run.open("east", &Owner::Operator);
    assert_eq!(
        run.transitions(),
        [
            "{channel=\"east\",to=\"open\",reason=\"operator\"} 1",
            "{channel=\"east\",to=\"closed\",reason=\"operator\"} 1",
        ]
    );
}
