//! One entry in a journal file: `u32` length of the payload, `u32` checksum (both little-endian),
//! the payload.
//!
//! The checksum (CRC-32, as in zlib) also covers the stream's random id and the entry's offset in
//! it. So bytes that merely look like an entry, because a client put them into a header that the
//! ledger records or because they are left from an older write, are never taken for one.

use uuid::Uuid;

/// Bytes before the payload.
pub(super) const HEADER: usize = 8;
/// Largest payload. Requests are far smaller; see [`super::Journal::end`] for what is larger.
pub(super) const MAX_PAYLOAD: usize = 1 << 20;

/// Where a stream's checksums start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(u32);

impl Seed {
    /// The seed of the stream with this id.
    pub(super) fn of(stream: Uuid) -> Self {
        Self(crc32fast::hash(stream.as_bytes()))
    }

    fn checksum(self, offset: u64, payload: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(&offset.to_le_bytes());
        hasher.update(payload);
        hasher.finalize()
    }
}

/// Fills in the header of `frame`, whose payload starts at [`HEADER`], for its place in the stream.
pub(super) fn seal(frame: &mut [u8], seed: Seed, offset: u64) {
    let (header, payload) = frame.split_at_mut(HEADER);
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let checksum = seed.checksum(offset, payload);
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..].copy_from_slice(&checksum.to_le_bytes());
}

/// What lies at a place in a journal file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// An entry with a payload of so many bytes.
    Whole(usize),
    /// The beginning of what may be an entry.
    Incomplete,
    /// No entry. `torn` tells what an interrupted write leaves (zeros) from what is damaged.
    Invalid {
        /// Whether it looks like space that was never written.
        torn: bool,
    },
}

/// Looks at `bytes`, which begin at `offset` of the stream.
pub(super) fn parse(bytes: &[u8], seed: Seed, offset: u64) -> Parsed {
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else {
        return Parsed::Incomplete;
    };
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let length = word(0) as usize;
    if length == 0 || length > MAX_PAYLOAD {
        return Parsed::Invalid {
            torn: header.iter().all(|&byte| byte == 0),
        };
    }
    let Some(payload) = rest.get(..length) else {
        return Parsed::Incomplete;
    };
    if seed.checksum(offset, payload) == word(4) {
        Parsed::Whole(length)
    } else {
        Parsed::Invalid { torn: false }
    }
}
