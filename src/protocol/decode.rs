//! Incremental decoding of `Content-Encoding` (RFC 9110 §8.4): gzip, deflate, br, zstd.
//!
//! A decoder's memory is its format's window: 32 KiB for gzip and deflate, what the stream's
//! header asks for with br (at most 16 MiB, RFC 7932) and zstd (at most 8 MiB here, the bound that
//! RFC 9659 sets for HTTP). It does not grow with the body.

use std::fmt;
use std::ops::ControlFlow;

use brotli::writer::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// Plain bytes are handed out in pieces of at most this size.
const PIECE: usize = 8 * 1024;
/// More codings than any server applies.
const CODINGS_MAX: usize = 3;
/// RFC 9659: a decoder for HTTP need not support windows above 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Window of gzip and deflate (RFC 1951) as a power of two.
const INFLATE_WINDOW_BITS: u8 = 15;

/// A `Content-Encoding` nobody here decodes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Content-Encoding `{0}` is not at most three of gzip, deflate, br, zstd, identity")]
pub struct UnsupportedEncoding(pub Box<str>);

/// Why encoded bytes do not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not what the encoding allows.
    #[error("the body is not valid {0}")]
    Invalid(&'static str),
    /// The body ended inside the encoded stream.
    #[error("the {0} stream ends too early")]
    Truncated(&'static str),
}

/// Whether to go on, or what is wrong.
type Flow = Result<ControlFlow<()>, DecodeError>;

/// Decodes a body fragment by fragment.
pub struct Decoder {
    /// In the order of decoding: the coding applied last comes first.
    stages: Vec<Stage>,
}

impl Decoder {
    /// A decoder for the value of `Content-Encoding`; `None` when it says identity only.
    pub fn new(content_encoding: &str) -> Result<Option<Self>, UnsupportedEncoding> {
        let unsupported = || UnsupportedEncoding(content_encoding.chars().take(64).collect());
        let mut stages = Vec::new();
        for coding in content_encoding.split(',').map(str::trim).rev() {
            let is = |name: &str| coding.eq_ignore_ascii_case(name);
            if coding.is_empty() || is("identity") {
                continue;
            }
            let coding = if is("gzip") || is("x-gzip") {
                Coding::Inflate(Inflate::gzip())
            } else if is("deflate") {
                Coding::Inflate(Inflate::deflate())
            } else if is("br") {
                Coding::Brotli(Brotli::new())
            } else if is("zstd") {
                Coding::Zstd(Zstd::new().ok_or_else(unsupported)?)
            } else {
                return Err(unsupported());
            };
            if stages.len() == CODINGS_MAX {
                return Err(unsupported());
            }
            stages.push(Stage {
                coding,
                piece: vec![0; PIECE].into_boxed_slice(),
                begun: false,
            });
        }
        Ok((!stages.is_empty()).then_some(Self { stages }))
    }

    /// Decodes the next fragment and hands the plain bytes to `sink` in pieces of at most 8 KiB,
    /// until it breaks. After a break or an error the decoder must not be used again.
    pub fn decode(
        &mut self,
        fragment: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, DecodeError> {
        run(&mut self.stages, fragment, sink)
    }

    /// The body ended: an error when the encoded stream did not. An empty body is complete.
    pub fn finish(&mut self) -> Result<(), DecodeError> {
        match self
            .stages
            .iter()
            .find(|stage| stage.begun && !stage.ended())
        {
            Some(stage) => Err(DecodeError::Truncated(stage.name())),
            None => Ok(()),
        }
    }

    /// Bytes of heap held, as far as the libraries let it be known.
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        self.stages.iter().map(Stage::retained_bytes).sum()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.stages.iter().map(Stage::name))
            .finish()
    }
}

