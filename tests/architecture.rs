//! The rule of floors: a module imports only from its own floor and those below, without circles, and
//! some crates are named in their own rooms only. `ARCHITECTURE.md` says why.
//!
//! The sources are read as tokens, so that comments, strings and documentation do not count.

#![allow(
    clippy::unwrap_used,
    reason = "a source that cannot be read fails the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The rooms of each floor, the lowest first. A new room gets its place here.
const FLOORS: [&[&str]; 6] = [
    &["clock", "money", "record", "alert"],
    &["config", "protocol", "pricing", "tokenizer"],
    &["meter", "ledger", "channel", "keys", "payloads", "rules"],
    &["notify", "dispatch", "sources"],
    &["proxy", "admin"],
    &["app", "cli", "main"],
];

/// Crates that only the rooms beside them may name.
const KEPT_CRATES: [(&str, &[&str]); 5] = [
    ("pingora", &["proxy", "app"]),
    ("rusqlite", &["ledger"]),
    ("reqwest", &["notify", "sources", "cli"]),
    ("teloxide", &["notify"]),
    ("lettre", &["notify"]),
];

#[test]
fn every_room_has_a_floor() {
    for room in rooms_with_sources().keys() {
        assert!(
            floor_of(room).is_some(),
            "src/{room} stands on no floor: add it to FLOORS in tests/architecture.rs"
        );
    }
}

#[test]
fn nothing_imports_from_a_floor_above() {
    for (room, files) in rooms_with_sources() {
        for file in files {
            for other in file.imports {
                assert!(
                    floor_of(&other) <= floor_of(&room),
                    "{}: `{room}` imports `{other}`, which stands on a floor above",
                    file.path.display()
                );
            }
        }
    }
}

#[test]
fn rooms_do_not_import_in_circles() {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (room, files) in rooms_with_sources() {
        let others = files.into_iter().flat_map(|file| file.imports);
        imports
            .entry(room.clone())
            .or_default()
            .extend(others.filter(|other| *other != room));
    }
    assert_eq!(rooms_in_circles(imports), BTreeSet::new());
}

#[test]
fn some_crates_are_named_in_their_own_rooms_only() {
    for (room, files) in rooms_with_sources() {
        for file in files {
            for (name, rooms) in KEPT_CRATES {
                assert!(
                    rooms.contains(&room.as_str()) || !file.words.iter().any(|word| word == name),
                    "{}: only {rooms:?} may name {name}",
                    file.path.display()
                );
            }
        }
    }
}

#[test]
fn every_way_to_name_a_room_is_seen() {
    let rooms = |source: &str, depth| imports(&source.parse().unwrap(), depth);
    let expected = |names: &[&str]| names.iter().map(ToString::to_string).collect();

    assert_eq!(rooms("use crate::clock::Clock;", 1), expected(&["clock"]));
    assert_eq!(
        rooms("use crate::{clock::{A, B}, ledger, rules as r};", 2),
        expected(&["clock", "ledger", "rules"])
    );
    assert_eq!(
        rooms("fn f() { crate::meter::count(tollgate::money::ZERO) }", 1),
        expected(&["meter", "money"])
    );
    assert_eq!(rooms("use super::clock;", 1), expected(&["clock"]));
    assert_eq!(rooms("use super::super::clock;", 2), expected(&["clock"]));
    assert_eq!(rooms("use super::clock;", 2), expected(&[]));
    assert_eq!(
        rooms(
            "mod tests { use super::clock; use super::super::rules; }",
            1
        ),
        expected(&["rules"])
    );
    assert_eq!(
        rooms(
            "/// See [`crate::cli`].\nconst A: &str = \"crate::admin\"; // crate::app",
            1
        ),
        expected(&[])
    );
}

#[test]
fn a_circle_is_found_whatever_its_length() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in edges {
            graph
                .entry((*from).into())
                .or_default()
                .insert((*to).into());
        }
        rooms_in_circles(graph)
    };

    assert_eq!(graph(&[("a", "b"), ("a", "c"), ("b", "c")]).len(), 0);
    assert_eq!(
        graph(&[("a", "b"), ("b", "a"), ("c", "a"), ("b", "d")]),
        BTreeSet::from(["a".to_owned(), "b".to_owned()])
    );
    assert_eq!(graph(&[("a", "b"), ("b", "c"), ("c", "a")]).len(), 3);
}

