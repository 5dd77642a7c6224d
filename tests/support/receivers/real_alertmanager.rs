//! Prometheus' own Alertmanager, as a process beside the test.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::client::Request;
use crate::support::eventually;

/// How often another port is tried, when somebody else took the one that was free.
const TRIES: usize = 5;

/// One Alertmanager; it ends when dropped.
pub(crate) struct RealAlertmanager {
    process: Child,
    address: SocketAddr,
    /// Holds its settings, its state and its log.
    _folder: TempDir,
}

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
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("alertmanager.yml");
        std::fs::write(&file, settings).unwrap();
        // It does not start without its templates, which only other receivers than webhooks use.
        for template in ["default.tmpl", "email.tmpl"] {
            std::fs::write(folder.path().join(template), "").unwrap();
        }
        let log = folder.path().join("log");
        for _ in 0..TRIES {
            // It cannot say which port it got, so it is told one that was free just now.
            let address = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap();
            let output = File::create(&log).unwrap();
            let mut process = Command::new("prometheus-alertmanager")
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.path={}", folder.path().display()))
                .arg(format!("--web.listen-address={address}"))
                .arg("--cluster.listen-address=")
                .current_dir(folder.path())
                .stdout(Stdio::null())
                .stderr(output)
                .spawn()
                .expect("prometheus-alertmanager is not there; `make test` installs it");
            if ready(&mut process, address, &log) {
                return Self {
                    process,
                    address,
                    _folder: folder,
                };
            }
        }
        panic!("{}", std::fs::read_to_string(&log).unwrap());
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The alerts that it lists: those that fire.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        let answer = Request::new("GET", "/api/v2/alerts").send(self.address);
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }
}

impl Drop for RealAlertmanager {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Waits until it takes requests; false where it ended instead.
fn ready(process: &mut Child, address: SocketAddr, log: &Path) -> bool {
    eventually(&format!("an Alertmanager ({})", log.display()), || {
        if process.try_wait().unwrap().is_some() {
            return Some(false);
        }
        TcpStream::connect(address).ok()?;
        let answer = Request::new("GET", "/-/ready").send(address);
        (answer.status == 200).then_some(true)
    })
}