fn run(stages: &mut [Stage], input: &[u8], sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> Flow {
    match stages {
        [] => Ok(sink(input)),
        [stage, rest @ ..] => stage.decode(input, &mut |plain| run(rest, plain, sink)),
    }
}

struct Stage {
    coding: Coding,
    piece: Box<[u8]>,
    begun: bool,
}

enum Coding {
    Inflate(Inflate),
    Brotli(Brotli),
    Zstd(Zstd),
}

impl Stage {
    fn decode(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8]) -> Flow) -> Flow {
        if input.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        self.begun = true;
        let name = self.name();
        let mut input = input;
        loop {
            let step = match &mut self.coding {
                Coding::Inflate(inflate) => inflate.step(input, &mut self.piece),
                Coding::Brotli(brotli) => brotli.step(input, &mut self.piece),
                Coding::Zstd(zstd) => zstd.step(input, &mut self.piece),
            };
            let step = step.ok_or(DecodeError::Invalid(name))?;
            input = &input[step.consumed..];
            if step.produced > 0 && sink(&self.piece[..step.produced])?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            // A piece that was filled may have left more inside.
            let full = step.produced == self.piece.len();
            let stuck = step.consumed == 0 && step.produced == 0;
            if stuck || (input.is_empty() && !full) {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    fn ended(&self) -> bool {
        match &self.coding {
            Coding::Inflate(inflate) => inflate.ended,
            Coding::Brotli(brotli) => brotli.ended,
            Coding::Zstd(zstd) => zstd.ended,
        }
    }

    fn name(&self) -> &'static str {
        match &self.coding {
            Coding::Inflate(inflate) => inflate.name,
            Coding::Brotli(_) => "br",
            Coding::Zstd(_) => "zstd",
        }
    }

    fn retained_bytes(&self) -> usize {
        self.piece.len()
            + match &self.coding {
                // zlib-ng: the window and the tables of the block under way.
                Coding::Inflate(_) => 48 * 1024,
                Coding::Brotli(brotli) => {
                    size_of_val(&*brotli.state)
                        + usize::try_from(brotli.state.ringbuffer_size).unwrap_or(0)
                }
                Coding::Zstd(zstd) => zstd.state.sizeof(),
            }
    }
}

/// What one call of a library did.
struct Step {
    consumed: usize,
    produced: usize,
}

impl Step {
    /// The rest of the input is of no meaning.
    fn ignore(input: &[u8]) -> Self {
        Self {
            consumed: input.len(),
            produced: 0,
        }
    }
}

struct Inflate {
    name: &'static str,
    /// `None` for `deflate` until two bytes have told zlib (RFC 1950) from raw deflate, which
    /// servers have sent under that name since 1999.
    state: Option<Decompress>,
    first: Option<u8>,
    ended: bool,
    /// What follows the last gzip member is padding.
    closed: bool,
}

impl Inflate {
    fn gzip() -> Self {
        Self {
            name: "gzip",
            state: Some(Decompress::new_gzip(INFLATE_WINDOW_BITS)),
            first: None,
            ended: false,
            closed: false,
        }
    }

    fn deflate() -> Self {
        Self {
            name: "deflate",
            state: None,
            ..Self::gzip()
        }
    }

    fn step(&mut self, input: &[u8], piece: &mut [u8]) -> Option<Step> {
        let state = match &mut self.state {
            Some(state) => state,
            None => match self.tell_format(input) {
                Some(state) => self.state.insert(state),
                None => return Some(Step::ignore(input)),
            },
        };
        if self.ended {
            // RFC 1952: a gzip file is a series of members.
            if input.is_empty() {
                return Some(Step::ignore(input));
            }
            if self.name == "gzip" && !self.closed && input[0] == 0x1F {
                *state = Decompress::new_gzip(INFLATE_WINDOW_BITS);
                self.ended = false;
            } else {
                self.closed = true;
                return Some(Step::ignore(input));
            }
        }
        let step = inflate(state, input, piece)?;
        self.ended = step.1;
        Some(step.0)
    }

    /// What `deflate` means here, once its first two bytes are known.
    fn tell_format(&mut self, input: &[u8]) -> Option<Decompress> {
        let (first, second) = match (self.first, input) {
            (Some(first), [second, ..]) => (first, *second),
            (None, [first, second, ..]) => (*first, *second),
            _ => {
                self.first = self.first.or(input.first().copied());
                return None;
            }
        };
        let zlib = first & 0x0F == 8
            && first >> 4 <= 7
            && (u16::from(first) << 8 | u16::from(second)) % 31 == 0;
        let mut state = Decompress::new(zlib);
        if self.first.is_some() {
            // One byte makes no output in either format; what is wrong with it the next call
            // says again.
            let _ = inflate(&mut state, &[first], &mut [0; 8]);
        }
        Some(state)
    }
}

/// One call of the library, and whether the stream ended in it.
fn inflate(state: &mut Decompress, input: &[u8], piece: &mut [u8]) -> Option<(Step, bool)> {
    let (input_before, output_before) = (state.total_in(), state.total_out());
    let status = state.decompress(input, piece, FlushDecompress::None).ok()?;
    let step = Step {
        consumed: usize::try_from(state.total_in() - input_before).ok()?,
        produced: usize::try_from(state.total_out() - output_before).ok()?,
    };
    Some((step, status == Status::StreamEnd))
}

struct Brotli {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    ended: bool,
}

impl Brotli {
    fn new() -> Self {
        Self {
            // Strict: without the large windows that HTTP's `br` does not have.
            state: Box::new(BrotliState::new_strict(
                StandardAlloc::default(),
                StandardAlloc::default(),
                StandardAlloc::default(),
            )),
            ended: false,
        }
    }

    fn step(&mut self, input: &[u8], piece: &mut [u8]) -> Option<Step> {
        if self.ended {
            return Some(Step::ignore(input));
        }
        let (mut available_in, mut consumed) = (input.len(), 0);
        let (mut available_out, mut produced) = (piece.len(), 0);
        let mut total = 0;
        let result = BrotliDecompressStream(
            &mut available_in,
            &mut consumed,
            input,
            &mut available_out,
            &mut produced,
            piece,
            &mut total,
            &mut self.state,
        );
        match result {
            BrotliResult::ResultFailure => return None,
            BrotliResult::ResultSuccess => self.ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        Some(Step { consumed, produced })
    }
}

struct Zstd {
    state: DCtx<'static>,
    ended: bool,
}

impl Zstd {
    fn new() -> Option<Self> {
        let mut state = DCtx::try_create()?;
        state
            .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))
            .ok()?;
        Some(Self {
            state,
            ended: false,
        })
    }

    /// A zstd body may be several frames; the library begins the next one by itself.
    fn step(&mut self, input: &[u8], piece: &mut [u8]) -> Option<Step> {
        if self.ended && input.is_empty() {
            return Some(Step::ignore(input));
        }
        let mut source = InBuffer::around(input);
        let mut target = OutBuffer::around(piece);
        let hint = self
            .state
            .decompress_stream(&mut target, &mut source)
            .ok()?;
        self.ended = hint == 0;
        Some(Step {
            consumed: source.pos(),
            produced: target.pos(),
        })
    }
}
