//! Takes answers: whatever way they come, they are judged, kept and done here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;

use super::{AlertSubject, AnswerAction, AnswerLog, BadAnswer, Opened, Signer, Subject, Way};
use crate::alert::{AlertId, ChatAnswer, Labels};
use crate::channel::Registry;
use crate::clock::UnixMicros;
use crate::config::{Language, ReceiverSettings};
use crate::ledger::{QueryError, Reader, SilenceWriter};
use crate::notify::Message;
use crate::notify::content::humane;
use crate::rules::Rules;

/// How long an answer waits for a journal that the disk refuses.
const RECORDED_WITHIN: Duration = Duration::from_secs(2);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Labels of an alert of which every part is looked at for what a button means.
const MOST_LABELS: usize = 8;

/// What the composition hands over.
#[derive(Debug)]
pub struct AnswererParts {
    /// The channels and their gates.
    pub channels: Arc<Registry>,
    /// The rules and their alerts.
    pub rules: Arc<Rules>,
    /// What keeps silences.
    pub silences: SilenceWriter,
    /// Where it is kept who answered what.
    pub log: Arc<dyn AnswerLog>,
    /// The ledger's folder, for connections that read it.
    pub data_dir: PathBuf,
    /// What signed the offers.
    pub signer: Arc<Signer>,
}

/// Takes answers and commands. All of it may block: ask from a thread that may.
#[derive(Debug)]
pub struct Answerer {
    pub(super) channels: Arc<Registry>,
    pub(super) rules: Arc<Rules>,
    pub(super) silences: SilenceWriter,
    pub(super) data_dir: PathBuf,
    log: Arc<dyn AnswerLog>,
    signer: Arc<Signer>,
    receivers: ArcSwap<Vec<Arc<Told>>>,
    /// What was taken and could be taken again, by its number.
    claims: Mutex<HashMap<u64, Claim>>,
}

/// A receiver as far as its answers go.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) name: Arc<str>,
    pub(super) language: Language,
    pub(super) timezone: TimeZone,
}

/// Who asks, where, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub(super) told: &'a Told,
    pub(super) who: &'a str,
    pub(super) now: UnixMicros,
}

impl Asking<'_> {
    /// A moment by the receiver's clocks.
    pub(super) fn moment(&self, at: UnixMicros) -> String {
        humane::moment(at, self.now, &self.told.timezone)
    }

    /// In the receiver's language.
    pub(super) fn say(&self, english: impl Into<String>, chinese: impl Into<String>) -> String {
        match self.told.language {
            Language::En => english.into(),
            Language::Zh => chinese.into(),
        }
    }
}

/// An answer that somebody took.
#[derive(Clone, Debug)]
struct Claim {
    who: Option<Arc<str>>,
    at: Option<UnixMicros>,
    expires_at: UnixMicros,
    /// `None` while it is being done.
    done: Option<bool>,
}

/// How an answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It can be taken, and was not.
    Offered,
    /// It was done now; of details: they are told.
    Done,
    /// It was taken now, and could not be done. It works no more.
    Failed,
    /// It was taken before.
    Used,
    /// Its time is over.
    Expired,
    /// It was not offered here, or is damaged.
    Forged,
    /// What it is about is no more.
    Gone,
    /// It cannot be kept, so it was not done; it may be tried again.
    Unkept,
}

/// What is said to who answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// In the receiver's language.
    pub text: String,
    /// How the answer stands.
    pub standing: Standing,
    /// More than a line, of details.
    pub message: Option<Message>,
}

impl Reply {
    /// Whether it was done.
    #[must_use]
    pub fn taken(&self) -> bool {
        self.standing == Standing::Done
    }
}

/// What a link would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek {
    /// The language of the receiver; English where it is not known whose link it is.
    pub language: Language,
    /// What would be done, or why nothing.
    pub text: String,
    /// How it stands: [`Standing::Offered`], [`Standing::Done`] of details, or why not.
    pub standing: Standing,
    /// More than a line, of details.
    pub message: Option<Message>,
}

