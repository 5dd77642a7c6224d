//! Appending to the journal, the queue between requests and the database.
//!
//! An entry is one `pwrite` at an offset this process keeps, under a short lock. A write that fails
//! or ends short has changed nothing that counts: the next try overwrites it. There is no fsync on
//! this path: what a killed process wrote is in the page cache and safe. Against a power cut the
//! writer thread syncs once a second (see [`super::writer`]).

mod frame;
pub(super) mod segment;
pub(super) mod tail;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::frame::{HEADER, MAX_PAYLOAD, Seed};
use self::segment::Stream;
use super::stats::LedgerStats;
use super::wire::{self, EntryRef};
use crate::alert::{AlertEvent, ChatAnswer, Notification, NotificationFate};
use crate::record::{Admission, ChannelEvent, RequestRecord};

/// How long an append waits after a failed write before it tries the disk again.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// A new file that could not be made is tried again after so many bytes more.
const ROTATE_AGAIN: u64 = 1 << 20;
/// Encoding buffers that grew beyond this are not kept.
const KEPT_BUFFER: usize = 64 << 10;

/// Writes `bytes` at an offset of a file; may write less. A seam for tests of full disks.
pub(super) type WriteAt = Box<dyn Fn(&File, &[u8], u64) -> io::Result<usize> + Send>;

/// The appending end of the journal. Shared by every request; its calls take about a microsecond,
/// never fail and never wait for the database.
pub struct Journal {
    appender: Mutex<Appender>,
    writable: AtomicBool,
    stream: Stream,
    stats: Arc<LedgerStats>,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Appended {
    /// It is in the journal's file, from this offset on.
    Written(u64),
    /// The disk refuses it: it is held, and will lie at this offset. What is before it is held and
    /// as long as it will be.
    Held(u64),
    /// It was dropped and counted.
    Dropped,
    /// No entry may be as large.
    TooLarge,
}

struct Appender {
    seed: Seed,
    file: Arc<File>,
    /// Offset in the stream of the file's first byte.
    segment_start: u64,
    /// Offset in the stream of the next entry.
    offset: u64,
    /// Offset from which on a new file is begun.
    rotate_at: u64,
    segment_bytes: u64,
    /// Frames that the disk refused, oldest first, and those that came after them.
    held: VecDeque<Box<[u8]>>,
    held_bytes: usize,
    held_limit: usize,
    retry_at: Option<Instant>,
    /// Offset up to which the files are synced.
    synced: u64,
    /// Files that were full before they were synced.
    unsynced: Vec<Arc<File>>,
    /// Whether a file was made since the folder was synced: until then a power cut can take the
    /// file's name, however well its bytes are synced.
    folder_unsynced: bool,
    /// The lock that tells others this stream may still grow; gone once it may not.
    alive: Option<File>,
    write_at: WriteAt,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// A journal with a new stream in `folder`.
    pub(super) fn create(
        folder: &Path,
        segment_bytes: u64,
        held_limit: usize,
        stats: Arc<LedgerStats>,
    ) -> io::Result<Self> {
        let (stream, alive) = Stream::create(folder)?;
        let appender = Appender {
            seed: Seed::of(stream.id),
            file: Arc::new(stream.create_segment(0, segment_bytes)?),
            segment_start: 0,
            offset: 0,
            rotate_at: segment_bytes,
            segment_bytes,
            held: VecDeque::new(),
            held_bytes: 0,
            held_limit,
            retry_at: None,
            synced: 0,
            unsynced: Vec::new(),
            folder_unsynced: true,
            alive: Some(alive),
            write_at: Box::new(File::write_at),
        };
        Ok(Self {
            appender: Mutex::new(appender),
            writable: AtomicBool::new(true),
            stream,
            stats,
        })
    }

    /// Notes that a request is about to be sent to an upstream; once more when it goes on to another
    /// channel. The last of an id is what an interrupted request's row is made of. What the disk
    /// refuses is held in memory up to a bound and written when it can be; beyond it is dropped and
    /// counted.
    pub fn admit(&self, admission: &Admission) {
        if self.append(EntryRef::Admitted(admission)) == Appended::TooLarge {
            self.append(EntryRef::Admitted(&wire::cut_admission(admission)));
        }
    }

    /// Notes that a request ended: this becomes its row. Call it before the last byte goes to the
    /// client, once a request. Without an [`Journal::admit`] before it is as good. A record of more
    /// than a mebibyte is written with its texts cut to a kibibyte each.
    ///
    /// The offset in this process' stream at which the entry begins, or will begin once the disk
    /// takes what it refuses at present: the row is in the database when the stream is there up to
    /// an offset beyond it. `None` of an entry that was dropped and will have no row.
    pub fn end(&self, record: &RequestRecord) -> Option<u64> {
        let mut appended = self.append(EntryRef::Ended(record));
        if appended == Appended::TooLarge {
            appended = self.append(EntryRef::Ended(&wire::cut_record(record)));
        }
        match appended {
            Appended::Written(offset) | Appended::Held(offset) => Some(offset),
            Appended::Dropped | Appended::TooLarge => None,
        }
    }

