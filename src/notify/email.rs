//! Mail over SMTP.
//!
//! A message goes to all recipients in one transaction (RFC 5321): each is named to the server by
//! itself, and those that it takes get the message, whatever it says of the others. Who was taken is
//! kept until the rest are settled, so that a second try goes only to those who were put off. That
//! is memory: after a restart all of them are tried again, with the same `Message-ID`, by which most
//! mail programs know that they have it. A recipient that is refused for good while others are served
//! is logged, and the message counts as sent.
//!
//! A connection serves one message. Mail is rare, servers end idle connections after minutes, and one
//! that broke in the meantime would look as if the message had.

mod body;
mod letter;
mod parting;
mod session;
mod verdict;

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::client::{Certificate, TlsParameters};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::{Answering, Delivered, Delivery, FailureReason, Pace, Rate, Receiver};
use crate::config::{EmailSettings, ReceiverKind, SmtpEncryption};

use letter::{Letter, Writer};
use parting::{Parting, Partings};
use session::{Encryption, Server, Session};
use verdict::{Failure, Speaker};

/// How a certificate begins in a PEM file.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Why mail cannot be sent with these settings.
#[derive(Debug, thiserror::Error)]
pub enum EmailError {
    /// `from` or one of `to`.
    #[error("`{0}` is no mail address; `name@example.com` or `Name <name@example.com>` would be")]
    Address(Arc<str>),
    /// `to` is empty.
    #[error("nobody is named in `to`")]
    Nobody,
    /// `ca_file` cannot be read.
    #[error("`ca_file` {}: {error}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// There is no certificate in `ca_file`, or none that can be trusted.
    #[error("`ca_file` {}: {reason}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system's certificates cannot be loaded.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// Mail over SMTP.
#[derive(Debug)]
pub(super) struct EmailReceiver {
    name: Arc<str>,
    server: Server,
    speaker: Speaker,
    writer: Writer,
    to: Vec<Mailbox>,
    timeout: Duration,
    partings: Partings,
}

impl EmailReceiver {
    /// The receiver of that name. A try takes no longer than `timeout`. Reads `ca_file` and the
    /// system's certificates.
    pub(super) fn new(
        name: &Arc<str>,
        settings: &EmailSettings,
        timeout: Duration,
    ) -> Result<Self, EmailError> {
        let from = mailbox(&settings.from)?;
        let to: Vec<Mailbox> = settings.to.iter().map(mailbox).collect::<Result<_, _>>()?;
        if to.is_empty() {
            return Err(EmailError::Nobody);
        }
        let encryption = match settings.encryption {
            SmtpEncryption::None => Encryption::None,
            SmtpEncryption::Tls => Encryption::Tls(trust(settings)?),
            SmtpEncryption::Starttls => Encryption::Starttls(trust(settings)?),
        };
        let server = Server::new(settings, encryption, from.email.domain(), timeout);
        Ok(Self {
            name: Arc::clone(name),
            server,
            speaker: Speaker::new(settings),
            writer: Writer::new(name, from, to.clone()),
            to,
            timeout,
            partings: Partings::default(),
        })
    }

    /// Sends a letter to those it was not sent to yet.
    async fn post(&self, letter: &Letter) -> Delivered {
        let mut parting = self.partings.recall(&letter.id);
        let open: Vec<Address> = self
            .to
            .iter()
            .map(|mailbox| &mailbox.email)
            .filter(|address| !parting.settled(address))
            .cloned()
            .collect();

        let deadline = Instant::now() + self.timeout;
        let mut session = Session::default();
        let talk = unpanicked(session.post(&self.server, letter, &open));
        let answered = match timeout_at(deadline, talk).await {
            Ok(Some(answered)) => answered,
            Ok(None) => Err(Failure::Unreadable),
            Err(_) => Err(Failure::Late),
        };
        let answers = match answered {
            Ok(answers) => answers,
            Err(failure) => return self.speaker.told(session.stage(), &failure).into(),
        };
        session.close(deadline).await;
        for (address, answer) in open.into_iter().zip(answers) {
            match answer {
                Ok(()) => parting.took(address),
                Err(error) => {
                    let told = self.speaker.told_of(&address, &error);
                    parting.refused(address, told);
                }
            }
        }
        self.conclude(letter, parting)
    }

