//! A message: what is told, in words, before any receiver's markup.

use std::sync::Arc;

use crate::alert::Severity;
use crate::config::Language;

/// How a message looks at first sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Something is critical: red.
    Critical,
    /// Something is not as it should be: orange.
    Warning,
    /// It is again: green.
    Good,
    /// Neither: blue.
    Neutral,
}

impl Tone {
    /// Its sign, where there is no other colour.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Critical => "🔴",
            Self::Warning => "🟠",
            Self::Good => "🟢",
            Self::Neutral => "🔵",
        }
    }
}

impl From<Severity> for Tone {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Warning => Self::Warning,
            Severity::Critical => Self::Critical,
        }
    }
}

/// A piece of a line. The text is meant as it is: no markup of anybody's is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Span {
    /// As it is.
    Text(String),
    /// What matters.
    Bold(String),
    /// A name or a number, as it is written elsewhere.
    Code(String),
    /// Leads somewhere.
    Link {
        /// What is read.
        text: String,
        /// An `http` or `https` address.
        url: String,
    },
}

/// A part of a message's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A line above others.
    Heading(Vec<Span>),
    /// A line.
    Line(Vec<Span>),
    /// A line of a list.
    Item(Vec<Span>),
    /// Between one part and the next.
    Divider,
}

/// A way to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Button {
    /// What is read on it.
    pub label: String,
    /// What it does.
    pub target: ButtonTarget,
}

/// What a button does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ButtonTarget {
    /// Comes back with these signed characters (at most 64 bytes).
    Callback(String),
    /// Opens an address.
    Url(String),
}

/// The conversation that a message belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// The same for all its messages, from the first firing to the last resolved.
    pub key: Arc<str>,
    /// What the receiver calls the first of them; `None` of the first itself, and where it does not say.
    pub first: Option<Arc<str>>,
    /// Whether this is the first.
    pub is_first: bool,
}

/// A picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// A PNG file.
    pub png: Arc<[u8]>,
    /// What it shows, in words.
    pub alt: String,
}

/// What is told, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// How it looks.
    pub tone: Tone,
    /// In what language it is.
    pub language: Language,
    /// In one line: plain text, as all of it.
    pub title: String,
    /// The rest.
    pub body: Vec<Block>,
    /// Ways to answer, in rows.
    pub buttons: Vec<Vec<Button>>,
    /// The conversation, where it belongs to one.
    pub thread: Option<Thread>,
    /// A picture, where the receiver shows them.
    pub image: Option<Image>,
}
