//! The words of messages: each of them in every language, side by side.

use crate::alert::Severity;
use crate::config::Language;
use crate::notify::content::{AlertChange, LinkKind};
use crate::record::{GateReason, GateState, Owner};
use crate::rules::{Metric, Stat};

/// Words that templates ask for by name.
macro_rules! words {
    ($($name:literal: $en:literal, $zh:literal;)+) => {
        /// Every name, with the word in each language in the order of [`Language::ALL`].
        const WORDS: &[(&str, [&str; Language::ALL.len()])] = &[$(($name, [$en, $zh])),+];
    };
}

words! {
    "all": "all", "全部";
    "before": "before", "上期";
    "budgets": "Budgets", "预算";
    "cached": "From cache", "缓存命中";
    "channel": "Channel", "渠道";
    "cost": "Spent", "花费";
    "did": "While it fired", "触发期间已执行";
    "done": "Done", "已执行";
    "earlier": "Earlier changes, not listed", "更早的变更（未列出）";
    "ends": "Ends", "结束";
    "error": "Error", "错误";
    "errors": "Errors", "错误";
    "exhausted": "Would reach the limit", "预计达到限额";
    "fired_for": "Fired for", "持续时间";
    "forecast": "Forecast for the end of the window", "窗口结束时预计";
    "input": "Input", "输入";
    "key": "Key", "密钥";
    "last": "The last one in full", "最近一条全文";
    "latency": "Latency", "延迟";
    "limit": "Limit", "阈值";
    "model": "Model", "模型";
    "api": "API", "API";
    "most": "Most of it comes from", "主要来源";
    "none": "none", "无";
    "not_done": "Not done", "未执行";
    "output": "Output", "输出";
    "period": "Period", "时段";
    "repeated": "No change since the last message.", "自上次通知以来无变化。";
    "requests": "Requests", "请求";
    "rule": "Rule", "规则";
    "saved": "Saved by caching", "缓存节省";
    "shadow": "Shadow mode: nothing is done.", "影子模式：不会执行任何操作。";
    "since": "Since", "开始时间";
    "tokens": "Tokens", "Token";
    "top_channel": "Top channels", "渠道排行";
    "top_key": "Top keys", "密钥排行";
    "top_model": "Top models", "模型排行";
    "ttft": "Time to first token", "首 token 时间";
    "undelivered": "Not delivered", "未送达";
    "unknown": "unknown", "未知";
    "unpriced": "Requests without a known cost", "费用未知的请求";
    "until": "Until", "至";
    "value_now": "now", "当前";
    "window": "Window", "统计窗口";
    "without_channel": "No open channel left for", "已无可用渠道的模型";
    "would": "Would have", "本会执行";
}

/// The word of a name; `None` where there is none.
pub(super) fn word(name: &str, language: Language) -> Option<&'static str> {
    let found = WORDS.iter().find(|(known, _)| *known == name);
    found.map(|(_, words)| words[language as usize])
}

/// The names of all words, for whoever looked for another.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|(name, _)| *name)
}

/// `en` or `zh`, whichever is asked for.
pub(super) const fn either<T: Copy>(language: Language, en: T, zh: T) -> T {
    match language {
        Language::En => en,
        Language::Zh => zh,
    }
}

/// What stands between a name and its value.
pub(super) const fn colon(language: Language) -> &'static str {
    either(language, ": ", "：")
}

/// What stands between the members of a list.
pub(super) const fn comma(language: Language) -> &'static str {
    either(language, ", ", "、")
}

/// A text in brackets.
pub(super) fn bracketed(text: &str, language: Language) -> String {
    match language {
        Language::En => format!(" ({text})"),
        Language::Zh => format!("（{text}）"),
    }
}

/// That there are more than are listed.
pub(super) fn and_more(count: u64, language: Language) -> String {
    let count = super::humane::count(count);
    match language {
        Language::En => format!("… and {count} more"),
        Language::Zh => format!("……另有 {count} 项"),
    }
}

/// A name amid Chinese words: letters and digits of others stand apart from them.
pub(super) fn amid(name: &str) -> String {
    let apart = |c: Option<char>| if c.is_some_and(is_wide) { "" } else { " " };
    let (before, after) = (apart(name.chars().next()), apart(name.chars().last()));
    format!("{before}{name}{after}")
}

/// Whether a character takes two columns where others take one.
pub(super) const fn is_wide(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe4f}' | '\u{ff00}'..='\u{ff60}'
        | '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}')
}

/// `critical`.
pub(super) const fn severity(severity: Severity, language: Language) -> &'static str {
    match severity {
        Severity::Warning => either(language, "warning", "警告"),
        Severity::Critical => either(language, "critical", "严重"),
    }
}

