//! Answers over a real ledger, with a clock of the test's.

mod commands;
mod hearing;
mod links;
mod offering;
mod taking;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::tz::TimeZone;
use tempfile::TempDir;

use super::*;
use crate::alert::{AlertEvent, AlertId, ChatAnswer, Labels};
use crate::channel::{Closing, GateObserver, Registry};
use crate::clock::UnixMicros;
use crate::config::{
    BaseUrl, BudgetSettings, ChannelSettings, ChatName, Language, ReceiverSettings, Secret,
    Settings, TargetSettings, TelegramAnswers, TelegramSettings, TemplateSettings,
};
use crate::ledger::query::AnswerFilter;
use crate::ledger::{Journal, Ledger, Reader, Settings as LedgerFiles, Takeover};
use crate::record::{
    Api, ChannelEvent, Dimensions, GateReason, GateState, ModelNames, Owner, Sample,
};
use crate::rules::{Closed, Closure, Hands, KnownNames, Recovery, Reservation, Rules, parse};

/// 2026-11-20T12:00:00Z.
const NOON: UnixMicros = UnixMicros(1_795_176_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const USD: i64 = 1_000_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Spend above a dollar a day closes a channel.
const RULES: &str = "
groups:
- name: budgets
  rules:
  - alert: Spend
    metric: cost
    window: day
    by: [channel, key]
    critical: 1 USD
    mode: enforce
    actions:
    - disable_channel: {until: window_end, allow_last: true}
  - alert: Slow
    metric: latency
    stat: p95
    window: 5m
    by: [channel]
    warning: 60s
";

/// Writes what happens to gates into a ledger's journal.
#[derive(Debug)]
struct Recorded(Arc<Journal>);

impl GateObserver for Recorded {
    fn changed(&self, event: &ChannelEvent) {
        self.0.gate_changed(event);
    }
}

/// Carries out what rules decide.
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
        self.channels
            .close(&closure.channel, closing, now)
            .map_or(Closed::NoSuchChannel, |_| Closed::Done)
    }

    fn reopen(&self, channel: &str, alert: &AlertId, _recovery: Recovery, now: UnixMicros) {
        let owner = Owner::Alert(alert.to_string().into());
        let _ = self.channels.reopen(channel, &owner, None, None, now);
    }

    fn free(&self, _alert: &AlertId, _now: UnixMicros) {}

    fn changed(&self, event: &AlertEvent) {
        self.journal.alert_changed(event);
    }
}

/// A ledger whose disk can be said to refuse.
#[derive(Debug)]
struct Kept {
    ledger: LedgerLog,
    refuses: Mutex<bool>,
    unread: Mutex<bool>,
    /// It refuses from the next thing on.
    breaks: Mutex<bool>,
}

impl AnswerLog for Kept {
    fn answered(&self, answer: &ChatAnswer) -> bool {
        if std::mem::take(&mut *self.breaks.lock().unwrap()) {
            *self.refuses.lock().unwrap() = true;
        }
        !*self.refuses.lock().unwrap() && self.ledger.answered(answer)
    }

    fn is_written(&self) -> bool {
        !*self.refuses.lock().unwrap()
    }

    fn used(&self, receiver: &str, nonce: u64, now: UnixMicros) -> Result<Option<Used>, String> {
        if *self.unread.lock().unwrap() {
            return Err("it is locked".to_owned());
        }
        self.ledger.used(receiver, nonce, now)
    }
}

/// A run of the program, as far as answers go.
struct Run {
    ledger: Ledger,
    channels: Arc<Registry>,
    rules: Arc<Rules>,
    signer: Arc<Signer>,
    log: Arc<Kept>,
    answerer: Arc<Answerer>,
    folder: Arc<TempDir>,
}

fn telegram(name: &str, token: &str, chat: i64, language: Language) -> ReceiverSettings {
    ReceiverSettings {
        name: name.into(),
        target: TargetSettings::Telegram(TelegramSettings {
            token: Secret::new(token),
            chat: ChatName::Id(chat),
            topic: None,
            silent: false,
            answers: Some(TelegramAnswers {
                users: vec![ALICE, BOB],
                chats: vec![ALICE],
                expire_after: 24 * HOUR,
            }),
            api_url: "https://api.telegram.org".parse().unwrap(),
        }),
        language,
        timezone: TimeZone::UTC,
        send_resolved: true,
        fallback: None,
        give_up_after: ReceiverSettings::USUALLY_TRIED_FOR,
        timeout: ReceiverSettings::USUAL_TIMEOUT,
        templates: TemplateSettings::default(),
    }
}

const ALICE: i64 = 11;
const BOB: i64 = 12;
const OPS_CHAT: i64 = -100;
const ZH_CHAT: i64 = -200;

fn receivers() -> Vec<ReceiverSettings> {
    vec![
        telegram("ops", "1:a", OPS_CHAT, Language::En),
        telegram("zh", "1:a", ZH_CHAT, Language::Zh),
    ]
}

