//! Reads `rules` (which files) and `budgets` (what they take for granted).

use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern, glob_with};

use super::budgets::BudgetSettings;
use super::quantity::quantity;
use super::reader::{Given, Reader};
use super::section::Section;
use super::units::{self, Refusal};
use crate::alert::Unit;
use crate::money::NanoUsd;

/// A star stops at a folder's border and passes hidden files over, as in a shell.
const AS_IN_A_SHELL: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Reads `rules`: files and patterns of them. A pattern's files come in the order of their names; a
/// file that is meant twice is read once.
pub(super) fn read_files(top: &mut Section<'_>, reader: &mut Reader<'_>, files: &mut Vec<PathBuf>) {
    for (index, given) in top.texts(reader, "rules").into_iter().enumerate() {
        let key = format!("rules[{index}]");
        let found = if given.text.contains(['*', '?', '[']) {
            matching(reader, &given, &key)
        } else {
            let path = reader.resolve(&given);
            if path.is_file() {
                vec![path]
            } else if path.is_dir() {
                let remedy = format!("write `{}/*.yaml`", given.shown.trim_end_matches('/'));
                reader.refuse(&given, &key, &Refusal::new("is a folder", &remedy));
                Vec::new()
            } else {
                let refusal = Refusal::new(
                    "is not there, or is no file",
                    "name a file of rules, or several as `rules/*.yaml`; relative paths start at this file's folder",
                );
                reader.refuse(&given, &key, &refusal);
                Vec::new()
            }
        };
        for path in found {
            if !files.contains(&path) {
                files.push(path);
            }
        }
    }
}

/// The files that a pattern means.
fn matching(reader: &mut Reader<'_>, given: &Given, key: &str) -> Vec<PathBuf> {
    let found = match glob_with(&absolute(reader, given), AS_IN_A_SHELL) {
        Ok(found) => found,
        Err(error) => {
            let reason = format!("is no pattern: {}", error.msg);
            let refusal = Refusal::new(reason, "write `*` for any characters, as `rules/*.yaml`");
            reader.refuse(given, key, &refusal);
            return Vec::new();
        }
    };
    let mut files = Vec::new();
    let mut unreadable = false;
    for path in found {
        match path {
            Ok(path) if path.is_file() => files.push(path),
            Ok(_) => {}
            Err(error) => {
                unreadable = true;
                let message = format!("cannot read {}: {}", error.path().display(), error.error());
                reader.problem(&given.place, key, message, None);
            }
        }
    }
    if files.is_empty() && !unreadable {
        let doubt = Refusal::new(
            "means no file: there are no rules from it",
            "look where the files are; relative paths start at this file's folder",
        );
        reader.doubt(given, key, &doubt);
    }
    files
}

/// The pattern from the root on. What stands before what was written is no pattern, whatever
/// characters are in it.
fn absolute(reader: &Reader<'_>, given: &Given) -> String {
    if Path::new(&given.text).is_absolute() {
        return given.text.clone();
    }
    let folder = reader.folder_of(given).to_string_lossy();
    if folder.is_empty() {
        return given.text.clone();
    }
    format!("{}/{}", Pattern::escape(&folder), given.text)
}

/// Reads `budgets`.
pub(super) fn read_budgets(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    budgets: &mut BudgetSettings,
) {
    section.section(reader, "ceiling", |section, reader| {
        section.set(reader, "input", &mut budgets.ceiling_input, money);
        section.set(reader, "output", &mut budgets.ceiling_output, money);
    });
    for (key, target) in [
        ("max_input_tokens", &mut budgets.max_input_tokens),
        ("max_output_tokens", &mut budgets.max_output_tokens),
    ] {
        section.set(reader, key, target, tokens);
    }
    section.set(reader, "unbounded_cost", &mut budgets.unbounded_cost, money);
    section.set_duration(reader, "lease", &mut budgets.lease, units::duration);
}

fn money(text: &str) -> Result<NanoUsd, Refusal> {
    quantity(Unit::Usd)(text).map(NanoUsd)
}

fn tokens(text: &str) -> Result<u64, Refusal> {
    quantity(Unit::Tokens)(text).map(i64::unsigned_abs)
}
