//! Where the files of a backup go: a folder, or standard output as a tar archive.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Stdout, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::clock::UnixMicros;
use crate::ledger::make_private_folder;

/// Files in a folder, which their owner alone can read.
#[derive(Debug)]
pub(in crate::cli) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Below `path`, which is made when it is not there.
    pub(in crate::cli) fn at(path: &Path) -> io::Result<Self> {
        make_private_folder(path)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Where a file of that name is.
    pub(in crate::cli) fn place(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file of exactly `bytes` bytes, and syncs it.
    pub(in crate::cli) fn add(
        &self,
        name: &str,
        content: &mut impl Read,
        bytes: u64,
    ) -> io::Result<()> {
        let path = self.place(name);
        if let Some(folder) = path.parent() {
            make_private_folder(folder)?;
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        whole(io::copy(&mut content.take(bytes), &mut file)?, bytes)?;
        file.sync_all()
    }

    /// Makes the names last too.
    pub(in crate::cli) fn finish(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Takes back what was written into a folder that was empty.
    pub(in crate::cli) fn clear(&self) {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            // What stays says so itself: it is in the way of the next backup.
            let _ = if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                fs::remove_dir_all(entry.path())
            } else {
                fs::remove_file(entry.path())
            };
        }
    }
}

/// A tar archive on standard output.
pub(super) struct Archive {
    builder: tar::Builder<Stdout>,
    made_at: UnixMicros,
}

impl Archive {
    pub(super) fn new(made_at: UnixMicros) -> Self {
        Self {
            builder: tar::Builder::new(io::stdout()),
            made_at,
        }
    }

    /// Writes a file of exactly `bytes` bytes.
    pub(super) fn add(
        &mut self,
        name: &str,
        content: &mut impl Read,
        bytes: u64,
    ) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(self.made_at.0 / 1_000_000).unwrap_or(0));
        let mut counted = Counted {
            content: content.take(bytes),
            read: 0,
        };
        self.builder.append_data(&mut header, name, &mut counted)?;
        whole(counted.read, bytes)
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.builder.finish()?;
        self.builder.get_mut().flush()
    }
}

/// Where a file is shorter than it was, its copy would be another file.
fn whole(written: u64, bytes: u64) -> io::Result<()> {
    if written == bytes {
        return Ok(());
    }
    let reason = format!("it ends after {written} of {bytes} bytes");
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason))
}

/// Counts what is read.
struct Counted<R> {
    content: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}
