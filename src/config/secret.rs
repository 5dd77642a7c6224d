//! A secret that does not print itself.

use std::fmt;
use std::hint::black_box;

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
    fn matches_only_itself() {
        let secret = Secret::new("abc");
        assert!(secret.matches(b"abc"));
        for stranger in [&b"abd"[..], b"ab", b"abcd", b""] {
            assert!(!secret.matches(stranger));
        }
    }
}
