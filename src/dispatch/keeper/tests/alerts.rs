//! Alerts and notices.

use uuid::Uuid;

use super::*;
use crate::alert::{NotificationResult, Silence, SilenceMatcher};
use crate::dispatch::tests::firing;
use crate::ledger::query::NotificationFilter;
use crate::ledger::tests::sample::{START, admission, record};
use crate::money::NanoUsd;

const SPEND: &str = "alert: Spend, metric: cost, window: day, by: [channel], critical: 5 USD";

fn dear(n: u64) -> RequestRecord {
    let mut dear = record(admission(n));
    dear.cost.as_mut().unwrap().amount = NanoUsd(6_000_000_000);
    dear
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_request_to_what_a_receiver_is_told_and_back() {
    let folder = Arc::new(TempDir::new().unwrap());
    let mut run = Run::begin(Begin {
        rules: &[SPEND],
        ..Begin::at(START, &folder)
    });
    run.ask(&[dear(0)], START);
    // The group waits for more.
    assert_eq!(run.titles(after(START, 29)).await, [""; 0]);
    let told = run.told(after(START, 31)).await;
    let [message] = &*told else {
        panic!("{told:?}")
    };
    assert!(message.title.contains("Spend"), "{}", message.title);
    let [Content::Alerts(content)] = &*message.contents else {
        panic!("{message:?}")
    };
    let by = content.alerts[0].contributors.iter();
    let by: Vec<_> = by.map(|one| (&*one.dimension, &*one.name)).collect();
    assert_eq!(by, [("model", "gpt-5-mini"), ("key", "team-a")]);
    // The day after, nothing is spent.
    let tomorrow = after(START, 24 * 3600);
    run.keeper.context.rules.tick(tomorrow);
    let over = run.titles(after(tomorrow, 1)).await;
    assert_eq!(over.len(), 1, "{over:?}");
    assert_ne!(over[0], format!("ops: {}", message.title));

    // What a receiver heard is settled a moment later.
    let settled = async {
        loop {
            assert!(run.ledger.flush(WITHIN));
            let reader = Reader::open(folder.path()).unwrap();
            let kept = reader.notifications(&NotificationFilter::default());
            let kept = kept.unwrap().events;
            if kept.iter().all(|kept| kept.fate.is_some()) {
                return kept;
            }
            tokio::task::yield_now().await;
        }
    };
    let kept = timeout(WITHIN, settled).await.unwrap();
    let fates = kept.iter().filter_map(|kept| kept.fate.as_ref());
    let fates = fates.map(|fate| fate.result);
    let fates: Vec<_> = fates.collect();
    assert_eq!(fates, [NotificationResult::Sent; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_counts_as_soon_as_it_is_kept() {
    let folder = Arc::new(TempDir::new().unwrap());
    let mut run = Run::begin(Begin::at(START, &folder));
    let seconds = START.0 / 1_000_000;
    let say = |run: &Run, rule: &str| run.inbox.alert_changed(&firing(rule, &[], seconds));
    let silence = |rule: &str, ends_at| Silence {
        id: Uuid::now_v7(),
        matchers: vec![SilenceMatcher::new("rule".into(), rule.into())],
        starts_at: START,
        ends_at,
        created_at: START,
        created_by: "alice".into(),
        comment: "a planned move".into(),
        ended_at: None,
    };
    let silences = run.ledger.silence_writer();
    let due = after(START, 30);
    silences
        .create(silence("Other", after(START, 3600)))
        .unwrap();
    // It ends before anything is told.
    silences.create(silence("A", after(START, 10))).unwrap();
    say(&run, "A");
    assert_eq!(run.titles(due).await.len(), 1);
    assert_eq!(run.keeper.silences.all.len(), 1, "what is over is not read");

    let quiet = silence("B", after(START, 3600));
    silences.create(quiet.clone()).unwrap();
    say(&run, "B");
    let ops = Arc::clone(run.office.desk("ops").unwrap());
    // The same moment: what was read is no second old.
    assert_eq!(run.titles(due).await, [""; 0]);
    assert_eq!(ops.stats.results(DispatchResult::Silenced), 1);

    silences.end(quiet.id, due).unwrap();
    say(&run, "C");
    assert_eq!(run.titles(due).await.len(), 1);
    assert_eq!(run.keeper.silences.all.len(), 1);
    // Nothing changed, and it is no second ago.
    let read = run.keeper.silences.read;
    say(&run, "D");
    assert_eq!(
        run.titles(due.plus(Duration::from_millis(250))).await.len(),
        1
    );
    assert_eq!(run.keeper.silences.read, read);
    say(&run, "E");
    assert_eq!(run.titles(after(due, 1)).await.len(), 1);
    assert_ne!(
        run.keeper.silences.read, read,
        "another process may keep some"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_told_by_its_title() {
    let folder = Arc::new(TempDir::new().unwrap());
    let mut run = Run::begin(Begin::at(START, &folder));
    let due = after(START, 30);
    let event = firing("Spend", &[("channel", "a")], START.0 / 1_000_000);
    run.inbox.alert_changed(&event);
    run.keeper.take_in();
    let around = Around {
        silences: &[],
        closed: &[],
    };
    let flushed = run.office.lock().board.flush(due, around);
    let telling = flushed.tellings.into_iter().next().unwrap();
    let to = run.keeper.destination("ops").unwrap();
    let (id, group) = (telling.id, Arc::clone(&telling.group));
    run.keeper.writing.add(Draft {
        receiver: "ops".into(),
        group: Arc::clone(&group),
        write: Box::new(|| panic!("a fault")),
        plainly: Box::new(move || vec![plain::of_alerts(&telling, &to)]),
    });
    assert_eq!(run.titles(due).await, [r#"ops: 🟠 Spend{channel="a"}"#]);
    // The next run knows what was told.
    assert!(run.ledger.flush(WITHIN));
    let reader = Reader::open(folder.path()).unwrap();
    let last = reader.last_notifications(START).unwrap().remove(0);
    assert_eq!(
        (last.notification.id, &last.notification.group),
        (id, &group)
    );
    let kept = crate::dispatch::kept::Kept::read(&last.notification.told);
    let told = kept.and_then(crate::dispatch::kept::Kept::alerts).unwrap();
    assert!(told.fired(event.alert.fingerprint()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_runs_it_need_not_say_when() {
    let folder = Arc::new(TempDir::new().unwrap());
    let now = UnixMicros::now();
    let Run {
        inbox,
        keeper,
        mut heard,
        folder: _folder,
        _deliveries,
        _ended,
        ..
    } = Run::begin(Begin::at(now, &folder));
    let running = tokio::spawn(keeper.run());
    // Half a minute ago: it is due.
    inbox.alert_changed(&firing("A", &[], now.0 / 1_000_000 - 31));
    let message = timeout(WITHIN, heard.recv()).await.unwrap().unwrap();
    assert!(message.title.contains('A'), "{}", message.title);
    running.abort();
}
