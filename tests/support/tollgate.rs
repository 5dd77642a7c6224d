//! The Tollgate binary under test: a process of its own with a data folder of its own.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

use super::client::{Connection, Request, Response};
use super::eventually;
use super::ledger::Ledger;
use super::metrics::Metrics;

/// The settings of a Tollgate to come.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    settings: String,
    files: Vec<(String, String)>,
    environment: Vec<(String, OsString)>,
}

impl Setup {
    /// One channel, named `openai`, in front of that base URL.
    pub(crate) fn upstream(base_url: &str) -> Self {
        Self::default().setting(&format!("upstream: {base_url}"))
    }

    /// These channels, each a name, a base URL and further settings (YAML flow style).
    pub(crate) fn channels(channels: &[(&str, &str, &str)]) -> Self {
        let mut list = String::from("channels:");
        for (name, base_url, more) in channels {
            write!(list, "\n  - {{name: {name}, base_url: '{base_url}'{more}}}").unwrap();
        }
        Self::default().setting(&list)
    }

    /// Adds a top-level setting, as YAML.
    pub(crate) fn setting(mut self, yaml: &str) -> Self {
        self.settings += yaml;
        self.settings += "\n";
        self
    }

    /// Puts a file beside the settings.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start(&self) -> Tollgate {
        // A port that is free now may be taken a moment later by a test beside this one.
        for _ in 0..10 {
            let mut tollgate = self.launch();
            if tollgate.becomes_ready() {
                return tollgate;
            }
            let log = tollgate.log();
            assert!(
                log.contains("the port is taken"),
                "it does not start:\n{log}"
            );
        }
        panic!("no free port in ten tries");
    }

    fn launch(&self) -> Tollgate {
        let dir = TempDir::new().unwrap();
        let [data, admin] = free_ports();
        let config = dir.path().join("tollgate.yaml");
        let settings = format!(
            "listen: {data}\nadmin: {{listen: '{admin}'}}\ndata_dir: ./data\n{}",
            self.settings
        );
        fs::write(&config, settings).unwrap();
        for (name, text) in &self.files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let environment = self.environment.clone();
        let child = spawn(dir.path(), &config, &environment, &[]);
        Tollgate {
            child,
            dir,
            config,
            environment,
            data,
            admin,
        }
    }
}

/// Two addresses whose ports nobody listens on at the moment: held at once, so that they differ.
fn free_ports() -> [SocketAddr; 2] {
    let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap())
}

/// An address of the loopback interface whose port nobody listens on at the moment.
pub(crate) fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// The binary with a clean environment: no setting of the machine leaks into a test.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let own = |name: &str| name.starts_with("TOLLGATE_") || name == "OPENAI_ADMIN_KEY";
    for (name, _) in std::env::vars().filter(|(name, _)| own(name)) {
        command.env_remove(name);
    }
    command
}

fn spawn(
    dir: &Path,
    config: &Path,
    environment: &[(String, OsString)],
    arguments: &[&str],
) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .unwrap();
    // With this signal ignored a file that may not grow is an error and no death: a full disk.
    let program = command();
    let mut shell = Command::new("sh");
    for (name, _) in program.get_envs() {
        shell.env_remove(name);
    }
    shell
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .current_dir(dir)
        .arg("run")
        .arg("--config")
        .arg(config)
        .args(arguments)
        .envs(environment.iter().cloned())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// A running Tollgate; it is killed when dropped.
pub(crate) struct Tollgate {
    child: Child,
    dir: TempDir,
    config: PathBuf,
    environment: Vec<(String, OsString)>,
    data: SocketAddr,
    admin: SocketAddr,
}

impl Tollgate {
    /// With one channel in front of that base URL and nothing else set.
    pub(crate) fn before(base_url: &str) -> Self {
        Setup::upstream(base_url).start()
    }

    /// Where clients go.
    pub(crate) fn address(&self) -> SocketAddr {
        self.data
    }