    /// What came of it, once each recipient was answered for.
    fn conclude(&self, letter: &Letter, parting: Parting) -> Delivered {
        if let Some(put_off) = parting.put_off() {
            let again = put_off.clone();
            self.partings.keep(&letter.id, parting);
            return again.into();
        }
        self.partings.forget(&letter.id);
        if let Some(refused) = parting.refused_by_all() {
            return refused.clone().into();
        }
        for told in parting.refusals() {
            warn!(
                receiver = %self.name,
                reason = %told.reason,
                detail = told.detail,
                "a recipient was refused mail that others got"
            );
        }
        Delivered::Sent {
            reference: Some(letter.reference.as_str().into()),
        }
    }
}

#[async_trait]
impl Receiver for EmailReceiver {
    fn kind(&self) -> ReceiverKind {
        ReceiverKind::Email
    }

    /// Nobody publishes a limit of mail; a message a second at most annoys no server.
    fn pace(&self) -> Pace {
        Pace {
            own: vec![Rate::new(60, 60)],
            ..Pace::default()
        }
    }

    fn shows_images(&self) -> bool {
        true
    }

    fn answering(&self) -> Answering {
        Answering::Links
    }

    async fn send(&self, delivery: Delivery<'_>) -> Delivered {
        match self.writer.write(delivery) {
            Ok(letter) => self.post(&letter).await,
            Err(error) => Delivered::GiveUp {
                reason: FailureReason::Refused,
                detail: format!("no mail can be made of it: {error}"),
            },
        }
    }

    fn preview(&self, delivery: Delivery<'_>) -> String {
        match self.writer.write(delivery) {
            Ok(letter) => letter.preview(),
            Err(error) => format!("no mail can be made of it: {error}"),
        }
    }
}

/// What a future comes to; `None` where it panics. The library unwraps what a server may leave out (an
/// extension's name), and no server is to end more than a try.
async fn unpanicked<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| {
        let poll = || future.as_mut().poll(context);
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

/// `name@example.com`, or the same in angle brackets behind a name, which may be in quotes.
fn mailbox(text: &Arc<str>) -> Result<Mailbox, EmailError> {
    let refused = |_| EmailError::Address(Arc::clone(text));
    let all = text.trim();
    let Some((name, address)) = all.strip_suffix('>').and_then(|all| all.split_once('<')) else {
        return Ok(Mailbox::new(None, all.parse().map_err(refused)?));
    };
    let name = name.trim();
    let unquoted = name
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'));
    let name = unquoted.unwrap_or(name);
    if name.contains(char::is_control) {
        return Err(EmailError::Address(Arc::clone(text)));
    }
    let name = (!name.is_empty()).then(|| name.to_owned());
    Ok(Mailbox::new(name, address.parse().map_err(refused)?))
}

/// Whom the server's certificate may be signed by: the system's authorities and those of `ca_file`.
fn trust(settings: &EmailSettings) -> Result<TlsParameters, EmailError> {
    let mut builder = TlsParameters::builder(settings.host.to_string());
    if let Some(path) = &settings.ca_file {
        let unusable = |reason: String| EmailError::NoCertificate {
            path: path.clone(),
            reason,
        };
        let pem = std::fs::read(path).map_err(|error| EmailError::CaFile {
            path: path.clone(),
            error,
        })?;
        if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
            return Err(unusable("there is no certificate in it (PEM)".to_owned()));
        }
        let certificate = Certificate::from_pem(&pem)
            .map_err(|_| unusable("a certificate in it is malformed".to_owned()))?;
        builder = builder.add_root_certificate(certificate);
        return builder
            .build_rustls()
            .map_err(|error| unusable(format!("its certificates cannot be used: {error}")));
    }
    let built = builder.build_rustls();
    built.map_err(|error| EmailError::Tls(error.to_string()))
}
