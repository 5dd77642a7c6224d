//! Reads `webhook` and `alertmanager`: receivers that are programs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::addresses::{address, in_clear, needed_secret, warn_of_clear_text};
use super::targets::{AlertmanagerSettings, TargetSettings, WebhookSettings};
use crate::config::base_url::BaseUrl;
use crate::config::channels::needed;
use crate::config::reader::Reader;
use crate::config::section::Section;
use crate::config::tree::shown;
use crate::config::units::{self, Refusal};

/// Alerts of one body that anybody would set a bound at.
const MOST_ALERTS: usize = 100_000;

pub(super) fn webhook(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
) -> Option<TargetSettings> {
    let why = "it is where alerts are posted to";
    let given = needed_secret(section, reader, "url", "url_file", why);
    let bearer = section.secret(reader, Some("bearer"), "bearer_file");
    let hmac_secret = section.secret(reader, Some("hmac_secret"), "hmac_secret_file");
    let mut max_alerts = 0;
    let bound = units::whole(0, MOST_ALERTS);
    section.set(reader, "max_alerts", &mut max_alerts, bound);
    let given = given?;
    let address = address(reader, &given)?;
    if bearer.is_some() {
        in_clear(reader, &given, &address.base, "the bearer token");
    } else if address.has_user || address.query.is_some() {
        in_clear(reader, &given, &address.base, "what the address holds");
    }
    Some(TargetSettings::Webhook(WebhookSettings {
        url: given.secret,
        bearer,
        hmac_secret,
        max_alerts,
    }))
}

pub(super) fn alertmanager(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
) -> Option<TargetSettings> {
    let key = section.key("urls");
    let listed = section.listed(reader, "urls");
    needed(section, reader, "urls", "it says where Alertmanager is");
    let bearer = section.secret(reader, Some("bearer"), "bearer_file");
    let labels = labels(section, reader);
    let (place, given) = listed?;
    if given.is_empty() {
        let message = "the list is empty, so nobody would be told";
        let hint = Some("name an address, as `http://127.0.0.1:9093`");
        reader.problem(&place, &key, message, hint);
    }
    let mut urls: Vec<BaseUrl> = Vec::new();
    for given in given {
        let url = match peer(&given.text) {
            Ok(url) if urls.contains(&url) => {
                let refusal = Refusal::new("is in the list twice", "take one of them away");
                reader.refuse(&given, &key, &refusal);
                continue;
            }
            Ok(url) => url,
            Err(refusal) => {
                reader.refuse(&given, &key, &refusal);
                continue;
            }
        };
        if bearer.is_some() {
            warn_of_clear_text(reader, &key, &given.place, &url, "the bearer token");
        }
        urls.push(url);
    }
    (!urls.is_empty()).then_some(TargetSettings::Alertmanager(AlertmanagerSettings {
        urls,
        bearer,
        labels,
    }))
}

fn peer(text: &str) -> Result<BaseUrl, Refusal> {
    const FORM: &str = "write its address as a browser has it, as `http://127.0.0.1:9093`, without `/api/v2/alerts`";
    let url = units::base_url(text).map_err(|refusal| Refusal::new(refusal.reason, FORM))?;
    if url.path.contains("/api/") || url.path.ends_with("/api") {
        return Err(Refusal::new("goes on into the API", FORM));
    }
    Ok(url)
}

fn labels(section: &mut Section<'_>, reader: &mut Reader<'_>) -> BTreeMap<Arc<str>, Arc<str>> {
    let mut labels = BTreeMap::new();
    for entry in section.names(reader, "labels") {
        let path = format!("{}.{}", section.key("labels"), shown(&entry.key));
        let place = reader.at(entry.key_at);
        let Some(given) = reader.scalar(entry, &path) else {
            continue;
        };
        if !is_label(&entry.key) {
            let message = format!("`{}` is not a label's name", shown(&entry.key));
            let hint = Some("write letters, digits and `_`, not a digit first, as `cluster`");
            reader.problem(&place, &path, message, hint);
        } else if entry.key == "alertname" {
            let message = "is the name of the rule, which makes alerts what they are";
            reader.problem(&place, &path, message, Some("choose another label"));
        } else if given.text.is_empty() || given.text.contains(char::is_control) {
            let remedy = "write some text on one line, or take the label away";
            reader.refuse(&given, &path, &Refusal::new("is no label's value", remedy));
        } else {
            labels.insert(Arc::from(entry.key.as_str()), Arc::from(given.text));
        }
    }
    labels
}

/// Whether Prometheus takes it for a label's name.
fn is_label(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && (1..=128).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
