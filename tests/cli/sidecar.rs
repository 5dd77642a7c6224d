//! Questions to a sidecar that runs.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, mpsc};

use jiff::tz::TimeZone;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tollgate::admin::{AdminParts, AdminState, Readiness, serve};
use tollgate::config::{OnLedgerFailure, Secret, Settings};
use tollgate::keys::Keys;
use tollgate::ledger::Ledger;
use tollgate::meter::Meter;
use tollgate::pricing::Prices;
use tollgate::rules::Rules;

use crate::traffic::{PATIENCE, START, id, mixed, plain, record};
use crate::{printed, told, tollgate, tollgate_at, traffic};

/// The admin port of a sidecar.
pub(crate) struct Sidecar {
    pub(crate) address: SocketAddr,
    pub(crate) rules: Arc<Rules>,
    readiness: Arc<Readiness>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Sidecar {
    pub(crate) fn start(
        runtime: &Runtime,
        ledger: &Ledger,
        data_dir: &Path,
        at: &str,
        token: Option<&str>,
    ) -> Self {
        Self::with_rules(
            runtime,
            ledger,
            data_dir,
            at,
            token,
            traffic::rules::NO_RULES,
        )
    }

    /// With the rules of a file with this text.
    pub(crate) fn with_rules(
        runtime: &Runtime,
        ledger: &Ledger,
        data_dir: &Path,
        at: &str,
        token: Option<&str>,
        rules: &str,
    ) -> Self {
        let readiness = Arc::new(Readiness::default());
        let (channels, channel_settings) = traffic::channels(ledger);
        let rules = traffic::rules::rules(ledger, &channels, rules);
        let settings = Settings {
            data_dir: data_dir.to_owned(),
            ..Settings::defaults(data_dir)
        };
        let keys = Keys::open(&settings, ledger.key_writer()).unwrap();
        let state = AdminState::new(AdminParts {
            meter: Arc::new(Meter::new(200)),
            prices: Arc::new(Prices::builtin()),
            ledger: ledger.stats(),
            payloads: Arc::default(),
            channels,
            channel_settings,
            journal: ledger.journal(),
            rules: Arc::clone(&rules),
            silences: ledger.silence_writer(),
            repricer: ledger.repricer(),
            sellers: Arc::new([("openai".to_owned(), Some("openai"))].into()),
            keys: Arc::new(keys),
            data_dir: data_dir.to_owned(),
            token: token.map(Secret::new),
            read_token: None,
            metrics_token: None,
            timezone: TimeZone::UTC,
            readiness: Arc::clone(&readiness),
            started_at: START,
        })
        .unwrap();
        let listener = runtime.block_on(TcpListener::bind(at)).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = runtime.spawn(serve(listener, Arc::new(state), async {
            let _ = stopped.await;
        }));
        Self {
            address,
            rules,
            readiness,
            stop,
            serving,
        }
    }

    pub(crate) fn stop(self, runtime: &Runtime) {
        self.stop.send(()).unwrap();
        runtime.block_on(self.serving).unwrap().unwrap();
    }
}

#[test]
fn the_sidecar_and_the_files_give_one_answer() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let ledger = traffic::open(&data_dir);
    record(&ledger, &mixed());
    let sidecar = Sidecar::start(&runtime, &ledger, &data_dir, "127.0.0.1:0", Some("t"));
    fs::write(folder.path().join("token"), "t").unwrap();
    fs::write(
        folder.path().join("with.yaml"),
        "admin: {token_file: token}\n",
    )
    .unwrap();
    let id = id(0).to_string();
    for question in [
        &[
            "usage",
            "--since",
            "2026-11-20",
            "--by",
            "day,model,tag:team",
        ][..],
        &["usage", "--since", "2026-11-20", "--format", "csv"],
        &["requests", "--format", "json"],
        &[
            "requests",
            "--slowest",
            "--since",
            "2026-11-20",
            "--channel",
            "openai",
        ],
        &["requests", "--dearest", "--since", "2026-11-20"],
        &["requests", "--id", &id],
    ] {
        let asked = [&["--config", "with.yaml"], question].concat();
        let by_sidecar = printed(tollgate_at(folder.path(), sidecar.address, &asked));
        let by_files = printed(tollgate(folder.path(), question));
        assert_eq!(by_sidecar, by_files, "{question:?}");

        // Without the token the sidecar refuses: that it was asked first shows in the note.
        let (code, stdout, stderr) = told(tollgate_at(folder.path(), sidecar.address, question));
        assert_eq!((code, stdout), (0, by_files), "{question:?}");
        assert!(stderr.contains("answered 401"), "{stderr}");
        assert!(
            stderr.contains("reading the ledger's files instead"),
            "{stderr}"
        );
    }
    sidecar.stop(&runtime);
}

