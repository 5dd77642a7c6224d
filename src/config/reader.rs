//! Collects what reading the settings finds: problems, warnings, the keys that exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::expand::expand;
use super::problem::{Place, Position, Problem};
use super::tree::{Entry, Node, Value, shown};
use super::units::Refusal;

/// The environment twins: settings that a variable sets over the file.
pub(crate) const ENVIRONMENT_TWINS: &[(&str, &str)] = &[
    ("listen", "TOLLGATE_LISTEN"),
    ("upstream", "TOLLGATE_UPSTREAM"),
    ("data_dir", "TOLLGATE_DATA_DIR"),
    ("timezone", "TOLLGATE_TIMEZONE"),
    ("admin.listen", "TOLLGATE_ADMIN_LISTEN"),
    ("log.level", "TOLLGATE_LOG"),
];

/// Looks up an environment variable.
type Lookup<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Collects what reading finds.
pub(crate) struct Reader<'e> {
    file: Option<Arc<Path>>,
    base_dir: PathBuf,
    working_dir: PathBuf,
    /// What looks up variables; `None` where values stand as they are written.
    env: Option<Lookup<'e>>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    /// Every key that was asked for, as `channels[].name`.
    pub(crate) known: BTreeSet<String>,
    pub(crate) unknown: Vec<Unknown>,
    /// Where the file itself holds a secret in clear.
    pub(crate) secret_in_file: Option<Place>,
}

/// A key nobody asked for.
pub(crate) struct Unknown {
    pub(crate) place: Place,
    /// With indexes, to be shown.
    pub(crate) path: String,
    /// Without, to be compared with the known.
    pub(crate) pattern: String,
}

/// A value as it was found.
pub(crate) struct Given {
    /// Expanded.
    pub(crate) text: String,
    /// What an error may show of it.
    pub(crate) shown: String,
    /// Whether the file does not hold the text itself.
    pub(crate) from_environment: bool,
    pub(crate) place: Place,
}

impl<'e> Reader<'e> {
    /// `file` is the path as the operator wrote it; relative paths in it start at `base_dir`,
    /// those in the environment at `working_dir`.
    pub(crate) fn new(
        file: Option<Arc<Path>>,
        base_dir: &Path,
        working_dir: &Path,
        env: Lookup<'e>,
    ) -> Self {
        Self {
            base_dir: base_dir.to_owned(),
            working_dir: working_dir.to_owned(),
            env: Some(env),
            ..Self::literal(file)
        }
    }

    /// Of a file whose values stand as they are written: `${NAME}` is no variable, and no path is
    /// resolved.
    pub(crate) fn literal(file: Option<Arc<Path>>) -> Self {
        Self {
            file,
            base_dir: PathBuf::new(),
            working_dir: PathBuf::new(),
            env: None,
            problems: Vec::new(),
            warnings: Vec::new(),
            known: BTreeSet::new(),
            unknown: Vec::new(),
            secret_in_file: None,
        }
    }

    /// The spot in the file.
    pub(crate) fn at(&self, position: Position) -> Place {
        match &self.file {
            Some(file) => Place::File {
                file: Arc::clone(file),
                position: Some(position),
            },
            None => Place::Default,
        }
    }

    /// Notes a problem.
    pub(crate) fn problem(
        &mut self,
        place: &Place,
        key: &str,
        message: impl Into<String>,
        hint: Option<&str>,
    ) {
        self.problems.push(entry(place, key, message, hint));
    }

    /// Notes something dubious that does not stop the start.
    pub(crate) fn warning(
        &mut self,
        place: &Place,
        key: &str,
        message: impl Into<String>,
        hint: Option<&str>,
    ) {
        self.warnings.push(entry(place, key, message, hint));
    }

    /// Turns keys that nobody asked for into problems. To be called once, after all reading.
    pub(crate) fn refuse_unknown(&mut self) {
        for unknown in std::mem::take(&mut self.unknown) {
            let hint = nearest(&unknown.pattern, &self.known)
                .map(|name| format!("did you mean `{name}`?"));
            let name = unknown.path.rsplit('.').next().unwrap_or_default();
            let message = format!("unknown key `{name}`");
            self.problem(&unknown.place, &unknown.path, message, hint.as_deref());
        }
    }

    /// A path of the settings, from where it was written.
    pub(crate) fn resolve(&self, given: &Given) -> PathBuf {
        self.folder_of(given).join(&given.text)
    }

    /// Where a relative path starts.
    pub(crate) fn folder_of(&self, given: &Given) -> &Path {
        match given.place {
            Place::Environment(_) => &self.working_dir,
            Place::File { .. } | Place::Default => &self.base_dir,
        }
    }

    /// A problem with a value.
    pub(crate) fn refuse(&mut self, given: &Given, key: &str, refusal: &Refusal) {
        let message = format!("`{}` {}", given.shown, refusal.reason);
        self.problem(&given.place, key, message, refusal.remedy.as_deref());
    }

    /// A warning about a value.
    pub(crate) fn doubt(&mut self, given: &Given, key: &str, doubt: &Refusal) {
        let message = format!("`{}` {}", given.shown, doubt.reason);
        self.warning(&given.place, key, message, doubt.remedy.as_deref());
    }

    /// The text of a single value; a problem when it is none.
    pub(crate) fn scalar(&mut self, entry: &Entry, path: &str) -> Option<Given> {
        self.text(&entry.node, entry.key_at, path)
    }

