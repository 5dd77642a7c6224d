//! Finding the caller: every key that there is, by its hash.

use std::sync::Arc;

use arc_swap::ArcSwap;
use subtle::ConstantTimeEq as _;

use super::{Caller, Denied, Pepper};
use crate::clock::UnixMicros;
use crate::config::KeyGrant;

/// How the name of a caller without a key begins.
pub(super) const FINGERPRINT: &str = "fp-";

const HEX: &[u8; 16] = b"0123456789abcdef";

/// One key that is good, or was until it expired.
#[derive(Clone)]
pub struct KeyEntry {
    /// Its keyed hash, by [`Pepper::hash`].
    pub hash: [u8; 32],
    /// Its name.
    pub name: Arc<str>,
    /// What it is good for.
    pub grant: Arc<KeyGrant>,
}

/// Without the hash.
impl std::fmt::Debug for KeyEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyEntry")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Whether callers need a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Required {
    /// No.
    No,
    /// Yes.
    Yes,
    /// Yes, and not every key that is good is known yet.
    Unread,
}

/// All keys that are good at present.
#[derive(Debug)]
pub struct Keyring {
    keys: ArcSwap<Found>,
}

/// The keys as they are searched.
struct Found {
    required: Required,
    /// What they were hashed with.
    pepper: Arc<Pepper>,
    /// The beginnings of the hashes, sorted: close together, so that a search stays in the cache.
    starts: Box<[u64]>,
    /// In the same order.
    entries: Box<[KeyEntry]>,
}

/// Without the hashes' beginnings.
impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found")
            .field("required", &self.required)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

impl Found {
    fn new(pepper: Arc<Pepper>, required: Required, mut entries: Vec<KeyEntry>) -> Self {
        entries.sort_by_key(|entry| start_of(&entry.hash));
        Self {
            required,
            pepper,
            starts: entries.iter().map(|entry| start_of(&entry.hash)).collect(),
            entries: entries.into(),
        }
    }

    /// By its beginning, which without the secret nobody can choose, and then as a whole, in a time
    /// that says nothing of how much of it fits.
    fn get(&self, hash: &[u8; 32]) -> Option<&KeyEntry> {
        let start = start_of(hash);
        let first = self.starts.partition_point(|&other| other < start);
        self.entries[first..]
            .iter()
            .take_while(|entry| start_of(&entry.hash) == start)
            .find(|entry| entry.hash.ct_eq(hash).into())
    }

