//! A Bot API that judges as Telegram does: tokens, chats, topics, markup, lengths, buttons, replies and
//! rates, with its words; that people press buttons and write in; and that fails when told to.

pub(crate) mod html;
mod judgement;
mod limits;
mod request;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::upstream::{Answer, Received, Script, Step, Upstream};
use crate::support::{Gate, eventually};

use html::Parsed;
use limits::Limits;
use request::Parameters;

/// The bot's token.
pub(crate) const TOKEN: &str = "4242:AAcanary-of-the-bots-token_0123456789";
/// The secret part of it.
pub(crate) const TOKEN_CANARY: &str = "AAcanary-of-the-bots-token_0123456789";
/// The bot's name.
pub(crate) const BOT: &str = "tollgate_bot";
/// A supergroup with the topic [`TOPIC`].
pub(crate) const GROUP: i64 = -1_000_000_000_123;
/// That topic.
pub(crate) const TOPIC: i32 = 7;
/// A private chat with [`ANN`].
pub(crate) const PRIVATE: i64 = 1001;
/// A user.
pub(crate) const ANN: Person = Person {
    id: 1001,
    name: "ann",
};
/// Another.
pub(crate) const BOB: Person = Person {
    id: 1002,
    name: "bob",
};

/// Somebody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Person {
    /// The user's number.
    pub(crate) id: i64,
    /// The name, without the `@`.
    pub(crate) name: &'static str,
}

/// How a request fails.
#[derive(Clone)]
pub(crate) enum Fault {
    /// An error of the server in front of the API, in HTML.
    Server(u16),
    /// The connection is reset before anything is done.
    Reset,
    /// It is done, and the connection reset before it is said so.
    ResetAfter,
    /// Nothing is answered.
    Hang,
    /// It is done when the test opens the gate.
    Wait(Gate),
    /// 200, and no JSON.
    Garbage,
    /// Refused with this status and description.
    Says(u16, String),
    /// 429 with so many seconds.
    TooOften(u64),
    /// 404 of a server that repeats what it was asked.
    Echo,
    /// Sends the client to another address.
    Redirect(String),
}

/// A message of the bot.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// Its number in the chat.
    pub(crate) id: i32,
    /// The chat.
    pub(crate) chat: i64,
    /// The topic.
    pub(crate) topic: Option<i32>,
    /// The text, or what is below the picture, as people read it.
    pub(crate) text: String,
    /// The same with what is marked.
    pub(crate) parsed: Parsed,
    /// Whether it came without a sound.
    pub(crate) silent: bool,
    /// Whether the first link would be shown as a preview.
    pub(crate) previews: bool,
    /// What it answers.
    pub(crate) reply_to: Option<i32>,
    /// The buttons: what is read, and what Telegram keeps of each.
    pub(crate) keyboard: Vec<Vec<(String, Target)>>,
    /// The picture.
    pub(crate) photo: Option<Vec<u8>>,
}

/// What a button does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Comes back with this.
    Callback(String),
    /// Opens this.
    Url(String),
}

/// What a person who pressed a button was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// In these words.
    pub(crate) text: String,
    /// With a window to close.
    pub(crate) alert: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Membership {
    Member,
    Kicked,
    Muted,
    NoPhotos,
    MovedTo(i64),
}

#[derive(Debug)]
struct Chat {
    membership: Membership,
    topics: BTreeSet<i32>,
    /// The messages that are there, anybody's.
    messages: BTreeSet<i32>,
    next_message: i32,
}

