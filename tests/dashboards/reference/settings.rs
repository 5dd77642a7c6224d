//! Settings, as the shipped example says them: its comments stand before the keys they are about.

use std::collections::BTreeSet;
use std::fmt::Write as _;

const EXAMPLE: &str = include_str!("../../../tollgate.example.yaml");

const HEAD: &str = "# Settings

One YAML file, every key optional, made of `tollgate.example.yaml` (`make references`), which says the same as a file to start
from. `tollgate check` names every problem of yours with line and column, and what a misspelt key may have meant.

- Times have units: 500ms, 90s, 5m, 1h 30m, 90d. `M` is months, not minutes.
- Sizes have units: 64KiB, 32MiB, 1GiB (powers of 1024) or 64KB, 32MB, 1 GB (powers of 1000).
- `none` switches an optional bound off.
- `${NAME}` takes a value from the environment, `${NAME:-text}` has a fallback, `$$` is a dollar.
- Paths start at the folder of the file; in a variable, at the working folder.
";

/// A key on its line.
struct Key<'e> {
    /// Where it is, with `[]` for the members of a list.
    path: String,
    value: &'e str,
    is_default: bool,
    about: String,
}

pub(super) fn reference() -> String {
    let mut made = HEAD.to_owned();
    let mut section = String::new();
    let mut has_rows = false;
    let mut told = BTreeSet::new();
    for key in keys() {
        // The example has several of a list; what a key is, the first one says.
        if !told.insert(key.path.clone()) {
            continue;
        }
        let top = key.path.split(['.', '[']).next().unwrap();
        if top != section {
            top.clone_into(&mut section);
            write!(made, "\n## {top}\n").unwrap();
            has_rows = false;
            if key.path == top && key.value.is_empty() {
                // What stands before a section is about all of it.
                if !key.about.is_empty() {
                    write!(made, "\n{}\n", key.about).unwrap();
                }
                continue;
            }
        }
        if !has_rows {
            made += "\n| key | default | |\n|---|---|---|\n";
            has_rows = true;
        }
        let value = match (key.value, key.is_default) {
            ("", _) => String::new(),
            (value, true) => format!("`{value}`"),
            (value, false) => format!("none; as `{value}`"),
        };
        let cell = |text: &str| text.replace('|', "\\|");
        writeln!(
            made,
            "| `{}` | {} | {} |",
            key.path,
            cell(&value),
            cell(&key.about)
        )
        .unwrap();
    }
    made
}

fn keys() -> Vec<Key<'static>> {
    let mut keys = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    // Keys that the next line may be below of, with their columns.
    let mut above: Vec<(usize, String)> = Vec::new();
    for line in EXAMPLE.lines() {
        // `#key` and `#  key` are settings without a default, `# Words` are words.
        let optional = line
            .strip_prefix('#')
            .filter(|rest| !rest.starts_with(' ') || rest.starts_with("  "));
        let is_default = optional.is_none();
        let line = optional.unwrap_or(line);
        let trimmed = line.trim_start();
        let mut column = line.len() - trimmed.len();
        if trimmed.is_empty() {
            comment.clear();
            continue;
        }
        if let Some(words) = trimmed.strip_prefix('#') {
            comment.push(words.trim());
            continue;
        }
        let mut rest = trimmed;
        let mut in_list = false;
        while let Some(item) = rest.strip_prefix("- ") {
            in_list = true;
            rest = item;
            column += 2;
        }
        let Some((name, value)) = rest.split_once(':').filter(|(name, value)| {
            let is_name = name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit());
            is_name && !name.is_empty() && (value.is_empty() || value.starts_with(' '))
        }) else {
            continue;
        };
        above.retain(|(at, _)| *at < column);
        let mut path = above.last().map_or(String::new(), |(_, path)| path.clone());
        // The members of a list stand at the column of its key, or further in.
        let is_member = in_list || (!path.is_empty() && path.ends_with("[]"));
        if is_member && !path.is_empty() && !path.ends_with("[]") {
            path += "[]";
            if let Some((_, path_above)) = above.last_mut() {
                path_above.clone_from(&path);
            }
        }
        if !path.is_empty() {
            path.push('.');
        }
        path += name;
        above.push((column, path.clone()));
        keys.push(Key {
            path,
            value: value.trim(),
            is_default,
            about: std::mem::take(&mut comment).join(" "),
        });
    }
    keys
}