/// What an alert of a severity is said to be, as it changed.
pub(super) fn change(
    change: AlertChange,
    severity: Option<Severity>,
    language: Language,
) -> &'static str {
    let plain = severity.map_or(either(language, "firing", "触发"), |known| {
        self::severity(known, language)
    });
    match (change, severity) {
        (AlertChange::Fired | AlertChange::Acted, _) => plain,
        (AlertChange::Escalated, _) => either(language, "now critical", "升级为严重"),
        (AlertChange::Eased, _) => either(language, "eased to warning", "降为警告"),
        (AlertChange::Resolved, _) => either(language, "resolved", "已恢复"),
        (AlertChange::CameAndWent, _) => either(language, "came and went", "触发后已恢复"),
        (AlertChange::Same, Some(Severity::Critical)) => {
            either(language, "still critical", "仍为严重")
        }
        (AlertChange::Same, Some(Severity::Warning)) => {
            either(language, "still warning", "仍为警告")
        }
        (AlertChange::Same, None) => either(language, "still firing", "仍在触发"),
    }
}

/// What an alert is said to have been that came and went: how bad, and for how long.
pub(super) fn came_and_went(
    severity: Option<Severity>,
    length: Option<&str>,
    language: Language,
) -> String {
    let was = match severity {
        Some(Severity::Critical) => either(language, "was critical", "曾达严重级别"),
        Some(Severity::Warning) => either(language, "was at warning", "曾达警告级别"),
        None => either(language, "fired", "曾触发"),
    };
    match (length, language) {
        (Some(length), Language::En) => format!("{was}, over after {length}"),
        (Some(length), Language::Zh) => format!("{was}，{length}后恢复"),
        (None, Language::En) => format!("{was}, now over"),
        (None, Language::Zh) => format!("{was}，现已恢复"),
    }
}

/// That nothing is done in earnest.
pub(super) fn shadow(language: Language) -> String {
    bracketed(either(language, "shadow", "影子"), language)
}

/// What a link leads to.
pub(super) const fn link(kind: LinkKind, language: Language) -> &'static str {
    match kind {
        LinkKind::Dashboard => either(language, "Dashboard", "仪表盘"),
        LinkKind::Failed => either(language, "Failed requests", "失败的请求"),
        LinkKind::Slow => either(language, "Slowest requests", "最慢的请求"),
        LinkKind::Requests => either(language, "Requests", "请求"),
        LinkKind::Runbook => either(language, "Runbook", "处理手册"),
    }
}

/// What a gate is.
#[must_use]
pub const fn gate_state(state: GateState, language: Language) -> &'static str {
    match state {
        GateState::Open => either(language, "open", "已启用"),
        GateState::Probing => either(language, "probing", "试探中"),
        GateState::Closed => either(language, "closed", "已关闭"),
    }
}

/// Why a gate changed.
#[must_use]
pub const fn gate_reason(reason: GateReason, language: Language) -> &'static str {
    match reason {
        GateReason::Failures => either(
            language,
            "too many failed or slow requests",
            "失败或过慢的请求太多",
        ),
        GateReason::OutOfMoney => either(
            language,
            "the account is out of money",
            "提供商账户余额不足",
        ),
        GateReason::BadCredential => either(
            language,
            "the provider refuses the credential",
            "提供商拒绝该凭证",
        ),
        GateReason::Operator => either(language, "by hand", "人工操作"),
        GateReason::Alert => either(language, "an alert", "告警"),
        GateReason::Expired => either(language, "its time is up", "时限已到"),
        GateReason::Recovered => either(language, "a trial request succeeded", "试探请求成功"),
    }
}

/// Who holds or held a gate; a person by the name they gave.
#[must_use]
pub fn owner(owner: &Owner, who: Option<&str>, language: Language) -> String {
    match (owner, who) {
        (_, Some(who)) => who.to_owned(),
        (Owner::Operator, None) => either(language, "an operator", "操作员").to_owned(),
        (Owner::Breaker, None) => either(language, "the breaker", "熔断器").to_owned(),
        (Owner::Alert(alert), None) => match language {
            Language::En => format!("the alert {alert}"),
            Language::Zh => format!("告警 {alert}"),
        },
    }
}

/// The name of a label or of a dimension: `channel`, `tag:team`.
pub(super) fn label(name: &str, language: Language) -> String {
    match name {
        "channel" | "model" | "key" | "api" => word(name, language).unwrap_or_default().to_owned(),
        "window" => either(language, "Plan window", "套餐窗口").to_owned(),
        other => other.strip_prefix("tag:").unwrap_or(other).to_owned(),
    }
}

/// What a rule looks at: `Spending`, `Latency (p95)`. Names that are none are told as they are.
pub(super) fn figure(metric: &str, stat: &str, language: Language) -> String {
    let known = metric.parse::<Metric>().ok();
    let name = known.map_or(metric, |known| self::metric(known, language));
    match stat.parse::<Stat>() {
        Ok(Stat::Sum | Stat::Count) => name.to_owned(),
        // An error ratio says it by its name.
        Ok(Stat::Ratio) if known == Some(Metric::ErrorRatio) => name.to_owned(),
        Ok(stat) => format!("{name}{}", bracketed(self::stat(stat, language), language)),
        Err(_) if stat.is_empty() => name.to_owned(),
        Err(_) => format!("{name}{}", bracketed(stat, language)),
    }
}

