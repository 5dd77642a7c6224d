//! One recorded exchange with a provider, read from a file: what a client sends, what the provider
//! answers, and how the answer ends. Adding a case is adding a file; nothing names the cases.
//!
//! ```text
//! # What this case shows: any number of lines that begin with `#`.
//! POST /v1/chat/completions
//! content-type: application/json
//!
//! {"model":"gpt-5-mini","messages":[]}
//! HTTP/1.1 200 OK
//! content-type: text/event-stream
//! @end cut
//!
//! data: {"choices":[…
//! ```
//!
//! - The file is `tests/golden/<api>-<case>.http`; its name is the name of the row in the table.
//! - A request without `content-type` that has a body is `application/json`. Its body ends before
//!   the line that begins with `HTTP/1.1 `; the line end before that is not part of it.
//! - The answer's body is every byte after the empty line, to the last one of the file; but the
//!   line end at the end of the file is not part of an answer that is not `whole`.
//! - Lines that begin with `@` say more, in either head:
//!   - `@body FILE`: the body is that file beside this one (large or binary bodies);
//!   - `@coding gzip` (deflate, br, zstd): the answer is sent in that content coding;
//!   - `@end whole` (when nothing is said), `cut` (the upstream closes before the announced end),
//!     `early` (the framing ends there as it should, though the answer is not complete), `reset` (it resets the connection), `left` (it goes on, but the client leaves after these
//!     bytes).
//!
//! Who reads them: `tests/e2e/golden.rs` plays every case through the real proxy and compares the
//! ledger's rows with one snapshot, `tests/golden/table.snap` (after adding a case:
//! `INSTA_UPDATE=always cargo test --test e2e golden`); `src/protocol/tests/golden.rs` reads every
//! answer cut anywhere and in every content coding.

use std::fs;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// The file's name without its ending.
    pub(crate) name: String,
    /// The request's method.
    pub(crate) method: String,
    /// Its path and query.
    pub(crate) target: String,
    /// Its fields, without those that frame the body.
    pub(crate) request_fields: Vec<(String, String)>,
    /// Its body.
    pub(crate) request_body: Vec<u8>,
    /// Status code and reason, as in `200 OK`.
    pub(crate) status: String,
    /// The answer's fields, without those that frame the body.
    pub(crate) fields: Vec<(String, String)>,
    /// The answer's body, plain.
    pub(crate) body: Vec<u8>,
    /// The content coding that the answer is sent in.
    pub(crate) coding: Option<String>,
    /// How the answer ends.
    pub(crate) end: End,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As announced.
    Whole,
    /// The upstream closes too early.
    Cut,
    /// The body ends as its framing has it, but the answer is not complete.
    Early,
    /// The upstream resets the connection.
    Reset,
    /// The client leaves.
    Left,
}

impl Exchange {
    /// The answer's content type.
    pub(crate) fn content_type(&self) -> Option<&str> {
        let mut fields = self.fields.iter();
        let field = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-type"))?;
        Some(&field.1)
    }

    /// The status code.
    pub(crate) fn status_code(&self) -> u16 {
        let code = self.status.split(' ').next().unwrap_or_default();
        code.parse()
            .unwrap_or_else(|_| panic!("{}: no status code in {:?}", self.name, self.status))
    }

    fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let bytes = fs::read(path).unwrap();
        let mut text = Text {
            name: &name,
            rest: &bytes,
        };
        let mut start = text.line();
        while start.starts_with('#') {
            start = text.line();
        }
        let (method, target) = start
            .split_once(' ')
            .unwrap_or_else(|| panic!("{name}: no request line in {start:?}"));
        let request = text.head();
        let request_body = text.until_answer();
        let status = text.line();
        let status = status
            .strip_prefix("HTTP/1.1 ")
            .unwrap_or_else(|| panic!("{name}: no status line in {status:?}"));
        let answer = text.head();
        let end = match answer.said("end") {
            None | Some("whole") => End::Whole,
            Some("cut") => End::Cut,
            Some("early") => End::Early,
            Some("reset") => End::Reset,
            Some("left") => End::Left,
            Some(other) => panic!("{name}: no end is called {other}"),
        };
        let body = if end == End::Whole {
            text.rest
        } else {
            without_line_end(text.rest)
        };
        let beside = |head: &Head, inline: &[u8]| match head.said("body") {
            Some(file) => fs::read(path.with_file_name(file)).unwrap(),
            None => inline.to_vec(),
        };
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            request_body: beside(&request, request_body),
            request_fields: request.fields,
            status: status.to_owned(),
            body: beside(&answer, body),
            coding: answer.said("coding").map(str::to_owned),
            fields: answer.fields,
            end,
            name,
        }
    }
}

/// Every case there is, by name.
pub(crate) fn exchanges() -> Vec<Exchange> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "http"))
        .collect();
    paths.sort_by_key(|path| path.file_stem().map(ToOwned::to_owned));
    paths.iter().map(|path| Exchange::read(path)).collect()
}

#[derive(Default)]
struct Head {
    fields: Vec<(String, String)>,
    directives: Vec<(String, String)>,
}

impl Head {
    fn said(&self, directive: &str) -> Option<&str> {
        let mut directives = self.directives.iter();
        let found = directives.find(|(name, _)| name == directive)?;
        Some(&found.1)
    }
}

struct Text<'t> {
    name: &'t str,
    rest: &'t [u8],
}

impl<'t> Text<'t> {
    fn line(&mut self) -> String {
        assert!(!self.rest.is_empty(), "{}: ends too early", self.name);
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let (line, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &self.rest[self.rest.len()..]),
        };
        self.rest = rest;
        String::from_utf8(line.strip_suffix(b"\r").unwrap_or(line).to_vec()).unwrap()
    }

    fn head(&mut self) -> Head {
        let mut head = Head::default();
        loop {
            let line = self.line();
            if line.is_empty() {
                return head;
            }
            let (list, split) = match line.strip_prefix('@') {
                Some(directive) => (&mut head.directives, directive.split_once(' ')),
                None => (&mut head.fields, line.split_once(": ")),
            };
            let (name, value) = split.unwrap_or_else(|| panic!("{}: {line:?}", self.name));
            list.push((name.to_owned(), value.to_owned()));
        }
    }

    /// The bytes before the line that begins the answer.
    fn until_answer(&mut self) -> &'t [u8] {
        const ANSWER: &[u8] = b"HTTP/1.1 ";
        let starts = |at: usize| {
            (at == 0 || self.rest[at - 1] == b'\n') && self.rest[at..].starts_with(ANSWER)
        };
        let at = (0..self.rest.len())
            .find(|&at| starts(at))
            .unwrap_or_else(|| panic!("{}: no answer", self.name));
        let (body, rest) = self.rest.split_at(at);
        self.rest = rest;
        without_line_end(body)
    }
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}
