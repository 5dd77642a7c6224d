//! Every test that `docs/pitfalls.md` names exists.

#![allow(
    clippy::unwrap_used,
    reason = "a file that cannot be read fails the test"
)]

use std::fs;
use std::path::Path;

#[test]
fn every_named_test_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let table = read("tests/golden/table.snap");
    let mut named = 0;
    for line in read("docs/pitfalls.md").lines() {
        let Some((_, tests)) = line
            .strip_prefix("| ")
            .and_then(|row| row.split_once(" | "))
        else {
            continue;
        };
        for test in tests.split('`').skip(1).step_by(2) {
            named += 1;
            if let Some(case) = test.strip_prefix("golden/") {
                assert!(table.lines().any(|row| row == case), "no case {case}");
                assert!(
                    root.join("tests/golden")
                        .join(format!("{case}.http"))
                        .exists()
                );
                continue;
            }
            let (file, name) = test.split_once("::").unwrap();
            let source = read(file);
            let at = source.find(&format!("fn {name}(")).unwrap_or_else(|| {
                panic!("{file} has no test {name}");
            });
            let head = source[..at].rsplit("\n\n").next().unwrap();
            assert!(
                head.contains("test") || source.contains("proptest!"),
                "{name}"
            );
        }
    }
    assert!(named > 40, "{named}");
}
