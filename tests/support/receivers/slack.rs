//! Slack's incoming webhook.

use std::time::Duration;

use serde_json::Value;

use super::reading::Reader;
use super::{Answer, Judge, Request, Shown, Window};

pub(crate) const PATH: &str = "/services/T0CANARY0/B0CANARY0/canary-slack-token";

/// A webhook.
pub(crate) async fn start() -> Judge {
    let mut window = Window::new(1, Duration::from_secs(1));
    Judge::start(Box::new(move |request, now| {
        if request.path() != PATH {
            return (Answer::new(404, "no_service"), None);
        }
        if !window.take(now) {
            return (
                Answer::new(429, "rate_limited").with("Retry-After", "7"),
                None,
            );
        }
        match judge(request) {
            Ok(shown) => (Answer::new(200, "ok"), Some(shown)),
            Err(words) => (Answer::new(400, words), None),
        }
    }))
    .await
}

fn judge(request: &Request) -> Result<Shown, &'static str> {
    let body: Value = serde_json::from_slice(&request.body).map_err(|_| "invalid_payload")?;
    let text = body["text"]
        .as_str()
        .filter(|text| !text.is_empty())
        .ok_or("no_text")?;
    let mut shown = Shown::default();
    // The line for previews: whom it mentions is told.
    let mut preview = Shown::default();
    mrkdwn(text, &mut preview);
    shown.mentions.append(&mut preview.mentions);
    let blocks = body["blocks"].as_array().ok_or("invalid_blocks")?;
    if blocks.len() > 50 {
        return Err("invalid_blocks");
    }
    for block in blocks {
        read(block, &mut shown).ok_or("invalid_blocks")?;
        shown.text.push('\n');
    }
    Ok(shown)
}

fn mrkdwn(text: &str, shown: &mut Shown) {
    let reader = Reader {
        entities: true,
        backslash: false,
        code: true,
        marks: "*_~`",
        addresses: false,
        emoji: true,
    };
    reader.read(text, shown);
}

fn read(block: &Value, shown: &mut Shown) -> Option<()> {
    let at_most =
        |text: &str, most: usize| (text.chars().count() <= most && !text.is_empty()).then_some(());
    match block["type"].as_str()? {
        "header" => {
            let text = block["text"]["text"].as_str()?;
            (block["text"]["type"] == "plain_text" && block["text"]["emoji"] == false)
                .then_some(())?;
            at_most(text, 150)?;
            shown.text.push_str(text);
        }
        "section" => {
            let text = block["text"]["text"].as_str()?;
            at_most(text, 3000)?;
            mrkdwn(text, shown);
        }
        "divider" => {}
        "rich_text" => {
            let mut characters = 0;
            for section in block["elements"].as_array()? {
                (section["type"] == "rich_text_section").then_some(())?;
                for piece in section["elements"].as_array()? {
                    let text = piece["text"].as_str().filter(|text| !text.is_empty())?;
                    match piece["type"].as_str()? {
                        "text" => {}
                        "link" => shown.links.push(piece["url"].as_str()?.to_owned()),
                        _ => return None,
                    }
                    shown.text.push_str(text);
                    characters += text.chars().count();
                }
            }
            (characters <= 3000).then_some(())?;
        }
        // `actions` too: of an incoming webhook, whose app takes no interactions, each click on a button
        // fails.
        _ => return None,
    }
    Some(())
}
