//! Reading a stream, from the position the database knows to its end, in bounded batches.
//!
//! What cannot be read is stepped over, never silently: the next place that holds a whole entry is
//! searched and everything before it becomes a [`Damage`]. Only an incomplete entry at the very end
//! of a dead stream is no damage: it is the write that the crash cut off.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::frame::{self, HEADER, MAX_PAYLOAD, Parsed, Seed};
use super::segment::Stream;
use crate::ledger::wire;

/// Most bytes in a batch; memory of a reader while it catches up.
pub(in crate::ledger) const BATCH_BYTES: usize = 2 << 20;
/// Most entries in a batch.
const BATCH_ENTRIES: usize = 5_000;
/// Most bytes of damage that are kept for a look at them.
const DAMAGE_KEPT: usize = 64 << 10;
/// How much is read at a time while searching for the next whole entry.
const SEARCH_WINDOW: usize = 2 * (HEADER + MAX_PAYLOAD);

/// How far a stream may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ledger) enum End {
    /// To this offset: the process's own stream.
    At(u64),
    /// As far as whole entries go: another process is appending.
    Growing,
    /// To the end of its last file: its process is gone.
    Final,
}

/// Where an entry of a batch lies.
#[derive(Clone, Debug)]
pub(in crate::ledger) struct Frame {
    /// Its offset in the stream.
    pub(in crate::ledger) offset: u64,
    payload: Range<usize>,
}

/// Bytes that hold no entry where entries should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ledger) struct Damage {
    /// Offset of the first.
    pub(in crate::ledger) offset: u64,
    /// How many.
    pub(in crate::ledger) bytes: u64,
    /// The first of them.
    pub(in crate::ledger) sample: Vec<u8>,
}

/// A reader's place in a stream and the batch last read there.
#[derive(Debug)]
pub(in crate::ledger) struct Tail {
    pub(in crate::ledger) stream: Stream,
    seed: Seed,
    position: u64,
    segment: Option<Segment>,
    buffer: Vec<u8>,
    frames: Vec<Frame>,
    damage: Vec<Damage>,
}

#[derive(Debug)]
struct Segment {
    start: u64,
    file: File,
}

impl Tail {
    /// A reader of `stream` at `position`, which must be the beginning of an entry.
    pub(in crate::ledger) fn new(stream: Stream, position: u64) -> Self {
        Self {
            seed: Seed::of(stream.id),
            stream,
            position,
            segment: None,
            buffer: Vec::new(),
            frames: Vec::new(),
            damage: Vec::new(),
        }
    }

    /// The offset after the batch last read.
    pub(in crate::ledger) fn position(&self) -> u64 {
        self.position
    }

    /// The entries of the batch last read.
    pub(in crate::ledger) fn frames(&self) -> impl Iterator<Item = (&Frame, &[u8])> {
        self.frames
            .iter()
            .map(|frame| (frame, &self.buffer[frame.payload.clone()]))
    }

    /// What the batch last read had to step over.
    pub(in crate::ledger) fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Reads the next batch; `false` when there is nothing to read now. A batch may hold no entry
    /// and still move the position.
    pub(in crate::ledger) fn read(&mut self, end: End) -> io::Result<bool> {
        self.frames.clear();
        self.damage.clear();
        let before = self.position;
        loop {
            if let End::At(limit) = end
                && self.position >= limit
            {
                break;
            }
            if self.segment.is_none() && !self.open_segment()? {
                break;
            }
            if self.read_frames(end)? || !self.damage.is_empty() {
                break;
            }
            // No whole entry here. Is this the end of the file, the end of all, or damage?
            let Some((start, length)) = self.segment_extent()? else {
                break;
            };
            let next = self.stream.starts()?.into_iter().find(|&next| next > start);
            let known_end = match (end, next) {
                (End::At(limit), Some(next)) => limit.min(next),
                (End::At(limit), None) => limit,
                (_, Some(next)) => next,
                (End::Final, None) => start + length,
                (End::Growing, None) => break,
            };
            if self.position < known_end {
                self.step_over(known_end, end == End::Final && next.is_none())?;
            } else if next.is_some() {
                self.segment = None;
            } else {
                break;
            }
        }
        Ok(self.position != before)
    }

