//! The format of test files.

mod expected;
mod traffic;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::{RuleTest, TestFile};
use crate::clock::UnixMicros;
use crate::config::{
    Place, Problems, Reader, Refusal, Section, duration_or_zero, parse_yaml, read_text, time_zone,
};
use crate::rules::definition::RuleSet;
use crate::rules::format::{self, KnownNames};

/// What to do in a file without tests.
const LIST_THEM: &str = "list them: `tests:`, and below it `- name: …` for each";

/// Reads a file of tests and the rule files that it names, from its own folder on.
pub fn load(file: &Path) -> Result<TestFile, Problems> {
    let text = match read_text(file, "tests of rules") {
        Ok((text, _)) => text,
        Err((position, message)) => {
            return Err(Problems(vec![format::unread(file, position, message)]));
        }
    };
    let mut reader = Reader::literal(Some(Arc::from(file)));
    let (root, flaws) = parse_yaml(&text);
    for flaw in flaws {
        let place = reader.at(flaw.at);
        reader.problem(&place, "", flaw.message, flaw.hint);
    }
    let mut tests = Vec::new();
    let mut set = RuleSet::default();
    let mut of_rules = Vec::new();
    if let Some(root) = root
        .as_ref()
        .filter(|root| format::is_about(root, "groups", "tests"))
    {
        let place = reader.at(root.at);
        let message = "this is a file of rules, not of tests";
        let hint = "name the file of its tests, which names this one: `rules: [rules.yaml]`";
        reader.problem(&place, "", message, Some(hint));
    } else if let Some(root) = root {
        Section::top(&mut reader, Some(&root), |top, reader| {
            let Some(top_place) = top.place.clone() else {
                // It is no mapping, which is told already.
                if let Some(told) = reader.problems.last_mut() {
                    told.hint = Some(LIST_THEM.to_owned());
                }
                return;
            };
            let mut timezone = TimeZone::UTC;
            top.set(reader, "timezone", &mut timezone, time_zone);
            match rules(top, reader, file, &timezone) {
                Ok(found) => set = found,
                Err(problems) => of_rules = problems.0,
            }
            // What a test says of rules that could not be read cannot be judged.
            let known = of_rules.is_empty().then_some(&set);
            let listed = top.list(reader, "tests", |section, reader| {
                tests.extend(test(section, reader, known));
            });
            let none = tests.is_empty() && reader.problems.is_empty();
            if (listed.is_none() && !top.has("tests")) || (none && of_rules.is_empty()) {
                reader.problem(&top_place, "tests", "there is no test", Some(LIST_THEM));
            }
        });
        reader.refuse_unknown();
    }
    let mut problems = of_rules;
    problems.append(&mut reader.problems);
    // What is dubious in a test (`5M` for five minutes) makes it show something else.
    problems.append(&mut reader.warnings);
    if problems.is_empty() {
        return Ok(TestFile {
            file: Arc::from(file),
            tests,
            set,
        });
    }
    problems.sort_by(|left, right| left.place.cmp(&right.place));
    Err(Problems(problems))
}

/// The rules that the tests are about.
fn rules(
    top: &mut Section<'_>,
    reader: &mut Reader<'_>,
    file: &Path,
    timezone: &TimeZone,
) -> Result<RuleSet, Problems> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let files: Vec<PathBuf> = top
        .texts(reader, "rules")
        .into_iter()
        .map(|given| folder.join(given.text))
        .collect();
    if files.is_empty() {
        let place = top.place.clone().unwrap_or(Place::Default);
        let hint = Some("list the files: `rules: [../spend.yaml]`, from this file's folder on");
        reader.problem(&place, "rules", "names no file", hint);
    }
    let loaded = format::load(&files, timezone, &KnownNames::default())?;
    Ok(loaded.set)
}

fn test(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    set: Option<&RuleSet>,
) -> Option<RuleTest> {
    // Without a place it is no mapping, which is told already.
    let place = section.place.clone()?;
    let before = reader.problems.len();
    let mut name: Arc<str> = "".into();
    section.set(reader, "name", &mut name, |text| Ok(Arc::from(text)));
    let mut start = None;
    section.set(reader, "start", &mut start, |text| moment(text).map(Some));
    for (key, hint) in [
        ("name", "say what the test shows"),
        ("start", "write a moment, as `2027-01-31T18:00:00Z`"),
    ] {
        if !section.has(key) {
            reader.problem(&place, &section.key(key), "is missing", Some(hint));
        }
    }
    let channels = section.listed(reader, "channels");
    let mut test = RuleTest {
        name,
        start: start.unwrap_or_default(),
        channels: channels.map(|(_, names)| {
            let names = names.into_iter().map(|given| Arc::from(given.text));
            names.collect::<BTreeSet<Arc<str>>>()
        }),
        requests: Vec::new(),
        quotas: Vec::new(),
        asked: Vec::new(),
        restarts: Vec::new(),
        expected: Vec::new(),
    };
    section.list(reader, "requests", |section, reader| {
        test.requests.extend(traffic::requests(section, reader));
    });
    section.list(reader, "quotas", |section, reader| {
        test.quotas.extend(traffic::quota(section, reader));
    });
    section.list(reader, "admit", |section, reader| {
        test.asked.extend(traffic::asked(section, reader, set));
    });
    let key = section.key("restarts");
    for given in section.texts(reader, "restarts") {
        match duration_or_zero(&given.text) {
            Ok(at) => test.restarts.push(at),
            Err(refusal) => reader.refuse(&given, &key, &refusal),
        }
    }
    section.list(reader, "expect", |section, reader| {
        test.expected.extend(expected::read(section, reader, set));
    });
    if test.asked.is_empty() && test.expected.is_empty() && reader.problems.len() == before {
        let hint = Some("say what is so after a while: `expect: [{at: 1h, alerts: […]}]`");
        let message = "the test expects nothing, so it cannot fail";
        reader.problem(&place, &section.key("expect"), message, hint);
    }
    (reader.problems.len() == before).then_some(test)
}

/// A moment with its offset: a date alone would leave open in which zone.
fn moment(text: &str) -> Result<UnixMicros, Refusal> {
    text.parse::<jiff::Timestamp>()
        .map(UnixMicros::from)
        .map_err(|_| {
            Refusal::new(
                "is no moment",
                "write RFC 3339, as `2027-01-31T18:00:00Z` or `2027-01-31T18:00:00+01:00`",
            )
        })
}

/// Reads a required time after the test's start.
fn at(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<Duration> {
    let mut at = None;
    let parse = |text: &str| duration_or_zero(text).map(Some);
    section.set_duration(reader, "at", &mut at, parse);
    if !section.has("at") {
        let place = section.place.clone().unwrap_or(Place::Default);
        let hint = Some("say how long after the test's start, as `at: 1h 30m`");
        reader.problem(&place, &section.key("at"), "is missing", hint);
    }
    at
}

/// The rule of a name; told when there is none.
fn named<'s>(
    set: &'s RuleSet,
    name: &str,
) -> Result<&'s Arc<crate::rules::definition::Rule>, Refusal> {
    let found = set.rules.iter().find(|rule| *rule.name == *name);
    found.ok_or_else(|| {
        let names: Vec<&str> = set.rules.iter().map(|rule| &*rule.name).collect();
        format::none_of(name, &names)
    })
}