struct State {
    token: String,
    chats: BTreeMap<i64, Chat>,
    names: BTreeMap<String, i64>,
    sent: Vec<Sent>,
    updates: VecDeque<(i32, Value)>,
    next_update: i32,
    /// Of the newest `getUpdates`: another one ends those before.
    poll: u64,
    webhook: bool,
    /// What was pressed; what was said to it.
    presses: BTreeMap<String, Option<Acknowledged>>,
    faults: VecDeque<Fault>,
    polling_faults: VecDeque<Fault>,
    limits: Option<Limits>,
    too_often: usize,
    stopped: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The Bot API.
pub(crate) struct TelegramJudge {
    upstream: Upstream,
    shared: Arc<Shared>,
}

impl TelegramJudge {
    /// With [`GROUP`] and [`PRIVATE`], and the published limits.
    pub(crate) fn start() -> Self {
        let state = State {
            token: TOKEN.to_owned(),
            chats: [(GROUP, Chat::new([TOPIC])), (PRIVATE, Chat::new([]))].into(),
            names: BTreeMap::new(),
            sent: Vec::new(),
            updates: VecDeque::new(),
            next_update: 500,
            poll: 0,
            webhook: false,
            presses: BTreeMap::new(),
            faults: VecDeque::new(),
            polling_faults: VecDeque::new(),
            limits: Some(Limits::default()),
            too_often: 0,
            stopped: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let answering = Arc::clone(&shared);
        let upstream = Upstream::start(move |request| answering.answer(request));
        Self { upstream, shared }
    }

    /// Where it is, as `telegram.api_url` has it.
    pub(crate) fn api_url(&self) -> String {
        format!("http://{}", self.upstream.address())
    }

    /// Lets as much pass as is sent.
    pub(crate) fn without_limits(self) -> Self {
        self.state().limits = None;
        self
    }

    /// How often it was told more than it allows.
    pub(crate) fn too_often(&self) -> usize {
        self.state().too_often
    }

    /// Adds a chat; negative numbers are groups.
    pub(crate) fn add_chat(&self, id: i64) {
        self.state().chats.insert(id, Chat::new([]));
    }

    /// Gives a chat a public name, with the `@`.
    pub(crate) fn name_chat(&self, name: &str, id: i64) {
        self.state().names.insert(name.to_owned(), id);
    }

    /// Throws the bot out, or blocks it.
    pub(crate) fn kick(&self, chat: i64) {
        self.set(chat, Membership::Kicked);
    }

    /// Takes away the right to write.
    pub(crate) fn mute(&self, chat: i64) {
        self.set(chat, Membership::Muted);
    }

    /// Takes away the right to send pictures.
    pub(crate) fn forbid_photos(&self, chat: i64) {
        self.set(chat, Membership::NoPhotos);
    }

    /// Makes a group a supergroup of another number.
    pub(crate) fn migrate(&self, chat: i64, to: i64) {
        self.set(chat, Membership::MovedTo(to));
        self.add_chat(to);
    }

    /// Deletes a message.
    pub(crate) fn delete(&self, chat: i64, message: i32) {
        self.state()
            .chats
            .get_mut(&chat)
            .unwrap()
            .messages
            .remove(&message);
    }

    /// Gives the bot another token.
    pub(crate) fn renew_token(&self, token: &str) {
        token.clone_into(&mut self.state().token);
    }

    /// Sends the updates to a webhook, or no longer.
    pub(crate) fn set_webhook(&self, is_set: bool) {
        self.state().webhook = is_set;
    }

    /// The next requests fail so, polls excepted.
    pub(crate) fn fails(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// The next polls fail so.
    pub(crate) fn polls_fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().polling_faults.extend(faults);
    }

    /// What the bot sent, in order.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.state().sent.clone()
    }

    /// The only message that the bot sent.
    pub(crate) fn only(&self) -> Sent {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:#?}");
        sent.remove(0)
    }

    /// Waits for a message of the bot that fits.
    pub(crate) fn until(&self, what: &str, fits: impl Fn(&Sent) -> bool) -> Sent {
        eventually(what, || self.sent().into_iter().find(&fits))
    }

    /// Somebody presses the button that this is read on, of the newest message that has it. Returns
    /// what to ask [`acknowledged`](Self::acknowledged) for.
    pub(crate) fn press(&self, label: &str, person: Person) -> String {
        let sent = self.sent();
        let found = sent.iter().rev().find_map(|message| {
            let mut buttons = message.keyboard.iter().flatten();
            match buttons.find(|(read, _)| read == label)? {
                (_, Target::Callback(data)) => Some((message, data.clone())),
                (_, Target::Url(url)) => panic!("{label} opens {url}"),
            }
        });
        let (message, data) = found.unwrap_or_else(|| panic!("no button {label}: {sent:#?}"));
        self.come_back(message, &data, person)
    }

    /// Somebody's program comes back from a message with whatever it likes.
    pub(crate) fn come_back(&self, message: &Sent, data: &str, person: Person) -> String {
        let mut state = self.state();
        let id = format!("press-{}", state.presses.len());
        state.presses.insert(id.clone(), None);
        let update = json!({"callback_query": {
            "id": id, "from": person.json(), "chat_instance": "1", "data": data,
            "message": message.json(),
        }});
        self.shared.push(&mut state, update);
        id
    }