    /// The payload of the entry at `offset`, read apart from batches; `None` when it is not whole.
    pub(in crate::ledger) fn payload_at(&self, offset: u64) -> io::Result<Option<Vec<u8>>> {
        let starts = self.stream.starts()?;
        let Some(&start) = starts.iter().rev().find(|&&start| start <= offset) else {
            return Ok(None);
        };
        let file = self.stream.open_segment(start)?;
        let mut bytes = vec![0; HEADER];
        let header = read_full_at(&file, &mut bytes, offset - start)?;
        if header < HEADER {
            return Ok(None);
        }
        let length = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        bytes.resize(HEADER + length.min(MAX_PAYLOAD), 0);
        let read = read_full_at(&file, &mut bytes, offset - start)?;
        Ok(match frame::parse(&bytes[..read], self.seed, offset) {
            Parsed::Whole(length) => {
                bytes.truncate(HEADER + length);
                Some(bytes.split_off(HEADER))
            }
            Parsed::Incomplete | Parsed::Invalid { .. } => None,
        })
    }

    /// Opens the file that holds the position; where files are missing, the next one, with the gap
    /// noted. `false` when there is none.
    fn open_segment(&mut self) -> io::Result<bool> {
        let starts = self.stream.starts()?;
        let holding = starts.iter().rev().find(|&&start| start <= self.position);
        let Some(&start) = holding.or_else(|| starts.first()) else {
            return Ok(false);
        };
        let file = self.stream.open_segment(start)?;
        if start > self.position {
            self.damage.push(Damage {
                offset: self.position,
                bytes: start - self.position,
                sample: Vec::new(),
            });
            self.position = start;
        }
        self.segment = Some(Segment { start, file });
        Ok(true)
    }

    fn segment_extent(&self) -> io::Result<Option<(u64, u64)>> {
        match &self.segment {
            None => Ok(None),
            Some(segment) => Ok(Some((segment.start, segment.file.metadata()?.len()))),
        }
    }

    /// Reads whole entries at the position; `false` when there is none.
    fn read_frames(&mut self, end: End) -> io::Result<bool> {
        let Some(segment) = &self.segment else {
            return Ok(false);
        };
        let at = self.position - segment.start;
        // Not more than there is: the buffer keeps the size of the largest batch so far.
        let length = segment.file.metadata()?.len().saturating_sub(at);
        let mut wanted = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(BATCH_BYTES);
        if let End::At(limit) = end {
            let left = usize::try_from(limit - self.position).unwrap_or(usize::MAX);
            wanted = wanted.min(left);
        }
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        let read = read_full_at(&segment.file, &mut self.buffer[..wanted], at)?;
        let bytes = &self.buffer[..read];
        let mut next = 0;
        while self.frames.len() < BATCH_ENTRIES {
            let offset = self.position + next as u64;
            let Parsed::Whole(length) = frame::parse(&bytes[next..], self.seed, offset) else {
                break;
            };
            let payload = next + HEADER..next + HEADER + length;
            next = payload.end;
            self.frames.push(Frame { offset, payload });
        }
        self.position += next as u64;
        Ok(next > 0)
    }

    /// Moves past bytes before `known_end` that hold no whole entry.
    fn step_over(&mut self, known_end: u64, is_last: bool) -> io::Result<()> {
        let Some(segment) = &self.segment else {
            return Ok(());
        };
        let mut window = vec![0; SEARCH_WINDOW];
        let limit = |from: u64| {
            usize::try_from(known_end - from)
                .unwrap_or(usize::MAX)
                .min(SEARCH_WINDOW)
        };
        let here = limit(self.position);
        let read = read_full_at(
            &segment.file,
            &mut window[..here],
            self.position - segment.start,
        )?;
        let torn = matches!(
            frame::parse(&window[..read], self.seed, self.position),
            Parsed::Incomplete | Parsed::Invalid { torn: true }
        );
        let sample = window[..read.min(DAMAGE_KEPT)].to_vec();

        let mut from = self.position + 1;
        let mut found = None;
        while from < known_end && found.is_none() {
            let wanted = limit(from);
            let read = read_full_at(&segment.file, &mut window[..wanted], from - segment.start)?;
            let at_end = read < wanted || from + wanted as u64 == known_end;
            // Only places whose whole largest entry lies in the window are decided in it.
            let decided = if at_end { read } else { SEARCH_WINDOW / 2 };
            found = (0..decided)
                .find(|&at| self.is_entry(&window[at..read], from + at as u64))
                .map(|at| from + at as u64);
            if at_end {
                break;
            }
            from += decided as u64;
        }
        let to = found.unwrap_or(known_end);
        if found.is_none() && torn && is_last {
            tracing::warn!(
                offset = self.position,
                bytes = to - self.position,
                "a journal ends in an entry that was cut off"
            );
        } else {
            self.damage.push(Damage {
                offset: self.position,
                bytes: to - self.position,
                sample,
            });
        }
        self.position = to;
        Ok(())
    }

