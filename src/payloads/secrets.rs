//! Credentials: headers and query parameters that carry them, and the same texts wherever else
//! they stand.

use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memmem;

use super::Payload;

/// What stands in place of a credential.
const REDACTED: &str = "[redacted]";

/// Shorter texts are words, and would be found everywhere.
const SHORTEST: usize = 8;

/// So much of a credential at the end of a body that was cut off gives it away.
const SHORTEST_BEGINNING: usize = 4;

/// Words in the name of a header or of a query parameter whose value is a credential.
const WORDS: &[&str] = &[
    "apikey",
    "auth",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "jwt",
    "key",
    "keys",
    "passwd",
    "password",
    "secret",
    "sig",
    "signature",
    "token",
];

/// Header names with such a word whose values are none.
const NONE: &[&str] = &["idempotency-key", "x-idempotency-key"];

/// How the name of a WebSocket's protocol begins whose rest is a credential: a browser can set no
/// header there.
const KEY_PROTOCOL: &[u8] = b"openai-insecure-api-key.";

/// Whether the value of a header or query parameter of this name is a credential.
fn carries_one(name: &str) -> bool {
    let word = |part: &str| WORDS.iter().any(|word| part.eq_ignore_ascii_case(word));
    !NONE.iter().any(|none| name.eq_ignore_ascii_case(none))
        && (name.split(['-', '_', '.']).any(word) || word(&name.replace(['-', '_'], "")))
}

