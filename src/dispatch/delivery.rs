//! One receiver's messages, one after the other. Each receiver has a task of its own, so that one that
//! hangs delays nobody.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::Uri;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use crate::alert::Notification;
use crate::clock::UnixMicros;
use crate::config::{ReceiverSettings, TargetSettings};
use crate::notify::chart::digest_png;
use crate::notify::content::{Rendering, render};
use crate::notify::{
    Answering, Content, Delivered, Delivery, FailureReason, Image, Message, Thread, Tone,
};

use super::answering::{LINKS_WORK_FOR, Offers, Signer, buttons};
use super::letters::content_of;
use super::office::{Desk, Office};
use super::queue::{Step, Waiting};

/// The longest look away: deadlines go by the wall clock, which may be set.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How much longer than its own timeout a receiver may take, several tries to connect included, before
/// nobody waits for it any more.
const PATIENCE: u32 = 6;
/// Contents of one message that are written out; of the rest there are the titles.
const WRITTEN_OUT: usize = 10;

/// What offers answers.
#[derive(Clone, Debug)]
pub(super) struct Offering {
    pub(super) signer: Option<Arc<Signer>>,
    /// `admin.public_url`.
    pub(super) public_url: Option<Uri>,
}

/// Delivers what waits for a receiver until `ended` says so: then what is being sent is the last.
pub(super) async fn deliver(
    office: Arc<Office>,
    desk: Arc<Desk>,
    offering: Offering,
    mut ended: watch::Receiver<bool>,
) {
    while !*ended.borrow() {
        let (now, clock) = (UnixMicros::now(), Instant::now().into_std());
        match office.step(&desk, now, clock) {
            Step::Wait(pause) => {
                let pause = pause.map_or(LONGEST_WAIT, |pause| pause.min(LONGEST_WAIT));
                tokio::select! {
                    () = sleep(pause) => {}
                    () = desk.wake.notified() => {}
                    // An error says that nobody is there to say so.
                    _ = ended.changed() => {}
                }
            }
            Step::Send(batch) => {
                let delivered = send(&office, &desk, &offering, &batch).await;
                let (now, clock) = (UnixMicros::now(), Instant::now().into_std());
                office.answered(&desk, &delivered, now, clock, fastrand());
            }
        }
    }
}

async fn send(office: &Office, desk: &Desk, offering: &Offering, batch: &[Waiting]) -> Delivered {
    let destination = &desk.destination;
    let settings = &destination.settings;
    let now = UnixMicros::now();
    let contents: Vec<Content> = batch
        .iter()
        .filter_map(|waiting| content_of(&waiting.notification))
        .collect();
    let mut messages: Vec<Message> = Vec::with_capacity(batch.len());
    for (index, waiting) in batch.iter().enumerate() {
        let content = content_of(&waiting.notification);
        let message = match content.filter(|_| index < WRITTEN_OUT) {
            Some(content) => {
                let rendering = Rendering {
                    language: settings.language,
                    timezone: &settings.timezone,
                    templates: &destination.templates,
                    now,
                };
                let mut message = render(&content, &rendering);
                message.buttons = offers(
                    settings,
                    destination.receiver.answering(),
                    offering,
                    &content,
                    now,
                );
                message.image = picture(desk, content).await;
                message
            }
            // Another version's, or one of very many: what it is called says what matters.
            None => by_title(&waiting.notification, settings),
        };
        messages.push(message);
    }
    let mut message = if messages.len() == 1 {
        messages.remove(0)
    } else {
        Message::merged(messages)
    };
    if let [only] = batch {
        message.thread = thread(office, only);
    }
    let sending = destination.receiver.send(Delivery {
        contents: &contents,
        message: &message,
    });
    let patience = settings.timeout.saturating_mul(PATIENCE);
    // A fault of one receiver's must not end its deliveries.
    match timeout(patience, AssertUnwindSafe(sending).catch_unwind()).await {
        Ok(Ok(delivered)) => {
            tell(settings, &message, &delivered);
            delivered
        }
        Ok(Err(_)) => {
            tracing::error!(
                receiver = &*settings.name,
                "a receiver met a fault of its own"
            );
            again(FailureReason::Refused, "a fault of Tollgate's own")
        }
        Err(_) => again(FailureReason::Timeout, "no answer in time"),
    }
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

fn by_title(notification: &Notification, settings: &ReceiverSettings) -> Message {
    Message {
        tone: Tone::Neutral,
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
async fn picture(desk: &Desk, content: Content) -> Option<Image> {
    let Content::Digest(digest) = content else {
        return None;
    };
    if !desk.destination.receiver.shows_images() {
        return None;
    }
    let settings = &desk.destination.settings;
    let (language, timezone) = (settings.language, settings.timezone.clone());
    let alt = digest.name.to_string();
    // Drawing takes some milliseconds.
    let drawn = spawn_blocking(move || digest_png(&digest, language, &timezone));
    let png = drawn.await.ok().flatten()?;
    Some(Image { png, alt })
}

/// Between 0 and 1: by how much pauses differ, which nobody need be unable to guess.
fn fastrand() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    #[expect(
        clippy::cast_precision_loss,
        reason = "any number between 0 and 1 will do"
    )]
    let share = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    share
}
