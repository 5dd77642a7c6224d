//! The format of rule files: YAML, read with the machinery of the settings, so that every problem of
//! all files is told at once, with its place, the rule and a remedy. `docs/rules.md` documents it.

mod actions;
mod consistency;
mod files;
mod limits;
mod matching;
mod measure;
#[cfg(test)]
mod tests;
mod window;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::annotations;
use super::definition::{NoData, Rule, RuleSet};
use crate::alert::Mode;
use crate::config::{
    ChannelSettings, KeySettings, Place, Problem, Problems, Reader, Refusal, Section, Settings,
    parse_yaml, read_text, whole,
};
use actions::Surroundings;
pub(super) use files::{is_about, unread};
use window::Borders;
pub(super) use words::{none_of, word};

/// The names that rules may speak of, and what the ledger keeps for them. `None` where they are not
/// known: nothing is said of them then.
#[derive(Clone, Debug, Default)]
pub struct KnownNames {
    /// The channels.
    pub channels: Option<Vec<Arc<str>>>,
    /// The clients' keys, those of the settings and those that were made.
    pub keys: Option<Vec<Arc<str>>>,
    /// The receivers.
    pub receivers: Option<Vec<Arc<str>>>,
    /// For how long the ledger keeps single requests; `None` also for ever.
    pub retention: Option<Duration>,
}

impl KnownNames {
    /// Those of the settings, and the names of keys that were made.
    #[must_use]
    pub fn of(settings: &Settings, made_keys: impl IntoIterator<Item = Arc<str>>) -> Self {
        let channel = |channel: &ChannelSettings| Arc::clone(&channel.name);
        let key = |key: &KeySettings| Arc::clone(&key.name);
        let receivers = settings.notify.receivers.iter();
        Self {
            channels: Some(settings.channels.iter().map(channel).collect()),
            keys: Some(settings.keys.iter().map(key).chain(made_keys).collect()),
            receivers: Some(
                receivers
                    .map(|receiver| Arc::clone(&receiver.name))
                    .collect(),
            ),
            retention: settings.ledger.retention,
        }
    }
}

/// Rules that may be used.
#[derive(Clone, Debug, Default)]
pub struct LoadedRules {
    /// The rules.
    pub set: RuleSet,
    /// What is dubious but works, in the order of the files.
    pub warnings: Vec<Problem>,
}

/// What to do in a file without rules.
const LIST_THEM: &str = "list them: `groups:`, and below it `- name: …` with `rules:`";

/// Reads rule files. `timezone` is that of calendar windows that name none.
pub fn load(
    files: &[PathBuf],
    timezone: &TimeZone,
    known: &KnownNames,
) -> Result<LoadedRules, Problems> {
    let mut reading = Reading::new(timezone, known);
    for path in files {
        match read_text(path, "rules") {
            Ok((text, _)) => reading.file(path, &text),
            Err((position, message)) => reading.problems.push(unread(path, position, message)),
        }
    }
    reading.end()
}

/// Reads the rules of one text. `file` is what problems call it.
pub fn parse(
    file: &Path,
    text: &str,
    timezone: &TimeZone,
    known: &KnownNames,
) -> Result<LoadedRules, Problems> {
    let mut reading = Reading::new(timezone, known);
    reading.file(file, text);
    reading.end()
}

/// What reading files one after the other finds.
struct Reading<'a> {
    timezone: &'a TimeZone,
    known: &'a KnownNames,
    rules: Vec<Arc<Rule>>,
    /// The names of rules so far, and where they stand.
    names: BTreeMap<Arc<str>, Place>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// A group, as far as its rules go by it.
struct Group {
    name: Arc<str>,
    borders: Borders,
    mode: Option<Mode>,
}

