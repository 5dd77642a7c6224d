//! Feishu's custom robot.

use std::time::Duration;

use serde_json::{Value, json};

use super::reading::Reader;
use super::{Answer, Judge, Request, Shown, Window, hmac_base64};

pub(crate) const PATH: &str = "/open-apis/bot/v2/hook/canary-feishu-hook";
pub(crate) const SECRET: &str = "canary-feishu-secret";
pub(crate) const KEYWORD: &str = "Token";

/// A robot with a signature and a keyword.
pub(crate) async fn start() -> Judge {
    let mut windows = [
        Window::new(100, Duration::from_secs(60)),
        Window::new(5, Duration::from_secs(1)),
    ];
    Judge::start(Box::new(move |request, now| {
        if request.path() != PATH {
            return (error(19001, "param invalid: incoming webhook access token invalid"), None);
        }
        if !windows.iter_mut().all(|window| window.take(now)) {
            return (error(11232, "create message trigger frequency limited"), None);
        }
        match judge(request, request.at.0 / 1_000_000) {
            Ok(shown) => (
                Answer::new(200, r#"{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}"#),
                Some(shown),
            ),
            Err(answer) => (answer, None),
        }
    }))
    .await
}

pub(crate) fn error(code: i64, words: &str) -> Answer {
    Answer::new(
        200,
        json!({"code": code, "data": {}, "msg": words}).to_string(),
    )
}

fn judge(request: &Request, now_s: i64) -> Result<Shown, Answer> {
    let bad = |what: &str| error(9499, &format!("Bad Request: {what}"));
    if request.body.len() > 20 * 1024 {
        return Err(bad("more than 20 KB"));
    }
    let body: Value = serde_json::from_slice(&request.body).map_err(|_| bad("no JSON"))?;
    let text = |value: &Value| {
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| bad("no text"))
    };
    let signed = || {
        let timestamp = body["timestamp"].as_str()?;
        let near = (timestamp.parse::<i64>().ok()? - now_s).abs() < 3600;
        let expected = hmac_base64(&format!("{timestamp}\n{SECRET}"), "");
        (near && body["sign"].as_str()? == expected).then_some(())
    };
    if signed().is_none() {
        let words = "sign match fail or timestamp is not within one hour from current time";
        return Err(error(19021, words));
    }
    let card = &body["card"];
    let template = card["header"]["template"].as_str().unwrap_or_default();
    let fits = body["msg_type"] == "interactive"
        && card["schema"] == "2.0"
        && ["red", "orange", "green", "blue"].contains(&template)
        && card["header"]["title"]["tag"] == "plain_text";
    if !fits {
        return Err(bad("no card"));
    }
    let title = text(&card["header"]["title"]["content"])?;
    let mut shown = Shown {
        text: format!("{title}\n"),
        ..Shown::default()
    };
    let elements = card["body"]["elements"]
        .as_array()
        .ok_or_else(|| bad("no elements"))?;
    read(elements, &mut shown).ok_or_else(|| bad("an element that is none"))?;
    if !shown.text.contains(KEYWORD) {
        return Err(error(19024, "Key Words Not Found"));
    }
    Ok(shown)
}

fn read(elements: &[Value], shown: &mut Shown) -> Option<()> {
    let reader = Reader {
        entities: true,
        backslash: true,
        code: true,
        marks: "*~_`$",
        addresses: false,
        emoji: true,
    };
    for element in elements {
        match element["tag"].as_str()? {
            "markdown" => reader.read(element["content"].as_str()?, shown),
            "hr" => {}
            "button" => {
                shown.text.push_str(element["text"]["content"].as_str()?);
                let behavior = element["behaviors"].get(0)?;
                (behavior["type"] == "open_url").then_some(())?;
                shown
                    .links
                    .push(behavior["default_url"].as_str()?.to_owned());
            }
            "column_set" => {
                for column in element["columns"].as_array()? {
                    read(column["elements"].as_array()?, shown)?;
                }
            }
            _ => return None,
        }
    }
    Some(())
}
