//! A message as mail: headers, parts, and what ties the mails of one conversation together.
//!
//! Every mail names a root that all of its conversation have in common (`References`), made of the
//! conversation's key, so that it outlives restarts and needs nobody's memory; the root itself is no
//! mail. A mail's own `Message-ID` is made of what is told, so that one that is sent again, because
//! nobody knows whether the server took it, can be known as the same.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lettre::Address;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, InReplyTo, References};
use lettre::message::{Attachment, Mailbox, Message as Mail, MultiPart, SinglePart};
use ring::digest;

use super::body::Body;
use crate::config::Language;
use crate::notify::cut;
use crate::notify::plain::visible;
use crate::notify::{Delivery, Message, Tone};

/// The most characters of a title in a subject.
const MOST_SUBJECT: usize = 200;

/// The most bytes in an encoded word of a subject. With the marks, in base64, and behind the header's
/// name they make a line of at most 76 characters (RFC 2047, 2).
const ENCODED_WORD: usize = 39;

/// A mail, ready to be sent.
#[derive(Debug)]
pub(super) struct Letter {
    /// What is between `<` and `>` of its `Message-ID`.
    pub(super) id: String,
    /// What the receiver is to call it: its `Message-ID`.
    pub(super) reference: String,
    /// Who sends it.
    pub(super) from: Address,
    /// All of it.
    pub(super) bytes: Vec<u8>,
    /// What people read of the headers, and the text.
    headers: String,
    text: String,
}

impl Letter {
    /// Its headers and its text.
    pub(super) fn preview(&self) -> String {
        format!("{}\n{}", self.headers, self.text)
    }
}

/// Writes letters.
#[derive(Debug)]
pub(super) struct Writer {
    receiver: Arc<str>,
    from: Mailbox,
    to: Vec<Mailbox>,
    /// What stands behind the `@` of a `Message-ID`.
    domain: String,
}

impl Writer {
    /// For letters from somebody to all of these.
    pub(super) fn new(receiver: &Arc<str>, from: Mailbox, to: Vec<Mailbox>) -> Self {
        let domain = from.email.domain();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        let domain = if domain.bytes().all(fits) {
            format!("tollgate.{domain}")
        } else {
            "tollgate".to_owned()
        };
        Self {
            receiver: Arc::clone(receiver),
            from,
            to,
            domain,
        }
    }

    /// Makes a letter of what is told.
    pub(super) fn write(&self, delivery: Delivery<'_>) -> Result<Letter, lettre::error::Error> {
        let message = delivery.message;
        let id = self.id(delivery);
        let subject = subject(message);

        let mut builder = Mail::builder().from(self.from.clone());
        for mailbox in &self.to {
            builder = builder.to(mailbox.clone());
        }
        builder = builder
            .raw_header(subject_header(&subject))
            .message_id(Some(format!("<{id}>")))
            .date_now();
        if let Some(thread) = &message.thread {
            let root = format!("<{}>", self.root(&thread.key));
            let first = thread.first.as_deref().and_then(message_id);
            builder = match (first, thread.is_first) {
                (Some(first), false) => builder
                    .header(InReplyTo::from(first.to_owned()))
                    .header(References::from(format!("{root} {first}"))),
                (None, false) => builder
                    .header(InReplyTo::from(root.clone()))
                    .header(References::from(root)),
                (_, true) => builder.header(References::from(root)),
            };
        }
        for (name, value) in [
            // RFC 3834: nobody's holiday notice is to answer.
            ("Auto-Submitted", "auto-generated"),
            ("X-Auto-Response-Suppress", "All"),
            ("Precedence", "bulk"),
        ] {
            let name = HeaderName::new_from_ascii_str(name);
            builder = builder.raw_header(HeaderValue::new(name, value.to_owned()));
        }

        let png = ContentType::parse("image/png").ok();
        let picture = message.image.as_ref().zip(png);
        let content_id = format!("picture.{id}");
        let body = Body::of(message, picture.is_some().then_some(content_id.as_str()));
        let html = SinglePart::html(body.html);
        let parts = MultiPart::alternative().singlepart(SinglePart::plain(body.text.clone()));
        let parts = match picture {
            None => parts.singlepart(html),
            Some((image, png)) => {
                let attachment = Attachment::new_inline_with_name(content_id, "chart.png".into());
                let related = MultiPart::related()
                    .singlepart(html)
                    .singlepart(attachment.body(image.png.to_vec(), png));
                parts.multipart(related)
            }
        };
        let mail = builder.multipart(parts)?;
        Ok(Letter {
            reference: format!("<{id}>"),
            from: self.from.email.clone(),
            bytes: mail.formatted(),
            headers: readable(&mail, &subject),
            text: body.text,
            id,
        })
    }

    /// The id of a letter: the same whenever the same is told in the same conversation.
    fn id(&self, delivery: Delivery<'_>) -> String {
        let told = if delivery.contents.is_empty() {
            delivery.message.title.clone().into_bytes()
        } else {
            serde_json::to_vec(delivery.contents).unwrap_or_default()
        };
        let key = delivery.message.thread.as_ref();
        let key = key.map(|thread| thread.key.as_ref()).unwrap_or_default();
        let thread = self.fingerprint(&[key.as_bytes()]);
        let letter = self.fingerprint(&[key.as_bytes(), &told]);
        format!("{thread}.{letter}@{}", self.domain)
    }