    /// As [`Reader::scalar`] for a value without a key of its own; `from` is where it begins.
    pub(crate) fn text(&mut self, node: &Node, from: Position, path: &str) -> Option<Given> {
        let place = self.at(node.at);
        match &node.value {
            Value::Scalar(text) => self.given(text, place, path),
            Value::Refused => None,
            Value::Null => {
                let place = self.at(from);
                let hint = Some("give it one, or take the key away for the default");
                self.problem(&place, path, "has no value", hint);
                None
            }
            other => {
                let message = format!("takes a single value, not {}", other.shape());
                self.problem(&place, path, message, None);
                None
            }
        }
    }

    /// What the environment says of the setting `path`. An empty variable says nothing: so compose
    /// files and shells pass "not set".
    pub(crate) fn twin(&self, path: &str) -> Option<Given> {
        let (_, name) = ENVIRONMENT_TWINS
            .iter()
            .find(|(setting, _)| *setting == path)?;
        let text = self.env?(name).filter(|text| !text.is_empty())?;
        Some(Given {
            shown: shown(&without_credentials(&text)),
            text,
            from_environment: true,
            place: Place::Environment((*name).to_owned()),
        })
    }

    /// Expands a text of the file.
    fn given(&mut self, text: &str, place: Place, key: &str) -> Option<Given> {
        let Some(env) = self.env else {
            return Some(Given {
                text: text.to_owned(),
                shown: shown(&without_credentials(text)),
                from_environment: false,
                place,
            });
        };
        match expand(text, env) {
            Ok(expanded) => Some(Given {
                // The text before expansion: what a variable holds may be a secret.
                shown: if expanded.from_environment {
                    shown(text)
                } else {
                    shown(&without_credentials(&expanded.text))
                },
                text: expanded.text,
                from_environment: expanded.from_environment,
                place,
            }),
            Err(error) => {
                self.problem(
                    &place,
                    key,
                    error.to_string(),
                    Some("`${NAME}` takes a variable's value, `${NAME:-text}` has a fallback, `$$` is a dollar"),
                );
                None
            }
        }
    }
}

fn entry(place: &Place, key: &str, message: impl Into<String>, hint: Option<&str>) -> Problem {
    Problem {
        place: place.clone(),
        key: key.to_owned(),
        message: message.into(),
        hint: hint.map(str::to_owned),
    }
}

/// A URL without user information, query and fragment, where credentials stand; any other text as
/// it is.
pub(crate) fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    // The last `@` of all: a password may hold `?`, `#` and `@` itself.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => ("…@", rest),
        None => ("", rest),
    };
    let bare = rest.split(['?', '#']).next().unwrap_or_default();
    let cut = if bare.len() < rest.len() { "…" } else { "" };
    format!("{scheme}://{user}{bare}{cut}")
}

/// The known key that somebody who wrote `unknown` may have meant: a near miss in the same
/// section, else the same name in another one.
fn nearest(unknown: &str, known: &BTreeSet<String>) -> Option<String> {
    let (section, name) = split(unknown);
    let sibling = known
        .iter()
        .map(|path| split(path))
        .filter(|(parent, _)| *parent == section)
        .map(|(_, candidate)| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min()
        .filter(|(_, candidate)| is_near(name, candidate))
        .map(|(_, candidate)| candidate.to_owned());
    sibling.or_else(|| {
        known
            .iter()
            .find(|path| split(path).1 == name)
            .map(|path| path.replace("[]", "[…]"))
    })
}

/// Whether somebody who wrote `word` may have meant `candidate`.
pub(crate) fn is_near(word: &str, candidate: &str) -> bool {
    strsim::damerau_levenshtein(word, candidate) <= candidate.len().div_ceil(3).min(3)
}

/// The one of the names that somebody who asked for `name` is likeliest to have meant, where it is alike
/// at all: by Jaro-Winkler, to which, unlike to [`is_near`], a common beginning counts for more.
pub(crate) fn likeliest<'k>(
    name: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    /// Likeness (0 to 1) from which on a name may be meant.
    const NEAR: f64 = 0.8;
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_looked_for_beside_and_then_elsewhere() {
        let known: BTreeSet<String> = [
            "upstream",
            "limits.idle",
            "limits.request_body",
            "log.level",
        ]
        .map(str::to_owned)
        .into();
        for (unknown, expected) in [
            ("upsteam", Some("upstream")),
            ("upstraem", Some("upstream")),
            ("limits.request_bodi", Some("request_body")),
            ("idle", Some("limits.idle")),
            ("limits.ilde", Some("idle")),
            ("receivers", None),
            ("x", None),
        ] {
            assert_eq!(nearest(unknown, &known).as_deref(), expected, "{unknown}");
        }
    }

    #[test]
    fn urls_are_shown_without_credentials() {
        for (text, expected) in [
            ("plain", "plain"),
            ("https://a/v1", "https://a/v1"),
            ("postgres://u:p@db/x", "postgres://…@db/x"),
            ("https://u:p@q@a/v1", "https://…@a/v1"),
            ("https://a/v1?key=canary#x", "https://a/v1…"),
            ("https://u:can?ary@a", "https://…@a"),
        ] {
            assert_eq!(without_credentials(text), expected);
        }
    }
}