#[test]
fn a_sidecar_with_another_ledger_is_not_asked() {
    let runtime = Runtime::new().unwrap();
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ledger = traffic::open(&other.path().join("data"));
    record(&ledger, &mixed());
    let sidecar = Sidecar::start(
        &runtime,
        &ledger,
        &other.path().join("data"),
        "127.0.0.1:0",
        None,
    );
    let question = ["requests", "--format", "json"];
    let (code, stdout, stderr) = told(tollgate_at(folder.path(), sidecar.address, &question));
    assert_eq!((code, stdout.as_str()), (0, "[]\n"));
    assert!(stderr.contains("writes another ledger"), "{stderr}");
    sidecar.stop(&runtime);
}

#[test]
fn a_healthcheck_is_what_readyz_says() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let ledger = traffic::open(&data_dir);
    let sidecar = Sidecar::start(&runtime, &ledger, &data_dir, "127.0.0.1:0", None);
    let check = || {
        told(tollgate_at(
            folder.path(),
            sidecar.address,
            &["healthcheck"],
        ))
    };

    let (code, _, stderr) = check();
    assert_eq!(code, 1);
    assert!(
        stderr.contains("not ready (503 Service Unavailable): starting"),
        "{stderr}"
    );

    sidecar
        .readiness
        .ledger_opened(ledger.journal(), OnLedgerFailure::Proxy);
    sidecar.readiness.listening();
    assert_eq!(check(), (0, "ready\n".to_owned(), String::new()));

    let (code, _, stderr) = told(tollgate(folder.path(), &["healthcheck"]));
    assert_eq!(code, 1);
    assert!(
        stderr.contains("no answer from the admin port at 127.0.0.1:1: Connection refused"),
        "{stderr}"
    );
    sidecar.stop(&runtime);
}

/// A command that follows, and its lines as they come.
struct Following {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Following {
    fn start(folder: &Path, at: SocketAddr, arguments: &[&str]) -> Self {
        let arguments = [&["requests", "--follow"], arguments].concat();
        let mut command = tollgate_at(folder, at, &arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines() {
                // Nobody listens any more: then the pipe closes too.
                if sender.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    fn next_id(&self) -> String {
        let line = self.lines.recv_timeout(PATIENCE).expect("a line comes");
        let request: serde_json::Value = serde_json::from_str(&line).unwrap();
        request["id"].as_str().unwrap().to_owned()
    }
}

#[test]
fn following_goes_on_over_a_restart_without_loss_or_repetition() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let ledger = traffic::open(&data_dir);
    record(&ledger, &[plain(0), plain(1), plain(2)]);
    let sidecar = Sidecar::start(&runtime, &ledger, &data_dir, "127.0.0.1:0", None);
    let address = sidecar.address;
    let mut following =
        Following::start(folder.path(), address, &["--last", "2", "--format", "json"]);
    let expect = |following: &Following, n| assert_eq!(following.next_id(), id(n).to_string());
    expect(&following, 1);
    expect(&following, 2);
    record(&ledger, &[plain(3)]);
    expect(&following, 3);

    sidecar.stop(&runtime);
    let mut notes = BufReader::new(following.child.stderr.take().unwrap());
    let mut note = String::new();
    notes.read_line(&mut note).unwrap();
    assert_eq!(note, format!("note: waiting for a sidecar at {address}\n"));
    record(&ledger, &[plain(4), plain(5)]);
    let sidecar = Sidecar::start(&runtime, &ledger, &data_dir, &address.to_string(), None);
    expect(&following, 4);
    expect(&following, 5);

    // The reader leaves: the next line finds the pipe closed, and that ends it well.
    drop(following.lines);
    record(&ledger, &[plain(6)]);
    let ended = runtime.block_on(async {
        for n in 7.. {
            if let Some(status) = following.child.try_wait().unwrap() {
                return status;
            }
            record(&ledger, &[plain(n)]);
            tokio::task::yield_now().await;
        }
        unreachable!()
    });
    assert!(ended.success(), "{ended}");
    let mut rest = String::new();
    notes.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    sidecar.stop(&runtime);
}

#[test]
fn following_starts_before_the_sidecar_does() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let reserved = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let mut following = Following::start(folder.path(), address, &[]);
    let mut notes = BufReader::new(following.child.stderr.take().unwrap());
    let mut note = String::new();
    notes.read_line(&mut note).unwrap();
    assert_eq!(note, format!("note: waiting for a sidecar at {address}\n"));
    let ledger = traffic::open(&data_dir);
    let sidecar = Sidecar::start(&runtime, &ledger, &data_dir, &address.to_string(), None);
    record(&ledger, &mixed()[..3]);
    let mut lines: Vec<String> = Vec::new();
    for _ in 0..3 {
        lines.push(
            following
                .lines
                .recv_timeout(PATIENCE)
                .expect("a line comes"),
        );
    }
    following.child.kill().unwrap();
    following.child.wait().unwrap();
    insta::assert_snapshot!(lines.join("\n"));
    sidecar.stop(&runtime);
}