    /// A caller with a credential of a provider's: of its hash so much is shown as tells callers
    /// apart.
    fn stranger(&self, credential: &[u8]) -> Caller {
        let hash = self.pepper.fingerprint(credential);
        let mut text = [b'0'; FINGERPRINT.len() + 12];
        let (start, digits) = text.split_at_mut(FINGERPRINT.len());
        start.copy_from_slice(FINGERPRINT.as_bytes());
        for (digits, byte) in digits.chunks_exact_mut(2).zip(hash) {
            digits.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        Caller {
            name: std::str::from_utf8(&text).ok().map(Arc::from),
            grant: None,
            number: start_of(&hash),
        }
    }
}

/// Evenly distributed, as every part of such a hash is.
fn start_of(hash: &[u8; 32]) -> u64 {
    hash.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

impl Keyring {
    /// A ring of these keys, which were hashed with that pepper.
    #[must_use]
    pub fn new(pepper: impl Into<Arc<Pepper>>, required: Required, keys: Vec<KeyEntry>) -> Self {
        Self {
            keys: ArcSwap::from_pointee(Found::new(pepper.into(), required, keys)),
        }
    }

    /// Puts these keys in the place of all earlier ones. Who asks after this has returned gets an
    /// answer by them.
    pub fn replace(&self, pepper: Arc<Pepper>, required: Required, keys: Vec<KeyEntry>) {
        self.keys
            .store(Arc::new(Found::new(pepper, required, keys)));
    }

    /// Whether callers need a key.
    #[must_use]
    pub fn required(&self) -> Required {
        self.keys.load().required
    }

    /// Who shows `credential`.
    pub fn identify(&self, credential: Option<&[u8]>, now: UnixMicros) -> Result<Caller, Denied> {
        self.identify_any(credential, now)
    }

    /// Who shows one of these credentials: a client may send several, of which one is a key. Where
    /// none is required the first counts.
    pub fn identify_any<C: AsRef<[u8]>>(
        &self,
        credentials: impl IntoIterator<Item = C>,
        now: UnixMicros,
    ) -> Result<Caller, Denied> {
        let keys = self.keys.load();
        let mut credentials = credentials.into_iter();
        if keys.required == Required::No {
            let first = credentials.next();
            return Ok(first.map_or_else(Caller::default, |first| keys.stranger(first.as_ref())));
        }
        let mut denied = Denied::Missing;
        for credential in credentials {
            match keys.get(&keys.pepper.hash(credential.as_ref())) {
                Some(key) if key.grant.expires_at.is_some_and(|end| end <= now) => {
                    denied = Denied::Expired;
                }
                Some(key) => {
                    return Ok(Caller {
                        name: Some(Arc::clone(&key.name)),
                        grant: Some(Arc::clone(&key.grant)),
                        number: start_of(&key.hash),
                    });
                }
                None if denied == Denied::Missing => denied = Denied::Unknown,
                None => {}
            }
        }
        match keys.required {
            Required::Unread => Err(Denied::Unread),
            Required::No | Required::Yes => Err(denied),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMicros = UnixMicros(1_000);

    fn pepper() -> Pepper {
        let folder = tempfile::tempdir().unwrap();
        Pepper::open(folder.path()).unwrap().0
    }

    fn entry(pepper: &Pepper, name: &str, text: &str, expires_at: Option<i64>) -> KeyEntry {
        KeyEntry {
            hash: pepper.hash(text.as_bytes()),
            name: name.into(),
            grant: Arc::new(KeyGrant {
                expires_at: expires_at.map(UnixMicros),
                ..KeyGrant::default()
            }),
        }
    }

    fn name(found: Result<Caller, Denied>) -> Result<String, Denied> {
        found.map(|caller| caller.name.unwrap().to_string())
    }

    #[test]
    fn each_key_of_many_is_found_and_nothing_else() {
        let pepper = pepper();
        let keys = (0..2_000)
            .map(|n| entry(&pepper, &n.to_string(), &format!("tg-{n}"), None))
            .collect();
        let ring = Keyring::new(pepper, Required::Yes, keys);
        for n in 0..2_000 {
            let text = format!("tg-{n}");
            assert_eq!(
                name(ring.identify(Some(text.as_bytes()), NOW)),
                Ok(n.to_string())
            );
        }
        for stranger in ["", "tg-", "tg-2000", "tg-1 ", "TG-1"] {
            assert_eq!(
                ring.identify(Some(stranger.as_bytes()), NOW),
                Err(Denied::Unknown)
            );
        }
        assert_eq!(ring.identify(None, NOW), Err(Denied::Missing));
    }

    #[test]
    fn hashes_that_begin_alike_are_told_apart() {
        let pepper = pepper();
        let good = entry(&pepper, "good", "tg-good", None);
        let mut keys = vec![good.clone()];
        for byte in [8, 20, 31] {
            let mut alike = good.clone();
            alike.hash[byte] ^= 1;
            alike.name = "alike".into();
            keys.insert(0, alike);
        }
        let ring = Keyring::new(pepper, Required::Yes, keys);
        assert_eq!(
            name(ring.identify(Some(b"tg-good"), NOW)),
            Ok("good".to_owned())
        );
    }

    #[test]
    fn a_key_is_good_until_the_moment_it_expires() {
        let pepper = pepper();
        let keys = vec![
            entry(&pepper, "old", "tg-old", Some(1_000)),
            entry(&pepper, "new", "tg-new", Some(1_001)),
        ];
        let ring = Keyring::new(pepper, Required::Yes, keys);
        assert_eq!(ring.identify(Some(b"tg-old"), NOW), Err(Denied::Expired));
        assert_eq!(name(ring.identify(Some(b"tg-new"), NOW)), Ok("new".into()));
        // Whatever else it shows.
        let shown = ["sk-x", "tg-old", "sk-y"];
        assert_eq!(ring.identify_any(shown, NOW), Err(Denied::Expired));
        let shown = ["sk-x", "tg-old", "tg-new"];
        assert_eq!(name(ring.identify_any(shown, NOW)), Ok("new".into()));
    }

    #[test]
    fn the_end_of_the_last_key_opens_nothing() {
        let pepper = Arc::new(pepper());
        let ring = Keyring::new(Arc::clone(&pepper), Required::Yes, Vec::new());
        assert_eq!(ring.identify(Some(b"tg-a"), NOW), Err(Denied::Unknown));
        assert_eq!(ring.identify(None, NOW), Err(Denied::Missing));
        ring.replace(pepper, Required::No, Vec::new());
        assert!(ring.identify(Some(b"tg-a"), NOW).is_ok());
    }

    #[test]
    fn while_keys_are_unread_those_that_are_known_are_good() {
        let pepper = pepper();
        let keys = vec![
            entry(&pepper, "a", "tg-a", None),
            entry(&pepper, "old", "tg-old", Some(1_000)),
        ];
        let ring = Keyring::new(pepper, Required::Unread, keys);
        assert_eq!(name(ring.identify(Some(b"tg-a"), NOW)), Ok("a".into()));
        let other = ["sk-x", "tg-a"];
        assert_eq!(name(ring.identify_any(other, NOW)), Ok("a".into()));
        for stranger in [Some(&b"tg-b"[..]), Some(b"tg-old"), None] {
            assert_eq!(ring.identify(stranger, NOW), Err(Denied::Unread));
        }
    }

    #[test]
    fn without_keys_callers_are_told_apart() {
        let ring = Keyring::new(pepper(), Required::No, Vec::new());
        let of = |credential: &str| ring.identify(Some(credential.as_bytes()), NOW).unwrap();
        let caller = of("sk-canary-1");
        let text = caller.name.as_deref().unwrap();
        assert_eq!(text.len(), 15, "{text}");
        assert!(text.starts_with("fp-"));
        assert!(text[3..].bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(caller, of("sk-canary-1"));
        assert_ne!(caller.name, of("sk-canary-2").name);
        assert_ne!(caller.number, of("sk-canary-2").number);
        assert_eq!(caller.grant, None);
        assert_eq!(ring.identify(None, NOW), Ok(Caller::default()));
    }

    #[test]
    fn a_ring_prints_no_hash() {
        let pepper = pepper();
        let key = entry(&pepper, "a", "tg-canary", None);
        let hash = format!("{:?}", key.hash);
        let start = start_of(&key.hash).to_string();
        let ring = Keyring::new(pepper, Required::Yes, vec![key]);
        let printed = format!("{ring:?} {ring:#?}");
        assert!(printed.contains("\"a\""), "{printed}");
        assert!(
            !printed.contains(hash.trim_matches(['[', ']'])),
            "{printed}"
        );
        assert!(!printed.contains(&start), "{printed}");
        assert!(!printed.contains("canary"), "{printed}");
    }
}
