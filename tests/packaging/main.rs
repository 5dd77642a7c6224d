//! What ships Tollgate holds together: the image, the compose stack, the unit, the package, the sidecar's manifest. The
//! files they name exist, the settings in them are good, nothing is taken at whatever version is there.
//!
//! No engine, cluster or systemd is needed; `make image-check` builds the image and starts it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod installed;
mod stack;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_yaml::Value;

pub(crate) const TOLLGATE: &str = env!("CARGO_BIN_EXE_tollgate");

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn yaml(path: &str) -> Value {
    let mut value: Value = serde_yaml::from_str(&read(path)).unwrap();
    value.apply_merge().unwrap();
    value
}

pub(crate) fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    value
        .as_sequence()
        .unwrap()
        .iter()
        .filter_map(text)
        .collect()
}

/// The names of a mapping.
pub(crate) fn names(value: &Value) -> BTreeSet<String> {
    let names = value.as_mapping().into_iter().flat_map(|map| map.keys());
    names
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

/// `name:tag` with a version in the tag, so that tomorrow's pull brings what was tried.
pub(crate) fn is_pinned(image: &str) -> bool {
    image
        .rsplit_once(':')
        .is_some_and(|(_, tag)| tag.contains('.') && tag.contains(|c: char| c.is_ascii_digit()))
}

/// Every `${NAME}` outside of comments.
pub(crate) fn variables(text: &str) -> BTreeSet<&str> {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let parts = lines.flat_map(|line| line.split("${").skip(1));
    parts
        .map(|part| part.split(['}', ':']).next().unwrap())
        .collect()
}

/// The secrets as the compose stack's first start makes them.
pub(crate) struct Secrets {
    folder: tempfile::TempDir,
}

impl Secrets {
    pub(crate) fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["tollgate", "grafana"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let secrets = Self { folder };
        secrets.start_again();
        secrets
    }

    /// What the service `secrets` does at every start of the stack.
    pub(crate) fn start_again(&self) {
        let script = root().join("deploy/compose/secrets.sh");
        let mut command = Command::new("sh");
        command
            .arg(script)
            .args([self.tollgates(), self.grafanas()]);
        assert!(command.status().unwrap().success());
    }

    /// The folder that is mounted for Tollgate.
    pub(crate) fn tollgates(&self) -> PathBuf {
        self.folder.path().join("tollgate")
    }

    /// The folder that is mounted for Grafana.
    pub(crate) fn grafanas(&self) -> PathBuf {
        self.folder.path().join("grafana")
    }
}

/// What `tollgate check` says of a settings file in a folder of its own, with these files beside it.
pub(crate) fn check(settings: &str, beside: &[(&str, &Path)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tollgate.yaml"), settings).unwrap();
    for (name, origin) in beside {
        std::os::unix::fs::symlink(origin, folder.path().join(name)).unwrap();
    }
    let mut command = Command::new(TOLLGATE);
    command
        .env_clear()
        .current_dir(folder.path())
        .args(["check", "--config", "tollgate.yaml"]);
    command.output().unwrap()
}

#[track_caller]
pub(crate) fn assert_sound(output: &Output) {
    let told = [output.stdout.as_slice(), &output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(
        output.status.success() && !told.contains("warning"),
        "{told}"
    );
}
