//! Hears what is pressed and written in the chats of a bot.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::bot::ChatBot;
use super::{Answerer, Command, Written};
use crate::clock::UnixMicros;
use crate::config::{ChatName, Language, ReceiverSettings, TargetSettings, TelegramSettings};
use crate::notify::telegram::{CallError, Heard, Update};
use crate::notify::{Button, ButtonTarget, Message, Tone};

/// How long one poll waits.
const WAIT: Duration = Duration::from_secs(50);
/// From one try to the next: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// While another program polls with the same token.
const CONFLICT_PAUSE: Duration = Duration::from_secs(60);
/// After the token was refused: somebody may put it right, or a server in front of the Bot API was
/// not what it is.
const REFUSED_PAUSE: Duration = Duration::from_secs(300);
/// The number that a group's is above, and a supergroup's below.
const SUPERGROUPS: i64 = -1_000_000_000_000;
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

/// Hears a bot until `stop` says so (or its sender is gone). What was
/// heard is confirmed once it is handled, so that a crash repeats the last of it; a button works once
/// all the same.
pub async fn listen(
    bot: Arc<dyn ChatBot>,
    doors: Vec<Door>,
    answerer: Arc<Answerer>,
    stop: watch::Receiver<bool>,
) {
    Listener::new(bot, doors, answerer).hear(stop).await;
}

/// How long to wait after a failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    pub(super) first: Duration,
    pub(super) longest: Duration,
    pub(super) conflict: Duration,
    pub(super) refused: Duration,
}

/// One bot.
#[derive(Debug)]
pub(super) struct Listener {
    bot: Arc<dyn ChatBot>,
    doors: Vec<Door>,
    answerer: Arc<Answerer>,
    /// The bot's name, once it is known.
    name: Option<Arc<str>>,
    /// Users that may not, and when the log was told of them last.
    strangers: HashMap<i64, UnixMicros>,
    /// Supergroups that none of the groups became that this user may answer from.
    foreign: BTreeSet<(i64, i64)>,
    /// Whether the token was refused, and the log told.
    is_refused: bool,
    pub(super) pauses: Pauses,
}

impl Listener {
    pub(super) fn new(bot: Arc<dyn ChatBot>, doors: Vec<Door>, answerer: Arc<Answerer>) -> Self {
        Self {
            bot,
            doors,
            answerer,
            name: None,
            strangers: HashMap::new(),
            foreign: BTreeSet::new(),
            is_refused: false,
            pauses: Pauses {
                first: FIRST_PAUSE,
                longest: LONGEST_PAUSE,
                conflict: CONFLICT_PAUSE,
                refused: REFUSED_PAUSE,
            },
        }
    }

