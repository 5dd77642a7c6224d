//! What is said to who answered.

use super::answerer::{Asking, Peek, Reply, Standing};
use super::claims::Claim;
use super::{AnswerAction, BadAnswer, Subject};
use crate::config::Language;
use crate::ledger::QueryError;

impl Peek {
    pub(super) fn of(language: Language, reply: Reply) -> Self {
        Self {
            language,
            text: reply.text,
            standing: reply.standing,
            message: reply.message,
        }
    }
}

pub(super) fn plain(standing: Standing, text: String) -> Reply {
    Reply {
        text,
        standing,
        message: None,
    }
}

pub(super) fn refused(language: Language, bad: BadAnswer) -> Reply {
    let (standing, text) = match (bad, language) {
        (BadAnswer::Expired, Language::En) => (
            Standing::Expired,
            "This button has expired. Nothing was changed.",
        ),
        (BadAnswer::Expired, Language::Zh) => (Standing::Expired, "此按钮已过期，未做任何更改。"),
        (_, Language::En) => (
            Standing::Forged,
            "This is no answer that Tollgate offered here. Nothing was changed.",
        ),
        (_, Language::Zh) => (
            Standing::Forged,
            "这不是 Tollgate 在此提供的操作，未做任何更改。",
        ),
    };
    plain(standing, text.to_owned())
}

pub(super) fn gone(asking: &Asking<'_>) -> Reply {
    let text = asking.say(
        "What this is about is no more: the channel or alert is not known any longer. Nothing was \
         changed.",
        "此操作对应的渠道或告警已不存在，未做任何更改。",
    );
    plain(Standing::Gone, text)
}

pub(super) fn used(asking: &Asking<'_>, claim: &Claim) -> Reply {
    let who = claim.who.as_deref();
    let at = claim.at.map(|at| asking.moment(at));
    let text = match (who, at) {
        (Some(who), Some(at)) => match claim.done {
            Some(true) => asking.say(
                format!("{who} did this at {at} already."),
                format!("{who} 已于 {at} 执行过此操作。"),
            ),
            Some(false) => asking.say(
                format!("{who} asked for this at {at} already, and it did not work."),
                format!("{who} 已于 {at} 请求过此操作，但未能执行。"),
            ),
            // It is being done, or the process ended over it.
            None => asking.say(
                format!(
                    "{who} asked for this at {at} already. /channels and /status say what came of it."
                ),
                format!("{who} 已于 {at} 请求过此操作，结果见 /channels 和 /status。"),
            ),
        },
        _ => asking.say(
            "Somebody asked for this already. /channels and /status say what came of it.",
            "此操作已有人请求过，结果见 /channels 和 /status。",
        ),
    };
    plain(Standing::Used, text)
}

pub(super) fn unkept(asking: &Asking<'_>, why: &str) -> Reply {
    tracing::error!(
        why,
        "an answer from a chat cannot be kept, so it is not done"
    );
    let text = asking.say(
        "Tollgate cannot keep at present who asked for this, so nothing was changed. Try again in a \
         moment, or use a command; the log says why.",
        "Tollgate 目前无法记录此操作，因此未做任何更改。请稍后再试，或使用命令；原因见日志。",
    );
    plain(Standing::Unkept, text)
}

/// The ledger does not say what it is about.
pub(super) fn unread(asking: &Asking<'_>, error: &QueryError) -> Reply {
    tracing::error!(%error, "the ledger cannot be read for an answer from a chat");
    let text = asking.say(
        "Tollgate cannot read at present what this is about, so nothing was changed. Try again in a \
         moment; the log says why.",
        "Tollgate 目前无法读取此操作的对象，因此未做任何更改。请稍后再试；原因见日志。",
    );
    plain(Standing::Unkept, text)
}

/// It was taken, and then could not be kept: what was not written may be later, so nobody can take it
/// again.
pub(super) fn used_up(asking: &Asking<'_>, instead: &str) -> String {
    asking.say(
        format!(
            "The journal could not be written at that moment, so nothing was changed, and this works \
             no more. Write instead: {instead}"
        ),
        format!("当时无法写入日志，因此未做任何更改，此操作也已失效。请改为发送：{instead}"),
    )
}

/// The command that does what a button does.
pub(super) fn command_for(action: AnswerAction, subject: &Subject) -> String {
    match (action, subject) {
        (AnswerAction::Reopen, channel) => format!("/enable {channel}"),
        (AnswerAction::KeepClosed, channel) => format!("/disable {channel}"),
        (AnswerAction::Silence, Subject::Alerts(alerts)) => {
            let matchers = alerts.matchers();
            let pairs = matchers.iter().map(|matcher| {
                // As the command reads it.
                let value = serde_json::Value::from(matcher.value());
                format!("{}={value}", matcher.name())
            });
            let pairs: Vec<String> = pairs.collect();
            format!("/silence {} for 1h", pairs.join(" "))
        }
        (AnswerAction::Silence | AnswerAction::Details, _) => "/status".to_owned(),
    }
}

/// What is asked before it is done.
pub(super) fn offered(asking: &Asking<'_>, action: AnswerAction, subject: &Subject) -> String {
    match action {
        AnswerAction::Silence => asking.say(
            format!("For one hour nobody is told of {subject}. What it does goes on."),
            format!("一小时内不再发送 {subject} 的告警通知，其动作照常执行。"),
        ),
        AnswerAction::Reopen => asking.say(
            format!("The channel {subject} is opened."),
            format!("重新启用渠道 {subject}。"),
        ),
        AnswerAction::KeepClosed => asking.say(
            format!("The channel {subject} stays closed until somebody opens it."),
            format!("渠道 {subject} 保持关闭，直到有人启用。"),
        ),
        AnswerAction::Details => subject.to_string(),
    }
}
