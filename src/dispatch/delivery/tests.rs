use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::alert::{NotificationKind, NotifyReason};
use crate::config::NotifySettings;
use crate::dispatch::stats::{DispatchResult, DispatchStats};
use crate::dispatch::tests::receiver;
use crate::ledger::{Ledger, Settings as LedgerFiles, Takeover};
use crate::notify::content::{Templates, sample};
use crate::notify::{Pace, Receiver};

/// 2026-11-20T13:03:00Z.
const NOW: UnixMicros = UnixMicros(1_795_179_780_000_000);

/// A receiver that takes what it is told after a time, and meets faults of its own before that.
struct Scripted {
    kind: ReceiverKind,
    takes: Duration,
    /// Faults while a message is written, then while it is sent.
    faults: Mutex<(u32, u32)>,
    told: Mutex<Vec<Message>>,
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

impl Scripted {
    fn new(takes: Duration) -> Self {
        Self {
            kind: ReceiverKind::Slack,
            takes,
            faults: Mutex::default(),
            told: Mutex::default(),
        }
    }

    fn titles(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        told.iter().map(|message| message.title.clone()).collect()
    }
}

fn fails(count: &mut u32) -> bool {
    let fails = *count > 0;
    *count = count.saturating_sub(1);
    fails
}

#[async_trait]
impl Receiver for Scripted {
    fn kind(&self) -> ReceiverKind {
        self.kind
    }

    fn pace(&self) -> Pace {
        Pace::default()
    }

    fn answering(&self) -> Answering {
        let fails = fails(&mut self.faults.lock().unwrap().0);
        assert!(!fails, "a fault of the writer's");
        Answering::Links
    }

    async fn send(&self, delivery: Delivery<'_>) -> Delivered {
        let fails = fails(&mut self.faults.lock().unwrap().1);
        assert!(!fails, "a fault of the sender's");
        sleep(self.takes).await;
        self.told.lock().unwrap().push(delivery.message.clone());
        Delivered::Sent { reference: None }
    }

    fn preview(&self, _: Delivery<'_>) -> String {
        String::new()
    }
}

fn notification(number: u128, content: &str) -> Notification {
    let now = UnixMicros::now();
    Notification {
        id: Uuid::from_u128(number),
        at: now,
        receiver: "ops".into(),
        kind: NotificationKind::Alert,
        reason: NotifyReason::First,
        group: number.to_string().into(),
        title: format!("title {number}").into(),
        deadline: now.plus(Duration::from_secs(3600)),
        content: content.into(),
        told: "".into(),
    }
}

fn text(content: &Content) -> String {
    serde_json::to_string(content).unwrap()
}

/// One of a kind.
fn content(kind: NotificationKind) -> Content {
    sample::contents(kind, NOW).remove(0)
}

struct Run {
    office: Arc<Office>,
    scripted: Arc<Scripted>,
    stats: DispatchStats,
    end: watch::Sender<bool>,
    _ledger: Ledger,
    _folder: TempDir,
}

fn destination(scripted: &Arc<Scripted>) -> Destination {
    Destination {
        settings: receiver("ops"),
        receiver: Arc::clone(scripted) as Arc<dyn Receiver>,
        templates: Arc::new(Templates::default()),
    }
}

fn offering() -> Offering {
    let folder = tempfile::tempdir().unwrap();
    Offering {
        signer: Some(Arc::new(Signer::of_folder(folder.path()).unwrap())),
        public_url: Some(Uri::from_static("https://tollgate.example.com")),
    }
}

impl Run {
    fn new(scripted: Scripted) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = LedgerFiles::new(folder.path());
        let ledger = Ledger::open(&files, Takeover::Refuse).unwrap();
        let scripted = Arc::new(scripted);
        let settings = NotifySettings {
            receivers: vec![receiver("ops")],
            ..NotifySettings::default()
        };
        let stats = DispatchStats::default();
        let to = vec![destination(&scripted)];
        let office = Office::new(&settings, to, &stats, ledger.journal());
        Self {
            office: Arc::new(office),
            scripted,
            stats,
            end: watch::Sender::new(false),
            _ledger: ledger,
            _folder: folder,
        }
    }

    fn post(&self, number: u128, content: &Content) {
        let notification = Arc::new(notification(number, &text(content)));
        self.office.queue(notification, None, UnixMicros::now());
    }

