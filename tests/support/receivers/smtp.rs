//! A real mail server (aiosmtpd) with certificates that a test made for it, and servers that are none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::clients::{folder, installed};
use crate::support::eventually;

/// Who may send by the server.
pub(crate) const USER: &str = "tollgate";
/// With this password.
pub(crate) const PASSWORD: &str = "canary-of-the-mail-password";

/// The certificate that a server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// One for `localhost`.
    Good,
    /// One for somebody else.
    OtherName,
    /// One that was good for `localhost` once.
    Expired,
    /// One that will be.
    NotYet,
}

/// A server to come.
#[derive(Clone, Debug)]
pub(crate) struct MailSetup {
    shown: Shown,
    plan: Value,
}

impl MailSetup {
    /// One that asks for [`USER`] and [`PASSWORD`].
    pub(crate) fn usual() -> Self {
        Self {
            shown: Shown::Good,
            plan: json!({"user": USER, "password": PASSWORD}),
        }
    }

    /// Shows that certificate.
    pub(crate) fn shows(mut self, shown: Shown) -> Self {
        self.shown = shown;
        self
    }

    /// Sets a key of the plan that tests/clients/smtp.py describes.
    pub(crate) fn plan(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.plan[key] = value.into();
        self
    }

    /// Starts it.
    pub(crate) fn start(mut self) -> MailServer {
        let folder = TempDir::new().unwrap();
        let ca_file = folder.path().join("ca.pem");
        let (cert, key) = (
            folder.path().join("cert.pem"),
            folder.path().join("key.pem"),
        );
        certify(self.shown, &ca_file, &cert, &key);
        self.plan["cert"] = json!(cert);
        self.plan["key"] = json!(key);
        MailServer::run(&self.plan, folder, ca_file)
    }
}

/// An authority, and a certificate that it signed.
fn certify(shown: Shown, ca_file: &Path, cert_file: &Path, key_file: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();

    let names = match shown {
        Shown::OtherName => ["elsewhere.test".to_owned()],
        _ => ["localhost".to_owned()],
    };
    let mut params = CertificateParams::new(names).unwrap();
    match shown {
        Shown::Expired => {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        }
        Shown::NotYet => params.not_before = date_time_ymd(3001, 1, 1),
        Shown::Good | Shown::OtherName => {}
    }
    let key = KeyPair::generate().unwrap();
    let signed = params.signed_by(&key, &authority).unwrap();
    std::fs::write(ca_file, authority.pem()).unwrap();
    std::fs::write(cert_file, signed.pem()).unwrap();
    std::fs::write(key_file, key.serialize_pem()).unwrap();
}

/// A message that a server took.
#[derive(Clone, Debug)]
pub(crate) struct Taken(Value);

impl Taken {
    /// What is said of it: `from`, `to`, `tls`, `user`, `hello`.
    pub(crate) fn envelope(&self, name: &str) -> &Value {
        &self.0[name]
    }

    /// For whom it was taken.
    pub(crate) fn to(&self) -> Vec<&str> {
        let to = self.0["to"].as_array().unwrap();
        to.iter().map(|address| address.as_str().unwrap()).collect()
    }

    /// Its bytes.
    pub(crate) fn raw(&self) -> String {
        let raw = BASE64.decode(self.0["raw"].as_str().unwrap()).unwrap();
        String::from_utf8(raw).unwrap()
    }

    /// Its only header of that name (in small letters), decoded.
    pub(crate) fn header(&self, name: &str) -> &str {
        let values = self.headers(name);
        assert_eq!(values.len(), 1, "{name}: {values:?}");
        values[0]
    }

    /// All headers of that name.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let values = self.0["mail"]["headers"][name].as_array();
        let values = values.into_iter().flatten();
        values.map(|value| value.as_str().unwrap()).collect()
    }

    /// Its only part of that type.
    pub(crate) fn part(&self, kind: &str) -> &Value {
        let mut found = Vec::new();
        parts(&self.0["mail"], &mut found);
        for part in &found {
            assert_eq!(part["defects"], json!([]), "{part}");
        }
        found.retain(|part| part["type"] == kind);
        assert_eq!(found.len(), 1, "{kind}: {found:?}");
        found[0]
    }

    /// How its parts lie in each other: `alternative(plain, html)`.
    pub(crate) fn shape(&self) -> String {
        shape(&self.0["mail"])
    }

    /// What text programs show.
    pub(crate) fn text(&self) -> &str {
        self.part("text/plain")["text"].as_str().unwrap()
    }

    /// What others show.
    pub(crate) fn html(&self) -> &str {
        self.part("text/html")["text"].as_str().unwrap()
    }
}

