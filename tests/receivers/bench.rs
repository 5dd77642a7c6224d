//! The receivers, each in front of its judge, with what only it knows: its codes and its secrets.

mod email;
mod telegram;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use tollgate::config::{
    AlertmanagerSettings, DingtalkSettings, FeishuSettings, Language, ReceiverSettings, Secret,
    SlackSettings, TargetSettings, TemplateSettings, WebhookSettings, WecomSettings, WecomStyle,
};
use tollgate::notify::{FailureReason, Receiver, receiver};

use crate::judges::{self, Answer, Judge};

/// Who is mentioned when something is critical.
pub(crate) const MENTIONED: &str = "U0MENTION";

/// How a receiver is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// By HTTP, whose codes mean what they mean.
    Http,
    /// By Telegram's Bot API, whose codes are those of its bodies.
    BotApi,
    /// By SMTP.
    Smtp,
}

/// A receiver before its judge.
pub(crate) struct Bench {
    pub(crate) name: &'static str,
    pub(crate) judge: Judge,
    pub(crate) receiver: Arc<dyn Receiver>,
    pub(crate) settings: ReceiverSettings,
    /// What no text may hold.
    pub(crate) canaries: &'static [&'static str],
    /// Answers after which it is tried again, why, and after how many seconds.
    pub(crate) again: Vec<(Answer, FailureReason, Option<u64>)>,
    /// Answers after which it is not.
    pub(crate) give_up: Vec<(Answer, FailureReason)>,
    /// How it is spoken to.
    pub(crate) wire: Wire,
    /// Whether a machine reads it, which is shown everything as it is.
    pub(crate) machine: bool,
    /// Whether it has settings for who is mentioned.
    pub(crate) mentions: bool,
}

/// Settings of a receiver that waits for `timeout`.
pub(crate) fn settings(name: &str, target: TargetSettings, timeout: Duration) -> ReceiverSettings {
    ReceiverSettings {
        name: name.into(),
        target,
        language: Language::En,
        timezone: TimeZone::UTC,
        send_resolved: true,
        fallback: None,
        give_up_after: ReceiverSettings::USUALLY_TRIED_FOR,
        timeout,
        templates: TemplateSettings::default(),
    }
}

/// All of them, each waiting for `timeout`.
pub(crate) async fn benches(timeout: Duration) -> Vec<Bench> {
    vec![
        feishu(timeout).await,
        wecom("wecom", WecomStyle::Markdown, timeout).await,
        wecom("wecom card", WecomStyle::Card, timeout).await,
        dingtalk(timeout).await,
        slack(timeout).await,
        webhook(timeout).await,
        alertmanager(timeout).await,
        telegram::bench(timeout).await,
        email::bench(timeout).await,
    ]
}

/// The same, waiting as long as usual.
pub(crate) async fn usual() -> Vec<Bench> {
    benches(ReceiverSettings::USUAL_TIMEOUT).await
}

impl Bench {
    /// A line with what items of lists begin with here.
    pub(crate) fn bulleted(&self, line: &str) -> String {
        match self.wire {
            Wire::Smtp => line.replace('•', "-"),
            Wire::Http | Wire::BotApi => line.to_owned(),
        }
    }

    fn new(
        name: &'static str,
        judge: Judge,
        target: TargetSettings,
        timeout: Duration,
        canaries: &'static [&'static str],
    ) -> Self {
        let settings = settings(name, target, timeout);
        Self {
            name,
            judge,
            receiver: receiver(&settings).unwrap(),
            settings,
            canaries,
            again: Vec::new(),
            give_up: Vec::new(),
            wire: Wire::Http,
            machine: false,
            mentions: true,
        }
    }
}

pub(crate) fn feishu_target(
    address: SocketAddr,
    secret: &str,
    keyword: Option<&str>,
) -> TargetSettings {
    TargetSettings::Feishu(FeishuSettings {
        url: Secret::new(format!("http://{address}{}", judges::feishu::PATH)),
        secret: Some(Secret::new(secret)),
        keyword: keyword.map(Into::into),
    })
}

async fn feishu(timeout: Duration) -> Bench {
    use judges::feishu::{KEYWORD, SECRET, error, start};
    let judge = start().await;
    let target = feishu_target(judge.address, SECRET, Some(KEYWORD));
    let canaries = &["canary-feishu-hook", SECRET];
    Bench {
        again: vec![
            (
                error(11232, "create message trigger frequency limited"),
                FailureReason::RateLimited,
                None,
            ),
            (
                Answer::new(
                    429,
                    r#"{"code":99991400,"msg":"request trigger frequency limit"}"#,
                )
                .with("x-ogw-ratelimit-reset", "42"),
                FailureReason::RateLimited,
                Some(42),
            ),
        ],
        give_up: vec![
            (
                error(
                    19001,
                    "param invalid: incoming webhook access token invalid",
                ),
                FailureReason::Credential,
            ),
            (
                error(
                    19021,
                    "sign match fail or timestamp is not within one hour from current time",
                ),
                FailureReason::Signature,
            ),
            (error(19022, "Ip Not Allowed"), FailureReason::Policy),
            (error(19024, "Key Words Not Found"), FailureReason::Policy),
            (error(9499, "Bad Request"), FailureReason::Refused),
            (error(11246, "parse card json err"), FailureReason::Refused),
        ],
        mentions: false,
        ..Bench::new("feishu", judge, target, timeout, canaries)
    }
}

