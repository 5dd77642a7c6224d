//! The keeper with a real ledger, journal and rules, and receivers that write down what they are told. Time
//! is what the tests say it is.

mod alerts;
mod digests;

use std::collections::HashSet;
use std::path::Path;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::alert::{AlertEvent, AlertId};
use crate::config::{
    BudgetSettings, DigestSettings, NotifySettings, ReceiverKind, ReceiverSettings, RouteSettings,
};
use crate::dispatch::context::tests::{context, rule_set};
use crate::dispatch::delivery::{Offering, deliver};
use crate::dispatch::stats::DispatchStats;
use crate::dispatch::tests::receiver;
use crate::ledger::{Journal, Ledger, Settings as Files, Takeover};
use crate::notify::content::Templates;
use crate::notify::{Content, Delivered, Delivery, Pace, Receiver};
use crate::record::RequestRecord;
use crate::rules::{Closed, Closure, Hands, Recovery as Reopening, Rules};

/// More than any machine needs.
const WITHIN: Duration = Duration::from_secs(60);

fn after(at: UnixMicros, seconds: u64) -> UnixMicros {
    at.plus(Duration::from_secs(seconds))
}

/// Keeps what alerts do, and says so.
#[derive(Debug)]
struct Recording {
    journal: Arc<Journal>,
    inbox: Arc<Inbox>,
}

impl Hands for Recording {
    fn close(&self, _closure: &Closure, _now: UnixMicros) -> Closed {
        Closed::NoSuchChannel
    }

    fn reopen(&self, _channel: &str, _alert: &AlertId, _how: Reopening, _now: UnixMicros) {}

    fn free(&self, _alert: &AlertId, _now: UnixMicros) {}

    fn changed(&self, event: &AlertEvent) {
        self.journal.alert_changed(event);
        if event.told {
            self.inbox.alert_changed(event);
        }
    }
}

/// A message that a receiver took.
#[derive(Clone, Debug)]
struct Heard {
    receiver: Arc<str>,
    title: String,
    contents: Vec<Content>,
}

/// A receiver that takes everything.
#[derive(Debug)]
struct Listening {
    name: Arc<str>,
    heard: mpsc::UnboundedSender<Heard>,
}

#[async_trait]
impl Receiver for Listening {
    fn kind(&self) -> ReceiverKind {
        ReceiverKind::Slack
    }

    fn pace(&self) -> Pace {
        Pace::default()
    }

    fn merges(&self) -> bool {
        false
    }

    async fn send(&self, delivery: Delivery<'_>) -> Delivered {
        let heard = Heard {
            receiver: Arc::clone(&self.name),
            title: delivery.message.title.clone(),
            contents: delivery.contents.to_vec(),
        };
        self.heard.send(heard).unwrap();
        Delivered::Sent { reference: None }
    }

    fn preview(&self, _delivery: Delivery<'_>) -> String {
        String::new()
    }
}

/// A run of all that tells people.
struct Run {
    folder: Arc<TempDir>,
    ledger: Ledger,
    inbox: Arc<Inbox>,
    office: Arc<Office>,
    keeper: Keeper,
    heard: mpsc::UnboundedReceiver<Heard>,
    _deliveries: JoinSet<()>,
    _ended: watch::Sender<bool>,
}

/// What a run begins with.
struct Begin<'a> {
    folder: &'a Arc<TempDir>,
    takeover: Takeover,
    rules: &'a [&'a str],
    digests: Vec<DigestSettings>,
    /// Receivers and groups of the digests that earlier runs told.
    told: HashSet<(Arc<str>, Arc<str>)>,
    now: UnixMicros,
}

impl<'a> Begin<'a> {
    fn at(now: UnixMicros, folder: &'a Arc<TempDir>) -> Self {
        Self {
            folder,
            takeover: Takeover::Refuse,
            rules: &[],
            digests: Vec::new(),
            told: HashSet::new(),
            now,
        }
    }
}

fn files(folder: &Path) -> Files {
    Files {
        tick: Duration::from_millis(5),
        retention: None,
        ..Files::new(folder)
    }
}

