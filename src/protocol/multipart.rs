//! The fields of a `multipart/form-data` request (RFC 7578, RFC 2046 §5.1), read in passing.
//!
//! An upload streams through untouched; what it says of itself (`model`, `stream`, …) stands in
//! small parts before or behind the file. The reader sees each fragment once, cut anywhere, and
//! holds a line of at most [`LINE_MAX`] bytes of it. It is as tolerant as the servers it stands in
//! front of (lines may end in LF alone, boundaries may be quoted) and never fails a request: what
//! it cannot read stays unknown. Libraries that do this pull from a stream of their own, where an
//! upload could not pass untouched.

use memchr::memchr;

use super::rename::ModelPlace;
use super::request::RequestFacts;
use super::text;
use crate::record::Api;

/// Longest boundary that is looked for. RFC 2046 allows 70 bytes.
const BOUNDARY_MAX: usize = 256;
/// Longest value of a field that is read.
const VALUE_MAX: usize = 256;
/// Longest part of a header line, or of a field with the delimiter behind it, that is kept.
const LINE_MAX: usize = 1024;

/// A field that says something of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Model,
    Stream,
    User,
    SafetyIdentifier,
    Choices,
}

impl Field {
    fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"model" => Some(Self::Model),
            b"stream" => Some(Self::Stream),
            b"user" => Some(Self::User),
            b"safety_identifier" => Some(Self::SafetyIdentifier),
            b"n" => Some(Self::Choices),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the beginning of a line that may be a delimiter, so many bytes of which were seen.
    LineStart { matched: usize },
    /// In a line that is no delimiter.
    InLine,
    /// Behind a delimiter, before the end of its line.
    Delimiter,
    /// Behind a delimiter and a hyphen.
    Hyphen,
    /// Behind a delimiter and spaces.
    Padding,
    /// In a part's header.
    Header,
    /// Behind the last delimiter.
    End,
}

/// Reads one form, fragment by fragment.
#[derive(Debug)]
pub struct FormReader {
    /// `--` and the boundary.
    delimiter: Box<[u8]>,
    state: State,
    /// The part under way, where it is a field of interest.
    field: Option<Field>,
    /// The beginning of the header line or the field under way.
    kept: Vec<u8>,
    /// Where that begins, in bytes from the beginning of the form.
    begun_at: usize,
    /// Bytes of the form that were read.
    position: usize,
    /// Bytes of it so far.
    length: usize,
    /// Of them, those before the line under way, its line feed included.
    before_line: usize,
    facts: RequestFacts,
    user: Option<Box<str>>,
    /// How often the model was stated.
    models: u32,
}

/// What a form said of its model so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatedModel<'f> {
    /// Nothing.
    None,
    /// This.
    One(&'f str),
    /// More than one, or one that cannot be read: servers differ in what they make of it.
    Several,
}

impl FormReader {
    /// A reader for a request to `api` with this `Content-Type`; `None` when that is no
    /// `multipart/form-data` with a boundary.
    #[must_use]
    pub fn new(api: Api, content_type: &str) -> Option<Self> {
        let (essence, parameters) = content_type.split_once(';')?;
        if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = parameter(parameters.as_bytes(), b"boundary")?;
        if boundary.is_empty() || boundary.len() > BOUNDARY_MAX {
            return None;
        }
        Some(Self {
            delimiter: [b"--", &*boundary].concat().into(),
            state: State::LineStart { matched: 0 },
            field: None,
            kept: Vec::new(),
            begun_at: 0,
            position: 0,
            length: 0,
            before_line: 0,
            facts: RequestFacts::none(api),
            user: None,
            models: 0,
        })
    }

