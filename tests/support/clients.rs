//! Programs that others wrote: the official SDKs, the Codex CLI, promtool, and a mock of the
//! provider APIs. `make test` installs them and says where through the environment.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::client::Request;

/// Whether the tests with foreign programs are to be left out, on a machine that lacks them.
pub(crate) fn left_out() -> bool {
    std::env::var_os("TOLLGATE_TEST_SKIP_CLIENTS").is_some_and(|value| value == "1")
}

pub(super) fn installed(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).unwrap_or_else(|| {
        panic!(
            "{variable} is not set: `make test` installs the clients and sets it \
             (TOLLGATE_TEST_SKIP_CLIENTS=1 leaves these tests out)"
        )
    });
    PathBuf::from(path)
}

pub(super) fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients"))
}

/// The answers that the mock gives, and so the truth about their usage.
pub(crate) fn fixtures() -> Value {
    serde_json::from_str(include_str!("../clients/fixtures.json")).unwrap()
}

/// The `usage` that the fixture for `prompt` states.
pub(crate) fn fixture_usage(prompt: &str) -> Value {
    let fixtures = fixtures();
    let mut fixtures = fixtures["fixtures"].as_array().unwrap().iter();
    let fixture = fixtures.find(|fixture| fixture["match"]["userMessage"] == prompt);
    fixture.unwrap_or_else(|| panic!("no fixture {prompt}"))["response"]["usage"].clone()
}

fn node() -> Command {
    let mut command = Command::new(installed("TOLLGATE_TEST_NODE"));
    command.env(
        "TOLLGATE_TEST_NODE_MODULES",
        std::path::absolute(installed("TOLLGATE_TEST_NODE_MODULES")).unwrap(),
    );
    command
}

/// The mock of the provider APIs, a process of its own; it ends when dropped.
pub(crate) struct Mock {
    process: Child,
    base_url: String,
}