/// One that never gives up: the time of a test is not that of the machine.
fn patient(name: &str) -> ReceiverSettings {
    ReceiverSettings {
        give_up_after: Duration::from_secs(100 * 366 * 24 * 3600),
        timezone: TimeZone::UTC,
        ..receiver(name)
    }
}

impl Run {
    /// With the receivers `ops`, who is told of alerts, and `new`.
    fn begin(begin: Begin<'_>) -> Self {
        let Begin {
            folder,
            takeover,
            rules,
            digests,
            told,
            now,
        } = begin;
        let path = folder.path();
        let ledger = Ledger::open(&files(path), takeover).unwrap();
        let inbox = Arc::new(Inbox::default());
        inbox.open();
        let settings = NotifySettings {
            receivers: vec![patient("ops"), patient("new")],
            routes: Some(RouteSettings::to(vec!["ops".into()])),
            ..NotifySettings::default()
        };
        let (said, heard) = mpsc::unbounded_channel();
        let destinations = settings.receivers.iter().map(|settings| Destination {
            settings: settings.clone(),
            receiver: Arc::new(Listening {
                name: Arc::clone(&settings.name),
                heard: said.clone(),
            }),
            templates: Arc::new(Templates::default()),
        });
        let stats = DispatchStats::default();
        let destinations = destinations.collect();
        let office = Office::new(&settings, destinations, &stats, ledger.journal());
        let office = Arc::new(office);
        let mut known = context(path, &[]);
        if !rules.is_empty() {
            let hands = Arc::new(Recording {
                journal: ledger.journal(),
                inbox: Arc::clone(&inbox),
            });
            let rules = rule_set(rules);
            known.rules = Arc::new(Rules::new(&rules, BudgetSettings::default(), false, hands));
        }
        let digests = digests.into_iter();
        let digests = digests.filter_map(|digest| Digest::new(&digest, &told, now));
        let keeper = Keeper::new(
            Arc::clone(&inbox),
            Arc::clone(&office),
            known,
            ledger.recovery(),
            digests.collect(),
        );
        let (end, ended) = watch::channel(false);
        let mut deliveries = JoinSet::new();
        for desk in office.desks() {
            let offering = Offering {
                signer: None,
                public_url: None,
            };
            let (office, desk) = (Arc::clone(&office), Arc::clone(desk));
            deliveries.spawn(deliver(office, desk, offering, ended.clone()));
        }
        Self {
            folder: Arc::clone(folder),
            ledger,
            inbox,
            office,
            keeper,
            heard,
            _deliveries: deliveries,
            _ended: end,
        }
    }

    /// Keeps requests, and lets the rules see them.
    fn ask(&self, records: &[RequestRecord], now: UnixMicros) {
        for record in records {
            self.ledger.journal().admit(&record.admission);
            self.ledger.journal().end(record);
            let sample = crate::record::Sample::of(record, None, None, None).unwrap();
            let rules = &self.keeper.context.rules;
            rules.observe(&sample, crate::rules::Reservation::default(), now);
        }
        assert!(self.ledger.flush(WITHIN));
    }

    /// What is told at a moment, as it was taken.
    async fn told(&mut self, now: UnixMicros) -> Vec<Heard> {
        let keeper = &mut self.keeper;
        keeper.look(now).await;
        let mut count = 0;
        loop {
            if keeper.writing.len() > 0 {
                for letter in timeout(WITHIN, keeper.writing.next()).await.unwrap() {
                    count += 1;
                    self.office.post(letter, now);
                }
            } else if keeper.digests.is_reading() {
                if let Some(ready) = timeout(WITHIN, keeper.digests.next()).await.unwrap() {
                    keeper.write_digest(&ready);
                }
            } else {
                break;
            }
        }
        let mut heard = Vec::new();
        for _ in 0..count {
            heard.push(timeout(WITHIN, self.heard.recv()).await.unwrap().unwrap());
        }
        heard
    }

    /// The same, by receiver and title.
    async fn titles(&mut self, now: UnixMicros) -> Vec<String> {
        let heard = self.told(now).await.into_iter();
        let titles = heard.map(|heard| format!("{}: {}", heard.receiver, heard.title));
        let mut titles: Vec<_> = titles.collect();
        titles.sort();
        titles
    }
}