    /// Somebody writes in a chat. Returns the message's number.
    pub(crate) fn write(&self, chat: i64, person: Person, text: &str) -> i32 {
        self.write_in(chat, None, person, text)
    }

    /// The same in a topic.
    pub(crate) fn write_in(
        &self,
        chat: i64,
        topic: Option<i32>,
        person: Person,
        text: &str,
    ) -> i32 {
        let mut state = self.state();
        let id = state.chats.get_mut(&chat).unwrap().next_message();
        let mut message = json!({
            "message_id": id, "date": jiff::Timestamp::now().as_second(), "chat": chat_json(chat),
            "from": person.json(), "text": text,
        });
        if let Some(topic) = topic {
            message["message_thread_id"] = topic.into();
            message["is_topic_message"] = true.into();
        }
        self.shared.push(&mut state, json!({"message": message}));
        id
    }

    /// Something happens that no version of the Bot API knows yet, or that nobody asked for.
    pub(crate) fn push(&self, update: Value) {
        self.shared.push(&mut self.state(), update);
    }

    /// What who pressed a button was told; waits for it.
    pub(crate) fn acknowledged(&self, press: &str) -> Acknowledged {
        eventually("an acknowledgement", || self.state().presses[press].clone())
    }

    /// The updates that the bot has not confirmed.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.state().updates.len()
    }

    /// The methods that were called, in order.
    pub(crate) fn methods(&self) -> Vec<String> {
        let received = self.upstream.received();
        let method = |request: &Received| request.target.rsplit('/').next().unwrap().to_owned();
        received.iter().map(method).collect()
    }