async fn wecom(name: &'static str, style: WecomStyle, timeout: Duration) -> Bench {
    use judges::wecom::{KEY, error, start};
    let judge = start().await;
    let target = TargetSettings::Wecom(WecomSettings {
        url: Secret::new(format!(
            "http://{}/cgi-bin/webhook/send?key={KEY}",
            judge.address
        )),
        style,
        mention: vec![MENTIONED.into()],
    });
    Bench {
        again: vec![
            (
                error(45009, "api freq out of limit"),
                FailureReason::RateLimited,
                Some(60),
            ),
            (error(-1, "system busy"), FailureReason::ServerError, None),
        ],
        give_up: vec![
            (
                error(93000, "invalid webhook url"),
                FailureReason::Credential,
            ),
            (error(93008, "not in chat"), FailureReason::Gone),
            (error(40008, "invalid message type"), FailureReason::Refused),
        ],
        ..Bench::new(name, judge, target, timeout, &[KEY])
    }
}

pub(crate) fn dingtalk_target(
    address: SocketAddr,
    secret: &str,
    keyword: Option<&str>,
) -> TargetSettings {
    TargetSettings::Dingtalk(DingtalkSettings {
        url: Secret::new(format!(
            "http://{address}/robot/send?access_token={}",
            judges::dingtalk::TOKEN
        )),
        secret: Some(Secret::new(secret)),
        keyword: keyword.map(Into::into),
        mention: vec![MENTIONED.into()],
    })
}

async fn dingtalk(timeout: Duration) -> Bench {
    use judges::dingtalk::{KEYWORD, SECRET, TOKEN, error, start};
    let judge = start().await;
    let target = dingtalk_target(judge.address, SECRET, Some(KEYWORD));
    Bench {
        again: vec![
            (
                error(130_101, "send too fast, exceed 20 times per minute"),
                FailureReason::RateLimited,
                Some(600),
            ),
            (error(-1, "系统繁忙"), FailureReason::ServerError, None),
        ],
        give_up: vec![
            (
                error(310_000, "keywords not in content"),
                FailureReason::Policy,
            ),
            (error(310_000, "sign not match"), FailureReason::Signature),
            (
                error(310_000, "ip 192.0.2.7 not in whitelist"),
                FailureReason::Policy,
            ),
            (
                error(300_001, "token is not exist"),
                FailureReason::Credential,
            ),
            (error(400_102, "机器人已停用"), FailureReason::Gone),
            (error(460_101, "message too long"), FailureReason::TooLong),
            (error(40035, "缺少参数 json"), FailureReason::Refused),
        ],
        ..Bench::new("dingtalk", judge, target, timeout, &[TOKEN, SECRET])
    }
}

async fn slack(timeout: Duration) -> Bench {
    use judges::slack::{PATH, start};
    let judge = start().await;
    let target = TargetSettings::Slack(SlackSettings {
        url: Secret::new(format!("http://{}{PATH}", judge.address)),
        mention: vec![MENTIONED.into()],
    });
    let words = |status, words: &str| Answer::new(status, words);
    Bench {
        again: vec![
            (
                words(429, "rate_limited").with("Retry-After", "7"),
                FailureReason::RateLimited,
                Some(7),
            ),
            (words(500, "rollup_error"), FailureReason::ServerError, None),
        ],
        give_up: vec![
            (words(400, "invalid_blocks"), FailureReason::Refused),
            (words(400, "invalid_payload"), FailureReason::Refused),
            (words(403, "invalid_token"), FailureReason::Credential),
            (words(403, "action_prohibited"), FailureReason::Policy),
            (words(404, "no_service"), FailureReason::Gone),
            (words(404, "channel_not_found"), FailureReason::Gone),
            (words(410, "channel_is_archived"), FailureReason::Gone),
            (words(200, "no_active_hooks"), FailureReason::Gone),
        ],
        ..Bench::new("slack", judge, target, timeout, &["canary-slack-token"])
    }
}

async fn webhook(timeout: Duration) -> Bench {
    use judges::webhook::{BEARER, HMAC_SECRET, PATH, start};
    let judge = start().await;
    let target = TargetSettings::Webhook(WebhookSettings {
        url: Secret::new(format!("http://{}{PATH}", judge.address)),
        bearer: Some(Secret::new(BEARER)),
        hmac_secret: Some(Secret::new(HMAC_SECRET)),
        max_alerts: 0,
    });
    Bench {
        machine: true,
        mentions: false,
        ..Bench::new(
            "webhook",
            judge,
            target,
            timeout,
            &["canary-webhook-path", BEARER, HMAC_SECRET],
        )
    }
}

async fn alertmanager(timeout: Duration) -> Bench {
    use judges::alertmanager::{BEARER, start};
    let judge = start().await;
    let target = TargetSettings::Alertmanager(AlertmanagerSettings {
        urls: vec![format!("http://{}/am", judge.address).parse().unwrap()],
        bearer: Some(Secret::new(BEARER)),
        labels: [("cluster".into(), "a".into())].into(),
    });
    Bench {
        machine: true,
        mentions: false,
        ..Bench::new("alertmanager", judge, target, timeout, &[BEARER])
    }
}
