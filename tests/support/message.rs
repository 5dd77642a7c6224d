//! HTTP/1.1 messages as bytes: reading heads and bodies without hiding anything of them.

use std::io::{self, Read};

/// Header fields in their order on the wire, names as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

impl Headers {
    /// The value of the first field of that name, in any letter case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter();
        let field = fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?;
        Some(&field.1)
    }

    /// The fields without those named, names in lower case, sorted: what two messages that took
    /// different ways must have in common.
    pub(crate) fn without(&self, names: &[&str]) -> Vec<(String, String)> {
        let mut fields: Vec<_> = self
            .0
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .filter(|(name, _)| !names.contains(&name.as_str()))
            .collect();
        fields.sort();
        fields
    }
}

/// A start line and header fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// The request line or status line.
    pub(crate) start: String,
    /// The fields.
    pub(crate) headers: Headers,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    Empty,
    /// This many bytes.
    Length(u64),
    /// Chunks until one of length 0.
    Chunked,
    /// Everything until the connection closes.
    UntilClose,
}

/// Bytes that arrive, buffered, with the position of the reader.
pub(crate) struct Wire<S> {
    stream: S,
    buffer: Vec<u8>,
    taken: usize,
}

impl<S: Read> Wire<S> {
    /// Reads from `stream`.
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            taken: 0,
        }
    }

    /// The stream, for writing.
    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    fn pending(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let bytes = self.pending()[..count].to_vec();
        self.taken += count;
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            self.taken = 0;
        }
        bytes
    }

    /// Reads more; false at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = vec![0; 64 * 1024];
        let count = self.stream.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }

    /// Bytes up to and including `mark`; `None` when the stream ends before the first of them.
    fn until(&mut self, mark: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            let pending = self.pending();
            let from = searched.min(pending.len());
            if let Some(at) = pending[from..].windows(mark.len()).position(|w| w == mark) {
                return Ok(Some(self.take(from + at + mark.len())));
            }
            searched = pending.len().saturating_sub(mark.len() - 1);
            if !self.fill()? {
                return if self.pending().is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// The next message's head; `None` when the peer closed instead.
    pub(crate) fn head(&mut self) -> io::Result<Option<Head>> {
        let Some(bytes) = self.until(b"\r\n\r\n")? else {
            return Ok(None);
        };
        let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        Ok(Some(Head {
            start,
            headers: Headers(lines.map(field).collect()),
        }))
    }

    /// Passes each piece of a body to `piece` as it arrives; returns the trailers. An error means
    /// that the body was cut off.
    pub(crate) fn body(
        &mut self,
        framing: Framing,
        mut piece: impl FnMut(&[u8]),
    ) -> io::Result<Headers> {
        match framing {
            Framing::Empty => {}
            Framing::Length(length) => self.exactly(length, &mut piece)?,
            Framing::UntilClose => self.until_close(&mut piece)?,
            Framing::Chunked => {
                while let Some(chunk) = self.chunk()? {
                    piece(&chunk);
                }
                return self.trailers();
            }
        }
        Ok(Headers::default())
    }

    /// The next chunk of a chunked body; `None` is the last one, before the trailers.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16)
            .map_err(|_| io::Error::other(format!("no chunk size: {line:?}")))?;
        if size == 0 {
            return Ok(None);
        }
        let mut chunk = Vec::new();
        self.exactly(size, &mut |piece| chunk.extend_from_slice(piece))?;
        self.line()?;
        Ok(Some(chunk))
    }

    fn line(&mut self) -> io::Result<String> {
        let line = self.until(b"\r\n")?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(String::from_utf8_lossy(&line).trim().to_owned())
    }

    /// Passes on everything until the connection closes.
    pub(crate) fn until_close(&mut self, mut piece: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let count = self.pending().len();
            piece(&self.take(count));
            if !self.fill()? {
                return Ok(());
            }
        }
    }

    /// Passes on so many bytes.
    pub(crate) fn exactly(&mut self, length: u64, piece: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut left = usize::try_from(length).unwrap();
        while left > 0 {
            if self.pending().is_empty() && !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = left.min(self.pending().len());
            piece(&self.take(count));
            left -= count;
        }
        Ok(())
    }

    fn trailers(&mut self) -> io::Result<Headers> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Headers(fields));
            }
            fields.push(field(&line));
        }
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_owned(), value.trim().to_owned())
}

/// How the body after `head` is framed; `bare` is what it means when nothing says so (a request:
/// none, an answer: until the connection closes). RFC 9112, section 6.3.
pub(crate) fn framing(head: &Head, bare: Framing) -> Framing {
    let chunked = head
        .headers
        .get("transfer-encoding")
        .is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    if chunked {
        return Framing::Chunked;
    }
    head.headers
        .get("content-length")
        .and_then(|value| value.parse().ok())
        .map_or(bare, Framing::Length)
}

/// `pieces` as a chunked body without its end.
pub(crate) fn chunks<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