impl Mock {
    /// Starts it on a free port.
    pub(crate) fn start() -> Self {
        let mut process = node()
            .arg(folder().join("mock.mjs"))
            .arg(folder().join("fixtures.json"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = process.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        assert!(line.starts_with("http"), "the mock says {line:?}");
        Self {
            process,
            base_url: line.trim().to_owned(),
        }
    }

    /// The base URL that an SDK would be given.
    pub(crate) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Makes it fail from now on, by aimock's own rates: `{"rateLimitRate": 1}` answers each request
    /// with 429 and `Retry-After: 1`, `dropRate` with 500, `disconnectRate` not at all; `{}` mends it.
    pub(crate) fn chaos(&self, rates: &Value) {
        let address = self.origin().trim_start_matches("http://");
        let address = address.parse().unwrap();
        let answer = Request::json("/__aimock/chaos", rates).send(address);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// The base URL of an SDK that puts the version behind it.
    pub(crate) fn origin(&self) -> &str {
        self.base_url.trim_end_matches("/v1")
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// One call of a client.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Its number; it travels as the tag `n`.
    pub(crate) n: usize,
    /// Which upstream: a key of the base URLs.
    pub(crate) channel: &'static str,
    /// Which API, by its public name.
    pub(crate) api: &'static str,
    /// The model.
    pub(crate) model: &'static str,
    /// The prompt, by which the upstream finds its answer.
    pub(crate) prompt: &'static str,
    /// Whether to stream.
    pub(crate) stream: bool,
    /// What to say of `include_usage`, if anything.
    pub(crate) include_usage: Option<bool>,
    /// `parsed`, `raw` or `abort`.
    pub(crate) how: &'static str,
}

/// What the caller saw, by call number.
pub(crate) type Seen = BTreeMap<usize, Value>;

/// The SDK for Python.
pub(crate) fn python(bases: &[(&str, String)], calls: &[Call]) -> Seen {
    python_retrying(0, bases, calls)
}

/// The SDK for Python with so many retries of its own.
pub(crate) fn python_retrying(retries: u32, bases: &[(&str, String)], calls: &[Call]) -> Seen {
    let mut command = Command::new(installed("TOLLGATE_TEST_PYTHON"));
    command.arg(folder().join("calls.py"));
    run_retrying(command, retries, bases, calls)
}

/// The SDKs for Python of several providers; a base is an origin.
pub(crate) fn providers(bases: &[(&str, String)], calls: &[Call]) -> Seen {
    let mut command = Command::new(installed("TOLLGATE_TEST_PYTHON"));
    command.arg(folder().join("providers.py"));
    run(command, bases, calls)
}

/// The same with so many retries of their own, where they have any.
pub(crate) fn providers_retrying(retries: u32, bases: &[(&str, String)], calls: &[Call]) -> Seen {
    let mut command = Command::new(installed("TOLLGATE_TEST_PYTHON"));
    command.arg(folder().join("providers.py"));
    run_retrying(command, retries, bases, calls)
}

/// The SDK for Python on what is no text: images, audio, batches, the background.
pub(crate) fn python_media(bases: &[(&str, String)], calls: &[Call]) -> Seen {
    let mut command = Command::new(installed("TOLLGATE_TEST_PYTHON"));
    command.arg(folder().join("media.py"));
    run(command, bases, calls)
}

/// The SDK for Node on the same.
pub(crate) fn javascript_media(bases: &[(&str, String)], calls: &[Call]) -> Seen {
    let mut command = node();
    command.arg(folder().join("media.mjs"));
    run(command, bases, calls)
}

/// The SDK for Node.
pub(crate) fn javascript(bases: &[(&str, String)], calls: &[Call]) -> Seen {
    javascript_retrying(0, bases, calls)
}

/// The SDK for Node with so many retries of its own.
pub(crate) fn javascript_retrying(retries: u32, bases: &[(&str, String)], calls: &[Call]) -> Seen {
    let mut command = node();
    command.arg(folder().join("calls.mjs"));
    run_retrying(command, retries, bases, calls)
}

fn run(command: Command, bases: &[(&str, String)], calls: &[Call]) -> Seen {
    run_retrying(command, 0, bases, calls)
}

fn run_retrying(
    mut command: Command,
    retries: u32,
    bases: &[(&str, String)],
    calls: &[Call],
) -> Seen {
    let calls: Vec<_> = calls
        .iter()
        .map(|call| {
            json!({
                "n": call.n, "channel": call.channel, "api": call.api, "model": call.model,
                "prompt": call.prompt, "stream": call.stream,
                "include_usage": call.include_usage, "how": call.how,
            })
        })
        .collect();
    let bases: BTreeMap<_, _> = bases.iter().cloned().collect();
    let plan = json!({"bases": bases, "concurrency": 8, "retries": retries, "calls": calls});
    let output = feed(&mut command, plan.to_string().as_bytes());
    let lines = output.lines().map(|line| {
        let seen: Value = serde_json::from_str(line).unwrap();
        let n = usize::try_from(seen["n"].as_u64().unwrap()).unwrap();
        (n, seen)
    });
    let seen: Seen = lines.collect();
    assert_eq!(seen.len(), calls.len(), "a line for every call");
    seen
}

/// Conversations over a WebSocket: the prompts are asked one after the other.
pub(crate) struct Talk<'t> {
    /// `realtime` or `responses`.
    pub(crate) api: &'t str,
    /// The model.
    pub(crate) model: &'t str,
    /// The prompts, by which the upstream finds its answers.
    pub(crate) prompts: &'t [&'t str],
    /// Whom to have it with, one after the other.
    pub(crate) bases: &'t [String],
    /// The SDK for Node speaks Realtime over TLS only: with this certificate, its key, and the base
    /// URL of an upstream without TLS, the base `tls:` is the same upstream with it.
    pub(crate) tls: Option<(&'t Path, &'t Path, &'t str)>,
}

impl Talk<'_> {
    /// With the SDK for Python: the events that the caller saw, for each base.
    pub(crate) fn python(&self) -> Vec<Vec<Value>> {
        let mut command = Command::new(installed("TOLLGATE_TEST_PYTHON"));
        command.arg(folder().join("sockets.py"));
        self.run(command)
    }

    /// With the SDK for Node: the events that the caller saw, for each base.
    pub(crate) fn javascript(&self) -> Vec<Vec<Value>> {
        let mut command = node();
        command.arg(folder().join("sockets.mjs"));
        if let Some((certificate, _, _)) = self.tls {
            command.env("NODE_EXTRA_CA_CERTS", certificate);
        }
        self.run(command)
    }

    fn run(&self, mut command: Command) -> Vec<Vec<Value>> {
        let tls = self
            .tls
            .map(|(cert, key, to)| json!({"cert": cert, "key": key, "to": to}));
        let plan = json!({"api": self.api, "model": self.model, "prompts": self.prompts,
            "bases": self.bases, "tls": tls});
        let output = feed(&mut command, plan.to_string().as_bytes());
        let lines = output.lines();
        let seen: Vec<_> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(seen.len(), self.bases.len(), "a line for every base");
        seen
    }
}

/// The list of models as the SDKs for Python of several providers see it; the plan is described in
/// models.py.
pub(crate) fn python_models(plan: &Value) -> Vec<Value> {
    let mut command = Command::new(installed("TOLLGATE_TEST_PYTHON"));
    command.arg(folder().join("models.py"));
    lines(&feed(&mut command, plan.to_string().as_bytes()))
}

/// The same with the SDK for Node.
pub(crate) fn javascript_models(plan: &Value) -> Vec<Value> {
    let mut command = node();
    command.arg(folder().join("models.mjs"));
    lines(&feed(&mut command, plan.to_string().as_bytes()))
}

fn lines(output: &str) -> Vec<Value> {
    let lines = output.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// `promtool check metrics`: what it finds wrong with an exposition, or nothing.
pub(crate) fn promtool(exposition: &[u8]) {
    feed(
        Command::new("promtool").args(["check", "metrics"]),
        exposition,
    );
}

/// `promtool` with these arguments about rules; fails the test, with its words, when it is not content.
pub(crate) fn promtool_rules(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .output()
        .expect("promtool (Debian package `prometheus`) is not there; `make test` installs it");
    let told = String::from_utf8_lossy(&output.stdout);
    let more = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "promtool {arguments:?}\n{told}\n{more}"
    );
}

/// One turn of the Codex CLI without a terminal, in a home of its own; returns what it printed.
pub(crate) fn codex(home: &Path, base_url: &str, prompt: &str) -> String {
    let config = format!(
        "model = \"gpt-5.6-codex\"\nmodel_provider = \"tollgate\"\n\
         [model_providers.tollgate]\nname = \"Tollgate\"\nbase_url = \"{base_url}\"\n\
         wire_api = \"responses\"\nenv_key = \"TOLLGATE_TEST_KEY\"\n"
    );
    std::fs::write(home.join("config.toml"), config).unwrap();
    let script = installed("TOLLGATE_TEST_NODE_MODULES").join("@openai/codex/bin/codex.js");
    let mut command = node();
    command
        .arg(script)
        .args([
            "exec",
            "--skip-git-repo-check",
            "--sandbox",
            "read-only",
            prompt,
        ])
        .current_dir(home)
        .env("CODEX_HOME", home)
        .env("TOLLGATE_TEST_KEY", "sk-client-secret");
    feed(&mut command, b"")
}

/// Runs a program to its end with that input; fails the test when it fails.
fn feed(command: &mut Command, input: &[u8]) -> String {
    let name = command.get_program().to_owned();
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", OsStr::display(&name)));
    let mut stdin = process.stdin.take().unwrap();
    let input = input.to_owned();
    // Written beside the reading: neither side then waits for the other's full pipe.
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = process.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(
        output.status.success(),
        "{}: {}\n{}",
        OsStr::display(&name),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
