//! Takes answers: whatever way they come, they are judged, kept and done here.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;

use super::claims::{Claims, Once};
use super::meaning::Meanings;
use super::replies::{command_for, gone, offered, refused, unkept, unread, used};
use super::{AnswerAction, AnswerLog, BadAnswer, Opened, Signer, Subject, Way};
use crate::channel::Registry;
use crate::clock::UnixMicros;
use crate::config::{Language, ReceiverSettings};
use crate::ledger::{QueryError, Reader, SilenceWriter};
use crate::notify::Message;
use crate::notify::content::humane;
use crate::rules::Rules;

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
    pub(super) log: Arc<dyn AnswerLog>,
    pub(super) signer: Arc<Signer>,
    receivers: ArcSwap<Vec<Arc<Told>>>,
    pub(super) claims: Claims,
    pub(super) meanings: Meanings,
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

/// What a link would do, or did.
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
            claims: Claims::default(),
            meanings: Meanings::default(),
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
                self.take(&Asking { told, who, now }, &opened)
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
        let subject = match self.subject(opened.subject_hash, now) {
            Ok(Some(subject)) => subject,
            Ok(None) => return Peek::of(told.language, gone(&asking)),
            Err(error) => return Peek::of(told.language, unread(&asking, &error)),
        };
        if !opened.action.changes() {
            return Peek::of(told.language, self.details(&asking, &subject));
        }
        match self.earlier(told, opened.nonce, opened.expires_at, now) {
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
    pub fn follow(&self, sealed: &str, remote: Option<IpAddr>, now: UnixMicros) -> Peek {
        match self.linked(sealed, now) {
            Err((language, bad)) => Peek::of(language, refused(language, bad)),
            Ok((told, opened)) => {
                let from = remote.map(|address| format!(" ({address})"));
                let who = format!("link of {}{}", told.name, from.unwrap_or_default());
                let (who, told) = (&who, &told);
                let reply = self.take(&Asking { told, who, now }, &opened);
                Peek::of(told.language, reply)
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

    fn take(&self, asking: &Asking<'_>, opened: &Opened) -> Reply {
        let subject = match self.subject(opened.subject_hash, asking.now) {
            Ok(Some(subject)) => subject,
            Ok(None) => return gone(asking),
            Err(error) => return unread(asking, &error),
        };
        if !opened.action.changes() {
            return self.details(asking, &subject);
        }
        let once = Once {
            nonce: opened.nonce,
            expires_at: opened.expires_at,
            asked: opened.action.as_str(),
            subject: &subject.to_string(),
            instead: &command_for(opened.action, &subject),
        };
        self.once(asking, &once, || self.act(asking, opened, &subject))
    }

    fn act(
        &self,
        asking: &Asking<'_>,
        opened: &Opened,
        subject: &Subject,
    ) -> Result<String, String> {
        match (opened.action, subject) {
            (AnswerAction::Silence, Subject::Alerts(alerts)) => {
                self.silence_an_hour(asking, alerts)
            }
            (AnswerAction::Reopen, Subject::Channel(channel)) => {
                self.reopen_as_told(asking, channel, opened.told)
            }
            (AnswerAction::KeepClosed, Subject::Channel(channel)) => {
                self.keep_closed(asking, channel)
            }
            // Nothing signs such an offer.
            _ => Err(gone(asking).text),
        }
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
