//! `tollgate prices`.

use std::fs;
use std::path::Path;

use crate::{printed, told, tollgate};

const CATALOGUE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/prices/litellm.json"
);

/// Standard output with the version of a file's text made known.
fn prices(folder: &Path, arguments: &[&str]) -> String {
    let all = [&["prices"], arguments].concat();
    printed(tollgate(folder, &all))
}

#[test]
fn show_explains_a_price_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let shown = prices(
        folder.path(),
        &[
            "show",
            "gpt-5.6",
            "--at",
            "2026-11-21",
            "--tier",
            "priority",
            "--tokens",
            "input=272_001,input_cached=1000,output=200,web_search=2",
        ],
    );
    insta::assert_snapshot!("show_with_tokens", shown);
    insta::assert_snapshot!(
        "show_rates",
        prices(
            folder.path(),
            &["show", "claude-haiku-5-5", "--at", "2026-11-21"]
        )
    );
    insta::assert_snapshot!(
        "show_unpriced",
        prices(
            folder.path(),
            &[
                "show",
                "gpt-4o",
                "--at",
                "2026-11-21",
                "--tokens",
                "input=10,web_search=1"
            ],
        )
    );
    let json = prices(
        folder.path(),
        &[
            "show",
            "gpt-4o-2024-08-06",
            "--at",
            "2026-11-21",
            "--tokens",
            "input=1000",
            "--json",
        ],
    );
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["usd"], "0.0025");
    assert_eq!(json["rule"], "dated");
    assert_eq!(json["charges"][0]["usd_per_million"], "2.5");
    let shown = prices(
        folder.path(),
        &[
            "show",
            "gpt-5.5",
            "--provider",
            "openai_regional",
            "--tokens",
            "input=1000",
        ],
    );
    assert!(
        shown.contains("residency") && shown.contains("× 1.1"),
        "{shown}"
    );
    assert!(shown.contains("$0.0055\n"), "{shown}");
    // A batch is priced as the ledger prices it: in its tier, as many requests.
    let batch = |tokens: &str| {
        let asked = ["show", "gpt-5.4", "--api", "batches", "--tokens", tokens];
        prices(folder.path(), &asked)
    };
    let told = batch("input=272000");
    assert!(told.contains("× 0.5") && told.contains("$0.34"), "{told}");
    let told = batch("input=272001");
    assert!(
        told.contains("unpriced: these are the tokens of several"),
        "{told}"
    );
}

#[test]
fn what_has_no_price_is_a_failure_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, code, reason) in [
        (&["show", "no-such-model"][..], 1, "no prices know it"),
        (
            &["show", "gpt-5", "--provider", "groq"],
            1,
            "at `groq`; known at: azure, openai",
        ),
        (
            &["show", "gpt-5", "--tier", "platinum"],
            1,
            "`platinum` is not known",
        ),
        (
            &["show", "gpt-5", "--tokens", "inptu=1"],
            64,
            "one of: input, ",
        ),
        (
            &["show", "gpt-5", "--tokens", "input"],
            64,
            "as `input=1000`",
        ),
        (
            &["show", "gpt-5", "--tokens", "input=-1"],
            64,
            "is no count",
        ),
        (&["show", "gpt-5", "--at", "someday"], 64, "--at: "),
        (&["update"], 64, "--from FILE|URL"),
        (
            &["update", "--from", "gone.json"],
            1,
            "cannot read gone.json",
        ),
    ] {
        let all = [&["prices"], arguments].concat();
        let (given, _, stderr) = told(tollgate(folder.path(), &all));
        assert_eq!(given, code, "{arguments:?}: {stderr}");
        assert!(stderr.contains(reason), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_catalogue_is_kept_and_used_and_what_it_changes_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let first = prices(folder.path(), &["update", "--from", CATALOGUE]);
    assert!(first.starts_with("litellm-20"), "{first}");
    assert!(
        first.contains(": 14 prices, 9 models left out\n"),
        "{first}"
    );
    let listed = prices(folder.path(), &["list", "acme-1"]);
    assert!(listed.contains("acme-1"), "{listed}");
    let shown = prices(folder.path(), &["show", "acme-1", "--tokens", "input=1000"]);
    assert!(shown.contains("$0.002\n"), "{shown}");

    let text = fs::read_to_string(CATALOGUE).unwrap();
    let dearer = text
        .replace("\"2e-06\"", "\"3e-06\"")
        .replace("acme-speak", "acme-talk");
    fs::write(folder.path().join("newer.json"), dearer).unwrap();
    let second = prices(folder.path(), &["update", "--from", "newer.json"]);
    for line in [
        "  new        1\n    openai/acme-talk\n",
        "  gone       1\n    openai/acme-speak\n",
        "  dearer     1\n    openai/acme-1: input 2 → 3\n",
        "  unchanged  12\n",
    ] {
        assert!(second.contains(line), "{line}: {second}");
    }

    // What makes no sense changes nothing.
    fs::write(
        folder.path().join("bad.json"),
        "{\"a\": {\"litellm_provider\": \"x\"}}",
    )
    .unwrap();
    let update = ["prices", "update", "--from", "bad.json"];
    let (code, _, stderr) = told(tollgate(folder.path(), &update));
    assert_eq!(code, 1);
    assert!(
        stderr.contains("the prices stay as they are: the catalogue is refused"),
        "{stderr}"
    );
    let shown = prices(folder.path(), &["show", "acme-1", "--tokens", "input=1000"]);
    assert!(shown.contains("$0.003\n"), "{shown}");
}

#[test]
fn lists_are_tables_or_json() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(
        "list",
        prices(folder.path(), &["list", "gpt-5.6", "--provider", "openai"])
    );
    let json = prices(folder.path(), &["list", "whisper-1", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["layers"], serde_json::json!(["builtin-2026-11-20"]));
    assert_eq!(json["prices"][0]["per_unit"]["audio_ms"], "0.0000001");
    let none = prices(folder.path(), &["list", "no-such-model"]);
    assert_eq!(none, "No such prices in builtin-2026-11-20.\n");
}
