//! A secret that does not print itself.

use std::fmt;
use std::hint::black_box;

use http::HeaderName;

/// Headers in which an API looks for its credential.
pub const CREDENTIAL_HEADERS: [&str; 4] =
    ["authorization", "api-key", "x-api-key", "x-goog-api-key"];

/// A credential. `Debug` and `Display` print a mask, there is no serialisation, and the text comes
/// out only through [`Secret::expose`], so that a reader of the code sees every place that uses it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes charge of `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is this secret, in a time that depends on the lengths alone.
    #[must_use]
    pub fn matches(&self, candidate: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let difference = own
            .iter()
            .zip(candidate)
            .fold(0, |seen, (left, right)| black_box(seen | (left ^ right)));
        own.len() == candidate.len() && difference == 0
    }
}

/// Whether a header of that name is taken to hold a secret: an API looks for its credential there,
/// or the name says so.
#[must_use]
pub fn holds_credential(name: &HeaderName) -> bool {
    const WORDS: [&str; 5] = ["auth", "cookie", "key", "secret", "token"];
    let name = name.as_str();
    WORDS.iter().any(|word| name.contains(word)) && !name.ends_with("idempotency-key")
}

/// What is secret of such a header's value: all behind the scheme, where there is one (of any name
/// and in any case: RFC 9110, 11.1), and each of several cookies or parameters. As some of it may
/// be no more than a word, whoever looks for these leaves the short ones out.
pub fn secrets_in(value: &str) -> impl Iterator<Item = &str> {
    let whole = without_scheme(value);
    let pairs = whole.split([';', ',']).filter_map(|pair| {
        let (_, value) = pair.split_once('=')?;
        Some(value.trim().trim_matches('"'))
    });
    std::iter::once(whole)
        .chain(pairs)
        .filter(|secret| !secret.is_empty())
}

fn without_scheme(value: &str) -> &str {
    let value = value.trim();
    let is_scheme = |text: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+".contains(&byte);
        text.bytes().all(fits)
    };
    match value.split_once([' ', '\t']) {
        Some((scheme, credential)) if is_scheme(scheme) => credential.trim(),
        _ => value,
    }
}

const MASK: &str = "[secret]";

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_a_mask_however_it_is_asked() {
        let secret = Secret::new("sk-canary");
        let printed = format!("{secret} {secret:?} {:#?}", Some(&secret));
        assert!(!printed.contains("canary"), "{printed}");
        assert_eq!(secret.expose(), "sk-canary");
    }

    #[test]
    fn a_header_holds_secrets_where_its_name_says_so() {
        for name in CREDENTIAL_HEADERS.iter().chain(&[
            "cookie",
            "x-auth-token",
            "proxy-authorization",
            "x-client-secret",
        ]) {
            assert!(holds_credential(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["openai-organization", "idempotency-key", "user-agent"] {
            assert!(!holds_credential(&HeaderName::from_static(name)), "{name}");
        }
    }

    #[test]
    fn a_secret_begins_behind_the_scheme_whatever_its_name_and_case() {
        for (value, expected) in [
            ("sk-key", &["sk-key"][..]),
            (" Bearer  sk-key ", &["sk-key"]),
            ("bEARER sk-key", &["sk-key"]),
            ("Basic dXNlcjpwYXNz", &["dXNlcjpwYXNz"]),
            ("token\tsk-key", &["sk-key"]),
            ("a=one; b=\"two\"", &["a=one; b=\"two\"", "one", "two"]),
            ("", &[]),
        ] {
            assert_eq!(secrets_in(value).collect::<Vec<_>>(), expected, "{value}");
        }
    }

    #[test]
    fn matches_only_itself() {
        let secret = Secret::new("abc");
        assert!(secret.matches(b"abc"));
        for stranger in [&b"abd"[..], b"ab", b"abcd", b""] {
            assert!(!secret.matches(stranger));
        }
    }
}