fn parts<'v>(node: &'v Value, found: &mut Vec<&'v Value>) {
    found.push(node);
    for part in node["parts"].as_array().into_iter().flatten() {
        parts(part, found);
    }
}

fn shape(node: &Value) -> String {
    let kind = node["type"].as_str().unwrap();
    let kind = kind.split('/').next_back().unwrap();
    let parts = node["parts"].as_array().into_iter().flatten();
    let parts: Vec<_> = parts.map(shape).collect();
    if parts.is_empty() {
        return kind.to_owned();
    }
    format!("{kind}({})", parts.join(", "))
}

/// The server, a process of its own; it ends when dropped.
pub(crate) struct MailServer {
    process: Child,
    /// It ends when this is closed.
    stdin: Option<ChildStdin>,
    ports: Value,
    taken: Arc<Mutex<Vec<Taken>>>,
    reading: Option<JoinHandle<()>>,
    /// Whom to trust.
    pub(crate) ca_file: PathBuf,
    /// Holds the files.
    _folder: TempDir,
}

impl MailServer {
    fn run(plan: &Value, files: TempDir, ca_file: PathBuf) -> Self {
        let mut process = Command::new(installed("TOLLGATE_TEST_PYTHON"))
            .arg(folder().join("smtp.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = process.stdin.take().unwrap();
        writeln!(stdin, "{plan}").unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().expect("the mail server says its ports");
        let ports = serde_json::from_str(&first.unwrap()).unwrap();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let filled = Arc::clone(&taken);
        let reading = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let message = Taken(serde_json::from_str(&line).unwrap());
                filled.lock().unwrap().push(message);
            }
        });
        Self {
            process,
            stdin: Some(stdin),
            ports,
            taken,
            reading: Some(reading),
            ca_file,
            _folder: files,
        }
    }

    /// The port with that encryption: `starttls`, `tls`, `none`.
    pub(crate) fn port(&self, encryption: &str) -> u16 {
        let port = self.ports[encryption].as_u64().unwrap();
        u16::try_from(port).unwrap()
    }

    /// Waits for so many messages.
    pub(crate) fn until(&self, count: usize) -> Vec<Taken> {
        eventually(&format!("{count} messages"), || {
            let taken = self.taken.lock().unwrap();
            (taken.len() >= count).then(|| taken.clone())
        })
    }

    /// Ends it; all that it took.
    pub(crate) fn end(mut self) -> Vec<Taken> {
        self.stop();
        std::mem::take(&mut self.taken.lock().unwrap())
    }

    /// Ends it; the only message that it took.
    pub(crate) fn only(self) -> Taken {
        let mut taken = self.end();
        assert_eq!(taken.len(), 1, "{taken:?}");
        taken.remove(0)
    }

    fn stop(&mut self) {
        // Its last lines are read before it is waited for; it ends by itself.
        self.stdin.take();
        if let Some(reading) = self.reading.take() {
            reading.join().ok();
        }
        self.process.wait().ok();
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.stop();
    }
}

/// Something that listens and is no mail server: it says these bytes to whoever calls, and then either
/// hangs up or nothing more.
pub(crate) struct Impostor(SocketAddr);

impl Impostor {
    /// Says that, once for each who calls.
    pub(crate) fn says(bytes: &[u8], hangs_up: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bytes = bytes.to_owned();
        // It ends with the test's process.
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let bytes = bytes.clone();
                std::thread::spawn(move || talk(socket, &bytes, hangs_up));
            }
        });
        Self(address)
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.0.port()
    }
}

fn talk(mut socket: TcpStream, bytes: &[u8], hangs_up: bool) {
    // Whoever called may be gone already.
    if socket.write_all(bytes).is_ok() && !hangs_up {
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).ok();
    }
}
