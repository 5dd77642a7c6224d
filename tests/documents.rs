//! The documents lead somewhere: links and anchors exist, every document is linked, and the commands,
//! options and metrics that they name are those there are.

#![allow(
    clippy::unwrap_used,
    reason = "a file that cannot be read fails the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// Documents at the root; those in `docs` are found.
const AT_THE_ROOT: &[&str] = &[
    "README.md",
    "README.zh-CN.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
];

/// Every document by its path from the root.
fn documents() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<PathBuf> = AT_THE_ROOT.iter().map(PathBuf::from).collect();
    paths.extend(files(Path::new("docs"), "md"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(root.join(&path)).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// The files below `folder` with that extension, by their paths from the root.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![folder.to_owned()];
    let mut paths = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                paths.push(path);
            }
        }
    }
    paths
}

/// The lines of a document, each with whether it is code: between fences, or indented after an empty line.
fn lines(text: &str) -> Vec<(&str, bool)> {
    let (mut fenced, mut indented, mut empty_before) = (false, false, true);
    let mut lines = Vec::new();
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        let empty = line.trim().is_empty();
        indented = line.starts_with("    ") && (indented || empty_before) || indented && empty;
        lines.push((line, fenced || fence || indented));
        fenced ^= fence;
        empty_before = empty;
    }
    lines
}

/// The parts of a line between backticks, or those outside of them.
fn parts(line: &str, code: bool) -> impl Iterator<Item = &str> {
    let parts = line.split('`').enumerate();
    parts.filter_map(move |(place, part)| ((place % 2 == 1) == code).then_some(part))
}

/// Where the links of a document lead, as they are written.
fn links(text: &str) -> Vec<String> {
    let prose = lines(text).into_iter().filter(|(_, code)| !code);
    let prose: String = prose
        .flat_map(|(line, _)| parts(line, false).chain(["\n"]))
        .collect();
    let mut found = Vec::new();
    for part in prose.split("](").skip(1) {
        let target = part.split(')').next().unwrap_or_default();
        let target = target.split_whitespace().next().unwrap_or_default();
        found.push(target.to_owned());
    }
    found
}

/// The anchors that GitHub makes of a document's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (line, _) in lines(text).into_iter().filter(|(_, code)| !code) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        // A link counts by its words.
        let mut words = String::new();
        for (place, part) in heading.trim().split("](").enumerate() {
            let shown = if place == 0 {
                part
            } else {
                part.split_once(')').map_or("", |(_, rest)| rest)
            };
            words.push_str(shown);
        }
        let anchor: String = words
            .to_lowercase()
            .chars()
            .filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let again = (1..).map(|count| format!("{anchor}-{count}"));
        let free = std::iter::once(anchor.clone())
            .chain(again)
            .find(|candidate| !anchors.contains(candidate));
        anchors.extend(free);
    }
    anchors
}

/// `docs/zh-CN/../rules.md` as `docs/rules.md`; `None` for a way out of the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir if !normal.pop() => return None,
            Component::ParentDir | Component::CurDir => {}
            part => normal.push(part),
        }
    }
    Some(normal)
}

fn leads_elsewhere(link: &str) -> bool {
    ["http://", "https://", "mailto:"]
        .iter()
        .any(|scheme| link.starts_with(scheme))
}

