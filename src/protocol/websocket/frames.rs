//! The messages in a direction's bytes. The heads of frames are tungstenite's to read; their
//! payload goes on in the pieces it arrives in, so nothing of a frame but its head is ever held.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::Leave;

/// The longest head of a frame (RFC 6455 §5.2).
const HEAD_MAX: usize = 14;
/// The longest payload of a control frame (§5.5).
const CONTROL_MAX: u64 = 125;
/// How much is unmasked at a time.
const UNMASKED_AT_ONCE: usize = 4096;

/// What reads the messages of a direction.
pub(super) trait Reader {
    /// The next piece of the present message. Says whether more of the message is wanted.
    fn piece(&mut self, piece: &[u8]) -> bool;
    /// The present message ends; it had so many bytes.
    fn end(&mut self, bytes: u64);
}

/// These bytes are no WebSocket's, or break its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Finds messages in bytes that are cut anywhere.
#[derive(Debug)]
pub(super) struct Frames {
    /// Clients mask what they send, servers never do (§5.1).
    masked: bool,
    /// The beginning of a head whose end has not arrived.
    head: [u8; HEAD_MAX],
    head_bytes: usize,
    frame: Option<Frame>,
    message: Option<Message>,
    close: CloseCode,
    leave: Option<Leave>,
}

/// The frame under way.
#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: Kind,
    last: bool,
    to_come: u64,
    /// As it applies to the next byte.
    mask: Option<[u8; 4]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Close,
    Ping,
}

/// The message under way.
#[derive(Clone, Copy, Debug)]
struct Message {
    bytes: u64,
    wanted: bool,
}

/// The first two bytes of a close frame.
#[derive(Clone, Copy, Debug, Default)]
struct CloseCode {
    bytes: [u8; 2],
    known: usize,
}

impl Frames {
    /// Of a client.
    pub(super) fn masked() -> Self {
        Self {
            masked: true,
            ..Self::plain()
        }
    }

    /// Of a server.
    pub(super) fn plain() -> Self {
        Self {
            masked: false,
            head: [0; HEAD_MAX],
            head_bytes: 0,
            frame: None,
            message: None,
            close: CloseCode::default(),
            leave: None,
        }
    }

    /// The close frame, once it was there. Nothing is read after it (§5.5.1).
    pub(super) fn leave(&self) -> Option<Leave> {
        self.leave
    }

    /// Whether the next byte begins a message.
    pub(super) fn is_between_messages(&self) -> bool {
        let under_way = self.frame.is_some() || self.message.is_some() || self.head_bytes > 0;
        !under_way && self.leave.is_none()
    }

    /// Reads the next bytes.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        reader: &mut impl Reader,
    ) -> Result<(), Malformed> {
        while self.leave.is_none() {
            if let Some(frame) = &mut self.frame {
                let here = usize::try_from(frame.to_come)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                let (piece, rest) = bytes.split_at(here);
                bytes = rest;
                frame.to_come -= here as u64;
                let (kind, whole, mask) = (frame.kind, frame.to_come == 0, frame.mask);
                frame.mask = mask.map(|mask| turned(mask, here));
                self.payload(kind, piece, mask, reader);
                if !whole {
                    return Ok(());
                }
                self.frame_ends(reader);
            } else if bytes.is_empty() {
                return Ok(());
            } else {
                bytes = self.read_head(bytes)?;
            }
        }
        Ok(())
    }

    /// Reads a head as far as it is there, and returns the bytes behind it.
    fn read_head<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Malformed> {
        let before = self.head_bytes;
        let more = (HEAD_MAX - before).min(bytes.len());
        self.head[before..before + more].copy_from_slice(&bytes[..more]);
        let mut cursor = Cursor::new(&self.head[..before + more]);
        let Some((head, length)) = FrameHeader::parse(&mut cursor).map_err(|_| Malformed)? else {
            self.head_bytes = before + more;
            return Ok(&bytes[more..]);
        };
        let length_of_head = usize::try_from(cursor.position()).unwrap_or(HEAD_MAX);
        self.head_bytes = 0;
        self.frame = Some(self.frame_begins(&head, length)?);
        Ok(&bytes[length_of_head.saturating_sub(before)..])
    }

    fn frame_begins(&mut self, head: &FrameHeader, length: u64) -> Result<Frame, Malformed> {
        let reserved = head.rsv1 || head.rsv2 || head.rsv3;
        // The highest bit of a length is zero (§5.2).
        let countable = i64::try_from(length).is_ok();
        if reserved || !countable || head.mask.is_some() != self.masked {
            return Err(Malformed);
        }
        let kind = match head.opcode {
            OpCode::Data(data) => {
                let goes_on = data == Data::Continue;
                if goes_on != self.message.is_some() {
                    return Err(Malformed);
                }
                self.message.get_or_insert(Message {
                    bytes: 0,
                    wanted: true,
                });
                Kind::Data
            }
            OpCode::Control(_) if !head.is_final || length > CONTROL_MAX => return Err(Malformed),
            OpCode::Control(Control::Close) => Kind::Close,
            OpCode::Control(_) => Kind::Ping,
        };
        Ok(Frame {
            kind,
            last: head.is_final,
            to_come: length,
            mask: head.mask,
        })
    }

    fn payload(
        &mut self,
        kind: Kind,
        piece: &[u8],
        mask: Option<[u8; 4]>,
        reader: &mut impl Reader,
    ) {
        match (kind, &mut self.message) {
            (Kind::Data, Some(message)) => {
                message.bytes += piece.len() as u64;
                if message.wanted {
                    message.wanted = unmasked(piece, mask, &mut |plain| reader.piece(plain));
                }
            }
            (Kind::Close, _) => {
                let close = &mut self.close;
                unmasked(piece, mask, &mut |plain| {
                    for &byte in plain {
                        if let Some(slot) = close.bytes.get_mut(close.known) {
                            *slot = byte;
                            close.known += 1;
                        }
                    }
                    close.known < 2
                });
            }
            _ => {}
        }
    }

    fn frame_ends(&mut self, reader: &mut impl Reader) {
        let Some(frame) = self.frame.take() else {
            return;
        };
        match frame.kind {
            Kind::Data if frame.last => {
                let message = self.message.take();
                reader.end(message.map_or(0, |message| message.bytes));
            }
            Kind::Close => {
                let code = (self.close.known == 2).then(|| u16::from_be_bytes(self.close.bytes));
                self.leave = Some(Leave { code });
            }
            Kind::Data | Kind::Ping => {}
        }
    }
}

/// The mask as it applies `by` bytes later.
fn turned(mut mask: [u8; 4], by: usize) -> [u8; 4] {
    mask.rotate_left(by % 4);
    mask
}

/// Hands `piece` on without its mask (§5.3), until more is not wanted. Says whether it is.
fn unmasked(piece: &[u8], mask: Option<[u8; 4]>, take: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    let Some(mask) = mask else {
        return take(piece);
    };
    let mut plain = [0; UNMASKED_AT_ONCE];
    // A multiple of four at a time: the mask begins anew with each.
    piece.chunks(UNMASKED_AT_ONCE).all(|piece| {
        let plain = &mut plain[..piece.len()];
        plain.copy_from_slice(piece);
        let (words, rest) = plain.as_chunks_mut();
        for word in words {
            *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
        }
        for (byte, mask) in rest.iter_mut().zip(mask) {
            *byte ^= mask;
        }
        take(plain)
    })
}
