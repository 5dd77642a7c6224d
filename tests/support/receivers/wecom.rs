//! WeCom's group robot.

use std::time::Duration;

use serde_json::{Value, json};

use super::reading::Reader;
use super::{Answer, Judge, Request, Shown, Window};

pub(crate) const KEY: &str = "canary-wecom-key";

/// A robot.
pub(crate) async fn start() -> Judge {
    let mut window = Window::new(20, Duration::from_secs(60));
    Judge::start(Box::new(move |request, now| {
        let known = request.path() == "/cgi-bin/webhook/send"
            && request.parameter("key").as_deref() == Some(KEY);
        if !known {
            return (error(93000, "invalid webhook url"), None);
        }
        if !window.take(now) {
            return (error(45009, "api freq out of limit"), None);
        }
        match judge(request) {
            Ok(shown) => (
                Answer::new(200, r#"{"errcode":0,"errmsg":"ok"}"#),
                Some(shown),
            ),
            Err(answer) => (answer, None),
        }
    }))
    .await
}

pub(crate) fn error(code: i64, words: &str) -> Answer {
    let words = format!(
        "{words}, hint: [1755605200056773468916791], from ip: 192.0.2.7, more info at \
         https://open.work.weixin.qq.com/devtool/query?e={code}"
    );
    Answer::new(200, json!({"errcode": code, "errmsg": words}).to_string())
}

fn judge(request: &Request) -> Result<Shown, Answer> {
    let bad = |what: &str| error(40058, &format!("{what}. invalid Request Parameter"));
    let body: Value = serde_json::from_slice(&request.body).map_err(|_| bad("no JSON"))?;
    let mut shown = Shown::default();
    match body["msgtype"].as_str() {
        Some("markdown") => {
            let content = body["markdown"]["content"].as_str().unwrap_or_default();
            if content.is_empty() {
                return Err(error(44004, "content is empty"));
            }
            if content.len() > 4096 {
                return Err(bad("markdown.content exceed max length 4096"));
            }
            let reader = Reader {
                entities: false,
                backslash: false,
                code: true,
                marks: "*`",
                addresses: true,
                emoji: false,
            };
            reader.read(content, &mut shown);
            // Underscores around a word would be gone in some clients.
            shown.text = look_alike(&shown.text);
        }
        Some("template_card") => {
            card(&body["template_card"], &mut shown).ok_or_else(|| bad("template_card"))?;
        }
        _ => return Err(error(40008, "invalid message type")),
    }
    Ok(shown)
}

fn card(card: &Value, shown: &mut Shown) -> Option<()> {
    (card["card_type"] == "text_notice" && card["card_action"]["type"] == 1).then_some(())?;
    shown.links.push(
        card["card_action"]["url"]
            .as_str()
            .filter(|url| url.starts_with("http"))?
            .to_owned(),
    );
    for text in [&card["main_title"]["title"], &card["sub_title_text"]] {
        shown.text.push_str(text.as_str()?);
        shown.text.push('\n');
    }
    let rows = card["horizontal_content_list"].as_array()?;
    let jumps = card["jump_list"].as_array()?;
    (rows.len() <= 6 && jumps.len() <= 3).then_some(())?;
    for row in rows {
        let (name, value) = (row["keyname"].as_str()?, row["value"].as_str()?);
        shown.text.extend([name, ": ", value, "\n"]);
    }
    for jump in jumps {
        (jump["type"] == 1).then_some(())?;
        shown.text.push_str(jump["title"].as_str()?);
        shown.links.push(jump["url"].as_str()?.to_owned());
    }
    Some(())
}

/// Full-width twins look like what they stand for.
fn look_alike(text: &str) -> String {
    let twin = |shown: char| match shown {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(shown) - 0xfee0).unwrap(),
        other => other,
    };
    text.chars().map(twin).collect()
}
