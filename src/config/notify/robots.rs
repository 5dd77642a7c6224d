//! Reads `feishu`, `wecom`, `dingtalk` and `slack`: robots whose address is their credential.

use std::sync::Arc;

use super::addresses::{Address, Shape, robot};
use super::names::each;
use super::targets::{
    DingtalkSettings, FeishuSettings, SlackSettings, TargetSettings, WecomSettings, WecomStyle,
};
use crate::config::reader::Reader;
use crate::config::section::Section;
use crate::config::units::{self, Refusal};

const FEISHU: Shape = Shape {
    hosts: &["open.feishu.cn", "open.larksuite.com"],
    path: |address| {
        let id = address.base.path.rsplit_once("/open-apis/bot/v2/hook/");
        id.is_some_and(|(_, id)| !id.is_empty() && !id.contains('/'))
    },
    form: "https://open.feishu.cn/open-apis/bot/v2/hook/<id>",
};

const WECOM: Shape = Shape {
    hosts: &["qyapi.weixin.qq.com"],
    path: |address| address.base.path.ends_with("/cgi-bin/webhook/send") && address.has("key"),
    form: "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=<key>",
};

const DINGTALK: Shape = Shape {
    hosts: &["oapi.dingtalk.com"],
    path: |address| address.base.path.ends_with("/robot/send") && address.has("access_token"),
    form: "https://oapi.dingtalk.com/robot/send?access_token=<token>",
};

const SLACK_HOSTS: &[&str] = &["hooks.slack.com", "hooks.slack-gov.com"];

const SLACK: Shape = Shape {
    hosts: SLACK_HOSTS,
    path: |address: &Address| {
        let parts = address.base.path.strip_prefix("/services/");
        // Mattermost and others take the same body, at addresses of their own.
        let elsewhere = !SLACK_HOSTS.contains(&address.base.host.as_str());
        parts.is_some_and(|parts| parts.split('/').filter(|part| !part.is_empty()).count() == 3)
            || (elsewhere && address.base.path.contains("/hooks/"))
    },
    form: "https://hooks.slack.com/services/T…/B…/…",
};

pub(super) fn feishu(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<TargetSettings> {
    let url = robot(section, reader, &FEISHU);
    let secret = section.secret(reader, Some("secret"), "secret_file");
    let keyword = keyword(section, reader);
    Some(TargetSettings::Feishu(FeishuSettings {
        url: url?,
        secret,
        keyword,
    }))
}

pub(super) fn wecom(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<TargetSettings> {
    let url = robot(section, reader, &WECOM);
    let mut style = WecomStyle::Markdown;
    let words = units::word(WecomStyle::ALL, WecomStyle::as_str);
    section.set(reader, "style", &mut style, words);
    let mention = mention(section, reader, |text| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(fits);
        fits.then(|| Arc::from(text)).ok_or_else(|| {
            let remedy = "write the account as the address book has it, as `zhangsan`";
            Refusal::new("is no user id of WeCom", remedy)
        })
    });
    Some(TargetSettings::Wecom(WecomSettings {
        url: url?,
        style,
        mention,
    }))
}

pub(super) fn dingtalk(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
) -> Option<TargetSettings> {
    let url = robot(section, reader, &DINGTALK);
    let secret = section.secret(reader, Some("secret"), "secret_file");
    let keyword = keyword(section, reader);
    let mention = mention(section, reader, |text| {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let fits = |byte: u8| byte.is_ascii_digit() || byte == b'-';
        let fits = (5..=20).contains(&digits.len()) && digits.bytes().all(fits);
        fits.then(|| Arc::from(text)).ok_or_else(|| {
            let remedy = "write the number that the person's account has, as \"13800138000\"";
            Refusal::new("is no phone number", remedy)
        })
    });
    Some(TargetSettings::Dingtalk(DingtalkSettings {
        url: url?,
        secret,
        keyword,
        mention,
    }))
}

pub(super) fn slack(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<TargetSettings> {
    let url = robot(section, reader, &SLACK);
    let mention = mention(section, reader, |text| {
        let begins = text.starts_with(['U', 'W', 'S']);
        let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        let fits = begins && (3..=32).contains(&text.len()) && text.bytes().all(fits);
        fits.then(|| Arc::from(text)).ok_or_else(|| {
            let remedy = "write the member id of the profile (`U…`), or a user group's (`S…`)";
            Refusal::new("is no id of Slack's", remedy)
        })
    });
    Some(TargetSettings::Slack(SlackSettings { url: url?, mention }))
}

fn keyword(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<Arc<str>> {
    let mut keyword = None;
    section.set(reader, "keyword", &mut keyword, |text| {
        let fits = !text.trim().is_empty() && !text.contains(char::is_control);
        if fits && text.chars().count() <= 64 {
            return Ok(Some(Arc::from(text)));
        }
        let remedy = "write one of the words that the robot asks for, as `Token`";
        Err(Refusal::new("is no keyword", remedy))
    });
    keyword
}

fn mention(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    parse: impl Fn(&str) -> Result<Arc<str>, Refusal>,
) -> Vec<Arc<str>> {
    let key = section.key("mention");
    let given = section.texts(reader, "mention");
    each(reader, &key, given, parse)
}
