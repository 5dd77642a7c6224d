//! What a failure means: whether mail may be taken later, why not now, and what to do about it.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lettre::Address;
use lettre::transport::smtp::Error;
use rustls::CertificateError;

use super::session::Stage;
use crate::config::{EmailSettings, Secret, SmtpEncryption};
use crate::notify::cut;
use crate::notify::plain::visible;
use crate::notify::{Delivered, FailureReason};

/// The most characters of a server's own words that are passed on.
const MOST_WORDS: usize = 300;

/// Why a conversation ended before each recipient was answered for.
#[derive(Debug)]
pub(super) enum Failure {
    /// It took too long.
    Late,
    /// The server offers no `STARTTLS`.
    NoStarttls,
    /// It offers no login that is known here.
    NoLogin,
    /// It said what the library stumbles over.
    Unreadable,
    /// It cannot take an address beyond ASCII.
    NoUnicode,
    /// It cannot take a message beyond ASCII.
    NoEightBit,
    /// It said no, or nothing that can be understood, or the connection failed.
    Smtp(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Smtp(error)
    }
}

/// What is told of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Whether it may go better later.
    pub(super) again: bool,
    /// Why.
    pub(super) reason: FailureReason,
    /// In words, without secrets.
    pub(super) detail: String,
}

impl From<Told> for Delivered {
    fn from(told: Told) -> Self {
        let Told {
            again,
            reason,
            detail,
        } = told;
        if again {
            Self::Again {
                after: None,
                reason,
                detail,
            }
        } else {
            Self::GiveUp { reason, detail }
        }
    }
}

/// Puts failures into words.
pub(super) struct Speaker {
    /// `smtp.example.com:587`.
    server: String,
    encryption: SmtpEncryption,
    login: Option<(Arc<str>, Secret)>,
}

