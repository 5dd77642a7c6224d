//! The fuzz targets' checks over the committed corpus, and over what lies near it: a short run of
//! what `scripts/fuzz` does for hours.

#![allow(
    clippy::unwrap_used,
    reason = "a corpus that cannot be read fails the test"
)]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a library for the fuzz targets")]
mod checks;

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut files: Vec<_> = fs::read_dir(folder.join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let corpus: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(!corpus.is_empty(), "{target}");
    corpus
}

/// Every file as it is, then files with bytes overwritten, taken out and put in.
fn short_run(target: &str, check: fn(&[u8])) {
    let corpus = corpus(target);
    for input in &corpus {
        check(input);
    }
    let edits = vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..6);
    let mut runner = TestRunner::new(Config {
        cases: 2_000,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&(any::<Index>(), edits), |(chosen, edits)| {
            let mut input = chosen.get(&corpus).clone();
            for (place, byte, edit) in edits {
                let at = place.index(input.len() + 1);
                match edit {
                    0 => input.insert(at, byte),
                    1 if at < input.len() => input[at] = byte,
                    _ => input.truncate(at),
                }
            }
            check(&input);
            Ok(())
        })
        .unwrap();
}

#[test]
fn answers() {
    short_run("answer", checks::answer);
}

#[test]
fn requests() {
    short_run("request", checks::request);
}

#[test]
fn forms() {
    short_run("form", checks::form);
}

#[test]
fn websockets() {
    short_run("websocket", checks::websocket);
}
