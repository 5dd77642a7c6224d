//! Templates: which there are, that they are sound, and how one is filled in.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};

use super::rendering::{self, Rendering};
use super::{markup, sample, words};
use crate::alert::NotificationKind;
use crate::config::{
    Language, Place, Position, Problem, Problems, ReceiverSettings, TemplateSettings,
};

/// Steps that a template may take; it bounds what a loop in a loop can cost.
const MOST_STEPS: u64 = 200_000;

/// Bytes that a template may come to; ten times what any receiver takes.
const MOST_BYTES: usize = 256 << 10;

/// Bytes of a template's file.
const LARGEST_FILE: u64 = 256 << 10;

/// The templates of a receiver, tried and found sound.
pub struct Templates {
    /// By language, in the order of [`Language::ALL`].
    environments: Vec<Environment<'static>>,
    /// Kinds whose template failed and was told of, by kind.
    told: [AtomicBool; NotificationKind::ALL.len()],
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates").finish_non_exhaustive()
    }
}

impl Default for Templates {
    /// Tollgate's own.
    fn default() -> Self {
        let environments = Language::ALL.iter().map(|language| environment(*language));
        Self {
            environments: environments.collect(),
            told: Default::default(),
        }
    }
}

impl Templates {
    /// Reads the files that `settings` name and tries each on samples in both languages; Tollgate's own
    /// templates where none is named.
    ///
    /// # Errors
    ///
    /// Every file that cannot be read, parsed or rendered, with file and line.
    pub fn load(settings: &TemplateSettings) -> Result<Self, Problems> {
        let mut templates = Self::default();
        let files = [
            (NotificationKind::Alert, &settings.alert),
            (NotificationKind::Channel, &settings.channel),
            (NotificationKind::Digest, &settings.digest),
        ];
        let mut problems = Vec::new();
        for (kind, file) in files {
            let Some(file) = file else { continue };
            if let Err(wrong) = templates.replace(kind, file) {
                problems.push(wrong.problem(kind, file));
            }
        }
        if problems.is_empty() {
            Ok(templates)
        } else {
            Err(Problems(problems))
        }
    }

    /// The templates of a receiver: its own, those `common` to all for what it does not name, and
    /// Tollgate's.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn of(receiver: &ReceiverSettings, common: &TemplateSettings) -> Result<Self, Problems> {
        let chosen =
            |own: &Option<PathBuf>, all: &Option<PathBuf>| own.as_ref().or(all.as_ref()).cloned();
        let own = &receiver.templates;
        Self::load(&TemplateSettings {
            alert: chosen(&own.alert, &common.alert),
            channel: chosen(&own.channel, &common.channel),
            digest: chosen(&own.digest, &common.digest),
        })
    }

    /// Takes a file in place of the template of `kind`.
    fn replace(&mut self, kind: NotificationKind, file: &Path) -> Result<(), Wrong> {
        let source = read(file)?;
        for environment in &mut self.environments {
            environment.add_template_owned(kind.as_str(), source.clone())?;
        }
        let zone = jiff::tz::TimeZone::UTC;
        for language in Language::ALL {
            for content in sample::contents(kind, sample::NOW) {
                let rendering = Rendering {
                    language: *language,
                    timezone: &zone,
                    templates: self,
                    now: sample::NOW,
                };
                let view = rendering::view(&content, &rendering);
                self.check_names(kind, *language, &view)?;
                let rendered = self.fill(kind.as_str(), *language, view)?;
                if markup::parsed(&rendered).0.is_empty() {
                    let what = "it comes to nothing: its first line with text is the title";
                    return Err(Wrong::told(what));
                }
            }
        }
        Ok(())
    }

    /// Looks for names that are none, in branches that no sample may reach.
    fn check_names(
        &self,
        kind: NotificationKind,
        language: Language,
        view: &Value,
    ) -> Result<(), Wrong> {
        let environment = &self.environments[language as usize];
        let template = environment.get_template(kind.as_str())?;
        let mut named: Vec<String> = template.undeclared_variables(false).into_iter().collect();
        named.sort();
        for name in named {
            let is_global = environment.globals().any(|(known, _)| known == name);
            let is_known = view
                .get_attr(&name)
                .is_ok_and(|found| !found.is_undefined());
            if !is_global && !is_known && !names_of_blocks(kind).contains(&name.as_str()) {
                let mut known: Vec<String> = view.try_iter()?.map(|key| key.to_string()).collect();
                known.sort();
                return Err(Wrong {
                    line: line_of(template.source(), &name),
                    what: format!("there is no `{name}`; there are {}", known.join(", ")),
                });
            }
        }
        Ok(())
    }

    /// What the template of `kind` makes of a view; Tollgate's own where it fails, which is told once.
    pub(super) fn render(
        &self,
        kind: NotificationKind,
        language: Language,
        view: Value,
    ) -> Option<String> {
        let error = match self.fill(kind.as_str(), language, view.clone()) {
            Ok(rendered) => return Some(rendered),
            Err(error) => error,
        };
        if !self.told[kind as usize].swap(true, Ordering::Relaxed) {
            tracing::warn!(
                kind = kind.as_str(),
                line = error.line(),
                reason = reason(&error),
                "a template cannot be filled in; Tollgate's own takes its place"
            );
        }
        self.fill(&own_name(kind), language, view).ok()
    }

    fn fill(&self, name: &str, language: Language, view: Value) -> Result<String, Error> {
        let template = self.environments[language as usize].get_template(name)?;
        let mut written = Bounded(Vec::new());
        template.render_captured_to(view, &mut written)?;
        String::from_utf8(written.0)
            .map_err(|_| Error::new(ErrorKind::WriteFailure, "it is no text"))
    }
}