    pub(super) async fn hear(mut self, mut stop: watch::Receiver<bool>) {
        let (mut offset, mut confirmed) = (0, 0);
        let mut pause = self.pauses.first;
        loop {
            let heard = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                heard = self.bot.poll(offset, WAIT) => heard,
            };
            let rest = match heard {
                Ok(updates) => {
                    confirmed = offset;
                    pause = self.pauses.first;
                    if mem::take(&mut self.is_refused) {
                        tracing::info!(receivers = ?self.receivers(), "the bot is heard again");
                    }
                    for update in updates.heard {
                        if *stop.borrow() {
                            break;
                        }
                        offset = offset.max(update.id.saturating_add(1));
                        self.handle(update, UnixMicros::now()).await;
                    }
                    if !*stop.borrow() {
                        offset = offset.max(updates.next);
                    }
                    continue;
                }
                Err(error @ CallError::Token) => {
                    if !mem::replace(&mut self.is_refused, true) {
                        tracing::error!(
                            receivers = ?self.receivers(),
                            %error,
                            "nobody can answer from the bot's chats; it is tried every few minutes"
                        );
                    }
                    self.pauses.refused
                }
                Err(error @ (CallError::OtherPoller | CallError::WebhookSet)) => {
                    tracing::warn!(
                        receivers = ?self.receivers(),
                        %error,
                        "the bot cannot be heard"
                    );
                    self.pauses.conflict
                }
                Err(error) => {
                    tracing::warn!(
                        receivers = ?self.receivers(),
                        %error,
                        "the bot cannot be heard at present"
                    );
                    let asked = match error {
                        CallError::TooOften(after) => after,
                        _ => None,
                    };
                    let rest = asked.map_or(pause, |asked| asked.max(pause));
                    pause = pause.saturating_mul(2).min(self.pauses.longest);
                    rest
                }
            };
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = sleep(rest) => {}
            }
        }
        if offset > confirmed {
            // What else comes stays for the next start.
            let confirming = self.bot.poll(offset, Duration::ZERO).await;
            if let Err(error) = confirming {
                tracing::debug!(%error, "what was heard last cannot be confirmed");
            }
        }
    }

    /// Does what follows from an update.
    pub(super) async fn handle(&mut self, update: Update, now: UnixMicros) {
        if let Heard::Wrote { text, .. } = &update.what
            && !text.trim_start().starts_with('/')
        {
            return;
        }
        let mut allowed = self.allowed(&update);
        if allowed.is_empty() && self.follow(&update).await {
            allowed = self.allowed(&update);
        }
        match update.what {
            Heard::Pressed {
                ref callback_id, ..
            } if allowed.is_empty() => {
                self.stranger(&update, now);
                let language = self.doors.first().map(|door| door.language);
                let text = match language {
                    Some(Language::Zh) => "您无权在此操作。",
                    _ => "You are not allowed to answer here.",
                };
                told(self.bot.acknowledge(callback_id, text, true).await);
            }
            Heard::Wrote { .. } if allowed.is_empty() => self.stranger(&update, now),
            Heard::Pressed { .. } => self.pressed(update, allowed, now).await,
            Heard::Wrote { .. } => self.wrote(update, &allowed, now).await,
        }
    }

    /// The doors that are open to who did something, where they did it.
    fn allowed(&self, update: &Update) -> Vec<Door> {
        let here = self
            .doors
            .iter()
            .filter(|door| door.chats.contains(&update.chat));
        let allowed = here.filter(|door| door.users.contains(&update.user));
        allowed.cloned().collect()
    }

    /// Opens doors in the supergroup that their group became, where one of their users does something
    /// in a supergroup that has none; whether it is that. Messages follow a group by themselves, and
    /// bring their buttons along.
    async fn follow(&mut self, update: &Update) -> bool {
        if update.chat >= SUPERGROUPS || self.foreign.contains(&(update.chat, update.user)) {
            return false;
        }
        let own = self.doors.iter();
        let own = own.filter(|door| door.users.contains(&update.user));
        let groups: BTreeSet<i64> = own
            .flat_map(|door| door.chats.iter().copied())
            .filter(|chat| (SUPERGROUPS..0).contains(chat))
            .collect();
        let mut is_sure = !groups.is_empty();
        for group in groups {
            match self.bot.moved_to(group).await {
                Ok(Some(to)) if to == update.chat => {
                    tracing::warn!(
                        receivers = ?self.receivers(),
                        group,
                        chat = to,
                        "the Telegram group became a supergroup, and is heard there; put this \
                         number into the settings"
                    );
                    for door in &mut self.doors {
                        if door.chats.contains(&group) {
                            door.chats.push(to);
                        }
                    }
                    return true;
                }
                Ok(_) => {}
                // It cannot be written in any more: what it became is not known by that.
                Err(error) if !error.may_pass() => {}
                Err(error) => {
                    tracing::warn!(%error, "whether a group became a supergroup is not known");
                    is_sure = false;
                }
            }
        }
        if is_sure {
            if self.foreign.len() >= MOST_STRANGERS {
                self.foreign.clear();
            }
            self.foreign.insert((update.chat, update.user));
        }
        false
    }

    async fn pressed(&self, update: Update, allowed: Vec<Door>, now: UnixMicros) {
        let who = who(&update);
        let Heard::Pressed {
            callback_id,
            message_id,
            data,
            buttons,
        } = update.what
        else {
            return;
        };
        // Several receivers may be in one chat; the signature tells whose button it is.
        let is_of = |door: &&Door| self.answerer.is_of(&door.receiver, &data, now);
        let Some(door) = allowed.iter().find(is_of).or(allowed.first()).cloned() else {
            return;
        };
        let pressed = {
            let (who, data) = (who.clone(), data.clone());
            self.ask(move |answerer| answerer.press(&door.receiver, &who, &data, now))
        };
        let Some(reply) = pressed.await else {
            return;
        };
        let answered = self
            .bot
            .acknowledge(&callback_id, &reply.text, !reply.taken());
        told(answered.await);
        if !reply.taken() {
            return;
        }
        let is_deed = reply.message.is_none();
        let message = reply.message.unwrap_or_else(|| Message {
            tone: Tone::Neutral,
            language: door.language,
            title: format!("{who}: {}", reply.text),
            body: Vec::new(),
            buttons: Vec::new(),
            thread: None,
            image: None,
        });
        let sent = self
            .bot
            .reply(update.chat, update.topic, Some(message_id), &message);
        told(sent.await);
        if is_deed && !buttons.is_empty() {
            let left = without(buttons, &data);
            told(self.bot.set_buttons(update.chat, message_id, &left).await);
        }
    }

    async fn wrote(&mut self, update: Update, allowed: &[Door], now: UnixMicros) {
        let who = who(&update);
        let Heard::Wrote {
            message_id,
            text,
            sent_at,
        } = update.what
        else {
            return;
        };
        let Some(door) = allowed.first().cloned() else {
            return;
        };
        if self.name.is_none() && text.contains('@') {
            // Until it is known, what is addressed to somebody is taken by nobody.
            let name = self.bot.name().await;
            let name = name.inspect_err(|error| {
                tracing::warn!(%error, "the bot's name is not known");
            });
            self.name = name.ok().map(Arc::from);
        }
        let name = self.name.clone();
        let is_late = now.since(sent_at) > COMMANDS_WORK_FOR;
        let message = match Command::parse(&text, name.as_deref()) {
            None => return,
            Some(Ok(command)) if is_late && command.changes() => Some(late(door.language)),
            Some(_) => {
                let chat = update.chat;
                let command = self.ask(move |answerer| {
                    let written = Written {
                        who: &who,
                        text: &text,
                        bot: name.as_deref(),
                        chat,
                        message_id,
                    };
                    answerer.command(&door.receiver, &written, now)
                });
                command.await.flatten()
            }
        };
        if let Some(message) = message {
            let sent = self
                .bot
                .reply(update.chat, update.topic, Some(message_id), &message);
            told(sent.await);
        }
    }

    /// Asks the answerer on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Answerer) -> T + Send + 'static,
    ) -> Option<T> {
        let answerer = Arc::clone(&self.answerer);
        let answer = spawn_blocking(move || question(&answerer)).await;
        answer
            .inspect_err(|error| tracing::error!(%error, "an answer from a chat failed"))
            .ok()
    }

    /// Tells the log of somebody who may not, with what the settings would need to say.
    fn stranger(&mut self, update: &Update, now: UnixMicros) {
        let told = self.strangers.get(&update.user);
        if told.is_some_and(|&told| now.since(told) < STRANGERS_EVERY) {
            return;
        }
        if self.strangers.len() >= MOST_STRANGERS {
            self.strangers
                .retain(|_, &mut told| now.since(told) < STRANGERS_EVERY);
        }
        // Beyond the bound nobody is remembered, and nobody more is told of.
        if self.strangers.len() >= MOST_STRANGERS {
            return;
        }
        self.strangers.insert(update.user, now);
        tracing::warn!(
            user = update.user,
            chat = update.chat,
            receivers = ?self.receivers(),
            "somebody who is not allowed to asked for something in a chat; nothing was done \
             (`answers.users` and `answers.chats` say who may)"
        );
    }

    fn receivers(&self) -> Vec<&str> {
        self.doors.iter().map(|door| &*door.receiver).collect()
    }
}