    fn is_entry(&self, bytes: &[u8], offset: u64) -> bool {
        // The version byte first: it spares most places the checksum.
        bytes.get(HEADER).is_some_and(|&byte| wire::is_known(byte))
            && matches!(frame::parse(bytes, self.seed, offset), Parsed::Whole(_))
    }
}

/// Reads until the buffer is full or the file ends; how much.
fn read_full_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A stream with one file, and its next offset.
    struct Written {
        _folder: TempDir,
        _alive: File,
        stream: Stream,
        file: File,
        end: u64,
    }

    impl Written {
        fn new() -> Self {
            let folder = TempDir::new().unwrap();
            let (stream, alive) = Stream::create(folder.path()).unwrap();
            let file = stream.create_segment(0, 1 << 20).unwrap();
            Self {
                _folder: folder,
                _alive: alive,
                stream,
                file,
                end: 0,
            }
        }

        /// The bytes of an entry for a place in the stream.
        fn entry(&self, offset: u64, text: &[u8]) -> Vec<u8> {
            let mut bytes = vec![0; HEADER];
            bytes.push(wire::VERSION);
            bytes.extend_from_slice(text);
            frame::seal(&mut bytes, Seed::of(self.stream.id), offset);
            bytes
        }

        fn append(&mut self, bytes: &[u8]) {
            self.file.write_all_at(bytes, self.end).unwrap();
            self.end += bytes.len() as u64;
        }

        fn append_entry(&mut self, text: &[u8]) {
            let entry = self.entry(self.end, text);
            self.append(&entry);
        }
    }

    fn texts(tail: &Tail) -> Vec<Vec<u8>> {
        tail.frames()
            .map(|(_, payload)| payload[1..].to_vec())
            .collect()
    }

    #[test]
    fn half_an_entry_of_a_living_process_is_waited_for() {
        let mut written = Written::new();
        written.append_entry(b"first");
        let second = written.entry(written.end, b"second");
        let mut tail = Tail::new(written.stream.clone(), 0);
        let (one, other) = second.split_at(11);
        written.append(one);
        assert!(tail.read(End::Growing).unwrap());
        assert_eq!(texts(&tail), [b"first"]);
        assert!(!tail.read(End::Growing).unwrap());
        written.append(other);
        assert!(tail.read(End::Growing).unwrap());
        assert_eq!(texts(&tail), [b"second"]);
        assert!(tail.damage().is_empty());
    }

    #[test]
    fn an_entry_inside_a_damaged_one_is_not_taken_for_one() {
        let mut written = Written::new();
        // A client sends, in a header, an entry that was valid at some other place.
        let forged = written.entry(7, b"forged");
        written.append_entry(&forged);
        written.append_entry(b"after");
        written.file.write_all_at(b"!", 6).unwrap();
        let mut tail = Tail::new(written.stream.clone(), 0);
        assert!(tail.read(End::Final).unwrap());
        assert_eq!(tail.damage().len(), 1);
        assert_eq!(texts(&tail), [b"after"]);
    }

    #[test]
    fn a_missing_file_is_damage_of_its_size() {
        let mut written = Written::new();
        written.append_entry(b"first");
        let start = written.end + 500;
        let file = written.stream.create_segment(start, 0).unwrap();
        let entry = written.entry(start, b"later");
        file.write_all_at(&entry, 0).unwrap();
        let mut tail = Tail::new(written.stream.clone(), 0);
        let mut seen = Vec::new();
        let mut damaged = 0;
        while tail.read(End::Final).unwrap() {
            seen.extend(texts(&tail));
            damaged += tail.damage().iter().map(|damage| damage.bytes).sum::<u64>();
        }
        assert_eq!(seen, [b"first".to_vec(), b"later".to_vec()]);
        assert_eq!(damaged, 500);
    }

    #[test]
    fn damage_larger_than_the_search_window_ends_where_an_entry_begins() {
        let mut written = Written::new();
        let hole = vec![0xff; 3 * SEARCH_WINDOW + 17];
        written.append(&hole);
        written.append_entry(b"after");
        let mut tail = Tail::new(written.stream.clone(), 0);
        assert!(tail.read(End::At(written.end)).unwrap());
        assert_eq!(tail.damage()[0].bytes, hole.len() as u64);
        assert_eq!(tail.damage()[0].sample.len(), DAMAGE_KEPT);
        assert_eq!(texts(&tail), [b"after"]);
    }
}
