//! Prometheus' own Alertmanager, as a process beside the test.

use std::net::SocketAddr;

use serde_json::Value;

use crate::support::client::Request;
use crate::support::served::Served;

/// One Alertmanager; it ends when dropped.
pub(crate) struct RealAlertmanager(Served);

impl RealAlertmanager {
    /// One that tells everything at once to that webhook, grouped by the alert's name, as the receiver
    /// of that name.
    pub(crate) fn telling(receiver: &str, webhook: SocketAddr) -> Self {
        Self::start(&format!(
            "route:\n  receiver: {receiver}\n  group_by: [alertname]\n  group_wait: 0s\n  \
             group_interval: 1s\n  repeat_interval: 1h\n\
             receivers:\n- name: {receiver}\n  webhook_configs:\n  \
             - {{url: 'http://{webhook}/', send_resolved: true}}\n"
        ))
    }

    /// One that tells nobody.
    pub(crate) fn silent() -> Self {
        Self::start("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    }

    fn start(settings: &str) -> Self {
        Self(Served::start(
            "prometheus-alertmanager",
            |folder| {
                std::fs::write(folder.join("alertmanager.yml"), settings).unwrap();
                // It does not start without its templates, which only other receivers than webhooks use.
                for template in ["default.tmpl", "email.tmpl"] {
                    std::fs::write(folder.join(template), "").unwrap();
                }
            },
            |folder, address| {
                let file = folder.join("alertmanager.yml");
                vec![
                    format!("--config.file={}", file.display()),
                    format!("--storage.path={}", folder.display()),
                    format!("--web.listen-address={address}"),
                    "--cluster.listen-address=".to_owned(),
                ]
            },
        ))
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.address())
    }

    /// The alerts that it lists: those that fire.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        let answer = Request::new("GET", "/api/v2/alerts").send(self.0.address());
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }
}