impl<'a> Reading<'a> {
    const fn new(timezone: &'a TimeZone, known: &'a KnownNames) -> Self {
        Self {
            timezone,
            known,
            rules: Vec::new(),
            names: BTreeMap::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn end(self) -> Result<LoadedRules, Problems> {
        if !self.problems.is_empty() {
            return Err(Problems(self.problems));
        }
        Ok(LoadedRules {
            set: RuleSet { rules: self.rules },
            warnings: self.warnings,
        })
    }

    fn file(&mut self, file: &Path, text: &str) {
        let mut reader = Reader::literal(Some(Arc::from(file)));
        let (root, flaws) = parse_yaml(text);
        for flaw in flaws {
            let place = reader.at(flaw.at);
            reader.problem(&place, "", flaw.message, flaw.hint);
        }
        // By path, to call them by their names.
        let mut called: Vec<(String, Arc<str>)> = Vec::new();
        if let Some(root) = root
            .as_ref()
            .filter(|root| is_about(root, "tests", "groups"))
        {
            let place = reader.at(root.at);
            let message = "this is a file of tests, not of rules";
            let hint =
                "name files of rules only, as `rules/*.yaml`; `tollgate rules test` runs this one";
            reader.problem(&place, "", message, Some(hint));
        } else if let Some(root) = root {
            Section::top(&mut reader, Some(&root), |top, reader| {
                let Some(place) = top.place.clone() else {
                    // It is no mapping, which is told already.
                    if let Some(told) = reader.problems.last_mut() {
                        told.hint = Some(LIST_THEM.to_owned());
                    }
                    return;
                };
                let listed = top.list(reader, "groups", |section, reader| {
                    self.group(section, reader, &mut called);
                });
                if listed.is_none() && !top.has("groups") {
                    reader.problem(&place, "groups", "is missing", Some(LIST_THEM));
                }
            });
            reader.refuse_unknown();
        }
        for problem in &mut reader.problems {
            if problem.hint.is_none() && is_of_an_action(&problem.key) {
                problem.hint = Some(actions::ACTIONS.to_owned());
            }
        }
        for (found, of_all) in [
            (reader.problems, &mut self.problems),
            (reader.warnings, &mut self.warnings),
        ] {
            let mut found: Vec<Problem> = found
                .into_iter()
                .map(|problem| with_name(problem, &called))
                .collect();
            found.sort_by(|left, right| left.place.cmp(&right.place));
            of_all.extend(found);
        }
    }

    fn group(
        &mut self,
        section: &mut Section<'_>,
        reader: &mut Reader<'_>,
        called: &mut Vec<(String, Arc<str>)>,
    ) {
        // Without a place it is no mapping, which is told already.
        let Some(place) = section.place.clone() else {
            return;
        };
        let mut name = Arc::from("");
        section.set(reader, "name", &mut name, rule_name);
        if !section.has("name") {
            let hint = Some("name the group");
            reader.problem(&place, &section.key("name"), "is missing", hint);
        }
        let group = Group {
            name,
            borders: Borders::usual(self.timezone.clone()).read(section, reader),
            mode: actions::read_mode(section, reader),
        };
        let listed = section.list(reader, "rules", |section, reader| {
            self.rule(section, reader, &group, called);
        });
        if listed.is_none() && !section.has("rules") {
            let hint = Some("list them: `rules:`, and below it `- alert: …` for each");
            reader.problem(&place, &section.key("rules"), "is missing", hint);
        }
    }

    fn rule(
        &mut self,
        section: &mut Section<'_>,
        reader: &mut Reader<'_>,
        group: &Group,
        called: &mut Vec<(String, Arc<str>)>,
    ) {
        let Some(place) = section.place.clone() else {
            return;
        };
        let name = self.name(section, reader, &place);
        if let Some(name) = &name {
            called.push((section.key(""), Arc::clone(name)));
        }
        let before = reader.problems.len();
        let rule = self.definition(section, reader, group, name, place);
        let mode_stated = group.mode.is_some() || section.has("mode");
        if let Some(rule) = rule.filter(|_| reader.problems.len() == before) {
            consistency::check(section, reader, &rule, mode_stated, self.known);
            if reader.problems.len() == before {
                self.rules.push(Arc::new(rule));
            }
        }
    }

    /// The name of a rule, which no other has.
    fn name(
        &mut self,
        section: &mut Section<'_>,
        reader: &mut Reader<'_>,
        place: &Place,
    ) -> Option<Arc<str>> {
        let mut name = None;
        let from = section.set(reader, "alert", &mut name, |text| rule_name(text).map(Some));
        if !section.has("alert") {
            let hint = Some("name the rule, as `alert: DailySpend`");
            reader.problem(place, &section.key("alert"), "is missing", hint);
        }
        let name = name?;
        let from = from.unwrap_or(Place::Default);
        if let Some(first) = self.names.get(&name) {
            let message = format!("another rule has this name, at {first}");
            let hint = Some("give each rule a name of its own, over all files");
            reader.problem(&from, &section.key("alert"), message, hint);
        } else {
            self.names.insert(Arc::clone(&name), from);
        }
        Some(name)
    }

    /// The rule that a section is. Everything is read, so that everything is judged; `None` where a
    /// part is missing, which is told.
    fn definition(
        &self,
        section: &mut Section<'_>,
        reader: &mut Reader<'_>,
        group: &Group,
        name: Option<Arc<str>>,
        place: Place,
    ) -> Option<Rule> {
        let measure = measure::read(section, reader);
        let span = window::read(section, reader, &group.borders, measure.as_ref());
        let matcher = matching::read_match(section, reader, self.known);
        let groups = matching::read_groups(section, reader, measure.as_ref());
        let limits = limits::read(section, reader, measure.as_ref());
        let hold = actions::hold(section, reader, "for");
        let keep_firing = actions::hold(section, reader, "keep_firing_for");
        let mut min_requests = 0;
        section.set(
            reader,
            "min_requests",
            &mut min_requests,
            whole(0, u64::from(u32::MAX)),
        );
        let mut no_data = Some(NoData::Ok);
        let words = word(NoData::ALL, NoData::as_str);
        section.set(reader, "no_data", &mut no_data, words);
        let mode = actions::read_mode(section, reader);
        let around = Surroundings {
            span: span.as_ref(),
            matcher: &matcher,
            by: &groups.by,
            known: self.known,
        };
        let actions = actions::read(section, reader, &around);
        let annotations = annotations_of(section, reader);
        let (measure, limits) = (measure?, limits?);
        Some(Rule {
            name: name?,
            group: Arc::clone(&group.name),
            place,
            metric: measure.metric,
            stat: measure.stat,
            over: measure.over,
            budget: limits.budget,
            compare: measure.compare,
            span: span?,
            matcher,
            by: groups.by,
            side: limits.side,
            warning: limits.warning,
            critical: limits.critical,
            clear_permille: limits.clear_permille,
            hold,
            keep_firing,
            min_requests,
            no_data: no_data?,
            mode: mode.or(group.mode).unwrap_or(Mode::Notify),
            actions,
            max_series: groups.max_series,
            annotations,
        })
    }
}

/// Reads `annotations`; their templates are tried once the rule is known.
fn annotations_of(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
) -> BTreeMap<Arc<str>, Arc<str>> {
    let mut annotations = BTreeMap::new();
    for entry in section.names(reader, "annotations") {
        let path = format!("{}.{}", section.key("annotations"), entry.key);
        if let Some(given) = reader.scalar(entry, &path) {
            annotations.insert(Arc::from(entry.key.as_str()), Arc::from(given.text));
        }
    }
    annotations
}

/// A name of a rule or a group: what stands well in a label, a file name and a chat.
fn rule_name(text: &str) -> Result<Arc<str>, Refusal> {
    let fits = |c: char| c.is_alphanumeric() || " _-.:/".contains(c);
    let sound = !text.is_empty() && text.chars().count() <= 128 && text.trim() == text;
    if sound && text.chars().all(fits) {
        return Ok(Arc::from(text));
    }
    Err(Refusal::new(
        "is no name",
        "write up to 128 letters, digits, spaces and `_ - . : /`",
    ))
}

/// Whether a key is an action of a rule, known or not, and not what belongs to one:
/// `groups[0].rules[0].actions[0].block`.
fn is_of_an_action(key: &str) -> bool {
    let Some((_, rest)) = key.rsplit_once(".actions[") else {
        return false;
    };
    rest.matches('.').count() <= 1
}

/// A problem of a rule says which one by its name.
fn with_name(mut problem: Problem, called: &[(String, Arc<str>)]) -> Problem {
    let of = called.iter().find(|(path, _)| {
        problem.key.starts_with(path) || problem.key == path.trim_end_matches('.')
    });
    if let Some((_, name)) = of {
        problem.message = format!("rule `{name}`: {}", problem.message);
    }
    problem
}
