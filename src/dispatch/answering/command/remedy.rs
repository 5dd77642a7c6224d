//! What to write instead of what is no command.

use super::{BadCommand, LONGEST_REASON, MOST_MATCHERS, MOST_SLOW, NAMES};
use crate::config::{Language, likeliest};

impl BadCommand {
    /// What to write instead.
    #[must_use]
    pub fn remedy(&self, language: Language) -> String {
        match language {
            Language::En => self.in_english(),
            Language::Zh => self.in_chinese(),
        }
    }

    fn in_english(&self) -> String {
        match self {
            Self::Unknown(name) => match near(name) {
                Some(known) => format!("There is no /{name}. Did you mean /{known}?"),
                None => format!("There is no /{name}. /help lists what there is."),
            },
            Self::SpendWord(word) => format!(
                "“{word}” says nothing to /spend. Write /spend [today|7d|month] [by \
                 model|channel|key]."
            ),
            Self::SlowWord(word) => {
                format!("“{word}” is no number of requests. Write /slow 5; at most {MOST_SLOW}.")
            }
            Self::NoChannel("disable") => {
                "Say which channel: /disable CHANNEL [for 1h] [reason]. /channels lists them."
                    .to_owned()
            }
            Self::NoChannel(_) => {
                "Say which channel: /enable CHANNEL. /channels lists them.".to_owned()
            }
            Self::EnableMore(more) => {
                format!("/enable takes one channel; “{more}” is too much.")
            }
            Self::Span(text) => format!(
                "“{text}” is no length of time above zero. Write numbers with units: for 90s, \
                 for 1h 30m, for 7d."
            ),
            Self::SilenceNothing => {
                "Say which alerts: /silence RULE for 2h, or /silence rule=Spend channel=a* for 2h \
                 [comment]."
                    .to_owned()
            }
            Self::SilenceForever => "Say for how long: /silence … for 2h [comment].".to_owned(),
            Self::Matcher(part) => format!(
                "“{part}” is no name=value. Write /silence rule=Spend channel=a* for 2h; values \
                 with spaces go between quotation marks."
            ),
            Self::TooLong => format!(
                "That is too long: a reason has at most {LONGEST_REASON} characters, a silence at \
                 most {MOST_MATCHERS} matchers."
            ),
        }
    }

    fn in_chinese(&self) -> String {
        match self {
            Self::Unknown(name) => match near(name) {
                Some(known) => format!("没有 /{name} 命令。您是要 /{known} 吗？"),
                None => format!("没有 /{name} 命令。发送 /help 查看可用命令。"),
            },
            Self::SpendWord(word) => format!(
                "/spend 不认识“{word}”。请写 /spend [today|7d|month] [by model|channel|key]。"
            ),
            Self::SlowWord(word) => {
                format!("“{word}”不是请求数量。请写 /slow 5，最多 {MOST_SLOW}。")
            }
            Self::NoChannel("disable") => {
                "请指明渠道：/disable 渠道 [for 1h] [原因]。/channels 列出全部渠道。".to_owned()
            }
            Self::NoChannel(_) => {
                "请指明渠道：/enable 渠道。/channels 列出全部渠道。".to_owned()
            }
            Self::EnableMore(more) => format!("/enable 只接受一个渠道，“{more}”是多余的。"),
            Self::Span(text) => format!(
                "“{text}”不是大于零的时长。请写数字和单位：for 90s、for 1h 30m、for 7d。"
            ),
            Self::SilenceNothing => {
                "请指明告警：/silence 规则 for 2h，或 /silence rule=Spend channel=a* for 2h [备注]。"
                    .to_owned()
            }
            Self::SilenceForever => "请指明时长：/silence … for 2h [备注]。".to_owned(),
            Self::Matcher(part) => format!(
                "“{part}”不是 名称=值。请写 /silence rule=Spend channel=a* for 2h；含空格的值请加引号。"
            ),
            Self::TooLong => format!(
                "内容太长：原因最多 {LONGEST_REASON} 个字符，一次静默最多 {MOST_MATCHERS} 个条件。"
            ),
        }
    }
}

fn near(name: &str) -> Option<&'static str> {
    likeliest(name, NAMES)
}
