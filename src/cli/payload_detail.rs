//! The bytes of a request and its answer.

use std::fmt::{self, Write as _};

use super::amounts::{count, shown};
use super::output::Output;
use super::request_detail::title;
use crate::admin::json::{BodyPayload, HeaderJson, PayloadJson};

/// Everything that was kept; a body that is no text by its size alone.
pub(super) fn render(payload: &PayloadJson, output: &Output) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write(&mut text, payload, output);
    text
}

fn write(text: &mut String, payload: &PayloadJson, output: &Output) -> fmt::Result {
    let request = &payload.request;
    let word = |word: &Option<String>| shown(word.as_deref().unwrap_or_default()).to_string();
    let line = format!("{} {}", word(&request.method), word(&request.path));
    writeln!(text, "\n{} {line}", title(output, "request"))?;
    headers(text, &request.headers)?;
    body(text, &request.body)?;
    let answer = &payload.answer;
    let Some(status) = answer.status else {
        return writeln!(text, "\n{} none from the upstream", title(output, "answer"));
    };
    writeln!(text, "\n{} HTTP {status}", title(output, "answer"))?;
    headers(text, &answer.headers)?;
    body(text, &answer.body)
}

fn headers(text: &mut String, headers: &[HeaderJson]) -> fmt::Result {
    for HeaderJson { name, value } in headers {
        writeln!(text, "  {}: {}", shown(name), shown(value))?;
    }
    Ok(())
}

fn body(text: &mut String, body: &BodyPayload) -> fmt::Result {
    let size = body.bytes.unwrap_or(0);
    let bytes = count(size);
    match &body.text {
        Some(kept) if !kept.is_empty() => {
            writeln!(text)?;
            for line in kept.lines() {
                writeln!(text, "  {}", shown(&line.replace('\t', "    ")))?;
            }
            if body.truncated == Some(true) {
                writeln!(text, "  … the beginning of {bytes} bytes")?;
            }
            Ok(())
        }
        Some(_) if size == 0 => Ok(()),
        _ => writeln!(text, "\n  {bytes} bytes that are no text"),
    }
}
