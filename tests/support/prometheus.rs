//! A real Prometheus, which scrapes a Tollgate every second.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use super::client::Request;
use super::served::Served;

/// One Prometheus; it ends when dropped.
pub(crate) struct Prometheus(Served);

impl Prometheus {
    /// One that scrapes that admin port, with the recording rules and alerts that users load.
    pub(crate) fn scraping(admin: SocketAddr) -> Self {
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/alerts.yaml");
        Self(Served::start(
            "prometheus",
            |folder| {
                let settings = format!(
                    "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
                     rule_files: ['{rules}']\n\
                     scrape_configs:\n- job_name: tollgate\n  static_configs: [{{targets: ['{admin}']}}]\n"
                );
                std::fs::write(folder.join("prometheus.yml"), settings).unwrap();
            },
            |folder, address| {
                vec![
                    format!("--config.file={}", folder.join("prometheus.yml").display()),
                    format!("--storage.tsdb.path={}", folder.join("data").display()),
                    format!("--web.listen-address={address}"),
                ]
            },
        ))
    }

    /// Asks `/api/v1/{path}`; the `data` of the answer, or what was wrong.
    pub(crate) fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        let target = format!("/api/v1/{path}?{query}");
        let mut answer: BTreeMap<String, Value> = Request::new("GET", &target)
            .send(self.0.address())
            .json()
            .as_object()
            .unwrap()
            .clone()
            .into_iter()
            .collect();
        match answer.remove("data") {
            Some(data) if answer["status"] == "success" => Ok(data),
            _ => Err(format!("{answer:?}")),
        }
    }
}
