//! One receiver's messages, one after the other. Each receiver has a task of its own, so that one that
//! hangs delays nobody.

use std::cmp::Reverse;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::Uri;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use crate::alert::Notification;
use crate::clock::UnixMicros;
use crate::config::{ReceiverKind, ReceiverSettings, TargetSettings};
use crate::notify::chart::digest_png;
use crate::notify::content::{Rendering, picture_alt, render};
use crate::notify::{
    Answering, Content, Delivered, Delivery, FailureReason, Image, Message, Thread, Tone,
};

use super::answering::{LINKS_WORK_FOR, Offers, Signer, buttons};
use super::destination::Destination;
use super::letters::content_of;
use super::office::{Desk, Office};
use super::queue::{Step, Waiting};

/// The longest look away: deadlines go by the wall clock, which may be set.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How much longer than its own timeout a receiver may take, several tries to connect included, before
/// nobody waits for it any more.
const PATIENCE: u32 = 6;
/// The pause after a fault of the program's own.
const AFTER_FAULT: Duration = Duration::from_secs(1);
/// Contents of one message that are written out; of the rest there are the titles.
const WRITTEN_OUT: usize = 10;

/// What offers answers.
#[derive(Clone, Debug)]
pub(super) struct Offering {
    pub(super) signer: Option<Arc<Signer>>,
    /// `admin.public_url`.
    pub(super) public_url: Option<Uri>,
}

/// Delivers what waits for a receiver until `ended` says so: then what is being sent is the last, and has
/// the receiver's own timeout to be answered. What is not by then is sent again by whoever goes on.
pub(super) async fn deliver(
    office: Arc<Office>,
    desk: Arc<Desk>,
    offering: Offering,
    mut ended: watch::Receiver<bool>,
) {
    while !*ended.borrow() {
        // A fault over one notification must not end the deliveries of the others.
        let round = AssertUnwindSafe(round(&office, &desk, &offering, ended.clone()));
        let pause = round.catch_unwind().await.unwrap_or_else(|_| {
            let fault = || answered(&office, &desk, &fault(&desk));
            // It may be in this.
            let _ = catch_unwind(AssertUnwindSafe(fault));
            AFTER_FAULT
        });
        if pause.is_zero() {
            continue;
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = desk.wake.notified() => {}
            // An error says that nobody is there to say so.
            _ = ended.changed() => {}
        }
    }
}

/// Looks what is to be sent, and sends it. Returns how long nothing is.
async fn round(
    office: &Office,
    desk: &Arc<Desk>,
    offering: &Offering,
    mut ended: watch::Receiver<bool>,
) -> Duration {
    let (now, clock) = (UnixMicros::now(), Instant::now().into_std());
    let batch = match office.step(desk, now, clock) {
        Step::Wait(pause) => return pause.map_or(LONGEST_WAIT, |pause| pause.min(LONGEST_WAIT)),
        Step::Send(batch) => batch,
    };
    let sending = AssertUnwindSafe(send(office, desk, offering, batch)).catch_unwind();
    tokio::pin!(sending);
    let sent = tokio::select! {
        sent = &mut sending => Some(sent),
        () = until(&mut ended) => {
            timeout(desk.destination.settings.timeout, sending).await.ok()
        }
    };
    if let Some(sent) = sent {
        answered(office, desk, &sent.unwrap_or_else(|_| fault(desk)));
    }
    Duration::ZERO
}

async fn until(ended: &mut watch::Receiver<bool>) {
    // An error says that nobody is there to say so.
    let _ = ended.wait_for(|&ended| ended).await;
}

fn answered(office: &Office, desk: &Desk, delivered: &Delivered) {
    let (now, clock) = (UnixMicros::now(), Instant::now().into_std());
    office.answered(desk, delivered, now, clock, jitter());
}

/// Tells the log of a fault of the program's own; what it was about is tried again, and by itself.
fn fault(desk: &Desk) -> Delivered {
    tracing::error!(
        receiver = &*desk.destination.settings.name,
        "a delivery met a fault of Tollgate's own"
    );
    again(FailureReason::Refused, "a fault of Tollgate's own")
}

async fn send(
    office: &Office,
    desk: &Arc<Desk>,
    offering: &Offering,
    batch: Vec<Waiting>,
) -> Delivered {
    let settings = &desk.destination.settings;
    let parts = batch.into_iter().map(|waiting| Part {
        thread: thread(office, &waiting),
        notification: waiting.notification,
    });
    let parts: Vec<Part> = parts.collect();
    let (at, with) = (Arc::clone(desk), offering.clone());
    // Contents may be long, and a picture takes some milliseconds.
    let written = spawn_blocking(move || written(&at.destination, &with, parts, UnixMicros::now()));
    let Ok(written) = written.await else {
        return fault(desk);
    };
    let Some((contents, message)) = written else {
        return Delivered::GiveUp {
            reason: FailureReason::Refused,
            detail: "another version of Tollgate wrote it, and this one cannot read it".to_owned(),
        };
    };
    let sending = desk.destination.receiver.send(Delivery {
        contents: &contents,
        message: &message,
    });
    let patience = settings.timeout.saturating_mul(PATIENCE);
    match timeout(patience, sending).await {
        Ok(delivered) => {
            tell(settings, &message, &delivered);
            delivered
        }
        Err(_) => again(FailureReason::Timeout, "no answer in time"),
    }
}

