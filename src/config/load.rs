//! From a file and an environment to settings.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::origin::Origin;
use super::problem::{Place, Position, Problem, Problems};
use super::reader::Reader;
use super::settings::Settings;
use super::{consistency, sections, tree};
use crate::clock::UnixMicros;

/// The file that is read when none is named and it is there.
pub const DEFAULT_FILE: &str = "tollgate.yaml";

/// Far beyond any settings file; it bounds what a wrong path can cost.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Settings that may be used.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What is dubious but works, in the order of the file.
    pub warnings: Vec<Problem>,
    /// The file they come from; `None` when there was none.
    pub file: Option<PathBuf>,
    /// What reads them again.
    pub origin: Origin,
}

/// Settings that may not be used.
#[derive(Debug)]
pub struct Unsound {
    /// What is wrong with them.
    pub problems: Problems,
    /// What could be read of them, with the defaults for the rest: enough to look into the files that
    /// they name, and nothing more. `None` where there is no file to read, or no YAML in it.
    pub settings: Option<Box<Settings>>,
}

impl From<Problems> for Unsound {
    fn from(problems: Problems) -> Self {
        Self {
            problems,
            settings: None,
        }
    }
}

/// As [`examine`], for those who want the settings or nothing.
pub fn load(
    path: Option<&Path>,
    env: &dyn Fn(&str) -> Option<String>,
    working_dir: &Path,
) -> Result<Loaded, Problems> {
    examine(path, env, working_dir).map_err(|unsound| unsound.problems)
}

/// Reads the settings: `path`, or else `tollgate.yaml` in `working_dir` when it exists, or else
/// the defaults; over these the environment twins. `env` looks up an environment variable.
/// Relative paths in the file start at the file's own folder, all others at `working_dir`.
/// Opens the files that the settings name; creates nothing.
pub fn examine(
    path: Option<&Path>,
    env: &dyn Fn(&str) -> Option<String>,
    working_dir: &Path,
) -> Result<Loaded, Unsound> {
    let origin = Origin::new(path, working_dir);
    let default = Path::new(DEFAULT_FILE);
    // A link that leads nowhere or a file that cannot be read is an error, not an absence.
    let is_there = || working_dir.join(default).symlink_metadata().is_ok();
    let path = path.or_else(|| is_there().then_some(default));
    let Some(path) = path else {
        return read(None, "", working_dir, env, working_dir).map(|(settings, warnings, _)| {
            Loaded {
                settings,
                warnings,
                file: None,
                origin,
            }
        });
    };
    let resolved = working_dir.join(path);
    let file: Arc<Path> = Arc::from(path);
    let (text, mode) = read_text(&resolved, "settings").map_err(|(position, message)| {
        let file = Arc::clone(&file);
        Problems(vec![Problem {
            place: Place::File { file, position },
            key: String::new(),
            message,
            hint: None,
        }])
    })?;
    let base_dir = resolved.parent().unwrap_or(working_dir);
    let (settings, mut warnings, secret_at) =
        read(Some(Arc::clone(&file)), &text, base_dir, env, working_dir)?;
    if let Some(place) = secret_at.filter(|_| mode & 0o004 != 0) {
        warnings.push(Problem {
            place,
            key: String::new(),
            message: "the file holds a secret, and every user of this machine can read it".to_owned(),
            hint: Some("take the right away (`chmod o-r`), or move the secret to a file or variable of its own".to_owned()),
        });
        sort(&mut warnings);
    }
    Ok(Loaded {
        settings,
        warnings,
        file: Some(resolved),
        origin,
    })
}

type Read = (Settings, Vec<Problem>, Option<Place>);

fn read(
    file: Option<Arc<Path>>,
    text: &str,
    base_dir: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    working_dir: &Path,
) -> Result<Read, Unsound> {
    let mut reader = Reader::new(file, base_dir, working_dir, env);
    let (root, flaws) = tree::parse(text);
    for flaw in flaws {
        let place = reader.at(flaw.at);
        reader.problem(&place, "", flaw.message, flaw.hint);
    }
    let mut settings = None;
    // After a syntax error there is no tree, and every key would look as if it were missing.
    if let Some(root) = root {
        let given = sections::read(&mut reader, &root, base_dir);
        consistency::check(&mut reader, &given, UnixMicros::now());
        reader.refuse_unknown();
        if reader.problems.is_empty() {
            sort(&mut reader.warnings);
            return Ok((given.settings, reader.warnings, reader.secret_in_file));
        }
        settings = Some(Box::new(given.settings));
    }
    sort(&mut reader.problems);
    Err(Unsound {
        problems: Problems(reader.problems),
        settings,
    })
}

/// By place; what is said of the same place keeps its order.
fn sort(problems: &mut [Problem]) {
    problems.sort_by(|left, right| left.place.cmp(&right.place));
}

/// The text of a file of `what` (`settings`, `rules`) and its permission bits, or a spot and what is
/// wrong.
pub(crate) fn read_text(
    path: &Path,
    what: &str,
) -> Result<(String, u32), (Option<Position>, String)> {
    let cannot = |error: io::Error| (None, format!("cannot read the {what}: {error}"));
    let file = File::open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if metadata.is_dir() {
        return Err((None, format!("this is a folder, not a {what} file")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err((
            None,
            format!("this is larger than 1 MiB, so it is no {what} file"),
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((text, metadata.permissions().mode())),
        Err(error) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let valid = String::from_utf8_lossy(valid);
            let line_start = valid.rfind('\n').map_or(0, |newline| newline + 1);
            let position = Position {
                line: valid.matches('\n').count() + 1,
                column: valid[line_start..].chars().count() + 1,
            };
            Err((
                Some(position),
                "the file is not UTF-8 from here on".to_owned(),
            ))
        }
    }
}