    /// The model, as far as the form was read.
    #[must_use]
    pub fn model(&self) -> StatedModel<'_> {
        match (self.models, self.facts.model.as_deref()) {
            (0, _) => StatedModel::None,
            (1, Some(model)) => StatedModel::One(model),
            _ => StatedModel::Several,
        }
    }

    /// Whether the last delimiter passed: what follows says nothing.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::End
    }

    /// Reads the next fragment.
    pub fn feed(&mut self, fragment: &[u8]) {
        let mut rest = fragment;
        while !rest.is_empty() {
            let used = match self.state {
                State::LineStart { matched } => self.line_start(rest, matched),
                State::InLine => self.in_line(rest),
                State::Delimiter | State::Hyphen | State::Padding => self.behind_delimiter(rest[0]),
                State::Header => self.header(rest),
                State::End => return,
            };
            rest = &rest[used..];
            self.position += used;
        }
    }

    /// What the form said; `well_formed` when its last delimiter was there.
    #[must_use]
    pub fn finish(mut self) -> RequestFacts {
        self.facts.well_formed = self.state == State::End;
        self.facts.end_user = self.facts.end_user.or(self.user);
        self.facts
    }

    fn line_start(&mut self, rest: &[u8], matched: usize) -> usize {
        let expected = &self.delimiter[matched..];
        let same = rest
            .iter()
            .zip(expected)
            .take_while(|(byte, expected)| byte == expected)
            .count();
        self.state = if same == expected.len() {
            State::Delimiter
        } else if same == rest.len() {
            State::LineStart {
                matched: matched + same,
            }
        } else {
            State::InLine
        };
        self.keep(&rest[..same]);
        same
    }

    fn in_line(&mut self, rest: &[u8]) -> usize {
        let used = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        self.keep(&rest[..used]);
        if rest[..used].ends_with(b"\n") {
            self.before_line = self.length;
            self.state = State::LineStart { matched: 0 };
        }
        used
    }

    /// One byte of a line that began like a delimiter: only two hyphens, or nothing but spaces,
    /// make it one. A boundary may begin like another.
    fn behind_delimiter(&mut self, byte: u8) -> usize {
        self.state = match (self.state, byte) {
            (State::Delimiter, b'-') => State::Hyphen,
            (State::Hyphen, b'-') => {
                self.take_field();
                State::End
            }
            (State::Delimiter | State::Padding, b' ' | b'\t' | b'\r') => State::Padding,
            (State::Delimiter | State::Padding, b'\n') => {
                self.take_field();
                self.state = State::Header;
                self.begin(self.position + 1);
                return 1;
            }
            _ => {
                // Read again as what it is.
                self.state = State::InLine;
                return 0;
            }
        };
        self.keep(&[byte]);
        1
    }

    fn header(&mut self, rest: &[u8]) -> usize {
        let used = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        self.keep(&rest[..used]);
        if rest[..used].ends_with(b"\n") {
            // A longer line names no field of interest.
            let whole = self.length <= LINE_MAX;
            let line = self.kept.trim_ascii_end();
            if line.is_empty() {
                self.state = State::LineStart { matched: 0 };
            } else if whole && let Some(parameters) = disposition(line) {
                self.field = field(parameters);
            }
            self.begin(self.position + used);
        }
        used
    }

    /// What comes next, from the form's byte `at` on, is kept from its beginning.
    fn begin(&mut self, at: usize) {
        self.begun_at = at;
        self.kept.clear();
        self.length = 0;
        self.before_line = 0;
    }

    fn keep(&mut self, piece: &[u8]) {
        self.length += piece.len();
        if self.field.is_some() || self.state == State::Header {
            let room = LINE_MAX.saturating_sub(self.kept.len());
            self.kept.extend_from_slice(&piece[..piece.len().min(room)]);
        }
    }

    /// The part ended with the line before the delimiter's.
    fn take_field(&mut self) {
        let Some(field) = self.field.take() else {
            return;
        };
        // Without any line the part has no content: its delimiter follows the header at once.
        let value = self.kept.get(..self.before_line).unwrap_or_default();
        let value = value.strip_suffix(b"\n").unwrap_or(value);
        let value = value.strip_suffix(b"\r").unwrap_or(value);
        let stated = (self.before_line <= LINE_MAX && value.len() <= VALUE_MAX)
            .then(|| std::str::from_utf8(value).ok())
            .flatten()
            .filter(|value| !value.is_empty());
        let facts = &mut self.facts;
        let name = stated.map(Box::from);
        match field {
            Field::Model => {
                let begun_at = self.begun_at;
                facts.model_place =
                    stated.map(|model| ModelPlace::in_form(begun_at..begun_at + model.len()));
                facts.model = name;
                self.models = self.models.saturating_add(1);
            }
            Field::Stream => {
                facts.stream = stated
                    .and_then(|value| text::boolean(value.trim().to_ascii_lowercase().as_bytes()));
            }
            Field::User => self.user = name,
            Field::SafetyIdentifier => facts.end_user = name,
            Field::Choices => {
                facts.choices = stated.and_then(|value| text::count(value.trim().as_bytes()));
            }
        }
    }
}