/// The credentials of one request.
#[derive(Default)]
pub(super) struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// Those that the request came with, that its channel adds, and that its answer sets.
    pub(super) fn of(payload: &Payload) -> Self {
        let mut secrets = Self::default();
        let channel = payload.channel.as_deref();
        let answer = payload.answer.as_ref().map(|answer| &answer.headers);
        for (name, value) in [Some(&payload.request.headers), answer]
            .into_iter()
            .flatten()
            .flatten()
        {
            if carries_one(name.as_str()) {
                secrets.header(value);
            } else if name == SEC_WEBSOCKET_PROTOCOL {
                secrets.protocols(value);
            }
        }
        if let Some(channel) = channel {
            let values = channel.headers.iter().map(|(_, value)| value);
            let credential = channel.credential.as_ref().map(|(_, value)| value);
            for value in credential.into_iter().chain(values) {
                secrets.header(value);
            }
        }
        secrets.query(payload.request.uri.query().unwrap_or_default());
        // A longer one may hold a shorter one.
        secrets
            .0
            .sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.0.dedup();
        secrets
    }

    /// The values of a query's parameters, as they stand there and decoded.
    fn query(&mut self, query: &str) {
        for pair in query.split('&') {
            let decoded = form_urlencoded::parse(pair.as_bytes()).next();
            if let Some((name, value)) = decoded
                && carries_one(&name)
            {
                self.add(value.as_bytes());
                let raw = pair.split_once('=').map(|(_, value)| value);
                self.add(raw.unwrap_or_default().as_bytes());
            }
        }
    }

    /// The value of a header: all of it, without its scheme, and each of several cookies.
    fn header(&mut self, value: &HeaderValue) {
        let value = value.as_bytes();
        self.add(value);
        if let Some(space) = value.iter().position(|&byte| byte == b' ') {
            self.add(&value[space + 1..]);
        }
        for part in value.split(|&byte| byte == b';' || byte == b',') {
            if let Some(equals) = part.iter().position(|&byte| byte == b'=') {
                self.add(&part[equals + 1..]);
            }
        }
    }

    /// The credentials among the protocols that a WebSocket's client offers.
    fn protocols(&mut self, offered: &HeaderValue) {
        for name in offered.as_bytes().split(|&byte| byte == b',') {
            let name = name.trim_ascii();
            if let Some((prefix, key)) = name.split_at_checked(KEY_PROTOCOL.len())
                && prefix.eq_ignore_ascii_case(KEY_PROTOCOL)
            {
                self.add(key);
            }
        }
    }

    fn add(&mut self, secret: &[u8]) {
        let secret = secret.trim_ascii();
        if secret.len() < SHORTEST {
            return;
        }
        self.0.push(secret.to_vec());
        // As it stands in a JSON text.
        if let Ok(text) = std::str::from_utf8(secret) {
            let quoted = serde_json::Value::from(text).to_string();
            let escaped = &quoted[1..quoted.len() - 1];
            for escaped in [escaped.to_owned(), escaped.replace('/', "\\/")] {
                if escaped != text {
                    self.0.push(escaped.into_bytes());
                }
            }
        }
    }

    /// `text` without the credentials.
    pub(super) fn masked(&self, mut text: Vec<u8>) -> Vec<u8> {
        for secret in &self.0 {
            if memmem::find(&text, secret).is_none() {
                continue;
            }
            let mut masked = Vec::with_capacity(text.len());
            let mut from = 0;
            for at in memmem::find_iter(&text, secret) {
                masked.extend_from_slice(&text[from..at]);
                masked.extend_from_slice(REDACTED.as_bytes());
                from = at + secret.len();
            }
            masked.extend_from_slice(&text[from..]);
            text = masked;
        }
        text
    }

    /// Cuts the beginning of a credential off the end of a text that was cut off itself.
    pub(super) fn cut_beginning(&self, text: &mut Vec<u8>) {
        let longest = self
            .0
            .iter()
            .filter_map(|secret| {
                (SHORTEST_BEGINNING..secret.len())
                    .rev()
                    .find(|&length| text.ends_with(&secret[..length]))
            })
            .max();
        if let Some(length) = longest {
            text.truncate(text.len() - length);
            text.extend_from_slice(REDACTED.as_bytes());
        }
    }

    /// `text` without the credentials; what is no UTF-8 in it is replaced.
    pub(super) fn masked_text(&self, text: &[u8]) -> String {
        String::from_utf8_lossy(&self.masked(text.to_vec())).into_owned()
    }

    /// A header's value as it may be shown.
    pub(super) fn header_value(&self, name: &HeaderName, value: &HeaderValue) -> String {
        if carries_one(name.as_str()) || value.is_sensitive() {
            REDACTED.to_owned()
        } else {
            self.masked_text(value.as_bytes())
        }
    }

    /// All headers as they may be shown, in their order.
    pub(super) fn headers(&self, headers: &HeaderMap) -> Vec<(String, String)> {
        headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), self.header_value(name, value)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[&'static str]) -> Secrets {
        let mut secrets = Secrets::default();
        for value in values {
            secrets.header(&HeaderValue::from_static(value));
        }
        secrets
            .0
            .sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }

    #[test]
    fn credentials_are_known_by_the_names_they_stand_under() {
        for name in [
            "authorization",
            "Proxy-Authorization",
            "api-key",
            "x-api-key",
            "x-goog-api-key",
            "cookie",
            "set-cookie",
            "x-tollgate-key",
            "x-team-token",
            "x-amz-security-token",
            "openai_secret",
            "ApiKey",
            "api_key",
            "access_token",
            "key",
        ] {
            assert!(carries_one(name), "{name}");
        }
        for name in [
            "content-type",
            "x-ratelimit-remaining-tokens",
            "idempotency-key",
            "user-agent",
            "openai-organization",
            "x-request-id",
            "author",
        ] {
            assert!(!carries_one(name), "{name}");
        }
    }

    #[test]
    fn a_credential_is_masked_wherever_it_stands() {
        let secrets = secrets(&[
            "Bearer sk-12345678",
            "session=abcdefghij; theme=dark",
            "a/b\"c/d-e",
        ]);
        for (text, expected) in [
            ("key: sk-12345678.", "key: [redacted]."),
            ("sk-12345678sk-12345678", "[redacted][redacted]"),
            ("Bearer sk-12345678", "[redacted]"),
            ("abcdefghij", "[redacted]"),
            (r#"{"k":"a/b\"c/d-e"}"#, r#"{"k":"[redacted]"}"#),
            (r#"{"k":"a\/b\"c\/d-e"}"#, r#"{"k":"[redacted]"}"#),
            ("dark", "dark"),
            ("sk-1234567", "sk-1234567"),
        ] {
            assert_eq!(secrets.masked_text(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_credential_among_a_websockets_protocols_is_found() {
        let mut secrets = Secrets::default();
        let offered = "realtime, OpenAI-insecure-api-key.sk-12345678 , openai-beta.realtime-v1";
        secrets.protocols(&HeaderValue::from_static(offered));
        assert_eq!(
            secrets.masked_text(b"realtime sk-12345678"),
            "realtime [redacted]"
        );
    }

    #[test]
    fn a_querys_credential_is_masked_encoded_and_decoded() {
        let mut secrets = Secrets::default();
        secrets.query("api-version=2025-01-01&s%69g=abc%2Bdef%2Fghi&=&key");
        let text = "abc%2Bdef%2Fghi abc+def/ghi 2025-01-01";
        assert_eq!(
            secrets.masked_text(text.as_bytes()),
            "[redacted] [redacted] 2025-01-01"
        );
    }

    #[test]
    fn the_beginning_of_a_credential_at_a_cut_is_cut_off() {
        let secrets = secrets(&["Bearer sk-12345678"]);
        for (text, expected) in [
            ("the key is sk-1234", "the key is [redacted]"),
            ("the key is Bearer sk-1", "the key is [redacted]"),
            ("a desk", "a desk"),
            ("", ""),
        ] {
            let mut text = text.as_bytes().to_vec();
            secrets.cut_beginning(&mut text);
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
    }
}