impl Answerer {
    /// Of these parts.
    #[must_use]
    pub fn new(parts: AnswererParts) -> Self {
        Self {
            channels: parts.channels,
            rules: parts.rules,
            silences: parts.silences,
            data_dir: parts.data_dir,
            log: parts.log,
            signer: parts.signer,
            receivers: ArcSwap::default(),
            claims: Mutex::default(),
        }
    }

    /// These are the receivers of the settings now; before the first call there are none.
    pub fn set_receivers(&self, receivers: &[ReceiverSettings]) {
        let told = |settings: &ReceiverSettings| {
            Arc::new(Told {
                name: Arc::clone(&settings.name),
                language: settings.language,
                timezone: settings.timezone.clone(),
            })
        };
        self.receivers
            .store(Arc::new(receivers.iter().map(told).collect()));
    }

    /// Takes a button that `who` pressed in a chat of this receiver: judges it, keeps who took it, does
    /// it, and says what came of it. Of several at once one is taken.
    pub fn press(&self, receiver: &str, who: &str, sealed: &str, now: UnixMicros) -> Reply {
        let Some(told) = self.told(receiver) else {
            return refused(Language::En, BadAnswer::Forged);
        };
        match self.signer.open(Way::Button, receiver, sealed, now) {
            Err(bad) => refused(told.language, bad),
            Ok(opened) => {
                let told = &told;
                self.take(&Asking { told, who, now }, opened)
            }
        }
    }

    /// Whether a button is one of this receiver's, also one that has expired.
    #[must_use]
    pub fn is_of(&self, receiver: &str, sealed: &str, now: UnixMicros) -> bool {
        let opened = self.signer.open(Way::Button, receiver, sealed, now);
        matches!(opened, Ok(_) | Err(BadAnswer::Expired))
    }

    /// What a link would do, without doing it: chat apps look at links before people do.
    #[must_use]
    pub fn peek(&self, sealed: &str, now: UnixMicros) -> Peek {
        let (told, opened) = match self.linked(sealed, now) {
            Ok(linked) => linked,
            Err((language, bad)) => {
                let reply = refused(language, bad);
                return Peek::of(language, reply);
            }
        };
        let told = &told;
        let asking = Asking { told, who: "", now };
        let Some(subject) = self.subject(opened.subject_hash, now) else {
            return Peek::of(told.language, gone(&asking));
        };
        if !opened.action.changes() {
            return Peek::of(told.language, self.details(&asking, &subject));
        }
        match self.earlier(told, &opened, now) {
            Ok(Some(claim)) => Peek::of(told.language, used(&asking, &claim)),
            Ok(None) => Peek {
                language: told.language,
                text: offered(&asking, opened.action, &subject),
                standing: Standing::Offered,
                message: None,
            },
            Err(why) => Peek::of(told.language, unkept(&asking, &why)),
        }
    }

    /// Takes a link that somebody followed and confirmed, from `remote` where that is known.
    pub fn follow(&self, sealed: &str, remote: Option<IpAddr>, now: UnixMicros) -> Reply {
        match self.linked(sealed, now) {
            Err((language, bad)) => refused(language, bad),
            Ok((told, opened)) => {
                let from = remote.map(|address| format!(" ({address})"));
                let who = format!("link of {}{}", told.name, from.unwrap_or_default());
                let (who, told) = (&who, &told);
                self.take(&Asking { told, who, now }, opened)
            }
        }
    }

    /// A receiver of the settings.
    pub(super) fn told(&self, receiver: &str) -> Option<Arc<Told>> {
        let receivers = self.receivers.load();
        let known = receivers.iter().find(|told| *told.name == *receiver);
        known.cloned()
    }

