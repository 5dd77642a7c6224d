//! Answering from the chat: buttons and links under a message, and commands.
//!
//! What a button does is in its own characters: an action, a hash of what it is about, until when it
//! works and a number that makes it work once, signed for one receiver ([`Signer`]). So nothing has to
//! be remembered of what was offered, and a restart forgets no button. What the hash means is looked
//! up among the channels and alerts there are ([`Answerer`]).
//!
//! Everything that changes something goes through the [`Answerer`], by whichever way it came: a
//! button of Telegram ([`listen`]), a link to the admin port, a command. There it is kept who asked, before
//! and after it is done.

mod answerer;
mod bot;
mod buttons;
mod claims;
mod command;
mod deeds;
mod details;
mod figures;
mod key_file;
mod listener;
mod log;
mod meaning;
mod replies;
mod reports;
mod signer;
mod subject;

#[cfg(test)]
mod tests;

pub use answerer::{Answerer, AnswererParts, Peek, Reply, Standing};
pub use bot::ChatBot;
pub use buttons::{LINKS_WORK_FOR, Offers, buttons};
pub use command::{BadCommand, Command, SpendBy, SpendOver};
pub use key_file::KeyFileError;
pub use listener::{Door, doors, listen};
pub use log::{AnswerLog, LedgerLog, Used};
pub use reports::Written;
pub use signer::{BadAnswer, Offer, Opened, Signer, ToldOf, Way};
pub use subject::{AlertSubject, Subject};

use crate::record::closed_set;

closed_set! {
    /// What a button does.
    AnswerAction ("action of an answer") {
        /// Nobody is told of the alerts for an hour.
        Silence => "silence",
        /// The channel is opened, if nobody closed it that the message does not tell of.
        Reopen => "reopen",
        /// The channel stays closed until somebody opens it.
        KeepClosed => "keep_closed",
        /// Says how it stands; changes nothing, and works until it expires.
        Details => "details",
    }
}

impl AnswerAction {
    /// Whether it changes something, and therefore works once.
    #[must_use]
    pub const fn changes(self) -> bool {
        !matches!(self, Self::Details)
    }
}
