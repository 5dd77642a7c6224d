//! The conversation with a mail server, from the connection to the end of the message.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{
    ClientId, Extension, MailBodyParameter, MailParameter, ServerInfo,
};
use tokio::time::{Instant, timeout_at};

use super::letter::Letter;
use super::verdict::Failure;
use crate::config::EmailSettings;

/// How long a server is told goodbye when all else is done.
const GOODBYE: Duration = Duration::from_secs(1);

/// How far the conversation came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// The connection, TLS from its first byte on, and the greetings.
    #[default]
    Connect,
    /// `STARTTLS`, and TLS after it.
    Starttls,
    /// The login.
    Login,
    /// The sender.
    Sender,
    /// The recipients.
    Recipients,
    /// The message.
    Data,
}

/// How the connection is encrypted.
#[derive(Clone)]
pub(super) enum Encryption {
    /// Not.
    None,
    /// From the first byte on.
    Tls(TlsParameters),
    /// After `STARTTLS`.
    Starttls(TlsParameters),
}

/// Shown without the library's tables of trusted certificates.
impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Tls(_) => "Tls",
            Self::Starttls(_) => "Starttls",
        })
    }
}

/// Where the server is and how it is spoken to.
#[derive(Debug)]
pub(super) struct Server {
    host: Arc<str>,
    port: u16,
    encryption: Encryption,
    login: Option<Credentials>,
    /// What Tollgate calls itself.
    name: ClientId,
    /// How long one of the host's addresses is tried.
    patience: Duration,
}

impl Server {
    /// The server of these settings. `domain` is the sender's; all of it has `time`.
    pub(super) fn new(
        settings: &EmailSettings,
        encryption: Encryption,
        domain: &str,
        time: Duration,
    ) -> Self {
        let login = settings.login.as_ref().map(|(user, password)| {
            Credentials::new(user.to_string(), password.expose().to_owned())
        });
        Self {
            host: Arc::clone(&settings.host),
            port: settings.port,
            encryption,
            login,
            name: own_name(domain),
            // Of a host with several addresses, a dead one leaves time for two more.
            patience: time / 3,
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let tls = match &self.encryption {
            Encryption::Tls(parameters) => Some(parameters.clone()),
            Encryption::None | Encryption::Starttls(_) => None,
        };
        let to = (self.host.as_ref(), self.port);
        let patience = Some(self.patience);
        AsyncSmtpConnection::connect_tokio1(to, patience, &self.name, tls, None).await
    }
}

/// What Tollgate says it is (`EHLO`): this machine's whole name, or the sender's domain where it has
/// none, as servers refuse half a name.
fn own_name(domain: &str) -> ClientId {
    let speakable = |name: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        name.contains('.') && name.len() <= 255 && name.bytes().all(fits)
    };
    match ClientId::default() {
        ClientId::Domain(name) if speakable(&name) => ClientId::Domain(name),
        _ if speakable(domain) => ClientId::Domain(domain.to_owned()),
        _ => ClientId::Ipv4(Ipv4Addr::LOCALHOST),
    }
}

/// One conversation.
#[derive(Default)]
pub(super) struct Session {
    stage: Stage,
    connection: Option<AsyncSmtpConnection>,
}

impl Session {
    /// How far it came.
    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Sends a letter; says of each recipient, in order, what the server said. Those that it took have
    /// the letter.
    pub(super) async fn post(
        &mut self,
        server: &Server,
        letter: &Letter,
        to: &[Address],
    ) -> Result<Vec<Result<(), Error>>, Failure> {
        let mut connection = server.connect().await?;
        if let Encryption::Starttls(parameters) = &server.encryption {
            self.stage = Stage::Starttls;
            if !connection.can_starttls() {
                return Err(Failure::NoStarttls);
            }
            let parameters = parameters.clone();
            connection.starttls(parameters, &server.name).await?;
        }
        if let Some(credentials) = &server.login {
            self.stage = Stage::Login;
            let info = connection.server_info();
            if info.get_auth_mechanism(DEFAULT_MECHANISMS).is_none() {
                return Err(Failure::NoLogin);
            }
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        let connection = self.connection.insert(connection);

        self.stage = Stage::Sender;
        let parameters = parameters(connection.server_info(), letter, to)?;
        let mail = Mail::new(Some(letter.from.clone()), parameters);
        connection.command(mail).await?;

        self.stage = Stage::Recipients;
        let mut answers = Vec::with_capacity(to.len());
        for address in to {
            let answer = connection
                .command(Rcpt::new(address.clone(), Vec::new()))
                .await;
            match answer {
                Ok(_) => answers.push(Ok(())),
                // It is an answer about this recipient only, unless the server means to hang up.
                Err(error) if is_answer(&error) => answers.push(Err(error)),
                Err(error) => return Err(error.into()),
            }
        }
        if answers.iter().any(Result::is_ok) {
            self.stage = Stage::Data;
            connection.command(Data).await?;
            connection.message(&letter.bytes).await?;
        }
        Ok(answers)
    }

    /// Says goodbye after a conversation that came to its end; ends by `deadline`. One that did not may
    /// be in the middle of a message, and is only dropped.
    pub(super) async fn close(self, deadline: Instant) {
        let Some(mut connection) = self.connection else {
            return;
        };
        let deadline = deadline.min(Instant::now() + GOODBYE);
        // What was agreed stands, whatever comes of this.
        let _ = timeout_at(deadline, connection.quit()).await;
    }
}

fn is_answer(error: &Error) -> bool {
    /// The server hangs up (RFC 5321, 3.8).
    const SERVICE_NOT_AVAILABLE: u16 = 421;
    error
        .status()
        .is_some_and(|code| u16::from(code) != SERVICE_NOT_AVAILABLE)
}

/// What the server has to know beforehand: letters beyond ASCII, in addresses and in the message.
fn parameters(
    info: &ServerInfo,
    letter: &Letter,
    to: &[Address],
) -> Result<Vec<MailParameter>, Failure> {
    let mut parameters = Vec::new();
    let plain = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
    if !plain(&letter.from) || !to.iter().all(plain) {
        if !info.supports_feature(Extension::SmtpUtfEight) {
            return Err(Failure::NoUnicode);
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !letter.bytes.is_ascii() {
        if !info.supports_feature(Extension::EightBitMime) {
            return Err(Failure::NoEightBit);
        }
        let eight = MailBodyParameter::EightBitMime;
        parameters.push(MailParameter::Body(eight));
    }
    Ok(parameters)
}