    /// Whose link it is, and what it says.
    fn linked(
        &self,
        sealed: &str,
        now: UnixMicros,
    ) -> Result<(Arc<Told>, Opened), (Language, BadAnswer)> {
        let receivers = self.receivers.load();
        for told in receivers.iter() {
            match self.signer.open(Way::Link, &told.name, sealed, now) {
                Ok(opened) => return Ok((Arc::clone(told), opened)),
                Err(BadAnswer::Forged) => {}
                Err(bad) => return Err((told.language, bad)),
            }
        }
        let first = receivers.first();
        let language = first.map_or(Language::En, |told| told.language);
        Err((language, BadAnswer::Forged))
    }

    fn take(&self, asking: &Asking<'_>, opened: Opened) -> Reply {
        let Some(subject) = self.subject(opened.subject_hash, asking.now) else {
            return gone(asking);
        };
        if !opened.action.changes() {
            return self.details(asking, &subject);
        }
        if let Err(claim) = self.claim(asking, &opened) {
            return used(asking, &claim);
        }
        // From here on nobody else can take it in this process. Was it taken before, by an earlier one?
        match self.log.used(&asking.told.name, opened.nonce, asking.now) {
            Ok(None) => {}
            Ok(Some(earlier)) => {
                let claim = Claim {
                    who: earlier.who,
                    at: earlier.at,
                    expires_at: opened.expires_at,
                    done: Some(earlier.done),
                };
                self.claims().insert(opened.nonce, claim.clone());
                return used(asking, &claim);
            }
            Err(why) => {
                self.claims().remove(&opened.nonce);
                return unkept(asking, &why);
            }
        }
        let mut answer = ChatAnswer {
            at: asking.now,
            receiver: Arc::clone(&asking.told.name),
            who: asking.who.into(),
            asked: opened.action.as_str().into(),
            subject: subject.to_string().into(),
            done: false,
            outcome: "taken".into(),
            nonce: Some(opened.nonce),
            expires_at: Some(opened.expires_at),
        };
        if !self.is_recorded() {
            self.claims().remove(&opened.nonce);
            return unkept(asking, "the journal cannot be written");
        }
        let done = if self.log.answered(&answer) || self.is_recorded() {
            self.act(asking, opened.action, &subject)
        } else {
            // What could not be written may be later, so it counts as taken.
            Err(unkept(asking, "the journal cannot be written").text)
        };
        self.settle(opened.nonce, done.is_ok());
        answer.done = done.is_ok();
        let (Ok(text) | Err(text)) = done;
        answer.outcome = text.as_str().into();
        self.log.answered(&answer);
        let standing = if answer.done {
            Standing::Done
        } else {
            Standing::Failed
        };
        Reply {
            text,
            standing,
            message: None,
        }
    }

    fn act(
        &self,
        asking: &Asking<'_>,
        action: AnswerAction,
        subject: &Subject,
    ) -> Result<String, String> {
        match (action, subject) {
            (AnswerAction::Silence, Subject::Alerts(alerts)) => {
                self.silence_an_hour(asking, alerts)
            }
            (AnswerAction::Reopen, Subject::Channel(channel)) => self.reopen(asking, channel),
            (AnswerAction::KeepClosed, Subject::Channel(channel)) => {
                self.keep_closed(asking, channel)
            }
            // Nothing signs such an offer.
            _ => Err(gone(asking).text),
        }
    }

    /// Takes an answer for this process; who was first has it.
    fn claim(&self, asking: &Asking<'_>, opened: &Opened) -> Result<(), Claim> {
        let mut claims = self.claims();
        claims.retain(|_, claim| claim.expires_at > asking.now);
        match claims.entry(opened.nonce) {
            Entry::Occupied(taken) => Err(taken.get().clone()),
            Entry::Vacant(free) => {
                free.insert(Claim {
                    who: Some(asking.who.into()),
                    at: Some(asking.now),
                    expires_at: opened.expires_at,
                    done: None,
                });
                Ok(())
            }
        }
    }

