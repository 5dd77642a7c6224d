//! Signed characters: what a button carries, short enough for Telegram's 64 bytes.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use subtle::ConstantTimeEq as _;

use super::key_file::{self, KeyFileError};
use super::{AnswerAction, Subject};
use crate::clock::UnixMicros;

/// Bytes before the signature: action, end, subject, number, what was told.
const SIGNED: usize = 1 + 4 + 8 + 8 + 8 + 1;
/// Bytes of the signature: 128 of HMAC-SHA256's 256 bits (RFC 2104, 5).
const SIGNATURE: usize = 16;
/// All of it.
const BYTES: usize = SIGNED + SIGNATURE;

const MICROS: i64 = 1_000_000;

/// Stands where the number of an offer has its action.
const MESSAGE: u8 = u8::MAX;

/// What is offered.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// What is done.
    pub action: AnswerAction,
    /// What it is about.
    pub subject: &'a Subject,
    /// Until when; rounded up to whole seconds, and no later than the year 2106.
    pub expires_at: UnixMicros,
    /// What makes it work once.
    pub nonce: u64,
    /// What its message told.
    pub told: ToldOf,
}

/// What a message told of a channel, that who presses its button may know: opening a channel is meant
/// for what held it closed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToldOf {
    /// Up to when it tells what happened.
    pub until: UnixMicros,
    /// Whether it tells that an operator holds the channel closed.
    pub operator: bool,
}

/// What a sealed offer says. Which subject it means, only [`Signer::subject_hash`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What is done.
    pub action: AnswerAction,
    /// The hash of what it is about.
    pub subject_hash: u64,
    /// What makes it work once.
    pub nonce: u64,
    /// Until when.
    pub expires_at: UnixMicros,
    /// What its message told.
    pub told: ToldOf,
}

/// By which way an answer comes. What is offered as a button works by no link: whoever sees a button's
/// characters (everybody in the chat does) need not be allowed to press it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A button, pressed by somebody whom the chat's service names.
    Button,
    /// A link, followed by whoever has it.
    Link,
}

/// Why an answer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// These are no characters of ours, or not all of them.
    #[error("this is no answer that Tollgate offered")]
    Malformed,
    /// They were not signed here, or for another receiver.
    #[error("this answer was not offered here")]
    Forged,
    /// Its time is over.
    #[error("this answer has expired")]
    Expired,
}