impl Run {
    fn start() -> Self {
        Self::in_folder(Arc::new(tempfile::tempdir().unwrap()))
    }

    fn in_folder(folder: Arc<TempDir>) -> Self {
        let path = folder.path();
        let files = LedgerFiles {
            tick: Duration::from_millis(5),
            retention: None,
            ..LedgerFiles::new(path)
        };
        let ledger = Ledger::open(&files, Takeover::Refuse).unwrap();
        let channels = ["east", "west"].map(|name| ChannelSettings {
            name: name.into(),
            ..ChannelSettings::openai(BaseUrl::openai())
        });
        let settings = Settings {
            channels: channels.to_vec(),
            ..Settings::defaults(path)
        };
        let observer = Arc::new(Recorded(ledger.journal()));
        let channels = Arc::new(Registry::new(&settings, observer).unwrap());
        let loaded = parse(
            Path::new("rules.yaml"),
            RULES,
            &TimeZone::UTC,
            &KnownNames::default(),
        );
        let hands = Carried {
            channels: Arc::clone(&channels),
            journal: ledger.journal(),
        };
        let set = loaded.unwrap_or_else(|problems| panic!("{problems}")).set;
        let budgets = BudgetSettings::default();
        let rules = Arc::new(Rules::new(&set, budgets, false, Arc::new(hands)));
        let log = LedgerLog::new(ledger.journal(), ledger.recovery(), path.to_owned());
        let log = Arc::new(Kept {
            ledger: log,
            refuses: Mutex::new(false),
            unread: Mutex::new(false),
            breaks: Mutex::new(false),
        });
        let signer = Arc::new(Signer::of_folder(path).unwrap());
        let answerer = Arc::new(Answerer::new(AnswererParts {
            channels: Arc::clone(&channels),
            rules: Arc::clone(&rules),
            silences: ledger.silence_writer(),
            log: Arc::clone(&log) as Arc<dyn AnswerLog>,
            data_dir: path.to_owned(),
            signer: Arc::clone(&signer),
        }));
        answerer.set_receivers(&receivers());
        Self {
            ledger,
            channels,
            rules,
            signer,
            log,
            answerer,
            folder,
        }
    }

    /// The same folder after a kill: what is in memory is forgotten.
    fn restart(self) -> Self {
        let folder = Arc::clone(&self.folder);
        drop(self);
        Self::in_folder(folder)
    }

    /// A request that cost two dollars, so that the alert of its channel fires and closes it.
    fn spend(&self, channel: &str, key: &str, now: UnixMicros) {
        let sample = Sample {
            started_at: now,
            ended_at: now,
            dimensions: Dimensions {
                channel,
                api: Api::Chat,
                key: Some(key),
                model: ModelNames::default(),
                tags: None,
            },
            error: false,
            settles: false,
            cost_nanousd: Some(2 * USD),
            tokens: Some(1_000),
            input_tokens: Some(600),
            output_tokens: Some(400),
            latency_us: Some(3_000_000),
            ttft_us: None,
            pace_milli: None,
            position: None,
        };
        self.rules.observe(&sample, Reservation::default(), now);
    }

    fn sealed(
        &self,
        way: Way,
        receiver: &str,
        action: AnswerAction,
        subject: &Subject,
        now: UnixMicros,
    ) -> String {
        let offer = Offer {
            action,
            subject,
            expires_at: now.plus(HOUR),
            nonce: self.signer.nonce(receiver, action, subject, now),
            told: ToldOf {
                until: now,
                operator: true,
            },
        };
        self.signer.seal(way, receiver, &offer)
    }

    /// A button of `ops`, made at noon.
    fn button(&self, action: AnswerAction, subject: &Subject) -> String {
        self.sealed(Way::Button, "ops", action, subject, NOON)
    }

    fn state(&self, channel: &str) -> GateState {
        let now = NOON.plus(MINUTE);
        self.channels.gate_status(channel, now).unwrap().state
    }

    /// Everything that was kept, the earliest first.
    fn kept(&self) -> Vec<ChatAnswer> {
        assert!(self.ledger.flush(PATIENCE));
        let reader = Reader::open(self.folder.path()).unwrap();
        let page = reader.answers(&AnswerFilter::default()).unwrap();
        let mut kept = page.events;
        kept.reverse();
        kept
    }

    fn silences(&self) -> Vec<crate::alert::Silence> {
        self.ledger.silence_writer().list().unwrap()
    }
}

fn channel(name: &str) -> Subject {
    Subject::Channel(name.into())
}

fn alert(rule: &str, labels: &[(&str, &str)]) -> AlertId {
    let pairs = labels
        .iter()
        .map(|&(name, value)| (Arc::from(name), Arc::from(value)));
    AlertId {
        rule: rule.into(),
        labels: Labels::new(pairs),
    }
}

fn alerts(rule: &str, labels: &[(&str, &str)]) -> Subject {
    Subject::Alerts(AlertSubject::from(&alert(rule, labels)))
}