    /// The id of a conversation.
    fn root(&self, key: &str) -> String {
        let thread = self.fingerprint(&[key.as_bytes()]);
        format!("{thread}@{}", self.domain)
    }

    /// Of this receiver's: whoever gets mail by two receivers gets two mails.
    fn fingerprint(&self, parts: &[&[u8]]) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [self.receiver.as_bytes()].iter().chain(parts) {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let digest = context.finish();
        let mut hex = String::with_capacity(32);
        for byte in digest.as_ref().iter().take(16) {
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }
}

/// The subject: what is told now, behind its tone. That it belongs to a conversation is said by the
/// headers alone: the words of the first mail would name what is no longer so.
fn subject(message: &Message) -> String {
    let title = short(&message.title);
    match tone_word(message.tone, message.language) {
        Some(word) => format!("[{word}] {title}"),
        None => title,
    }
}

fn tone_word(tone: Tone, language: Language) -> Option<&'static str> {
    match (tone, language) {
        (Tone::Critical, Language::En) => Some("critical"),
        (Tone::Critical, Language::Zh) => Some("严重"),
        (Tone::Warning, Language::En) => Some("warning"),
        (Tone::Warning, Language::Zh) => Some("警告"),
        (Tone::Good, Language::En) => Some("resolved"),
        (Tone::Good, Language::Zh) => Some("已恢复"),
        (Tone::Neutral, _) => None,
    }
}

/// One line that a subject has room for.
fn short(title: &str) -> String {
    cut::title(visible(title).trim(), MOST_SUBJECT).into_owned()
}

/// The header of a subject. What is not plain ASCII, or looks as if it were encoded, is encoded
/// (RFC 2047), in words of whole characters.
fn subject_header(subject: &str) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str("Subject");
    if subject.is_ascii() && !subject.contains("=?") {
        return HeaderValue::new(name, subject.to_owned());
    }
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for c in subject.chars() {
        if word.len() + c.len_utf8() > ENCODED_WORD {
            words.push(std::mem::take(&mut word));
        }
        word.push(c);
    }
    words.push(word);
    let encoded = words
        .iter()
        .map(|word| format!("=?utf-8?b?{}?=", BASE64.encode(word)));
    let encoded: Vec<String> = encoded.collect();
    HeaderValue::dangerous_new_pre_encoded(name, subject.to_owned(), encoded.join("\r\n "))
}

/// The `Message-ID` at the beginning of a reference, with its brackets.
fn message_id(reference: &str) -> Option<&str> {
    let end = reference.find('>')?;
    let id = &reference[..=end];
    let fits = |byte: u8| byte.is_ascii_graphic();
    let is_id = id.starts_with('<') && id.contains('@') && id.bytes().all(fits);
    is_id.then_some(id)
}

/// The headers as people read them.
fn readable(mail: &Mail, subject: &str) -> String {
    let mut headers = String::new();
    for line in mail.headers().to_string().lines() {
        let is_subject = line.starts_with("Subject:");
        if is_subject {
            let _ = writeln!(headers, "Subject: {subject}");
        }
        let is_rest = line.starts_with(' ') && line.contains("=?");
        if !is_subject && !is_rest {
            let _ = writeln!(headers, "{line}");
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::Thread;

    fn message(title: &str) -> Message {
        Message {
            tone: Tone::Critical,
            language: Language::En,
            title: title.to_owned(),
            body: Vec::new(),
            buttons: Vec::new(),
            thread: None,
            image: None,
        }
    }

    #[test]
    fn a_subject_says_what_is_so_now_in_its_tone() {
        let mut told = message("Spend: 51 USD");
        assert_eq!(subject(&told), "[critical] Spend: 51 USD");

        told.thread = Some(Thread {
            key: "k".into(),
            // As earlier versions kept it, with the words of the first.
            first: Some("<a.b@tollgate.example.com> Spend: 12 USD".into()),
            is_first: false,
        });
        told.tone = Tone::Good;
        assert_eq!(subject(&told), "[resolved] Spend: 51 USD");

        told.language = Language::Zh;
        assert_eq!(subject(&told), "[已恢复] Spend: 51 USD");
        told.tone = Tone::Neutral;
        assert_eq!(subject(&told), "Spend: 51 USD");
    }

    #[test]
    fn only_a_message_id_is_taken_for_one() {
        for (reference, id) in [
            ("<a@b> Words > more", Some("<a@b>")),
            ("<a@b>", Some("<a@b>")),
            ("a@b> x", None),
            ("<a b@c>", None),
            ("<ab>", None),
            ("<a\r\nBcc: x@y>", None),
            ("4711", None),
            ("", None),
        ] {
            assert_eq!(message_id(reference), id, "{reference:?}");
        }
    }

    #[test]
    fn a_subject_is_one_line_of_words_that_mean_themselves() {
        let long = "é".repeat(300);
        for title in [
            "plain",
            "预算超出 😀",
            "=?utf-8?q?forged?=",
            "a\r\nBcc: b@example.com",
            &long,
        ] {
            let subject = subject(&message(title));
            let mut headers = lettre::message::header::Headers::new();
            headers.insert_raw(subject_header(&subject));
            let written = headers.to_string();
            let lines: Vec<&str> = written.trim_end().split("\r\n").collect();
            assert!(
                lines[1..].iter().all(|line| line.starts_with(' ')),
                "{written}"
            );
            assert!(
                lines.iter().all(|line| line.len() <= 76 && line.is_ascii()),
                "{written}"
            );
            assert!(!written.contains("?q?"), "{written}");
        }
    }
}
