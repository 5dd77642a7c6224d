//! From settings to receivers.

use std::sync::Arc;

use super::Receiver;
use super::alertmanager::Alertmanager;
use super::dingtalk::Dingtalk;
use super::email::{EmailError, EmailReceiver};
use super::feishu::Feishu;
use super::slack::Slack;
use super::telegram::{Bot, BotError, TelegramReceiver};
use super::webhook::Webhook;
use super::wecom::Wecom;
use crate::config::{ReceiverSettings, TargetSettings};
use crate::sources::Cause;

/// Why there is no receiver of these settings. No secret is in it.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The address is none.
    #[error("its url is no address of the form https://host/path")]
    NotUrl,
    /// The address has no credential in it.
    #[error("its url has no `{0}=…` in it: copy the whole address of the robot")]
    NoParameter(&'static str),
    /// A secret fits no header.
    #[error("its bearer token has characters that no header takes")]
    NotHeader,
    /// The HTTP client cannot be made.
    #[error("no HTTP client can be made: {0}")]
    Client(#[source] Cause),
    /// Mail cannot be sent.
    #[error(transparent)]
    Email(#[from] EmailError),
    /// A bot cannot be spoken to.
    #[error(transparent)]
    Bot(#[from] BotError),
}

/// The receiver of these settings, ready to be told.
pub fn receiver(settings: &ReceiverSettings) -> Result<Arc<dyn Receiver>, BuildError> {
    build(settings, false)
}

/// The same, to be told what did not happen: programs, which do not read titles, are told by a label
/// `test`, and an Alertmanager that it ends after minutes.
pub fn receiver_on_trial(settings: &ReceiverSettings) -> Result<Arc<dyn Receiver>, BuildError> {
    build(settings, true)
}

fn build(settings: &ReceiverSettings, on_trial: bool) -> Result<Arc<dyn Receiver>, BuildError> {
    let timeout = settings.timeout;
    Ok(match &settings.target {
        TargetSettings::Feishu(target) => Arc::new(Feishu::new(target, timeout)?),
        TargetSettings::Wecom(target) => Arc::new(Wecom::new(target, timeout)?),
        TargetSettings::Dingtalk(target) => Arc::new(Dingtalk::new(target, timeout)?),
        TargetSettings::Slack(target) => Arc::new(Slack::new(target, timeout)?),
        TargetSettings::Webhook(target) => {
            let webhook = Webhook::new(&settings.name, target, timeout)?;
            Arc::new(if on_trial {
                webhook.on_trial()
            } else {
                webhook
            })
        }
        TargetSettings::Alertmanager(target) => {
            let alertmanager = Alertmanager::new(target, timeout)?;
            Arc::new(if on_trial {
                alertmanager.on_trial()
            } else {
                alertmanager
            })
        }
        TargetSettings::Telegram(target) => {
            let bot = Arc::new(Bot::new(target, timeout)?);
            Arc::new(TelegramReceiver::new(bot, target, timeout))
        }
        TargetSettings::Email(email) => {
            Arc::new(EmailReceiver::new(&settings.name, email, settings.timeout)?)
        }
    })
}