    /// Notes that a channel's gate changed. `true` when that is in the journal's file, where it
    /// survives the process; `false` when the disk refuses it, and it is held in memory for now.
    pub fn gate_changed(&self, event: &ChannelEvent) -> bool {
        let mut appended = self.append(EntryRef::Gate(event));
        if appended == Appended::TooLarge {
            appended = self.append(EntryRef::Gate(&wire::cut_event(event)));
        }
        matches!(appended, Appended::Written(_))
    }

    /// Notes that an alert changed. `true` when that is in the journal's file, where it survives the
    /// process; `false` when the disk refuses it, and it is held in memory for now.
    pub fn alert_changed(&self, event: &AlertEvent) -> bool {
        let mut appended = self.append(EntryRef::Alert(event));
        if appended == Appended::TooLarge {
            appended = self.append(EntryRef::Alert(&wire::cut_alert_event(event)));
        }
        matches!(appended, Appended::Written(_))
    }

    /// Notes that somebody is to be told something; call it before it is sent. `true` when that is in
    /// the journal's file, where it survives the process; `false` when the disk refuses it, and it is
    /// held in memory for now. Of one of more than a mebibyte the content, or what was told, is left
    /// out where it is larger than [`Notification::MOST_BYTES`], and its other texts are cut to a kibibyte.
    pub fn notification_kept(&self, notification: &Notification) -> bool {
        let mut appended = self.append(EntryRef::Notification(notification));
        if appended == Appended::TooLarge {
            let cut = wire::cut_notification(notification);
            appended = self.append(EntryRef::Notification(&cut));
        }
        matches!(appended, Appended::Written(_))
    }

    /// Notes what became of a notification; the first fate of one is what counts. `true` when that is
    /// in the journal's file, where it survives the process; `false` when the disk refuses it, and it
    /// is held in memory for now.
    pub fn notification_settled(&self, fate: &NotificationFate) -> bool {
        let mut appended = self.append(EntryRef::Fate(fate));
        if appended == Appended::TooLarge {
            appended = self.append(EntryRef::Fate(&wire::cut_fate(fate)));
        }
        matches!(appended, Appended::Written(_))
    }

    /// Notes that somebody answered from a chat; call it before what they ask for is done. `true` when
    /// that is in the journal's file, where it survives the process; `false` when the disk refuses it,
    /// and it is held in memory for now.
    pub fn answered(&self, answer: &ChatAnswer) -> bool {
        let mut appended = self.append(EntryRef::Answer(answer));
        if appended == Appended::TooLarge {
            appended = self.append(EntryRef::Answer(&wire::cut_answer(answer)));
        }
        matches!(appended, Appended::Written(_))
    }

    /// Whether the journal's last write reached its file. `false` while entries are held in
    /// memory: what `ledger.on_failure: refuse` asks before it admits a request.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }

    /// This process's stream.
    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Offset up to which the stream is written.
    pub(super) fn appended(&self) -> u64 {
        self.stats.appended_bytes.load(Ordering::Acquire)
    }

    /// Tries again to write what the disk refused.
    pub(super) fn retry_held(&self) {
        if !self.is_writable() {
            self.write_held(&mut self.lock());
        }
    }

    /// Makes what was appended survive a power cut.
    pub(super) fn sync(&self) -> io::Result<()> {
        let (files, offset, folder_unsynced) = {
            let mut appender = self.lock();
            if appender.synced == appender.offset {
                return Ok(());
            }
            let mut files = appender.unsynced.clone();
            files.push(Arc::clone(&appender.file));
            let folder_unsynced = std::mem::take(&mut appender.folder_unsynced);
            (files, appender.offset, folder_unsynced)
        };
        // Outside the lock: requests go on appending.
        let synced = files
            .iter()
            .try_for_each(|file| file.sync_data())
            .and_then(|()| {
                if folder_unsynced {
                    self.stream.sync_folder()
                } else {
                    Ok(())
                }
            });
        let mut appender = self.lock();
        if let Err(error) = synced {
            appender.folder_unsynced |= folder_unsynced;
            return Err(error);
        }
        appender.synced = offset;
        appender
            .unsynced
            .retain(|file| !files.iter().any(|synced| Arc::ptr_eq(synced, file)));
        Ok(())
    }

    /// Takes no more entries: what comes from now on is dropped and counted.
    pub(super) fn seal(&self) {
        let mut appender = self.lock();
        self.write_held(&mut appender);
        let lost = appender.held.len() as u64;
        if lost > 0 {
            tracing::error!(
                lost,
                "the journal ends with entries that the disk never took"
            );
        }
        appender.held.clear();
        appender.held_bytes = 0;
        self.stats.held.store(0, Ordering::Relaxed);
        self.stats.dropped.fetch_add(lost, Ordering::Relaxed);
        // Cuts off what was reserved beyond the end.
        let length = appender.offset - appender.segment_start;
        if let Err(error) = appender.file.set_len(length) {
            tracing::debug!(%error, "cannot trim the journal file");
        }
        appender.alive = None;
    }