    /// Who took an answer before.
    fn earlier(
        &self,
        told: &Told,
        opened: &Opened,
        now: UnixMicros,
    ) -> Result<Option<Claim>, String> {
        if let Some(claim) = self.claims().get(&opened.nonce) {
            return Ok(Some(claim.clone()));
        }
        let used = self.log.used(&told.name, opened.nonce, now)?;
        Ok(used.map(|used| Claim {
            who: used.who,
            at: used.at,
            expires_at: opened.expires_at,
            done: Some(used.done),
        }))
    }

    fn settle(&self, nonce: u64, done: bool) {
        if let Some(claim) = self.claims().get_mut(&nonce) {
            claim.done = Some(done);
        }
    }

    fn claims(&self) -> MutexGuard<'_, HashMap<u64, Claim>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits a moment for a journal that the disk refuses; whether all of it is written.
    pub(super) fn is_recorded(&self) -> bool {
        let begin = Instant::now();
        while !self.log.is_written() {
            if begin.elapsed() >= RECORDED_WITHIN {
                return false;
            }
            thread::sleep(LOOK_EVERY);
        }
        true
    }

    /// Keeps what a command came to.
    pub(super) fn audit(
        &self,
        asking: &Asking<'_>,
        asked: &str,
        subject: &str,
        done: &Result<String, String>,
    ) {
        let (Ok(outcome) | Err(outcome)) = done;
        self.log.answered(&ChatAnswer {
            at: asking.now,
            receiver: Arc::clone(&asking.told.name),
            who: asking.who.into(),
            asked: asked.into(),
            subject: subject.into(),
            done: done.is_ok(),
            outcome: outcome.as_str().into(),
            nonce: None,
            expires_at: None,
        });
    }

    /// What a hash means: a channel, an alert, or what alerts have in common. Of alerts those are
    /// known that the rules have now and, after that, all that the ledger knows.
    fn subject(&self, hash: u64, now: UnixMicros) -> Option<Subject> {
        let is_it = |subject: &Subject| self.signer.subject_hash(subject) == hash;
        let channels = self.channels.iter();
        let channel = channels
            .map(|channel| Subject::Channel(Arc::clone(&channel.name)))
            .find(is_it);
        if channel.is_some() {
            return channel;
        }
        let views = self.rules.view(now);
        let known: Vec<AlertId> = views
            .iter()
            .flat_map(|view| {
                view.alerts.iter().map(|alert| AlertId {
                    rule: Arc::clone(&view.rule.name),
                    labels: alert.labels.clone(),
                })
            })
            .collect();
        alert_subject(&known, is_it).or_else(|| {
            let events = match self.read(Reader::last_alert_events) {
                Ok(events) => events?,
                Err(error) => {
                    tracing::error!(%error, "the ledger cannot be read for an answer from a chat");
                    return None;
                }
            };
            let known: Vec<AlertId> = events.into_iter().map(|event| event.alert).collect();
            alert_subject(&known, is_it)
        })
    }

    /// Asks the ledger; `None` where there is none yet.
    pub(super) fn read<T>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, QueryError>,
    ) -> Result<Option<T>, QueryError> {
        match Reader::open(&self.data_dir) {
            Err(QueryError::NoLedger { .. }) => Ok(None),
            Err(error) => Err(error),
            Ok(reader) => question(&reader).map(Some),
        }
    }
}

/// The alerts that fit: one of these, or what some of them may have in common.
fn alert_subject(known: &[AlertId], is_it: impl Fn(&Subject) -> bool) -> Option<Subject> {
    let whole = known.iter().map(|alert| Subject::Alerts(alert.into()));
    whole.into_iter().find(&is_it).or_else(|| {
        let parts = known.iter().flat_map(parts);
        parts.map(Subject::Alerts).find(&is_it)
    })
}

