//! What a request says: JSON, or a form with a file.

use serde_json::{Map, Value};

use crate::support::upstream::Received;

/// The parameters of a method.
#[derive(Debug, Default)]
pub(super) struct Parameters(Map<String, Value>);

/// A file of a form.
#[derive(Debug)]
pub(super) struct TelegramFile {
    pub(super) bytes: Vec<u8>,
}

impl Parameters {
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        match self.0.get(name)? {
            Value::String(text) => text.parse().ok(),
            other => other.as_i64(),
        }
    }

    /// A text that is no number.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let text = self.0.get(name)?.as_str()?;
        let is_number = name == "chat_id" && text.parse::<i64>().is_ok();
        (!is_number).then_some(text)
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        match self.0.get(name) {
            Some(Value::String(text)) => text == "true",
            other => other == Some(&Value::Bool(true)),
        }
    }

    /// An object; in a form it is written as JSON.
    pub(super) fn object(&self, name: &str) -> Option<Value> {
        match self.0.get(name)? {
            Value::String(text) => serde_json::from_str(text).ok(),
            other => Some(other.clone()),
        }
    }
}

/// The parameters, and the field `photo` where it is a file.
pub(super) fn read(request: &Received) -> Result<(Parameters, Option<TelegramFile>), String> {
    let kind = request.headers.get("content-type").unwrap_or_default();
    if let Some((_, boundary)) = kind.split_once("multipart/form-data; boundary=") {
        return form(&request.body, boundary.trim_matches('"'));
    }
    if request.body.is_empty() {
        return Ok((Parameters::default(), None));
    }
    match serde_json::from_slice(&request.body) {
        Ok(Value::Object(fields)) => Ok((Parameters(fields), None)),
        _ => Err("can't parse request body".to_owned()),
    }
}

fn form(body: &[u8], boundary: &str) -> Result<(Parameters, Option<TelegramFile>), String> {
    let broken = || "can't parse multipart form".to_owned();
    let mark = format!("--{boundary}");
    let mut fields = Map::new();
    let mut file = None;
    let mut rest = body;
    loop {
        let at = find(rest, mark.as_bytes()).ok_or_else(broken)?;
        rest = &rest[at + mark.len()..];
        if rest.starts_with(b"--") {
            return Ok((Parameters(fields), file));
        }
        let end = find(rest, format!("\r\n{mark}").as_bytes()).ok_or_else(broken)?;
        let part = &rest[..end];
        let head_end = find(part, b"\r\n\r\n").ok_or_else(broken)?;
        let head = String::from_utf8_lossy(&part[..head_end]).into_owned();
        let content = &part[head_end + 4..];
        let (_, name) = head.split_once("name=\"").ok_or_else(broken)?;
        let name = name.split('"').next().unwrap_or_default().to_owned();
        if head.contains("filename=") {
            if name == "photo" {
                let bytes = content.to_vec();
                file = Some(TelegramFile { bytes });
            }
        } else {
            let text = String::from_utf8(content.to_vec()).map_err(|_| broken())?;
            fields.insert(name, Value::String(text));
        }
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}
