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
    let line = format!("{} {}", shown(&request.method), shown(&request.path));
    writeln!(text, "\n{} {line}", title(output, "request"))?;
    headers(text, &request.headers)?;
    body(text, &request.body)?;
    let Some(answer) = &payload.answer else {
        return writeln!(text, "\n{} none from the upstream", title(output, "answer"));
    };
    writeln!(text, "\n{} HTTP {}", title(output, "answer"), answer.status)?;
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
    let bytes = count(body.bytes);
    match &body.text {
        Some(kept) if !kept.is_empty() => {
            writeln!(text)?;
            for line in kept.lines() {
                writeln!(text, "  {}", shown(&line.replace('\t', "    ")))?;
            }
            if body.truncated {
                writeln!(text, "  … the beginning of {bytes} bytes")?;
            }
            Ok(())
        }
        Some(_) if body.bytes == 0 => Ok(()),
        _ => writeln!(text, "\n  {bytes} bytes that are no text"),
    }
}
