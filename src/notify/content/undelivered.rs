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
    let last = content.titles.last();
    let last = last.map(|(_, title)| markup::one_line(title));
    // What was to be said is worth more than whom it did not reach.
    let title = match (language, count, &last) {
        (Language::En, 1, Some(last)) => format!("Not delivered to {receiver}: {last}"),
        (Language::Zh, 1, Some(last)) => format!("未能送达 {receiver}：{last}"),
        (Language::En, _, Some(last)) => {
            format!("{count} not delivered to {receiver}, the last: {last}")
        }
        (Language::Zh, _, Some(last)) => {
            format!("{count} 条通知未能送达 {receiver}，最近一条：{last}")
        }
        (Language::En, 1, None) => format!("1 notification not delivered to {receiver}"),
        (Language::En, _, None) => format!("{count} notifications not delivered to {receiver}"),
        (Language::Zh, _, None) => format!("{count} 条通知未能送达 {receiver}"),
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
        "last_title": last,
    })
}