/// Signs offers and reads them again. Prints no secret.
pub struct Signer {
    offers: hmac::Key,
    subjects: hmac::Key,
    nonces: hmac::Key,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signer {
    /// With the secret of the data folder, which is made when there is none.
    pub fn of_folder(data_dir: &Path) -> Result<Self, KeyFileError> {
        key_file::open(data_dir).map(|secret| Self::of(&secret))
    }

    /// Keys that have nothing to do with each other: what is seen of one says nothing of another.
    pub(super) fn of(secret: &[u8; key_file::BYTES]) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = |purpose: &[u8]| {
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&secret, purpose).as_ref())
        };
        Self {
            offers: derived(b"tollgate answers"),
            subjects: derived(b"tollgate answers' subjects"),
            nonces: derived(b"tollgate answers' numbers"),
        }
    }

    /// An offer as 62 characters of base64url, for one receiver.
    #[must_use]
    pub fn seal(&self, way: Way, receiver: &str, offer: &Offer<'_>) -> String {
        let seconds = offer.expires_at.0.saturating_add(MICROS - 1) / MICROS;
        let seconds = u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(offer.action as u8);
        bytes.extend(seconds.to_be_bytes());
        bytes.extend(self.subject_hash(offer.subject).to_be_bytes());
        bytes.extend(offer.nonce.to_be_bytes());
        bytes.extend(offer.told.until.0.to_be_bytes());
        bytes.push(u8::from(offer.told.operator));
        let signature = self.signature(way, receiver, &bytes);
        bytes.extend(signature);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What `text` offers to people of this receiver. Looks at nothing before the signature is found
    /// good, and at that in a time that says nothing of where it differs.
    pub fn open(
        &self,
        way: Way,
        receiver: &str,
        text: &str,
        now: UnixMicros,
    ) -> Result<Opened, BadAnswer> {
        let bytes = URL_SAFE_NO_PAD.decode(text);
        let bytes = bytes.map_err(|_| BadAnswer::Malformed)?;
        let bytes: [u8; BYTES] = bytes.try_into().map_err(|_| BadAnswer::Malformed)?;
        let (signed, signature) = bytes.split_at(SIGNED);
        let own = self.signature(way, receiver, signed);
        if !bool::from(own.ct_eq(signature)) {
            return Err(BadAnswer::Forged);
        }
        let (&action, rest) = signed.split_first().ok_or(BadAnswer::Malformed)?;
        let (seconds, rest) = rest.split_first_chunk().ok_or(BadAnswer::Malformed)?;
        let (subject, rest) = rest.split_first_chunk().ok_or(BadAnswer::Malformed)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(BadAnswer::Malformed)?;
        let (until, rest) = rest.split_first_chunk().ok_or(BadAnswer::Malformed)?;
        let action = AnswerAction::ALL.get(usize::from(action));
        let opened = Opened {
            // Signed by a later version.
            action: *action.ok_or(BadAnswer::Malformed)?,
            subject_hash: u64::from_be_bytes(*subject),
            nonce: u64::from_be_bytes(*nonce),
            expires_at: UnixMicros(i64::from(u32::from_be_bytes(*seconds)) * MICROS),
            told: ToldOf {
                until: UnixMicros(i64::from_be_bytes(*until)),
                operator: rest == [1],
            },
        };
        if opened.expires_at <= now {
            return Err(BadAnswer::Expired);
        }
        Ok(opened)
    }

    /// What a subject is told by, where it has to be short. Nobody without the secret can make two
    /// subjects of one hash.
    #[must_use]
    pub fn subject_hash(&self, subject: &Subject) -> u64 {
        head(&hmac::sign(&self.subjects, &subject.bytes()))
    }

    /// A number for an offer that is made now; the same again only for the same offer in the same
    /// microsecond.
    #[must_use]
    pub fn nonce(
        &self,
        receiver: &str,
        action: AnswerAction,
        subject: &Subject,
        now: UnixMicros,
    ) -> u64 {
        let mut text = framed(receiver);
        text.push(action as u8);
        text.extend(now.0.to_be_bytes());
        text.extend(subject.bytes());
        head(&hmac::sign(&self.nonces, &text))
    }

    /// A number for what a message in a chat asks for.
    #[must_use]
    pub fn message_nonce(&self, receiver: &str, chat: i64, message_id: i32) -> u64 {
        let mut text = framed(receiver);
        text.push(MESSAGE);
        text.extend(chat.to_be_bytes());
        text.extend(message_id.to_be_bytes());
        head(&hmac::sign(&self.nonces, &text))
    }

    fn signature(&self, way: Way, receiver: &str, signed: &[u8]) -> [u8; SIGNATURE] {
        let mut text = framed(receiver);
        text.push(way as u8);
        text.extend(signed);
        let tag = hmac::sign(&self.offers, &text);
        let mut signature = [0; SIGNATURE];
        for (own, byte) in signature.iter_mut().zip(tag.as_ref()) {
            *own = *byte;
        }
        signature
    }
}