/// The parameters of a `Content-Disposition` line; `None` for any other line.
fn disposition(line: &[u8]) -> Option<&[u8]> {
    let colon = memchr(b':', line)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let kind_end = memchr(b';', value).map_or(value.len(), |end| end + 1);
    name.trim_ascii()
        .eq_ignore_ascii_case(b"content-disposition")
        .then(|| &value[kind_end..])
}

/// The field that a part with these parameters is; `None` when it is none of interest, or a file,
/// whatever its name.
fn field(parameters: &[u8]) -> Option<Field> {
    let is_file = parameter(parameters, b"filename").is_some()
        || parameter(parameters, b"filename*").is_some();
    let name = parameter(parameters, b"name").filter(|_| !is_file)?;
    Field::named(&name)
}

/// The value of a parameter in `a=b; c="d"` (RFC 9110 §5.6.6), unquoted; of two equal names the
/// first counts.
fn parameter(parameters: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut rest = parameters;
    while !rest.is_empty() {
        let equals = rest.iter().position(|byte| matches!(byte, b'=' | b';'))?;
        if rest[equals] == b';' {
            rest = &rest[equals + 1..];
            continue;
        }
        let found = rest[..equals].trim_ascii().eq_ignore_ascii_case(name);
        let (value, behind) = parameter_value(rest[equals + 1..].trim_ascii_start());
        if found {
            return Some(value);
        }
        let next = memchr(b';', behind)?;
        rest = &behind[next + 1..];
    }
    None
}

