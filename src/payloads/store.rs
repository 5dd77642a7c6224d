//! The files: a folder a day, a file a request.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::clock::UnixMicros;
use crate::ledger::make_private_folder;
use crate::record::RequestId;

use super::stored::StoredPayload;

/// zstd's own default: fast, and small enough for text.
const COMPRESSION_LEVEL: i32 = 3;

/// How files that are complete end.
const ENDING: &str = ".json.zst";

/// What is added while a file is written.
const UNFINISHED: &str = ".unfinished";

/// Length of a request id's text.
const ID_BYTES: usize = 36;

/// Why a payload that is there cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the payload {}: {source}", .path.display())]
pub struct ReadError {
    path: PathBuf,
    source: io::Error,
}

/// The payload of a request below `data_dir`; `None` when none was kept, or not any more.
pub fn read(data_dir: &Path, id: RequestId) -> Result<Option<StoredPayload>, ReadError> {
    let Some(day) = day_of(id) else {
        return Ok(None);
    };
    let path = folder(data_dir)
        .join(day.to_string())
        .join(format!("{id}{ENDING}"));
    let file = match File::open(&path) {
        Err(error) if is_absent(&error) => return Ok(None),
        file => file,
    };
    let payload = file.and_then(|file| {
        let plain = BufReader::new(zstd::Decoder::new(file)?);
        serde_json::from_reader(plain).map_err(io::Error::from)
    });
    payload
        .map(Some)
        .map_err(|source| ReadError { path, source })
}

/// Where payloads lie in a data folder.
pub(super) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("payloads")
}

/// Writes a payload into its day's folder, whole or not at all.
pub(super) fn write(folder: &Path, payload: &StoredPayload) -> io::Result<()> {
    let day = day_of(payload.id).ok_or(io::ErrorKind::InvalidInput)?;
    let day = folder.join(day.to_string());
    let path = day.join(format!("{}{ENDING}", payload.id));
    let unfinished = day.join(format!("{}{ENDING}{UNFINISHED}", payload.id));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = match options.open(&unfinished) {
        Err(error) if is_absent(&error) => {
            make_private_folder(&day)?;
            options.open(&unfinished)?
        }
        file => file?,
    };
    let written = compress(payload, file).and_then(|()| fs::rename(&unfinished, &path));
    if written.is_err() {
        // What is left of it goes with its day.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn compress(payload: &StoredPayload, file: File) -> io::Result<()> {
    let encoder = zstd::Encoder::new(file, COMPRESSION_LEVEL)?;
    let mut buffered = BufWriter::new(encoder);
    serde_json::to_writer(&mut buffered, payload)?;
    buffered.flush()?;
    let encoder = buffered
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    encoder.finish().map(drop)
}

/// Deletes what is older than `retention` at `now`: days that are over for that long whole, with
/// whatever lies in them, and of the day in which the line falls the files of older requests. The
/// first failure is told after everything else was tried.
pub(super) fn expire(folder: &Path, retention: Duration, now: UnixMicros) -> io::Result<()> {
    let line = now.minus(retention);
    let mut failure = None;
    for entry in entries(folder)? {
        let deleted = entry.and_then(|entry| {
            let Some(day) = day_named(&entry.file_name()) else {
                // Not ours.
                return Ok(());
            };
            let (start, end) = (start_of(day)?, start_of(day.tomorrow().map_err(other)?)?);
            if end <= line {
                present(fs::remove_dir_all(entry.path()))
            } else if start < line {
                expire_within(&entry.path(), line)
            } else {
                Ok(())
            }
        });
        failure = failure.or(deleted.err());
    }
    failure.map_or(Ok(()), Err)
}

/// Deletes the files in a day's folder whose requests began before `line`, finished or not.
fn expire_within(day: &Path, line: UnixMicros) -> io::Result<()> {
    let mut failure = None;
    for entry in entries(day)? {
        let deleted = entry.and_then(|entry| {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.get(..ID_BYTES));
            let began = id.and_then(|id| id.parse::<RequestId>().ok()?.moment());
            if began.is_some_and(|began| began < line) {
                present(fs::remove_file(entry.path()))
            } else {
                Ok(())
            }
        });
        failure = failure.or(deleted.err());
    }
    failure.map_or(Ok(()), Err)
}

/// What lies in a folder; nothing when it is not there.
fn entries(folder: &Path) -> io::Result<Box<dyn Iterator<Item = io::Result<fs::DirEntry>>>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(Box::new(entries)),
        Err(error) if is_absent(&error) => Ok(Box::new(std::iter::empty())),
        Err(error) => Err(error),
    }
}

/// During an upgrade two processes delete the same.
fn present(deleted: io::Result<()>) -> io::Result<()> {
    match deleted {
        Err(error) if is_absent(&error) => Ok(()),
        deleted => deleted,
    }
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// The day in UTC on which the request of this id began.
fn day_of(id: RequestId) -> Option<Date> {
    let moment = id.moment()?;
    Some(moment.timestamp().to_zoned(TimeZone::UTC).date())
}

/// Whether a folder of this name in `payloads` holds a day's payloads: others are not Tollgate's.
#[must_use]
pub fn is_day(name: &str) -> bool {
    day_named(name.as_ref()).is_some()
}

/// The day that a folder of this name holds.
fn day_named(name: &std::ffi::OsStr) -> Option<Date> {
    let name = name.to_str()?;
    let day: Date = name.parse().ok()?;
    (day.to_string() == name).then_some(day)
}

fn start_of(day: Date) -> io::Result<UnixMicros> {
    let start = day.to_zoned(TimeZone::UTC).map_err(other)?;
    Ok(start.timestamp().into())
}

fn other(error: jiff::Error) -> io::Error {
    io::Error::other(error)
}
