//! Takes the channel's credential out of an error that quotes it: a client has no business with it.
//!
//! Byte for byte, so that the length of the answer stays what its header says.

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue};
use memchr::memmem::Finder;
use pingora::http::ResponseHeader;
use pingora::{ErrorType, OrErr as _};

use crate::config::Secret;

/// Shorter credentials are words, which would be found everywhere.
const SHORTEST: usize = 8;

/// Masks secrets in a body as it passes, whatever it is cut into.
pub(super) struct Mask {
    secrets: Vec<Finder<'static>>,
    /// The end of what passed, as far as a secret may begin with it.
    held: BytesMut,
}

/// Without the secrets.
impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mask").finish_non_exhaustive()
    }
}

impl Mask {
    /// A mask of these; `None` when there is nothing to mask.
    pub(super) fn of(secrets: &[Secret]) -> Option<Self> {
        let secrets: Vec<_> = secrets
            .iter()
            .map(Secret::expose)
            .filter(|secret| secret.len() >= SHORTEST)
            .map(|secret| Finder::new(secret.as_bytes()).into_owned())
            .collect();
        (!secrets.is_empty()).then(|| Self {
            secrets,
            held: BytesMut::new(),
        })
    }

    /// Takes the next piece and returns what may go on; all of it when it is the `last`.
    pub(super) fn pass(&mut self, piece: Bytes, last: bool) -> Bytes {
        if self.held.is_empty() && !self.finds(&piece) && (last || self.open(&piece) == 0) {
            return piece;
        }
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(&piece);
        for secret in &self.secrets {
            let length = secret.needle().len();
            let mut from = 0;
            while let Some(at) = secret.find(&bytes[from..]) {
                let at = from + at;
                bytes[at..at + length].fill(b'*');
                from = at + length;
            }
        }
        let open = if last { 0 } else { self.open(&bytes) };
        self.held = bytes.split_off(bytes.len() - open);
        bytes.freeze()
    }

    /// Masks them in the fields of an answer, too, before its body begins.
    pub(super) fn pass_header(&mut self, header: &mut ResponseHeader) -> pingora::Result<()> {
        let fields = &header.headers;
        let quotes = |name: &HeaderName| {
            let mut values = fields.get_all(name).iter();
            values.any(|value| self.finds(value.as_bytes()))
        };
        let quoting: Vec<_> = fields.keys().filter(|name| quotes(name)).cloned().collect();
        for name in &quoting {
            let values: Vec<HeaderValue> = header.headers.get_all(name).iter().cloned().collect();
            header.remove_header(name);
            for value in values {
                let masked = self.pass(Bytes::copy_from_slice(value.as_bytes()), true);
                let masked = HeaderValue::from_bytes(&masked)
                    .or_err(ErrorType::InvalidHTTPHeader, "a masked field")?;
                header.append_header(name.clone(), masked)?;
            }
        }
        Ok(())
    }

    fn finds(&self, bytes: &[u8]) -> bool {
        let mut secrets = self.secrets.iter();
        secrets.any(|secret| secret.find(bytes).is_some())
    }

    /// Bytes at the end with which a secret may begin.
    fn open(&self, bytes: &[u8]) -> usize {
        let begun = |secret: &Finder<'_>| {
            let needle = secret.needle();
            let longest = bytes.len().min(needle.len() - 1);
            (1..=longest)
                .rev()
                .find(|&length| bytes.ends_with(&needle[..length]))
        };
        self.secrets.iter().filter_map(begun).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(secret: &str) -> Option<Mask> {
        Mask::of(&[Secret::new(secret)])
    }

    fn masked<'p>(secret: &str, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<u8> {
        let mut mask = mask(secret).unwrap();
        let mut all = Vec::new();
        for piece in pieces {
            all.extend(mask.pass(Bytes::copy_from_slice(piece), false));
        }
        all.extend(mask.pass(Bytes::new(), true));
        all
    }

    #[test]
    fn a_short_secret_is_a_word() {
        assert!(mask("sk-1234").is_none());
        assert!(mask("sk-12345").is_some());
    }

    #[test]
    fn what_holds_nothing_is_not_copied() {
        let mut mask = mask("sk-channel").unwrap();
        let piece = Bytes::from_static(b"{\"error\": \"rate limited\"}");
        assert_eq!(mask.pass(piece.clone(), false).as_ptr(), piece.as_ptr());
    }

    proptest! {
        #[test]
        fn whatever_the_cuts_no_secret_is_left_and_nothing_else_is_touched(
            parts in prop::collection::vec("(aab|aabaabaac|b|c|aabaabaa)", 0..12),
            cuts in prop::collection::vec(1_usize..9, 1..20),
        ) {
            let text = parts.concat();
            let mut pieces = Vec::new();
            let mut rest = text.as_bytes();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, behind) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            let cut = masked("aabaabaac", pieces);
            prop_assert_eq!(&cut, &text.replace("aabaabaac", "*********").into_bytes());
        }
    }
}
