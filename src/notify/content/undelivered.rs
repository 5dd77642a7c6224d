//! What templates may name of a receiver that cannot be reached.

use serde_json::{Value as Json, json};

use super::rendering::Rendering;
use super::{UndeliveredContent, alerts, markup};
use crate::config::Language;

/// Titles that are told.
const MOST_TITLES: usize = 15;

pub(super) fn view(content: &UndeliveredContent, rendering: &Rendering<'_>) -> Json {
    let language = rendering.language;
    let count = content.titles.len() + content.more;
    let titles = content
        .titles
        .iter()
        .take(MOST_TITLES)
        .map(|(at, title)| json!({"at": rendering.moment(*at), "title": &**title}));
    let since = content.titles.iter().map(|(at, _)| *at).min();
    let receiver = alerts::short(&content.receiver);
    let title = match (language, count) {
        (Language::En, 1) => {
            format!("Receiver {receiver} cannot be reached: 1 notification was not delivered")
        }
        (Language::En, _) => format!(
            "Receiver {receiver} cannot be reached: {count} notifications were not delivered"
        ),
        (Language::Zh, _) => format!("无法送达接收者 {receiver}：{count} 条通知未送达"),
    };
    json!({
        "title": title,
        "receiver": &*content.receiver,
        "error": &*content.error,
        "since": since.map(|at| rendering.moment_and_distance(at)),
        "count": count,
        "titles": titles.collect::<Vec<_>>(),
        "more": content.titles.len().saturating_sub(MOST_TITLES) + content.more,
        "has_last": content.content.is_some(),
        "last_title": content.titles.last().map(|(_, title)| markup::one_line(title)),
    })
}
