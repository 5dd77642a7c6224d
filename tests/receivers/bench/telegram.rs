//! Telegram's bench: its own judge behind one whose clock a test can advance.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tollgate::config::{ChatName, Secret, TargetSettings, TelegramAnswers, TelegramSettings};
use tollgate::notify::FailureReason;

use super::{Bench, Wire};
use crate::judges::telegram::{ANN, GROUP, Sent, TOKEN, TOKEN_CANARY, Target, TelegramJudge};
use crate::judges::{Answer, Judge, Request, Shown, Window};

/// Refused in the Bot API's words.
fn error(code: u16, description: &str) -> Answer {
    let body = serde_json::json!({"ok": false, "error_code": code, "description": description});
    Answer::new(code, body.to_string())
}

fn too_often(seconds: u64) -> Answer {
    let body = serde_json::json!({
        "ok": false, "error_code": 429, "parameters": {"retry_after": seconds},
        "description": format!("Too Many Requests: retry after {seconds}"),
    });
    Answer::new(429, body.to_string())
}

/// The published limits of a group, by the clock of the test; all else is the Bot API's own.
async fn judge() -> Judge {
    let api = TelegramJudge::start().without_limits();
    let mut limits = [
        Window::new(1, Duration::from_secs(1)),
        Window::new(20, Duration::from_secs(60)),
    ];
    let mut seen = 0;
    Judge::start(Box::new(move |request, now| {
        if !limits.iter_mut().all(|limit| limit.take(now)) {
            return (too_often(3), None);
        }
        let address = api.api_url().replace("http://", "").parse().unwrap();
        let answer = passed_on(address, request);
        let sent = api.sent();
        let shown = (sent.len() > seen).then(|| shown(sent.last().unwrap()));
        seen = sent.len();
        (answer, shown)
    }))
    .await
}

/// What the Bot API says to a request.
fn passed_on(address: SocketAddr, request: &Request) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    let kind = request.header("content-type").unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        request.target,
        request.body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&request.body).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Answer::new(status, String::from_utf8(body).unwrap()).with("content-type", "application/json")
}

fn shown(sent: &Sent) -> Shown {
    let marked = sent.parsed.entities.iter();
    let marked = marked.filter_map(|entity| entity.url.clone());
    let buttons = sent.keyboard.iter().flatten();
    let buttons = buttons.filter_map(|(_, target)| match target {
        Target::Url(url) => Some(url.clone()),
        Target::Callback(_) => None,
    });
    Shown {
        text: sent.text.clone(),
        mentions: sent.parsed.mentions().into_iter().map(Into::into).collect(),
        links: marked.chain(buttons).collect(),
        code: sent
            .parsed
            .marked("code")
            .into_iter()
            .map(Into::into)
            .collect(),
    }
}

pub(super) async fn bench(timeout: Duration) -> Bench {
    let judge = judge().await;
    let target = TargetSettings::Telegram(TelegramSettings {
        token: Secret::new(TOKEN),
        chat: ChatName::Id(GROUP),
        topic: None,
        silent: false,
        answers: Some(TelegramAnswers {
            users: vec![ANN.id],
            chats: Vec::new(),
            expire_after: Duration::from_secs(86_400),
        }),
        api_url: format!("http://{}", judge.address).parse().unwrap(),
    });
    Bench {
        again: vec![
            (
                Answer::new(502, "<html><body>Bad Gateway</body></html>"),
                FailureReason::ServerError,
                None,
            ),
            (
                error(500, "Internal Server Error"),
                FailureReason::ServerError,
                None,
            ),
            (too_often(17), FailureReason::RateLimited, Some(17)),
        ],
        give_up: vec![
            (error(401, "Unauthorized"), FailureReason::Credential),
            (
                error(403, "Forbidden: bot was kicked from the supergroup chat"),
                FailureReason::Gone,
            ),
            (
                error(400, "Bad Request: chat not found"),
                FailureReason::Gone,
            ),
            (
                error(400, "Bad Request: message is too long"),
                FailureReason::TooLong,
            ),
            (error(400, "Bad Request: odd"), FailureReason::Refused),
        ],
        mentions: false,
        wire: Wire::BotApi,
        ..Bench::new("telegram", judge, target, timeout, &[TOKEN_CANARY])
    }
}