/// Everything that an alert may have in common with others.
fn parts(alert: &AlertId) -> impl Iterator<Item = AlertSubject> {
    let pairs: Vec<(Arc<str>, Arc<str>)> = alert
        .labels
        .iter()
        .take(MOST_LABELS)
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let rule = Arc::clone(&alert.rule);
    (0..1_u32 << pairs.len()).flat_map(move |chosen| {
        let of = pairs.iter().enumerate();
        let of = of.filter(|(index, _)| chosen & (1 << index) != 0);
        let labels = Labels::new(of.map(|(_, pair)| pair.clone()));
        [Some(Arc::clone(&rule)), None].map(|rule| AlertSubject {
            rule,
            labels: labels.clone(),
        })
    })
}

impl Peek {
    fn of(language: Language, reply: Reply) -> Self {
        Self {
            language,
            text: reply.text,
            standing: reply.standing,
            message: reply.message,
        }
    }
}

fn plain(standing: Standing, text: String) -> Reply {
    Reply {
        text,
        standing,
        message: None,
    }
}

fn refused(language: Language, bad: BadAnswer) -> Reply {
    let (standing, text) = match (bad, language) {
        (BadAnswer::Expired, Language::En) => (
            Standing::Expired,
            "This button has expired. Nothing was changed.",
        ),
        (BadAnswer::Expired, Language::Zh) => (Standing::Expired, "此按钮已过期，未做任何更改。"),
        (_, Language::En) => (
            Standing::Forged,
            "This is no answer that Tollgate offered here. Nothing was changed.",
        ),
        (_, Language::Zh) => (
            Standing::Forged,
            "这不是 Tollgate 在此提供的操作，未做任何更改。",
        ),
    };
    plain(standing, text.to_owned())
}

fn gone(asking: &Asking<'_>) -> Reply {
    let text = asking.say(
        "What this is about is no more: the channel or alert is not known any longer. Nothing was \
         changed.",
        "此操作对应的渠道或告警已不存在，未做任何更改。",
    );
    plain(Standing::Gone, text)
}

fn used(asking: &Asking<'_>, claim: &Claim) -> Reply {
    let who = claim.who.as_deref();
    let at = claim.at.map(|at| asking.moment(at));
    let text = match (who, at) {
        (Some(who), Some(at)) if claim.done == Some(false) => asking.say(
            format!("{who} asked for this at {at} already, and it did not work."),
            format!("{who} 已于 {at} 请求过此操作，但未能执行。"),
        ),
        (Some(who), Some(at)) => asking.say(
            format!("{who} did this at {at} already."),
            format!("{who} 已于 {at} 执行过此操作。"),
        ),
        _ => asking.say("This was done already.", "此操作已执行过。"),
    };
    plain(Standing::Used, text)
}

fn unkept(asking: &Asking<'_>, why: &str) -> Reply {
    tracing::error!(
        why,
        "an answer from a chat cannot be kept, so it is not done"
    );
    let text = asking.say(
        "Tollgate cannot keep at present who asked for this, so nothing was changed. Try again in a \
         moment, or use a command; the log says why.",
        "Tollgate 目前无法记录此操作，因此未做任何更改。请稍后再试，或使用命令；原因见日志。",
    );
    plain(Standing::Unkept, text)
}

/// What is asked before it is done.
fn offered(asking: &Asking<'_>, action: AnswerAction, subject: &Subject) -> String {
    match action {
        AnswerAction::Silence => asking.say(
            format!("For one hour nobody is told of {subject}. What it does goes on."),
            format!("一小时内不再通知 {subject}，其动作照常执行。"),
        ),
        AnswerAction::Reopen => asking.say(
            format!("The channel {subject} is opened, whoever holds it closed."),
            format!("重新启用渠道 {subject}，不论由谁关闭。"),
        ),
        AnswerAction::KeepClosed => asking.say(
            format!("The channel {subject} stays closed until somebody opens it."),
            format!("渠道 {subject} 保持关闭，直到有人启用。"),
        ),
        AnswerAction::Details => subject.to_string(),
    }
}