/// A text that says where it ends.
fn framed(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + text.len() + SIGNED);
    bytes.extend((text.len() as u64).to_be_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// The first 64 bits.
fn head(tag: &hmac::Tag) -> u64 {
    let bytes = tag.as_ref().iter().take(8);
    bytes.fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixMicros = UnixMicros(1_763_632_800_000_000);

    fn signer() -> Signer {
        Signer::of(&[7; key_file::BYTES])
    }

    fn channel() -> Subject {
        Subject::Channel("azure-1".into())
    }

    fn offer(subject: &Subject) -> Offer<'_> {
        Offer {
            action: AnswerAction::Reopen,
            subject,
            expires_at: UnixMicros(NOW.0 + 60 * MICROS),
            nonce: 42,
            told: TOLD,
        }
    }

    const TOLD: ToldOf = ToldOf {
        until: NOW,
        operator: true,
    };

    #[test]
    fn what_is_offered_is_read_by_its_receiver_until_it_expires() {
        let (signer, subject) = (signer(), channel());
        let sealed = signer.seal(Way::Button, "ops", &offer(&subject));
        assert_eq!(sealed.len(), 62);
        let opened = signer.open(Way::Button, "ops", &sealed, NOW).unwrap();
        assert_eq!(opened.action, AnswerAction::Reopen);
        assert_eq!(opened.subject_hash, signer.subject_hash(&subject));
        assert_eq!(opened.nonce, 42);
        assert_eq!(opened.told, TOLD);
        let last = UnixMicros(opened.expires_at.0 - 1);
        assert!(signer.open(Way::Button, "ops", &sealed, last).is_ok());
        let late = signer.open(Way::Button, "ops", &sealed, opened.expires_at);
        assert_eq!(late, Err(BadAnswer::Expired));
        // By another way, of another receiver, another installation.
        let link = signer.open(Way::Link, "ops", &sealed, NOW);
        assert_eq!(link, Err(BadAnswer::Forged));
        let elsewhere = signer.open(Way::Button, "op", &sealed, NOW);
        assert_eq!(elsewhere, Err(BadAnswer::Forged));
        let other = Signer::of(&[8; key_file::BYTES]);
        assert_eq!(
            other.open(Way::Button, "ops", &sealed, NOW),
            Err(BadAnswer::Forged)
        );
        // Forged and expired is forged: nothing is told to who did not sign.
        let both = other.open(Way::Button, "ops", &sealed, opened.expires_at);
        assert_eq!(both, Err(BadAnswer::Forged));
    }

    #[test]
    fn what_is_cut_or_longer_is_malformed() {
        let (signer, subject) = (signer(), channel());
        let sealed = signer.seal(Way::Button, "ops", &offer(&subject));
        for length in 0..sealed.len() {
            let cut = signer.open(Way::Button, "ops", &sealed[..length], NOW);
            assert_eq!(cut, Err(BadAnswer::Malformed), "{length}");
        }
        for text in [
            format!("{sealed}A"),
            format!("{sealed}=="),
            format!(" {sealed}"),
            sealed.replacen(&sealed[..1], "é", 1),
            "%00".to_owned(),
        ] {
            let opened = signer.open(Way::Button, "ops", &text, NOW);
            assert_eq!(opened, Err(BadAnswer::Malformed), "{text}");
        }
    }

    #[test]
    fn numbers_differ_by_all_that_is_offered() {
        let signer = signer();
        let base = ("ops", AnswerAction::Reopen, channel(), NOW);
        let nonce = |(receiver, action, subject, now): &(&str, _, _, _)| {
            signer.nonce(receiver, *action, subject, *now)
        };
        let mut others = vec![base.clone(), base.clone(), base.clone(), base.clone()];
        others[0].0 = "opt";
        others[1].1 = AnswerAction::KeepClosed;
        others[2].2 = Subject::Channel("azure-2".into());
        others[3].3 = UnixMicros(NOW.0 + 1);
        for other in &others {
            assert_ne!(nonce(other), nonce(&base), "{other:?}");
        }
        assert_eq!(nonce(&base), nonce(&base));
        let message = |receiver, chat, id| signer.message_nonce(receiver, chat, id);
        assert_eq!(message("ops", -1, 2), message("ops", -1, 2));
        for other in [("opt", -1, 2), ("ops", -3, 2), ("ops", -1, 3)] {
            assert_ne!(message(other.0, other.1, other.2), message("ops", -1, 2));
        }
    }

    #[test]
    fn nothing_prints_the_secret() {
        assert_eq!(format!("{:?}", signer()), "Signer { .. }");
    }

    proptest! {
        #[test]
        fn a_round_trip_keeps_all_and_a_flipped_bit_keeps_nothing(
            receiver in ".{0,40}",
            name in ".{0,200}",
            action in 0..AnswerAction::ALL.len(),
            seconds in 1_i64..4_000_000_000,
            nonce: u64,
            until: i64,
            operator: bool,
            bit in 0..BYTES * 8,
        ) {
            let signer = signer();
            let subject = Subject::Channel(name.into());
            let told = ToldOf { until: UnixMicros(until), operator };
            let offer = Offer {
                told,
                action: AnswerAction::ALL[action],
                subject: &subject,
                expires_at: UnixMicros(seconds * MICROS),
                nonce,
            };
            let sealed = signer.seal(Way::Link, &receiver, &offer);
            prop_assert!(sealed.len() <= 64);
            let opened = signer.open(Way::Link, &receiver, &sealed, UnixMicros(0));
            prop_assert_eq!(opened, Ok(Opened {
                action: offer.action,
                subject_hash: signer.subject_hash(&subject),
                nonce,
                expires_at: offer.expires_at,
                told,
            }));
            let mut bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = signer.open(Way::Link, &receiver, &URL_SAFE_NO_PAD.encode(bytes), UnixMicros(0));
            prop_assert_eq!(flipped, Err(BadAnswer::Forged));
        }
    }
}