    fn set(&self, chat: i64, membership: Membership) {
        self.state().chats.get_mut(&chat).unwrap().membership = membership;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

impl Drop for TelegramJudge {
    fn drop(&mut self) {
        self.state().stopped = true;
        self.shared.changed.notify_all();
    }
}

impl Person {
    fn json(self) -> Value {
        json!({"id": self.id, "is_bot": false, "first_name": self.name, "username": self.name})
    }
}

impl Chat {
    fn new(topics: impl IntoIterator<Item = i32>) -> Self {
        Self {
            membership: Membership::Member,
            topics: topics.into_iter().collect(),
            messages: BTreeSet::new(),
            next_message: 1,
        }
    }

    fn next_message(&mut self) -> i32 {
        let id = self.next_message;
        self.next_message += 1;
        self.messages.insert(id);
        id
    }
}

impl Sent {
    fn json(&self) -> Value {
        let mut message = json!({
            "message_id": self.id, "date": 1_700_000_000, "chat": chat_json(self.chat),
            "from": {"id": 4242, "is_bot": true, "first_name": "Tollgate", "username": BOT},
            "text": self.parsed.text,
        });
        if let Some(topic) = self.topic {
            message["message_thread_id"] = topic.into();
            message["is_topic_message"] = true.into();
        }
        if !self.keyboard.is_empty() {
            let rows = self
                .keyboard
                .iter()
                .map(|row| row.iter().map(button_json).collect());
            message["reply_markup"] = json!({"inline_keyboard": rows.collect::<Vec<Vec<_>>>()});
        }
        message
    }
}

fn button_json((label, target): &(String, Target)) -> Value {
    match target {
        Target::Callback(data) => json!({"text": label, "callback_data": data}),
        Target::Url(url) => json!({"text": label, "url": url}),
    }
}

fn chat_json(id: i64) -> Value {
    if id > 0 {
        json!({"id": id, "type": "private", "first_name": "ann"})
    } else {
        json!({"id": id, "type": "supergroup", "title": "Operations"})
    }
}

/// Why a request is refused: status, description and `parameters`.
type Refusal = (u16, String, Value);

fn bad(description: &str) -> Refusal {
    (400, format!("Bad Request: {description}"), Value::Null)
}

fn forbidden(description: &str) -> Refusal {
    (403, format!("Forbidden: {description}"), Value::Null)
}

fn answer(status: u16, body: &Value) -> Script {
    Answer::new(&format!("{status} -"))
        .header("content-type", "application/json")
        .body(body.to_string())
}

fn outcome(result: Result<Value, Refusal>) -> Script {
    match result {
        Ok(result) => answer(200, &json!({"ok": true, "result": result})),
        Err((status, description, parameters)) => {
            let mut body = json!({"ok": false, "error_code": status, "description": description});
            if !parameters.is_null() {
                body["parameters"] = parameters;
            }
            answer(status, &body)
        }
    }
}

impl Shared {
    fn push(&self, state: &mut State, mut update: Value) {
        update["update_id"] = state.next_update.into();
        state.updates.push_back((state.next_update, update));
        state.next_update += 1;
        self.changed.notify_all();
    }

    fn answer(&self, request: &Received) -> Script {
        let is_poll = request.target.to_ascii_lowercase().ends_with("/getupdates");
        let fault = {
            let mut state = self.state.lock().unwrap();
            let faults = if is_poll {
                &mut state.polling_faults
            } else {
                &mut state.faults
            };
            faults.pop_front()
        };
        match fault {
            None => self.serve(request),
            Some(Fault::Server(status)) => Answer::new(&format!("{status} -"))
                .header("content-type", "text/html")
                .body(format!("<html><h1>{status}</h1>nginx</html>")),
            Some(Fault::Reset) => vec![Step::Reset],
            Some(Fault::ResetAfter) => {
                self.serve(request);
                vec![Step::Reset]
            }
            Some(Fault::Hang) => vec![Step::Hang],
            Some(Fault::Wait(gate)) => {
                assert!(gate.wait(), "the test never opened the gate");
                self.serve(request)
            }
            Some(Fault::Garbage) => Answer::new("200 OK").body("{\"ok\":tru"),
            Some(Fault::Says(status, description)) => {
                outcome(Err((status, description, Value::Null)))
            }
            Some(Fault::TooOften(seconds)) => outcome(Err(limits::refusal(seconds))),
            Some(Fault::Echo) => {
                let words = format!("Not Found: {} {}", request.method, request.target);
                outcome(Err((404, words, Value::Null)))
            }
            Some(Fault::Redirect(to)) => {
                let to = format!("{to}{}", request.target);
                Answer::new("307 -").header("location", &to).body("")
            }
        }
    }

    fn serve(&self, request: &Received) -> Script {
        let mut state = self.state.lock().unwrap();
        let not_found = || outcome(Err((404, "Not Found".to_owned(), Value::Null)));
        let path = request.target.strip_prefix("/bot");
        let Some((token, method)) = path.and_then(|path| path.split_once('/')) else {
            return not_found();
        };
        if token != state.token {
            if token.split_once(':').is_none() {
                return not_found();
            }
            return outcome(Err((401, "Unauthorized".to_owned(), Value::Null)));
        }
        let (parameters, photo) = match request::read(request) {
            Ok(read) => read,
            Err(words) => return outcome(Err(bad(&words))),
        };
        match method.to_ascii_lowercase().as_str() {
            "getme" => outcome(Ok(json!({
                "id": 4242, "is_bot": true, "first_name": "Tollgate", "username": BOT,
                "can_join_groups": true, "can_read_all_group_messages": false,
                "supports_inline_queries": false, "can_connect_to_business": false,
                "has_main_web_app": false,
            }))),
            "getupdates" => self.poll(state, &parameters),
            "sendmessage" => outcome(state.send(&parameters, None)),
            "sendphoto" => outcome(match photo {
                Some(file) => state.send(&parameters, Some(file)),
                None => Err(bad("there is no photo in the request")),
            }),
            "answercallbackquery" => outcome(state.acknowledge(&parameters)),
            "sendchataction" => outcome(state.look(&parameters)),
            "editmessagereplymarkup" => outcome(state.edit(&parameters)),
            _ => not_found(),
        }
    }

    /// Long polling. One that comes ends the one before.
    fn poll(&self, mut state: MutexGuard<'_, State>, parameters: &Parameters) -> Script {
        let conflict = |words: &str| outcome(Err((409, format!("Conflict: {words}"), Value::Null)));
        if state.webhook {
            return conflict(
                "can't use getUpdates method while webhook is active; use deleteWebhook to delete \
                 the webhook first",
            );
        }
        state.poll += 1;
        let own = state.poll;
        self.changed.notify_all();
        let offset = parameters.number("offset").unwrap_or(0);
        state.updates.retain(|(id, _)| i64::from(*id) >= offset);
        let wait = u64::try_from(parameters.number("timeout").unwrap_or(0)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(wait);
        while state.updates.is_empty() && state.poll == own && !state.stopped {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
        if state.poll != own {
            return conflict(
                "terminated by other getUpdates request; make sure that only one bot instance is \
                 running",
            );
        }
        let updates: Vec<&Value> = state.updates.iter().take(100).map(|(_, u)| u).collect();
        outcome(Ok(json!(updates)))
    }
}