/// The value at the beginning of `text`, and what follows it.
fn parameter_value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = memchr(b';', text).unwrap_or(text.len());
        return (text[..end].trim_ascii().to_vec(), &text[end..]);
    };
    let mut value = Vec::new();
    let mut at = 0;
    while let Some(&byte) = quoted.get(at) {
        at += 1;
        match byte {
            b'"' => break,
            b'\\' => {
                value.extend(quoted.get(at));
                at += 1;
            }
            _ => value.push(byte),
        }
    }
    (value, quoted.get(at..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=limit";

    fn read<'f>(content_type: &str, fragments: impl IntoIterator<Item = &'f [u8]>) -> RequestFacts {
        let mut reader = FormReader::new(Api::Audio, content_type).unwrap();
        for fragment in fragments {
            reader.feed(fragment);
            assert!(reader.kept.len() <= LINE_MAX);
        }
        reader.finish()
    }

    fn part(name: &str, value: &str) -> String {
        format!("--limit\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    const FILE: &str = "--limit\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
        Content-Type: audio/wav\r\n\r\nRIFF\r\n--limit-not\r\n--limi\r\n\n--\r--limit\r\n--limitx--\r\n";

    fn form() -> String {
        [
            "a preamble\r\n",
            &part("user", "u-1"),
            &part("model", "too early"),
            FILE,
            &part("n", "2"),
            &part("model", "gpt-4o-transcribe"),
            &part("stream", "true"),
            "--limit--\r\nmodel=an epilogue\r\n--limit\r\n",
        ]
        .concat()
    }

    #[test]
    fn the_model_is_known_once_its_part_has_passed() {
        let whole = [&part("model", "whisper-1"), FILE, "--limit--\r\n"].concat();
        let mut reader = FormReader::new(Api::Audio, TYPE).unwrap();
        let (before, behind) = whole.split_once("RIFF").unwrap();
        assert_eq!(reader.model(), StatedModel::None);
        reader.feed(before.as_bytes());
        assert_eq!(reader.model(), StatedModel::One("whisper-1"));
        assert!(!reader.is_over());
        reader.feed(behind.as_bytes());
        assert!(reader.is_over());
        for several in [
            [part("model", "a"), part("model", "a")].concat(),
            part("model", &"m".repeat(300)),
            part("model", ""),
        ] {
            let mut reader = FormReader::new(Api::Audio, TYPE).unwrap();
            reader.feed(several.as_bytes());
            reader.feed(b"--limit--");
            assert_eq!(reader.model(), StatedModel::Several, "{several}");
        }
    }

    #[test]
    fn fields_before_and_behind_the_file_are_read() {
        for form in [form(), form().replace("\r\n", "\n")] {
            let facts = read(TYPE, [form.as_bytes()]);
            assert_eq!(facts.model.as_deref(), Some("gpt-4o-transcribe"));
            assert_eq!(facts.stream, Some(true));
            assert_eq!(facts.choices, Some(2));
            assert_eq!(facts.end_user.as_deref(), Some("u-1"));
            assert!(facts.well_formed);
        }
    }

    #[test]
    fn boundaries_and_names_in_every_spelling() {
        for (content_type, boundary) in [
            ("multipart/form-data; boundary=limit", "limit"),
            ("multipart/form-data;boundary=\"limit\"", "limit"),
            (
                "Multipart/Form-Data; charset=utf-8; BOUNDARY= limit ",
                "limit",
            ),
            (
                "multipart/form-data; a=\"; boundary=no\"; boundary=\"a;\\\"b c\"",
                "a;\"b c",
            ),
            (
                "multipart/form-data; boundary=----WebKitFormBoundaryx",
                "----WebKitFormBoundaryx",
            ),
        ] {
            for header in [
                "Content-Disposition: form-data; name=\"model\"",
                "content-disposition:form-data;name=model",
                "CONTENT-DISPOSITION: form-data; x=y; Name = \"mo\\del\" ",
                "Content-Type: text/plain\r\ncontent-disposition: form-data; name=model\r\nX: y",
            ] {
                let body = format!("--{boundary} \t\r\n{header}\r\n\r\nm\r\n--{boundary}--");
                let facts = read(content_type, [body.as_bytes()]);
                assert_eq!(facts.model.as_deref(), Some("m"), "{content_type} {header}");
                assert!(facts.well_formed, "{content_type}");
            }
        }
        for content_type in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/mixed; boundary=x",
            "application/json",
            "",
        ] {
            assert!(
                FormReader::new(Api::Audio, content_type).is_none(),
                "{content_type}"
            );
        }
    }

    #[test]
    fn what_is_no_field_says_nothing() {
        let long = "m".repeat(VALUE_MAX + 1);
        for body in [
            part("model", &long),
            part("model", &"m\r\n".repeat(2 * LINE_MAX)),
            part("model", ""),
            part("models", "m"),
            "--limit\r\ncontent-disposition: form-data; name=\"model\"; filename=\"m\"\r\n\r\nm\r\n".into(),
            "--limit\r\ncontent-disposition: form-data\r\n\r\nm\r\n".into(),
            "--limit\r\n\r\nname=\"model\"\r\n".into(),
            format!("--limit\r\ncontent-disposition: form-data; x={long}{long}{long}{long}; name=model\r\n\r\nm\r\n"),
            // The last of two counts.
            [part("model", "m"), part("model", &long)].concat(),
        ] {
            let facts = read(TYPE, [body.as_bytes(), b"--limit--"]);
            assert_eq!(facts.model, None, "{body}");
            assert!(facts.well_formed, "{body}");
        }
        // A part that does not end is none.
        let facts = read(TYPE, [part("model", "m").as_bytes()]);
        assert_eq!((facts.model, facts.well_formed), (None, false));
        let inner = "--limit\r\ncontent-disposition: form-data; name=\"model\"\r\n\
            content-type: multipart/mixed; boundary=inner\r\n\r\n--inner\r\n\r\nx\r\n--inner--\r\n--limit--";
        let facts = read(TYPE, [inner.as_bytes()]);
        assert_eq!(
            facts.model.as_deref(),
            Some("--inner\r\n\r\nx\r\n--inner--")
        );
    }

    #[test]
    fn a_field_may_be_as_long_as_a_name_and_hold_line_ends() {
        for value in ["m".repeat(VALUE_MAX), "a\r\n--limi\r\n\r\nb\r".into()] {
            let body = [&part("model", &value), "--limit--"].concat();
            let facts = read(TYPE, [body.as_bytes()]);
            assert_eq!(facts.model.as_deref(), Some(&*value));
        }
    }

    proptest! {
        #[test]
        fn cut_anywhere_the_same_is_read(cuts in prop::collection::vec(any::<usize>(), 0..20)) {
            let form = form();
            let pieces = super::super::tests::pieces(form.as_bytes(), &cuts);
            prop_assert_eq!(read(TYPE, [form.as_bytes()]), read(TYPE, pieces));
            prop_assert_eq!(read(TYPE, [form.as_bytes()]), read(TYPE, form.as_bytes().chunks(1)));
        }

        /// Noise made of what forms are made of: no panic, and no difference by the cuts.
        #[test]
        fn shuffled_forms(
            parts in prop::collection::vec(prop::sample::select(vec![
                "--limit", "\r\n", "\n", "\r", "--", "-", " ", "limit", "Content-Disposition: form-data; name=",
                "\"model\"", "model", ";", "\"", "\\", "filename=x", "\r\n\r\n", "m", "--limit--\r\n", ":",
                "--limit\r\ncontent-disposition: form-data; name=model\r\n\r\n", "é",
            ]), 0..40),
            cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let form = parts.concat();
            let pieces = super::super::tests::pieces(form.as_bytes(), &cuts);
            let whole = read(TYPE, [form.as_bytes()]);
            prop_assert_eq!(&whole, &read(TYPE, pieces));
            prop_assert_eq!(&whole, &read(TYPE, form.as_bytes().chunks(1)));
        }

        /// What a form of any fields and files means, by construction.
        #[test]
        fn forms_as_clients_write_them(
            model in "[ -~]{1,40}",
            content in prop::collection::vec(any::<u8>(), 0..600),
            behind: bool,
            cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let delimiter = b"--x0Yz-not-in-it";
            prop_assume!(!content.windows(delimiter.len()).any(|window| window == delimiter));
            let field = format!("\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n");
            let mut file = b"\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n".to_vec();
            file.extend_from_slice(&content);
            file.extend_from_slice(b"\r\n");
            let parts = if behind { [&file[..], field.as_bytes()] } else { [field.as_bytes(), &file[..]] };
            let body = [&delimiter[..], parts[0], delimiter, parts[1], delimiter, b"--\r\n"].concat();
            let facts = read(
                "multipart/form-data; boundary=x0Yz-not-in-it",
                super::super::tests::pieces(&body, &cuts),
            );
            prop_assert_eq!(facts.model.as_deref(), Some(&*model));
            prop_assert!(facts.well_formed);
        }
    }
}