impl fmt::Debug for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Speaker")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Speaker {
    /// For the server of these settings.
    pub(super) fn new(settings: &EmailSettings) -> Self {
        Self {
            server: format!("{}:{}", settings.host, settings.port),
            encryption: settings.encryption,
            login: settings.login.clone(),
        }
    }

    /// What is told of a conversation that failed at that stage.
    pub(super) fn told(&self, stage: Stage, failure: &Failure) -> Told {
        let server = &self.server;
        match failure {
            Failure::Late => again(FailureReason::Timeout, self.late(stage)),
            Failure::NoStarttls => never(
                FailureReason::Policy,
                format!(
                    "{server} offers no STARTTLS, without which nothing is sent: `encryption: tls` is \
                     for servers that encrypt from the first byte on, `none` for a relay on this machine"
                ),
            ),
            Failure::NoLogin => never(
                FailureReason::Policy,
                format!(
                    "{server} offers no login (PLAIN or LOGIN){}: leave out `user` and `password`, or \
                     use the port that it lets its users send by",
                    if self.encryption == SmtpEncryption::None {
                        " without encryption"
                    } else {
                        ""
                    }
                ),
            ),
            Failure::Unreadable => again(FailureReason::Unreadable, self.unreadable(stage)),
            Failure::NoUnicode => never(
                FailureReason::Policy,
                format!("{server} takes no addresses with letters beyond ASCII (SMTPUTF8)"),
            ),
            Failure::NoEightBit => never(
                FailureReason::Policy,
                format!(
                    "{server} takes no messages with letters beyond ASCII in their headers (8BITMIME); \
                     with addresses in ASCII there are none"
                ),
            ),
            Failure::Smtp(error) => self.told_of_error(stage, error),
        }
    }

    /// What is told of a recipient that was refused.
    pub(super) fn told_of(&self, address: &Address, error: &Error) -> Told {
        let mut told = self.told_of_error(Stage::Recipients, error);
        told.detail = format!("{address}: {}", told.detail);
        told
    }

    fn told_of_error(&self, stage: Stage, error: &Error) -> Told {
        if let Some(code) = error.status() {
            return self.told_of_answer(stage, u16::from(code), error);
        }
        if let Some(tls) = find::<rustls::Error>(error) {
            return self.told_of_tls(tls);
        }
        if let Some(io) = find::<io::Error>(error) {
            return self.told_of_connection(stage, io);
        }
        if closed(error) {
            let detail = format!("{} closed the connection {}", self.server, during(stage));
            return again(FailureReason::Connect, detail);
        }
        again(FailureReason::Unreadable, self.unreadable(stage))
    }

    fn unreadable(&self, stage: Stage) -> String {
        format!(
            "{} answers {} with what no mail server says: check `host`, `port` and `encryption`",
            self.server,
            during(stage)
        )
    }

    fn told_of_connection(&self, stage: Stage, error: &io::Error) -> Told {
        let server = &self.server;
        match error.kind() {
            io::ErrorKind::TimedOut => again(FailureReason::Timeout, self.late(stage)),
            // The library reads lines of UTF-8.
            io::ErrorKind::InvalidData => again(
                FailureReason::Unreadable,
                format!("{server} answers {} with what is no text", during(stage)),
            ),
            _ => again(
                FailureReason::Connect,
                format!("no conversation with {server} {}: {error}", during(stage)),
            ),
        }
    }

    /// Certificates are renewed, clocks set and balancers restarted while nobody touches the settings,
    /// so it is tried again as long as there is time.
    fn told_of_tls(&self, error: &rustls::Error) -> Told {
        let server = &self.server;
        let detail = match error {
            rustls::Error::InvalidCertificate(certificate) => match certificate {
                CertificateError::UnknownIssuer => format!(
                    "the certificate of {server} is signed by nobody this machine trusts: name the \
                     signer's certificate in `ca_file`"
                ),
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
                    "the certificate of {server} has expired, or this machine's clock is wrong"
                ),
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    format!(
                        "the certificate of {server} is not valid yet, or this machine's clock is wrong"
                    )
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => format!(
                    "the certificate of {server} is for another name: `host` has to be one that it \
                     names"
                ),
                other => format!(
                    "the certificate of {server} cannot be trusted: {other}; `ca_file` names signers \
                     beside the system's"
                ),
            },
            rustls::Error::InvalidMessage(_) => format!(
                "{server} does not speak TLS from the first byte on: `encryption: starttls` may be \
                 right for this port"
            ),
            other => format!("no TLS with {server}: {other}; check `encryption` and `port`"),
        };
        again(FailureReason::Policy, detail)
    }

    fn told_of_answer(&self, stage: Stage, code: u16, error: &Error) -> Told {
        let said = self.said(stage, code, error);
        let (reason, advice) = meaning(stage, code);
        let detail = format!("{} says {}: {said}", self.server, during(stage));
        let detail = match advice {
            Some(advice) => format!("{detail}; {advice}"),
            None => detail,
        };
        Told {
            again: (400..500).contains(&code),
            reason,
            detail,
        }
    }

    /// The server's own words, where they repeat no secret. Of a login only the codes are passed on:
    /// some servers answer with what they were given.
    fn said(&self, stage: Stage, code: u16, error: &Error) -> String {
        let words = error.source().map(ToString::to_string).unwrap_or_default();
        let words = visible(&words);
        if stage == Stage::Login {
            let first = words.split_whitespace().next().unwrap_or_default();
            return if is_enhanced_code(first) {
                format!("{code} {first}")
            } else {
                code.to_string()
            };
        }
        if self.repeats_secret(&words) {
            return format!("{code} (its words are left out, they repeat the password)");
        }
        format!("{code} {}", cut::title(words.trim(), MOST_WORDS))
    }

    fn repeats_secret(&self, words: &str) -> bool {
        let Some((user, password)) = &self.login else {
            return false;
        };
        let password = password.expose();
        let forms = [
            password.to_owned(),
            BASE64.encode(password),
            BASE64.encode(format!("\0{user}\0{password}")),
        ];
        forms.iter().any(|form| words.contains(form.as_str()))
    }

    fn late(&self, stage: Stage) -> String {
        let server = &self.server;
        let hint = match (stage, self.encryption) {
            (Stage::Connect, SmtpEncryption::Starttls | SmtpEncryption::None) => {
                "; `encryption: tls` may be right for this port"
            }
            (Stage::Data, _) => "; the mail may have been taken all the same",
            _ => "",
        };
        format!("{server} did not answer in time {}{hint}", during(stage))
    }
}