const fn metric(metric: Metric, language: Language) -> &'static str {
    match metric {
        Metric::Cost => either(language, "Spending", "花费"),
        Metric::Tokens => either(language, "Tokens", "Token"),
        Metric::InputTokens => either(language, "Input tokens", "输入 token"),
        Metric::OutputTokens => either(language, "Output tokens", "输出 token"),
        Metric::Requests => either(language, "Requests", "请求"),
        Metric::Errors => either(language, "Errors", "错误"),
        Metric::ErrorRatio => either(language, "Error ratio", "错误率"),
        Metric::Latency => either(language, "Latency", "延迟"),
        Metric::Ttft => either(language, "Time to first token", "首 token 时间"),
        Metric::TokensPerSecond => either(language, "Output speed", "输出速度"),
        Metric::QuotaUsed => either(language, "Plan used", "套餐用量"),
    }
}

const fn stat(stat: Stat, language: Language) -> &'static str {
    match stat {
        Stat::Sum => either(language, "sum", "合计"),
        Stat::Count => either(language, "count", "次数"),
        Stat::Ratio => either(language, "share", "占比"),
        Stat::Mean => either(language, "mean", "平均"),
        Stat::P50 => "p50",
        Stat::P90 => "p90",
        Stat::P95 => "p95",
        Stat::P99 => "p99",
        Stat::Max => either(language, "max", "最大"),
        Stat::Forecast => either(language, "forecast", "预测"),
        Stat::TimeLeft => either(language, "time left", "剩余时间"),
    }
}

/// How long a rule's window is: `day`, `the last 5 min`. A text that is no window is told as it is.
pub(super) fn window(text: &str, language: Language) -> String {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let calendar = match first {
        "hour" => Some(either(language, "hour", "整点小时")),
        "day" => Some(either(language, "day", "自然日")),
        "week" => Some(either(language, "week", "自然周")),
        "month" => Some(either(language, "month", "自然月")),
        _ => None,
    };
    if let Some(calendar) = calendar {
        return if rest.is_empty() {
            calendar.to_owned()
        } else {
            format!("{calendar} {rest}")
        };
    }
    match humantime::parse_duration(text) {
        Ok(length) => {
            let length = super::humane::duration(length, language);
            match language {
                Language::En => format!("the last {length}"),
                Language::Zh => format!("最近 {length}"),
            }
        }
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_there_in_both_languages() {
        let mut seen = std::collections::BTreeSet::new();
        for (name, words) in WORDS {
            assert!(seen.insert(name), "{name} twice");
            assert!(words.iter().all(|word| !word.trim().is_empty()), "{name}");
        }
    }

    #[test]
    fn chinese_words_are_chinese() {
        let has_han = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        let mut words: Vec<String> = Vec::new();
        for (name, both) in WORDS {
            // Words that are the same in both.
            if !matches!(*name, "api" | "tokens") {
                words.push(both[1].to_owned());
            }
        }
        let zh = Language::Zh;
        words.extend(
            Severity::ALL
                .iter()
                .map(|one| severity(*one, zh).to_owned()),
        );
        words.extend(
            GateReason::ALL
                .iter()
                .map(|one| gate_reason(*one, zh).to_owned()),
        );
        words.extend(
            GateState::ALL
                .iter()
                .map(|one| gate_state(*one, zh).to_owned()),
        );
        words.extend(LinkKind::ALL.iter().map(|one| link(*one, zh).to_owned()));
        for one in AlertChange::ALL {
            for severity in [None, Some(Severity::Warning), Some(Severity::Critical)] {
                words.push(change(*one, severity, zh).to_owned());
                words.push(came_and_went(severity, None, zh));
            }
        }
        let metrics = Metric::ALL.iter().filter(|one| **one != Metric::Tokens);
        words.extend(metrics.map(|one| metric(*one, zh).to_owned()));
        for one in [Owner::Operator, Owner::Breaker, Owner::Alert("A".into())] {
            words.push(owner(&one, None, zh));
        }
        for word in words {
            assert!(has_han(&word), "{word}");
        }
    }

    #[test]
    fn figures_and_windows_have_names() {
        let (en, zh) = (Language::En, Language::Zh);
        assert_eq!(figure("cost", "sum", en), "Spending");
        assert_eq!(figure("latency", "p95", zh), "延迟（p95）");
        assert_eq!(figure("error_ratio", "ratio", en), "Error ratio");
        assert_eq!(
            figure("new_metric", "new_stat", en),
            "new_metric (new_stat)"
        );
        assert_eq!(window("day", en), "day");
        assert_eq!(window("1h 30m", en), "the last 1 h 30 min");
        assert_eq!(window("5m", zh), "最近 5 分钟");
        assert_eq!(window("whatever", en), "whatever");
    }
}
