//! What Tollgate itself says over a WebSocket: that it refuses what was asked for, and goodbye.

use bytes::Bytes;
use serde_json::json;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

/// The longest reason of a close frame, in bytes (RFC 6455 §5.5, less the code).
const REASON_MAX: usize = 123;

/// Why what was asked for is refused.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// Names the event.
    pub id: &'a str,
    /// The client's event that is refused.
    pub event_id: Option<&'a str>,
    /// The lane it came on.
    pub lane: Option<&'a str>,
    /// The HTTP status that it would have.
    pub status: u16,
    /// `error.type`.
    pub kind: &'a str,
    /// `error.code`.
    pub code: &'a str,
    /// In words.
    pub message: &'a str,
}

/// An `error` event as Realtime and Responses have it, and a close frame for a breach of policy (1008), as
/// a server writes them: to be sent between two messages.
#[must_use]
pub fn farewell(refusal: &Refusal<'_>) -> Bytes {
    let Refusal {
        id,
        event_id,
        lane,
        status,
        kind,
        code,
        message,
    } = *refusal;
    let mut event = json!({
        "type": "error",
        "event_id": format!("event_{id}"),
        "status": status,
        "error": {"type": kind, "code": code, "message": message, "param": null,
            "event_id": event_id},
    });
    if let Some(lane) = lane {
        event["stream_id"] = lane.into();
    }
    let said = Frame::message(event.to_string(), OpCode::Data(Data::Text), true);
    let mut end = message.len().min(REASON_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let goodbye = Frame::close(Some(CloseFrame {
        code: CloseCode::Policy,
        reason: message[..end].into(),
    }));
    let mut bytes = Vec::new();
    // Into memory: nothing can fail.
    let _ = said.format(&mut bytes);
    let _ = goodbye.format(&mut bytes);
    Bytes::from(bytes)
}
