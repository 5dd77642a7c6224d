//! Hears what is pressed and written in the chats of a bot.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::bot::{ChatBot, PollError, Update, What};
use super::{Answerer, Command, Reply};
use crate::clock::UnixMicros;
use crate::config::{ChatName, Language, ReceiverSettings, TargetSettings, TelegramSettings};
use crate::notify::{Button, ButtonTarget, Message};

/// How long one poll waits.
const WAIT: Duration = Duration::from_secs(50);
/// From one try to the next: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// While another program polls with the same token.
const CONFLICT_PAUSE: Duration = Duration::from_secs(60);
/// A stranger is told of in the log at most this often.
const STRANGERS_EVERY: Duration = Duration::from_secs(3600);
/// Strangers that are remembered.
const MOST_STRANGERS: usize = 1000;
/// Characters of a name in the audit, the id beside it not included.
const LONGEST_NAME: usize = 40;
/// A command that changes something and waited longer than this is not carried out any more: who
/// wrote it has looked elsewhere meanwhile.
const COMMANDS_WORK_FOR: Duration = Duration::from_secs(15 * 60);

/// Who may answer a receiver, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// The receiver.
    pub receiver: Arc<str>,
    /// Its language.
    pub language: Language,
    /// Its chat and the others that may.
    pub chats: Vec<i64>,
    /// Users that may, from those chats only.
    pub users: Vec<i64>,
}

/// The receivers that can be answered, by the bot that hears them: receivers of one token and one
/// Bot API share a bot, as only one can listen to it.
#[must_use]
pub fn doors(receivers: &[ReceiverSettings]) -> Vec<(&TelegramSettings, Vec<Door>)> {
    let mut bots: Vec<(&TelegramSettings, Vec<Door>)> = Vec::new();
    for receiver in receivers {
        let TargetSettings::Telegram(telegram) = &receiver.target else {
            continue;
        };
        let Some(answers) = &telegram.answers else {
            continue;
        };
        let own = match telegram.chat {
            ChatName::Id(id) => Some(id),
            ChatName::Name(_) => None,
        };
        let door = Door {
            receiver: Arc::clone(&receiver.name),
            language: receiver.language,
            chats: own
                .into_iter()
                .chain(answers.chats.iter().copied())
                .collect(),
            users: answers.users.clone(),
        };
        let same = bots
            .iter_mut()
            .find(|(known, _)| known.token == telegram.token && known.api_url == telegram.api_url);
        match same {
            Some((_, doors)) => doors.push(door),
            None => bots.push((telegram, vec![door])),
        }
    }
    bots
}

/// Hears a bot until `stop` changes or its sender is gone, or the bot's token is refused. What was
/// heard is confirmed once it is handled, so that a crash repeats the last of it; a button works once
/// all the same.
pub async fn listen(
    bot: Arc<dyn ChatBot>,
    doors: Vec<Door>,
    answerer: Arc<Answerer>,
    mut stop: watch::Receiver<bool>,
) {
    let mut listener = Listener {
        bot,
        doors,
        answerer,
        name: None,
        strangers: HashMap::new(),
    };
    let hearing = listener.hear();
    tokio::select! {
        () = hearing => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// One bot.
#[derive(Debug)]
struct Listener {
    bot: Arc<dyn ChatBot>,
    doors: Vec<Door>,
    answerer: Arc<Answerer>,
    name: Option<Arc<str>>,
    /// Users that may not, and when the log was told of them last.
    strangers: HashMap<i64, UnixMicros>,
}

impl Listener {
    async fn hear(&mut self) {
        let _ = (
            &self.bot,
            &self.doors,
            &self.answerer,
            &self.name,
            &self.strangers,
        );
    }
}
