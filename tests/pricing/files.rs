//! Price files as operators write them, good and bad, and what they are told.

use std::path::{Path, PathBuf};

use tollgate::clock::UnixMicros;
use tollgate::pricing::{ModelName, PriceTable, Prices, load_files};
use tollgate::record::TokenType::{Input, InputCached, Output};
use tollgate::record::{Unit, Usage};

use super::{TODAY, usage, with_units};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/prices");

fn load(files: &[&Path]) -> Result<PriceTable, String> {
    let files: Vec<PathBuf> = files.iter().map(|&file| file.to_owned()).collect();
    let told = load_files(&files).map_err(|problems| problems.to_string())?;
    Ok(PriceTable::clone(&Prices::new(told).table()))
}

fn example() -> PriceTable {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("prices.example.yaml");
    load(&[&file]).unwrap()
}

fn usd<'n>(
    table: &PriceTable,
    name: impl Into<ModelName<'n>>,
    tier: Option<&str>,
    usage: &Usage,
) -> Option<String> {
    let cost = table.price(name, tier, usage, TODAY)?;
    Some(cost.amount.to_string())
}

#[test]
fn the_example_says_what_its_comments_say() {
    let table = example();
    let counts = usage(&[(Input, 1_000), (InputCached, 1_000), (Output, 100)]);
    for (name, tier, expected) in [
        ("gpt-5.4", None, "0.003825"),
        ("gpt-5.4", Some("flex"), "0.0019125"),
        ("gpt-5.4", Some("priority"), "0.00765"),
        ("our-gpt", None, "0.003825"),
        ("gpt-5.4-2026-03-05", None, "0.003825"),
        // Shipped, and no price of the row above.
        ("gpt-5.4-mini", None, "0.001275"),
        // Of a family: 1,000 × 4 + 1,000 × 0.4 + 100 × 16 per million.
        ("our-voice-fast", None, "0.006"),
    ] {
        let cost = usd(&table, name, tier, &counts);
        assert_eq!(cost.as_deref(), Some(expected), "{name} {tier:?}");
    }
    let long = |tokens| usage(&[(Input, tokens), (Output, 10)]);
    for (tokens, tier, expected) in [
        (272_000, None, "0.612135"),
        (272_001, None, "1.224207"),
        (500_000, None, "2.2502025"),
        (500_001, None, "4.500409"),
        // Half of the rates beyond the threshold, and rates of its own.
        (500_001, Some("batch"), "2.2502045"),
        (500_001, Some("priority"), "9.000818"),
        (272_001, Some("priority"), "2.448414"),
    ] {
        let cost = usd(&table, "gpt-5.4", tier, &long(tokens));
        assert_eq!(cost.as_deref(), Some(expected), "{tokens} {tier:?}");
    }
    let azure = ModelName::at(Some("azure"), "my-deployment");
    assert_eq!(
        usd(&table, azure, None, &usage(&[(Input, 1_000)])).unwrap(),
        "0.00275"
    );
    assert_eq!(
        usd(&table, "my-deployment", None, &usage(&[(Input, 1_000)])),
        None
    );
    let minute = with_units(&[], &[(Unit::AudioMs, 60_000)]);
    assert_eq!(usd(&table, "our-whisper", None, &minute).unwrap(), "0.006");
}

#[test]
fn an_overriding_row_ends_with_its_period_and_says_its_version() {
    let table = example();
    let find = |at| {
        table
            .find("gpt-5.4", at)
            .unwrap()
            .price_version()
            .to_string()
    };
    let version = find(TODAY);
    assert!(version.starts_with("prices.example.yaml-"), "{version}");
    assert!(
        version.ends_with("/openai/gpt-5.4@2026-01-01:exact"),
        "{version}"
    );
    // 2027-01-01T00:00:00Z
    assert_eq!(
        find(UnixMicros(1_798_761_600_000_000)),
        "builtin-2026-11-20/openai/gpt-5.4:exact"
    );
}

#[test]
fn bad_files_are_told_every_problem() {
    for name in [
        "values.bad.yaml",
        "thresholds.bad.yaml",
        "overlap.bad.yaml",
        "syntax.bad.yaml",
        "no-prices.bad.yaml",
        "neither.bad.json",
        "gone.yaml",
    ] {
        let file = Path::new(FIXTURES).join(name);
        let told = load(&[&file]).unwrap_err().replace(FIXTURES, "FOLDER");
        insta::assert_snapshot!(name, told);
    }
}

#[test]
fn problems_of_several_files_come_together() {
    let file = |name: &str| Path::new(FIXTURES).join(name);
    let told = load(&[
        &file("syntax.bad.yaml"),
        &file("litellm.json"),
        &file("no-prices.bad.yaml"),
    ]);
    let told = told.unwrap_err();
    assert!(told.contains("syntax.bad.yaml:"), "{told}");
    assert!(told.contains("no-prices.bad.yaml:"), "{told}");
    assert!(!told.contains("litellm.json"), "{told}");
}

#[test]
fn files_are_asked_in_their_order_and_catalogues_are_files_too() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let first = write(
        "first.yaml",
        "prices: [{model: acme-1, per_million: {input: 7}}]\n",
    );
    let second = write(
        "second.json",
        include_str!("../fixtures/prices/litellm.json"),
    );
    let third = write(
        "third.yaml",
        "prices: [{model: acme-1, per_million: {input: 8}}, {model: z, per_million: {input: 9}}]\n",
    );
    let table = load(&[&first, &second, &third]).unwrap();
    let names: Vec<&str> = table.layers().iter().map(|layer| layer.version()).collect();
    assert!(names[0].starts_with("first.yaml-"), "{names:?}");
    assert!(names[1].starts_with("litellm-20"), "{names:?}");
    let million = usage(&[(Input, 100_000)]);
    assert_eq!(usd(&table, "acme-1", None, &million).unwrap(), "0.7");
    assert_eq!(usd(&table, "acme-free", None, &million).unwrap(), "0");
    assert_eq!(usd(&table, "z", None, &million).unwrap(), "0.9");
    let table = load(&[&second, &first]).unwrap();
    assert_eq!(usd(&table, "acme-1", None, &million).unwrap(), "0.2");
}