/// What a code means at that stage (RFC 5321, 4.2; RFC 4954, 6), and what to do.
fn meaning(stage: Stage, code: u16) -> (FailureReason, Option<&'static str>) {
    use FailureReason::{Credential, Gone, Policy, RateLimited, Refused, ServerError, TooLong};
    const LOGIN: Option<&str> = Some("check `user` and `password`");
    match (stage, code) {
        // Too many recipients at once, or no room for now.
        (_, 452) => (RateLimited, None),
        (_, 400..500) => (ServerError, None),
        (_, 530) => (Credential, Some("it wants `user` and `password`")),
        (_, 534 | 535 | 538) | (Stage::Login, _) => (Credential, LOGIN),
        (Stage::Recipients, 550 | 551 | 553) => (Gone, Some("check `to`")),
        (Stage::Recipients, 552) => (Policy, Some("the mailbox is full")),
        (_, 552) => (TooLong, None),
        (Stage::Sender, 550 | 551 | 553) => (Policy, Some("check `from`")),
        (_, 521 | 550 | 551 | 553 | 554 | 556) => (Policy, None),
        _ => (Refused, None),
    }
}

fn during(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect => "when it is called",
        Stage::Starttls => "to STARTTLS",
        Stage::Login => "to the login",
        Stage::Sender => "to the sender",
        Stage::Recipients => "to a recipient",
        Stage::Data => "to the message",
    }
}

/// `5.7.8` and the like (RFC 3463).
fn is_enhanced_code(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    let short = |part: &&str| (1..=3).contains(&part.len());
    parts.len() == 3
        && parts.iter().all(short)
        && parts
            .iter()
            .all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether the peer went away between two lines. The library has no kind of its own for that, only
/// this text beside those of what it cannot parse.
fn closed(error: &Error) -> bool {
    let source = error.source().map(ToString::to_string);
    error.is_response() && source.as_deref() == Some("incomplete response")
}

/// The cause of that type, also where it is inside an I/O error.
fn find<E: std::error::Error + 'static>(error: &Error) -> Option<&E> {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(found) = cause.downcast_ref::<E>() {
            return Some(found);
        }
        let inner = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref::<E>()) {
            return Some(found);
        }
        cause = cause.source()?;
    }
}

fn again(reason: FailureReason, detail: String) -> Told {
    Told {
        again: true,
        reason,
        detail,
    }
}

fn never(reason: FailureReason, detail: String) -> Told {
    Told {
        again: false,
        reason,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_they_say_where_they_are_said() {
        use FailureReason::*;
        for (stage, code, reason) in [
            (Stage::Connect, 421, ServerError),
            (Stage::Connect, 554, Policy),
            (Stage::Login, 454, ServerError),
            (Stage::Login, 535, Credential),
            (Stage::Login, 534, Credential),
            (Stage::Login, 504, Credential),
            (Stage::Sender, 530, Credential),
            (Stage::Sender, 553, Policy),
            (Stage::Sender, 552, TooLong),
            (Stage::Sender, 501, Refused),
            (Stage::Recipients, 450, ServerError),
            (Stage::Recipients, 452, RateLimited),
            (Stage::Recipients, 550, Gone),
            (Stage::Recipients, 552, Policy),
            (Stage::Recipients, 554, Policy),
            (Stage::Data, 552, TooLong),
            (Stage::Data, 554, Policy),
            (Stage::Data, 500, Refused),
        ] {
            assert_eq!(meaning(stage, code).0, reason, "{code} at {stage:?}");
        }
    }

    #[test]
    fn only_an_enhanced_code_passes_for_one() {
        for (word, is) in [
            ("5.7.8", true),
            ("4.3.102", true),
            ("5.7", false),
            ("5.7.8.9", false),
            ("a.b.c", false),
            ("5..8", false),
            ("AGNhbmFyeQ==", false),
        ] {
            assert_eq!(is_enhanced_code(word), is, "{word}");
        }
    }
}