    fn deliver(&self) -> impl Future<Output = ()> + use<> {
        let desk = Arc::clone(self.office.desk("ops").unwrap());
        let office = Arc::clone(&self.office);
        deliver(office, desk, offering(), self.end.subscribe())
    }

    fn count(&self, result: DispatchResult) -> u64 {
        self.stats.receivers()[0].results(result)
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_over_one_notification_does_not_end_the_deliveries() {
    let run = Run::new(Scripted {
        faults: Mutex::new((2, 2)),
        ..Scripted::new(Duration::ZERO)
    });
    run.post(1, &content(NotificationKind::Alert));
    let delivering = tokio::spawn(run.deliver());
    while run.scripted.titles().is_empty() {
        sleep(Duration::from_secs(1)).await;
    }
    run.end.send_replace(true);
    delivering.await.unwrap();
    assert_eq!(run.count(DispatchResult::Retried), 4);
    assert_eq!(run.count(DispatchResult::Sent), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_being_sent_at_a_stop_has_its_own_time_to_be_answered() {
    // Settings leave a receiver ten seconds.
    for (takes, is_sent) in [(9, true), (11, false)] {
        let run = Run::new(Scripted::new(Duration::from_secs(takes)));
        run.post(1, &content(NotificationKind::Alert));
        run.post(2, &content(NotificationKind::Channel));
        let delivering = tokio::spawn(run.deliver());
        while run.stats.receivers()[0].queued() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        // It is on its way.
        sleep(Duration::from_millis(100)).await;
        run.end.send_replace(true);
        delivering.await.unwrap();
        assert_eq!(run.count(DispatchResult::Sent), u64::from(is_sent));
        assert_eq!(run.scripted.titles().len(), usize::from(is_sent));
    }
}

fn parts(contents: impl IntoIterator<Item = String>) -> Vec<Part> {
    let contents = contents.into_iter().zip(1..);
    let parts = contents.map(|(content, number)| Part {
        notification: Arc::new(notification(number, &content)),
        thread: None,
    });
    parts.collect()
}

#[test]
fn what_is_worst_is_in_front_however_many_there_are() {
    let to = destination(&Arc::new(Scripted::new(Duration::ZERO)));
    let digest = text(&content(NotificationKind::Digest));
    let alert = content(NotificationKind::Alert);
    assert_eq!(alert.tone(), Tone::Critical);
    let mut contents = vec![digest; 20];
    contents.push("{}".to_owned());
    contents.push(text(&alert));
    let (read, message) = written(&to, &offering(), parts(contents), NOW).unwrap();
    assert_eq!(read.len(), 21);
    assert_eq!(message.tone, Tone::Critical);
    let own = written(&to, &offering(), parts([text(&alert)]), NOW).unwrap();
    let title = own.1.title;
    let begin = format!("22 notifications: {title}");
    assert!(message.title.starts_with(&begin), "{}", message.title);
    let Content::Alerts(alerts) = &read[0] else {
        panic!("{:?}", read[0])
    };
    // A button says what it is about, now that others could stand beside it.
    let rule = &*alerts.alerts[0].event.alert.rule;
    let labels: Vec<&str> = message
        .buttons
        .iter()
        .flatten()
        .map(|button| &*button.label)
        .collect();
    assert!(!labels.is_empty());
    assert!(
        labels.iter().all(|label| label.contains(rule)),
        "{labels:?}"
    );
}

#[test]
fn what_cannot_be_read_is_its_title_to_people_and_nothing_to_a_machine() {
    let people = destination(&Arc::new(Scripted::new(Duration::ZERO)));
    let (read, message) = written(&people, &offering(), parts(["{}".to_owned()]), NOW).unwrap();
    assert_eq!((read.len(), &*message.title), (0, "title 1"));
    let alert = text(&content(NotificationKind::Alert));
    for kind in [ReceiverKind::Webhook, ReceiverKind::Alertmanager] {
        let machine = destination(&Arc::new(Scripted {
            kind,
            ..Scripted::new(Duration::ZERO)
        }));
        let unread = parts([alert.clone(), "{}".to_owned()]);
        assert!(written(&machine, &offering(), unread, NOW).is_none());
        assert!(written(&machine, &offering(), parts([alert.clone()]), NOW).is_some());
    }
}