/// The file and the anchor of a link of `document`.
fn target(document: &Path, link: &str) -> Option<(PathBuf, Option<String>)> {
    let (file, anchor) = match link.split_once('#') {
        Some((file, anchor)) => (file, Some(anchor.to_owned())),
        None => (link, None),
    };
    let path = if file.is_empty() {
        document.to_owned()
    } else {
        normal(&document.parent()?.join(file))?
    };
    Some((path, anchor))
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = documents();
    let anchored: BTreeMap<&Path, BTreeSet<String>> = documents
        .iter()
        .map(|(path, text)| (&**path, anchors(text)))
        .collect();
    let mut broken = Vec::new();
    let mut checked = 0;
    for (document, text) in &documents {
        for link in links(text) {
            if leads_elsewhere(&link) {
                continue;
            }
            checked += 1;
            let found = target(document, &link).is_some_and(|(path, anchor)| {
                let there = root.join(&path).exists();
                let headed = anchor.is_none_or(|anchor| {
                    let of = anchored.get(&*path);
                    of.is_some_and(|anchors| anchors.contains(&anchor))
                });
                there && headed
            });
            if !found {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(checked > 100, "{checked}");
}

#[test]
fn every_document_is_linked_from_another() {
    let documents = documents();
    let mut linked = BTreeSet::from([PathBuf::from("README.md")]);
    for (document, text) in &documents {
        let targets = links(text);
        let targets = targets.iter().filter(|link| !leads_elsewhere(link));
        let others = targets.filter_map(|link| Some(target(document, link)?.0));
        linked.extend(others.filter(|path| path != document));
    }
    let lost: Vec<_> = documents
        .keys()
        .filter(|path| !linked.contains(*path))
        .collect();
    assert!(lost.is_empty(), "nobody links to {lost:?}");
}

#[test]
fn every_command_that_is_shown_exists() {
    let program = Help::of(&[]);
    let mut wrong = Vec::new();
    let (mut calls, mut options) = (0, 0);
    for (document, text) in documents() {
        for (line, code) in lines(&text) {
            let shown: Vec<&str> = if code {
                vec![line.trim()]
            } else {
                parts(line, true).collect()
            };
            for call in shown.iter().filter_map(|text| call(text)) {
                calls += 1;
                let found = program.find(call);
                let missing = match &found {
                    None => vec!["no such command"],
                    Some(command) => {
                        let named = options_of(call).inspect(|_| options += 1);
                        named
                            .filter(|option| !command.options.contains(*option))
                            .collect()
                    }
                };
                for what in missing {
                    wrong.push(format!("{}: tollgate {call}: {what}", document.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(calls > 100 && options > 50, "{calls} {options}");
}

/// What the program says of a command, and of those below it.
struct Help {
    options: BTreeSet<String>,
    commands: BTreeMap<String, Help>,
}

impl Help {
    /// Asks the program for it.
    fn of(path: &[&str]) -> Self {
        let asked = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(path)
            .arg("--help")
            .output()
            .unwrap();
        assert!(asked.status.success(), "{path:?}: {asked:?}");
        let text = String::from_utf8(asked.stdout).unwrap();
        let listed = text.lines().skip_while(|line| *line != "Commands:").skip(1);
        let names = listed
            .take_while(|line| !line.is_empty())
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next());
        let commands = names.map(|name| {
            // `help` takes the name of any command.
            let below = match name {
                "help" => Self::without_commands(),
                name => Self::of(&[path, &[name]].concat()),
            };
            (name.to_owned(), below)
        });
        let first = text.lines().map(str::trim_start);
        let options = first.filter(|line| line.starts_with('-'));
        Self {
            options: options.flat_map(options_of).map(str::to_owned).collect(),
            commands: commands.collect(),
        }
    }

    fn without_commands() -> Self {
        Self {
            options: BTreeSet::new(),
            commands: BTreeMap::new(),
        }
    }

    /// The command that a call names by its first words.
    fn find(&self, call: &str) -> Option<&Self> {
        let mut command = self;
        for word in call.split_whitespace() {
            // In a manual's line it may be `[list]`.
            let name = word.trim_matches(|c: char| !c.is_ascii_lowercase());
            let is_argument = word.starts_with('-') || name.is_empty();
            if is_argument || command.commands.is_empty() {
                break;
            }
            command = command.commands.get(name)?;
        }
        Some(command)
    }
}

/// The long options in a call, up to the next command of its line.
fn options_of(call: &str) -> impl Iterator<Item = &str> {
    let ends = [" | ", " && ", " > ", "; ", " #"];
    let end = ends.iter().filter_map(|end| call.find(end)).min();
    let call = &call[..end.unwrap_or(call.len())];
    call.match_indices("--").filter_map(|(place, _)| {
        let before = call[..place].chars().next_back();
        let rest = &call[place..];
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-');
        let option = &rest[..end.unwrap_or(rest.len())];
        let begins = before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '-');
        (begins && option.len() > 2).then_some(option)
    })
}

/// What follows `tollgate` where the text is a call of it: at its start, or after a prompt, `sudo`, `exec`, the
/// container's name or variables. Elsewhere it is the program's name.
fn call(text: &str) -> Option<&str> {
    let calling =
        |word: &str| matches!(word, "$" | "sudo" | "exec" | "tollgate") || word.contains('=');
    text.match_indices("tollgate ")
        .map(|(place, name)| (&text[..place], &text[place + name.len()..]))
        .find(|(before, call)| {
            let clean = before.is_empty() || before.ends_with(' ');
            let called = before.split_whitespace().next_back().is_none_or(calling);
            let command =
                call.starts_with(|c: char| c.is_ascii_lowercase()) || call.starts_with("--");
            clean && called && command && !call.starts_with("tollgate")
        })
        .map(|(_, call)| call)
}

#[test]
fn every_metric_that_is_named_is_in_the_reference() {
    let documents = documents();
    // Written by `make references` from a running Tollgate.
    let reference = documents.get(Path::new("docs/metrics.md")).unwrap();
    let known: BTreeSet<&str> = metrics(reference).collect();
    let mut unknown = BTreeSet::new();
    for (document, text) in &documents {
        for metric in metrics(text) {
            let of_histogram = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|suffix| metric.strip_suffix(suffix))
                .any(|base| known.contains(base));
            // `tollgate_budget_*` and `tollgate_budget_limit`, `_used` are beginnings.
            let beginning =
                metric.ends_with('_') && known.iter().any(|name| name.starts_with(metric));
            if !known.contains(metric) && !of_histogram && !beginning {
                unknown.insert(format!("{}: {metric}", document.display()));
            }
        }
    }
    let unknown: Vec<String> = unknown.into_iter().collect();
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

#[test]
fn every_metric_of_the_program_is_in_the_reference() {
    let reference = &documents()[Path::new("docs/metrics.md")];
    let rows = reference
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: BTreeSet<String> = rows
        .filter(|name| name.starts_with("tollgate_"))
        .map(str::to_owned)
        .collect();
    let mut exposed = BTreeSet::new();
    for file in files(Path::new("src"), "rs") {
        let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        // A name stands alone in its string.
        let strings = source
            .split('"')
            .filter(|text| text.starts_with("tollgate_"));
        exposed.extend(
            strings
                .filter(|text| metrics(text).eq([*text]))
                .map(str::to_owned),
        );
    }
    let differing: Vec<_> = exposed.symmetric_difference(&listed).collect();
    assert!(
        differing.is_empty(),
        "in src or in docs/metrics.md only (`make references` writes it): {differing:?}"
    );
}

/// Names of metrics in a text. Recording rules (`tollgate:…`) and what is part of a longer name are none.
fn metrics(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("tollgate_").filter_map(|(place, _)| {
        let before = text[..place].chars().next_back();
        if before.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '/' | '.')) {
            return None;
        }
        let rest = &text[place..];
        let end = rest
            .find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_')
            .unwrap_or(rest.len());
        // `tollgate_tollgate-data` is a volume of the stack.
        (!rest[end..].starts_with('-')).then_some(&rest[..end])
    })
}