/// A notification with its conversation.
struct Part {
    notification: Arc<Notification>,
    thread: Option<Thread>,
}

/// Notifications in one message, what is worst in front; nothing for a machine where a content cannot be
/// read: it reads values, and has none.
fn written(
    to: &Destination,
    offering: &Offering,
    parts: Vec<Part>,
    now: UnixMicros,
) -> Option<(Vec<Content>, Message)> {
    let settings = &to.settings;
    let is_only = parts.len() == 1;
    let parts = parts.into_iter().map(|part| {
        let content = content_of(&part.notification);
        (part, content)
    });
    let mut parts: Vec<(Part, Option<Content>)> = parts.collect();
    if is_machine(to.receiver.kind()) && parts.iter().any(|(_, content)| content.is_none()) {
        return None;
    }
    let tone = |content: &Option<Content>| content.as_ref().map_or(Tone::Neutral, Content::tone);
    // Of one tone the earlier is in front.
    parts.sort_by_key(|(_, content)| Reverse(tone(content).rank()));
    let messages = parts.iter().enumerate().map(|(index, (part, content))| {
        let mut message = match content {
            Some(content) if index < WRITTEN_OUT => {
                let rendering = Rendering {
                    language: settings.language,
                    timezone: &settings.timezone,
                    templates: &to.templates,
                    now,
                };
                let mut message = render(content, &rendering);
                message.buttons = offers(settings, to.receiver.answering(), offering, content, now);
                if !is_only && let Some(name) = content.name() {
                    message = message.with_buttons_of(&name);
                }
                message.image = picture(to, content, &rendering);
                message
            }
            // Another version's, or one of very many: what it is called says what matters.
            _ => by_title(&part.notification, settings, tone(content)),
        };
        message.thread.clone_from(&part.thread);
        message
    });
    let message = Message::merged(messages.collect());
    let contents = parts.into_iter().filter_map(|(_, content)| content);
    Some((contents.collect(), message))
}

/// Whether nobody reads its words.
const fn is_machine(kind: ReceiverKind) -> bool {
    matches!(kind, ReceiverKind::Webhook | ReceiverKind::Alertmanager)
}

fn again(reason: FailureReason, detail: &str) -> Delivered {
    Delivered::Again {
        after: None,
        reason,
        detail: detail.to_owned(),
    }
}

fn tell(settings: &ReceiverSettings, message: &Message, delivered: &Delivered) {
    let receiver = &*settings.name;
    match delivered {
        Delivered::Sent { .. } => {
            tracing::debug!(receiver, title = message.title, "a notification was sent");
        }
        Delivered::Again {
            after,
            reason,
            detail,
        } => tracing::warn!(
            receiver,
            %reason,
            detail,
            after_s = after.map(|after| after.as_secs()),
            "a notification was not taken; it is tried again"
        ),
        // What becomes of it is told with it.
        Delivered::GiveUp { .. } => {}
    }
}

fn by_title(notification: &Notification, settings: &ReceiverSettings, tone: Tone) -> Message {
    Message {
        tone,
        language: settings.language,
        title: notification.title.to_string(),
        body: Vec::new(),
        buttons: Vec::new(),
        thread: None,
        image: None,
    }
}

/// The conversation of a group of alerts.
fn thread(office: &Office, waiting: &Waiting) -> Option<Thread> {
    let told = waiting.told.as_ref()?;
    let is_first = told.thread == waiting.notification.id;
    Some(Thread {
        key: told.thread.to_string().into(),
        first: if is_first {
            None
        } else {
            office.reference(waiting)
        },
        is_first,
    })
}

fn offers(
    settings: &ReceiverSettings,
    answering: Answering,
    offering: &Offering,
    content: &Content,
    now: UnixMicros,
) -> Vec<Vec<crate::notify::Button>> {
    let Some(signer) = &offering.signer else {
        return Vec::new();
    };
    let own = match &settings.target {
        TargetSettings::Telegram(telegram) => telegram.answers.as_ref(),
        _ => None,
    };
    let offers = Offers {
        signer,
        answering,
        public_url: offering.public_url.as_ref(),
        receiver: &settings.name,
        language: settings.language,
        expire_after: own.map_or(LINKS_WORK_FOR, |answers| answers.expire_after),
    };
    buttons(content, &offers, now)
}

/// The picture of a digest, where the receiver shows pictures.
fn picture(to: &Destination, content: &Content, rendering: &Rendering<'_>) -> Option<Image> {
    let Content::Digest(digest) = content else {
        return None;
    };
    if !to.receiver.shows_images() {
        return None;
    }
    let settings = &to.settings;
    let png = digest_png(digest, settings.language, &settings.timezone)?;
    let alt = picture_alt(digest, rendering);
    Some(Image { png, alt })
}

/// Between 0 and 1: by how much pauses differ, which nobody need be unable to guess.
fn jitter() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    #[expect(
        clippy::cast_precision_loss,
        reason = "any number between 0 and 1 will do"
    )]
    let share = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    share
}

#[cfg(test)]
mod tests;