/// The name by which a template of one's own can include or extend Tollgate's.
fn own_name(kind: NotificationKind) -> String {
    format!("tollgate/{kind}")
}

/// What a template that extends Tollgate's may name within its blocks, besides what all of it may.
const fn names_of_blocks(kind: NotificationKind) -> &'static [&'static str] {
    match kind {
        NotificationKind::Alert => &["alert"],
        _ => &[],
    }
}

const fn own_source(kind: NotificationKind) -> &'static str {
    match kind {
        NotificationKind::Alert => include_str!("templates/alert.j2"),
        NotificationKind::Channel => include_str!("templates/channel.j2"),
        NotificationKind::Digest => include_str!("templates/digest.j2"),
        NotificationKind::Undelivered => include_str!("templates/undelivered.j2"),
    }
}

fn environment(language: Language) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(MOST_STEPS));
    // Control tags on lines of their own leave nothing behind. The builder fails for delimiters only.
    if let Ok(syntax) = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
    {
        environment.set_syntax(syntax);
    }
    // Not to escape: so that what a macro or a block made is told from a value.
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("message".into()));
    environment.set_formatter(move |out, _, value| {
        let written = if value.is_safe() {
            out.write_str(&value.to_string())
        } else {
            out.write_str(&markup::value(&shown(value, language)))
        };
        written.map_err(|_| Error::new(ErrorKind::WriteFailure, "it comes to too much text"))
    });
    for none in ["safe", "escape", "e"] {
        environment.remove_filter(none);
    }
    let text = move |value: &Value| -> Result<String, Error> {
        if value.is_undefined() {
            return Err(Error::from(ErrorKind::UndefinedError));
        }
        Ok(shown(value, language))
    };
    environment.add_filter("bold", move |value: Value| {
        text(&value).map(|text| markup::bold(&text))
    });
    environment.add_filter("code", move |value: Value| {
        text(&value).map(|text| markup::code(&text))
    });
    environment.add_filter("link", move |value: Value, url: Value| {
        Ok::<_, Error>(markup::link(&text(&value)?, &text(&url)?))
    });
    environment.add_global("colon", words::colon(language));
    environment.add_global("comma", words::comma(language));
    environment.add_filter("brackets", move |value: Value| {
        text(&value).map(|text| words::bracketed(&text, language))
    });
    environment.add_function("and_more", move |count: u64| {
        words::and_more(count, language)
    });
    environment.add_function("t", move |name: &str| word(name, language));
    environment.add_function("label", move |name: &str| {
        word(name, language).map(|word| format!("{word}{}", words::colon(language)))
    });
    for kind in NotificationKind::ALL {
        for name in [kind.to_string(), own_name(*kind)] {
            // That they are sound is tested.
            if let Err(error) = environment.add_template_owned(name, own_source(*kind)) {
                tracing::error!(
                    kind = kind.as_str(),
                    reason = reason(&error),
                    "a template is no good"
                );
            }
        }
    }
    environment
}

/// A value as text; the word for the unknown where nobody knows it.
fn shown(value: &Value, language: Language) -> String {
    if value.is_none() {
        return words::word("unknown", language)
            .unwrap_or_default()
            .to_owned();
    }
    value.to_string()
}

fn word(name: &str, language: Language) -> Result<&'static str, Error> {
    words::word(name, language).ok_or_else(|| {
        let known: Vec<&str> = words::names().collect();
        let what = format!("there is no word `{name}`; there are {}", known.join(", "));
        Error::new(ErrorKind::InvalidOperation, what)
    })
}

/// The first line of a template that has a name as a word of its own.
fn line_of(source: &str, name: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let has = |line: &str| line.split(|c| !is_part(c)).any(|word| word == name);
    source.lines().position(has).map(|index| index + 1)
}

/// What is written, up to a bound.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MOST_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read(file: &Path) -> Result<String, Wrong> {
    use io::Read as _;

    let cannot = |error: io::Error| Wrong::told(&format!("the file cannot be read: {error}"));
    let opened = std::fs::File::open(file).map_err(cannot)?;
    let mut source = String::new();
    let mut bounded = opened.take(LARGEST_FILE + 1);
    bounded.read_to_string(&mut source).map_err(cannot)?;
    if source.len() as u64 > LARGEST_FILE {
        return Err(Wrong::told("the file is larger than 256 KiB"));
    }
    Ok(source)
}

/// What is wrong with a file.
struct Wrong {
    line: Option<usize>,
    what: String,
}

impl Wrong {
    fn told(what: &str) -> Self {
        Self {
            line: None,
            what: what.to_owned(),
        }
    }

    fn problem(self, kind: NotificationKind, file: &Path) -> Problem {
        let at = |line| Position { line, column: 1 };
        Problem {
            place: Place::File {
                file: Arc::from(file),
                position: self.line.map(at),
            },
            key: format!("templates.{kind}"),
            message: self.what,
            hint: None,
        }
    }
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self {
            line: error.line(),
            what: reason(&error),
        }
    }
}

fn reason(error: &Error) -> String {
    let what = match error.kind() {
        ErrorKind::UndefinedError => "a name in it means nothing".to_owned(),
        ErrorKind::OutOfFuel => "it takes too many steps".to_owned(),
        ErrorKind::WriteFailure => return "it comes to too much text".to_owned(),
        kind => kind.to_string(),
    };
    match error.detail() {
        Some(detail) => format!("{what}: {detail}"),
        None => what,
    }
}