/// What cannot be said in a chat is said in the log; what was asked for is done or not by then.
fn told(said: Result<(), CallError>) {
    if let Err(error) = said {
        tracing::warn!(%error, "an answer from a chat cannot be acknowledged");
    }
}

/// Who it is, for the audit. The name is anybody's choice, so nothing in it may look like the id, or
/// turn the text around.
fn who(update: &Update) -> String {
    let is_plain = |char: &char| {
        !char.is_control()
            && !matches!(char, '(' | ')' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
            && !matches!(char, '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let name = update.user_name.chars().filter(is_plain);
    let name: String = name.take(LONGEST_NAME).collect();
    match name.trim() {
        "" => format!("telegram {}", update.user),
        name => format!("{name} (telegram {})", update.user),
    }
}

/// The buttons but the one that was pressed.
fn without(buttons: Vec<Vec<Button>>, data: &str) -> Vec<Vec<Button>> {
    let is_other = |button: &Button| match &button.target {
        ButtonTarget::Callback(own) => own != data,
        ButtonTarget::Url(_) => true,
    };
    let rows = buttons.into_iter().map(|mut row| {
        row.retain(is_other);
        row
    });
    rows.filter(|row| !row.is_empty()).collect()
}

fn late(language: Language) -> Message {
    let title = match language {
        Language::En => {
            "That was written too long ago, so nothing was changed. Write it again if it still holds."
        }
        Language::Zh => "该命令发送时间过久，未做任何更改。如仍需要，请重新发送。",
    };
    Message {
        tone: Tone::Neutral,
        language,
        title: title.to_owned(),
        body: Vec::new(),
        buttons: Vec::new(),
        thread: None,
        image: None,
    }
}
