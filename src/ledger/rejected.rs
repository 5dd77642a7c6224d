//! What cannot become a row is set aside in `journal/rejected`, one line of JSON each: where it
//! lay, why, and its bytes. A crash between that and the commit can write a line twice; stream and
//! offset tell.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use uuid::Uuid;

/// The file takes no more lines from this size on; the counter goes on.
const FULL: u64 = 16 << 20;

/// An entry, or damaged bytes, that cannot become a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejected {
    /// The stream it lay in.
    pub(super) stream: Uuid,
    /// Its offset there.
    pub(super) offset: u64,
    /// Why.
    pub(super) reason: String,
    /// Its first bytes.
    pub(super) bytes: Vec<u8>,
}

/// Sets entries aside and says so once for all of them.
pub(super) fn set_aside(folder: &Path, rejected: &[Rejected]) {
    let Some(first) = rejected.first() else {
        return;
    };
    tracing::error!(
        entries = rejected.len(),
        stream = %first.stream,
        offset = first.offset,
        reason = first.reason,
        "journal entries cannot become rows; set aside in journal/rejected"
    );
    if let Err(error) = write(folder, rejected) {
        tracing::error!(%error, "cannot write journal/rejected");
    }
}

fn write(folder: &Path, rejected: &[Rejected]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(folder.join("rejected"))?;
    if file.metadata()?.len() >= FULL {
        return Ok(());
    }
    for entry in rejected {
        let mut line = serde_json::json!({
            "stream": entry.stream,
            "offset": entry.offset,
            "reason": entry.reason,
            "bytes": hex(&entry.bytes),
        })
        .to_string();
        line.push('\n');
        file.write_all(line.as_bytes())?;
    }
    Ok(())
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}