    /// Writes through this function from now on.
    #[cfg(test)]
    pub(super) fn write_through(&self, write_at: WriteAt) {
        self.lock().write_at = write_at;
    }

    /// Appends one entry.
    fn append(&self, entry: EntryRef<'_>) -> Appended {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        BUFFER.with_borrow_mut(|frame| {
            frame.clear();
            frame.resize(HEADER, 0);
            if let Err(error) = wire::encode(entry, frame) {
                self.stats.dropped.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "cannot encode a journal entry");
                return Appended::Dropped;
            }
            if frame.len() > HEADER + MAX_PAYLOAD {
                *frame = Vec::new();
                return Appended::TooLarge;
            }
            let appended = self.append_frame(frame);
            if frame.capacity() > KEPT_BUFFER {
                *frame = Vec::new();
            }
            appended
        })
    }

    fn append_frame(&self, frame: &mut [u8]) -> Appended {
        let mut appender = self.lock();
        if appender.alive.is_none() {
            self.stats.dropped.fetch_add(1, Ordering::Relaxed);
            return Appended::Dropped;
        }
        let offset = appender.offset + appender.held_bytes as u64;
        // Behind others that wait, an entry waits too: an end must not overtake its admission.
        if appender.held.is_empty() {
            match appender.write(frame, &self.stream, &self.stats) {
                Ok(()) => return Appended::Written(offset),
                Err(error) => self.refused(&mut appender, &error),
            }
        }
        let fits = appender.held_bytes + frame.len() <= appender.held_limit;
        if fits {
            appender.held_bytes += frame.len();
            appender.held.push_back((&*frame).into());
            self.stats
                .held
                .store(appender.held.len() as u64, Ordering::Relaxed);
        } else {
            self.stats.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if appender.retry_at.is_none_or(|at| Instant::now() >= at) {
            self.write_held(&mut appender);
        }
        match (fits, appender.held.is_empty()) {
            (false, _) => Appended::Dropped,
            (true, true) => Appended::Written(offset),
            (true, false) => Appended::Held(offset),
        }
    }

    /// Writes held entries in their order until the disk refuses one.
    fn write_held(&self, appender: &mut Appender) {
        while let Some(mut frame) = appender.held.pop_front() {
            if let Err(error) = appender.write(&mut frame, &self.stream, &self.stats) {
                appender.held.push_front(frame);
                self.refused(appender, &error);
                break;
            }
            appender.held_bytes -= frame.len();
        }
        let held = appender.held.len() as u64;
        self.stats.held.store(held, Ordering::Relaxed);
        if held == 0 && !self.writable.swap(true, Ordering::Relaxed) {
            appender.retry_at = None;
            appender.held.shrink_to_fit();
            tracing::info!(
                dropped = self.stats.dropped(),
                "the journal is written again"
            );
        }
    }

    fn refused(&self, appender: &mut Appender, error: &io::Error) {
        self.stats.journal_errors.fetch_add(1, Ordering::Relaxed);
        appender.retry_at = Some(Instant::now() + RETRY_AFTER);
        if self.writable.swap(false, Ordering::Relaxed) {
            tracing::error!(%error, "cannot write the journal; holding its entries in memory");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Appender> {
        // What is behind the lock is whole at every point where a panic could happen.
        self.appender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Appender {
    /// Writes one frame whose payload is filled in.
    fn write(&mut self, frame: &mut [u8], stream: &Stream, stats: &LedgerStats) -> io::Result<()> {
        if self.offset >= self.rotate_at {
            self.rotate(stream, stats);
        }
        frame::seal(frame, self.seed, self.offset);
        let mut rest: &[u8] = frame;
        let mut at = self.offset - self.segment_start;
        while !rest.is_empty() {
            match (self.write_at)(&self.file, rest, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest = &rest[count..];
                    at += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.offset += frame.len() as u64;
        stats.appended_bytes.store(self.offset, Ordering::Release);
        Ok(())
    }

    /// Begins a new file. Where none can be made the old one simply grows on.
    fn rotate(&mut self, stream: &Stream, stats: &LedgerStats) {
        match stream.create_segment(self.offset, self.segment_bytes) {
            Ok(file) => {
                // Its end is synced with the next `sync`, not here, where requests wait.
                let full = std::mem::replace(&mut self.file, Arc::new(file));
                self.unsynced.push(full);
                self.folder_unsynced = true;
                self.segment_start = self.offset;
                self.rotate_at = self.offset + self.segment_bytes;
            }
            Err(error) => {
                stats.journal_errors.fetch_add(1, Ordering::Relaxed);
                self.rotate_at = self.offset + ROTATE_AGAIN;
                tracing::warn!(%error, "cannot begin a new journal file; the old one grows on");
            }
        }
    }
}
