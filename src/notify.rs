//! Receivers: how each of them is spoken to, one file a receiver, and what they are told.
//!
//! A [`Content`] is what happened, in values. [`content`] makes a [`Message`] of it in a receiver's
//! language and by its templates: pieces of plain text whose meaning (bold, a link) is beside them
//! and never in them. A receiver writes the pieces in its own markup and escapes them there, in one
//! place, so that no name and no value can mean anything but itself. It says what came of it as a
//! [`Delivered`], whatever the wire's way to say so is.

mod alert_body;
mod alertmanager;
mod build;
pub mod chart;
pub mod content;
mod cut;
mod delivered;
mod dingtalk;
pub mod email;
mod feishu;
pub(crate) mod html;
mod http;
mod link;
mod markdown;
mod message;
mod pace;
mod plain;
mod slack;
pub mod telegram;
mod webhook;
mod wecom;

use std::fmt;

use async_trait::async_trait;

pub use build::{BuildError, receiver, receiver_on_trial};
pub use content::Content;
pub use delivered::{Delivered, FailureReason};
pub use email::EmailError;
pub use message::{Block, Button, ButtonTarget, Image, Message, Span, Thread, Tone};
pub use pace::{Pace, Rate, SharedRates};

use crate::config::ReceiverKind;

/// One thing to send.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// What is told; several where messages are merged.
    pub contents: &'a [Content],
    /// The same in words.
    pub message: &'a Message,
}

/// How people can answer what a receiver shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// By buttons that call back.
    Buttons,
    /// By links to the admin port.
    Links,
    /// Not at all: a machine reads it.
    Never,
}

/// A receiver, ready to be told.
#[async_trait]
pub trait Receiver: fmt::Debug + Send + Sync {
    /// What it is.
    fn kind(&self) -> ReceiverKind;

    /// How fast it may be told, by its published limits.
    fn pace(&self) -> Pace;

    /// Whether several contents can be told in one message.
    fn merges(&self) -> bool {
        true
    }

    /// Whether it shows pictures.
    fn shows_images(&self) -> bool {
        false
    }

    /// How people answer.
    fn answering(&self) -> Answering {
        Answering::Never
    }

    /// Tells it, once. Ends by itself: no longer than the receiver's timeout. No text of what it
    /// returns holds a secret.
    async fn send(&self, delivery: Delivery<'_>) -> Delivered;

    /// What [`send`](Self::send) would send, as people read it, secrets masked.
    fn preview(&self, delivery: Delivery<'_>) -> String;
}