    /// The base URL that an SDK is given.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.data)
    }

    /// Sends a request through it.
    pub(crate) fn send(&self, request: &Request) -> Response {
        request.send(self.data)
    }

    /// Where its admin port is.
    #[allow(dead_code, reason = "only the tests of dashboards ask for it")]
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Asks the admin port.
    pub(crate) fn admin(&self, target: &str) -> Response {
        Request::new("GET", target).send(self.admin)
    }

    /// Sends a request to the admin port.
    pub(crate) fn ask(&self, request: &Request) -> Response {
        request.send(self.admin)
    }

    /// Its settings' file, which it reads when it starts.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// What `/metrics` says now.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::parse(&self.admin("/metrics").text())
    }

    /// Its ledger.
    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::at(&self.data_dir().join("tollgate.db"))
    }

    /// The folder that holds its ledger and journal.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Everything it printed so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The most memory it has had resident, in KiB (proc(5), `VmHWM`).
    pub(crate) fn peak_resident_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    /// What it has resident now, in KiB (proc(5), `VmRSS`); its peak begins anew from there.
    pub(crate) fn resident_kib(&self) -> u64 {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
        self.memory_kib("VmRSS:")
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name));
        let words = line.unwrap().split_whitespace().nth(1).unwrap();
        words.parse().unwrap()
    }

    /// Writes its settings anew, as `edit` makes them of what they are; it reads them by itself.
    pub(crate) fn edit(&self, edit: impl FnOnce(String) -> String) {
        let before = fs::read_to_string(&self.config).unwrap();
        let after = edit(before.clone());
        assert_ne!(before, after, "nothing is edited");
        fs::write(&self.config, after).unwrap();
    }

    /// The same with a file beside them.
    pub(crate) fn edit_file(&self, name: &str, edit: impl FnOnce(String) -> String) {
        let path = self.dir.path().join(name);
        let before = fs::read_to_string(&path).unwrap();
        let after = edit(before.clone());
        assert_ne!(before, after, "nothing is edited");
        fs::write(path, after).unwrap();
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the process has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the process ends", || child.try_wait().unwrap())
    }

    /// Ends it as an operator does (SIGTERM) and waits until it has ended.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets no file of its grow any more, as on a full disk; or lets them grow again.
    pub(crate) fn fill_disk(&self, full: bool) {
        let pid = Pid::from_child(&self.child);
        let limit = Rlimit {
            current: full.then_some(0),
            maximum: None,
        };
        prlimit(Some(pid), Resource::Fsize, limit).unwrap();
    }

    /// Starts it again with the same settings, ports and data, after it has ended.
    pub(crate) fn start_again(&mut self) {
        self.launch_again();
        self.until_ready();
    }

    /// The same, and waits only until it lives.
    pub(crate) fn launch_again(&mut self) {
        self.child = spawn(self.dir.path(), &self.config, &self.environment, &[]);
        assert!(self.says_yes("/livez"), "does not live:\n{}", self.log());
    }

    /// Waits until it takes traffic.
    pub(crate) fn until_ready(&mut self) {
        let ready = self.becomes_ready();
        assert!(ready, "does not become ready:\n{}", self.log());
    }

    /// Starts a second process beside it, with the same settings and further arguments.
    pub(crate) fn successor(&self, arguments: &[&str]) -> Child {
        spawn(self.dir.path(), &self.config, &self.environment, arguments)
    }

    /// Puts another process in the place of the one that ended.
    pub(crate) fn replace(&mut self, child: Child) {
        self.child = child;
    }

    /// Runs one of its commands with this Tollgate's settings.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        command()
            .current_dir(self.dir.path())
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .output()
            .unwrap()
    }

    /// Waits until it is ready, or would be if it could read its keys; false when it ended instead.
    fn becomes_ready(&mut self) -> bool {
        self.says_yes("/readyz")
    }

    fn says_yes(&mut self, probe: &str) -> bool {
        let (child, admin) = (&mut self.child, self.admin);
        eventually(&format!("{probe} answers 200"), || {
            if child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            let mut connection = Connection::over(Box::new(TcpStream::connect(admin).ok()?));
            let request = Request::new("GET", probe);
            connection.write(&request.bytes()).ok()?;
            let ready = connection.try_incoming("GET")?;
            let takes_requests =
                ready.status() == 200 || ready.finish().text().contains("keys cannot be read");
            takes_requests.then_some(true)
        })
    }
}

impl Drop for Tollgate {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.char_indices().rev().nth(6000).map_or(0, |(at, _)| at);
            eprintln!("--- the log of Tollgate ---\n{}", &log[tail..]);
        }
    }
}