struct SourceFile {
    path: PathBuf,
    imports: BTreeSet<String>,
    words: BTreeSet<String>,
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The files of each room. `lib.rs` only declares them and belongs to none.
fn rooms_with_sources() -> BTreeMap<String, Vec<SourceFile>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut rooms: BTreeMap<String, Vec<SourceFile>> = BTreeMap::new();
    for path in rust_files(&root) {
        let inside = path.strip_prefix(&root).unwrap().with_extension("");
        let mut modules: Vec<_> = inside
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        modules.pop_if(|last| last == "mod");
        if modules == ["lib"] {
            continue;
        }
        let tokens = fs::read_to_string(&path).unwrap().parse().unwrap();
        let mut words = BTreeSet::new();
        collect_words(&tokens, &mut words);
        let file = SourceFile {
            imports: imports(&tokens, modules.len()),
            words,
            path,
        };
        rooms.entry(modules.swap_remove(0)).or_default().push(file);
    }
    assert!(rooms.contains_key("record"), "no sources found");
    rooms
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn collect_words(tokens: &TokenStream, words: &mut BTreeSet<String>) {
    for token in tokens.clone() {
        match token {
            TokenTree::Ident(word) => {
                words.insert(word.to_string());
            }
            TokenTree::Group(group) => collect_words(&group.stream(), words),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// The rooms that `tokens` name by a path from the crate's root. `depth` counts the modules between that
/// root and the tokens, as many as it takes `super`s to get there.
fn imports(tokens: &TokenStream, depth: usize) -> BTreeSet<String> {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        let ascended = rest
            .chunks(3)
            .take_while(|step| word(step) == Some("super".into()) && is_path(&step[1..]))
            .count();
        match word(rest).as_deref() {
            Some("crate" | "tollgate") if is_path(&rest[1..]) => {
                found.extend(first_names(&rest[3..]));
                at += 3;
            }
            Some("super") if ascended > 0 => {
                if ascended == depth {
                    found.extend(first_names(&rest[3 * ascended..]));
                }
                at += 3 * ascended;
            }
            Some("mod") => {
                if let Some(TokenTree::Group(body)) = rest.get(2) {
                    found.extend(imports(&body.stream(), depth + 1));
                    at += 1;
                }
                at += 2;
            }
            _ => {
                if let TokenTree::Group(group) = &rest[0] {
                    found.extend(imports(&group.stream(), depth));
                }
                at += 1;
            }
        }
    }
    found.retain(|name| floor_of(name).is_some());
    found
}

fn word(tokens: &[TokenTree]) -> Option<String> {
    match tokens.first() {
        Some(TokenTree::Ident(word)) => Some(word.to_string()),
        _ => None,
    }
}

/// Whether the tokens begin with `::`.
fn is_path(tokens: &[TokenTree]) -> bool {
    let colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
    colon(tokens.first()) && colon(tokens.get(1))
}

/// What follows `crate::`: one name, or the first name of each path in braces.
fn first_names(tokens: &[TokenTree]) -> Vec<String> {
    match tokens.first() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            inner
                .split(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ','))
                .filter_map(word)
                .collect()
        }
        _ => word(tokens).into_iter().collect(),
    }
}

/// The rooms that lie on circles of imports or between two of them: what is left after taking away, again
/// and again, every room that imports nothing that is left, or that nothing left imports.
fn rooms_in_circles(mut imports: BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    loop {
        let left: BTreeSet<String> = imports.keys().cloned().collect();
        imports.retain(|_, others| {
            others.retain(|other| left.contains(other));
            !others.is_empty()
        });
        let imported: BTreeSet<String> = imports.values().flatten().cloned().collect();
        imports.retain(|room, _| imported.contains(room));
        if imports.len() == left.len() {
            return left;
        }
    }
}
