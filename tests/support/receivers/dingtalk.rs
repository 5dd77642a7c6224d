//! DingTalk's custom robot.

use std::time::Duration;

use serde_json::{Value, json};

use tollgate::clock::UnixMicros;

use super::reading::Reader;
use super::{Answer, Judge, Request, Shown, Window, hmac_base64};

pub(crate) const TOKEN: &str = "canary-dingtalk-token";
pub(crate) const SECRET: &str = "SEC-canary-dingtalk-secret";
pub(crate) const KEYWORD: &str = "告警";

/// A robot with a signature and a keyword.
pub(crate) async fn start() -> Judge {
    let mut window = Window::new(20, Duration::from_secs(60));
    let mut blocked_until = UnixMicros(0);
    Judge::start(Box::new(move |request, now| {
        let known = request.path() == "/robot/send"
            && request.parameter("access_token").as_deref() == Some(TOKEN);
        if !known {
            return (error(300_001, "token is not exist"), None);
        }
        if now < blocked_until || !window.take(now) {
            blocked_until = blocked_until.max(now.plus(Duration::from_secs(600)));
            return (
                error(130_101, "send too fast, exceed 20 times per minute"),
                None,
            );
        }
        match judge(request, request.at.0 / 1000) {
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
    Answer::new(200, json!({"errcode": code, "errmsg": words}).to_string())
}

fn judge(request: &Request, now_ms: i64) -> Result<Shown, Answer> {
    let more = "more: [https://ding-doc.dingtalk.com/doc#/serverapi2/qf2nxq]";
    let timestamp = request.parameter("timestamp").unwrap_or_default();
    let near = timestamp
        .parse::<i64>()
        .is_ok_and(|then| (then - now_ms).abs() < 3_600_000);
    if !near {
        return Err(error(310_000, &format!("invalid timestamp, {more}")));
    }
    if request.parameter("sign") != Some(hmac_base64(SECRET, &format!("{timestamp}\n{SECRET}"))) {
        return Err(error(310_000, &format!("sign not match, {more}")));
    }
    if request.body.len() > 20_000 {
        return Err(error(460_101, "message too long"));
    }
    let body: Value =
        serde_json::from_slice(&request.body).map_err(|_| error(40035, "缺少参数 json"))?;
    let text = |value: &Value| {
        value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let (Some(title), Some(content)) = (
        text(&body["markdown"]["title"]),
        text(&body["markdown"]["text"]),
    ) else {
        return Err(error(40035, "缺少参数 markdown"));
    };
    if body["msgtype"] != "markdown" {
        return Err(error(400_105, "不支持的消息类型"));
    }
    if !title.contains(KEYWORD) || !content.contains(KEYWORD) {
        return Err(error(310_000, &format!("keywords not in content, {more}")));
    }
    let mut shown = Shown::default();
    let reader = Reader {
        entities: true,
        backslash: true,
        code: false,
        marks: "*~_`",
        addresses: true,
        emoji: false,
    };
    reader.read(&content, &mut shown);
    if body["at"]["isAtAll"] == true {
        shown.mentions.push("all".to_owned());
    }
    let mobiles = body["at"]["atMobiles"].as_array().into_iter().flatten();
    let mobiles = mobiles.filter_map(Value::as_str);
    let named = mobiles.filter(|mobile| content.contains(&format!("@{mobile}")));
    shown.mentions.extend(named.map(str::to_owned));
    Ok(shown)
}
