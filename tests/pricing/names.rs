use std::sync::Arc;

use tollgate::pricing::{Alias, Layer, MatchRule, ModelName, PriceRow, PriceTable, Rate, Rates};
use tollgate::record::TokenType::Input;

use super::{TODAY, usage};

fn row(model: &'static str, family: bool, usd_per_million: u64) -> PriceRow {
    let standard = Rates::text(Rate::milli_usd(usd_per_million * 1_000), None, None, None);
    PriceRow {
        family,
        ..super::row(model, standard)
    }
}

fn of(provider: &'static str, row: PriceRow) -> PriceRow {
    PriceRow {
        provider: provider.into(),
        ..row
    }
}

fn table(layers: impl IntoIterator<Item = Layer>) -> PriceTable {
    PriceTable::new(layers.into_iter().map(Arc::new))
}

fn version<'n>(table: &PriceTable, name: impl Into<ModelName<'n>>) -> Option<String> {
    let found = table.find(name, TODAY)?;
    Some(found.price_version().to_string())
}

#[test]
fn names_are_matched_in_order_and_the_row_says_how() {
    let past = PriceRow {
        effective_to: Some(TODAY),
        ..row("old", true, 9)
    };
    let aliases = [
        ("swift", "core"),
        ("core-2026-01-01", "core-mini"),
        ("lost", "nowhere"),
    ]
    .map(|(name, model)| Alias {
        provider: String::new(),
        name: name.to_owned(),
        model: model.to_owned(),
    });
    let table = table([Layer::new(
        "t",
        [
            row("core", true, 1),
            row("core-mini", true, 2),
            row("core-0301", false, 3),
            row("plain", false, 4),
            past,
        ],
        aliases,
    )]);
    for (name, version) in [
        ("core", Some("t/core:exact")),
        ("core-0301", Some("t/core-0301:exact")),
        ("core-0302", Some("t/core:dated")),
        ("core-mini-2026-02-03", Some("t/core-mini:dated")),
        ("core-2026-01-01", Some("t/core:dated")),
        ("swift", Some("t/core:alias")),
        ("swift-0101", Some("t/core:alias")),
        ("core-mini-x", Some("t/core-mini:prefix")),
        ("core-x", Some("t/core:prefix")),
        ("core-x-0101", Some("t/core:prefix")),
        ("corex", None),
        ("plain-x", None),
        ("lost", None),
        ("old", None),
        ("old-x", None),
        ("Core", None),
    ] {
        assert_eq!(
            super::names::version(&table, name).as_deref(),
            version,
            "{name}"
        );
    }
    assert_eq!(table.find("swift", TODAY).unwrap().rule, MatchRule::Alias);
}

#[test]
fn a_price_version_is_shared_not_written_anew() {
    let table = PriceTable::builtin();
    let price = || {
        table
            .price("gpt-5.4", None, &usage(&[(Input, 1)]), TODAY)
            .unwrap()
    };
    assert!(Arc::ptr_eq(&price().price_version, &price().price_version));
}

#[test]
fn the_first_layer_that_knows_a_name_decides() {
    let past = PriceRow {
        effective_to: Some(TODAY),
        ..row("core", false, 9)
    };
    let table = table([
        Layer::new("mine", [past, row("core-mini", true, 2)], []),
        Layer::new(
            "catalogue",
            [row("core", false, 3), row("core-mini-0301", false, 4)],
            [],
        ),
        Layer::new(
            "shipped",
            [row("core", false, 5), row("other", false, 6)],
            [],
        ),
    ]);
    for (name, expected) in [
        // What no longer holds says nothing.
        ("core", Some("catalogue/core:exact")),
        // An operator's word is meant for every name it fits, however exact another layer is.
        ("core-mini-0301", Some("mine/core-mini:dated")),
        ("core-mini-max", Some("mine/core-mini:prefix")),
        ("other", Some("shipped/other:exact")),
        ("none", None),
    ] {
        assert_eq!(version(&table, name).as_deref(), expected, "{name}");
    }
}

#[test]
fn a_price_of_one_provider_is_never_taken_for_anothers() {
    let table = table([Layer::new(
        "t",
        [
            of("openai", row("gpt-5", false, 1)),
            of("azure", row("gpt-5", false, 2)),
            of("azure", row("eu/gpt-5", false, 3)),
            of("openrouter", row("openai/gpt-5", false, 4)),
            of("groq", row("llama", false, 5)),
            of("gemini", row("gemini-3", false, 6)),
        ],
        [Alias {
            provider: "azure".to_owned(),
            name: "my-deployment".to_owned(),
            model: "gpt-5".to_owned(),
        }],
    )]);
    for (provider, name, expected) in [
        (Some("openai"), "gpt-5", Some("t/openai/gpt-5:exact")),
        (Some("azure"), "gpt-5", Some("t/azure/gpt-5:exact")),
        (
            Some("azure"),
            "gpt-5-2025-08-07",
            Some("t/azure/gpt-5:dated"),
        ),
        (Some("azure"), "azure/gpt-5", Some("t/azure/gpt-5:provider")),
        (Some("azure"), "my-deployment", Some("t/azure/gpt-5:alias")),
        (Some("openai"), "my-deployment", None),
        (Some("openai"), "azure/gpt-5", None),
        (Some("groq"), "gpt-5", None),
        (Some("groq"), "llama", Some("t/groq/llama:exact")),
        (
            Some("openrouter"),
            "openai/gpt-5",
            Some("t/openrouter/openai/gpt-5:exact"),
        ),
        (Some("openrouter"), "gpt-5", None),
        // Whose it is, nobody knows: the maker's price, or what the name itself says.
        (None, "gpt-5", Some("t/openai/gpt-5:exact")),
        (None, "openai/gpt-5", Some("t/openai/gpt-5:provider")),
        (None, "azure/gpt-5", Some("t/azure/gpt-5:provider")),
        (None, "azure/eu/gpt-5", Some("t/azure/eu/gpt-5:provider")),
        (
            None,
            "openrouter/openai/gpt-5",
            Some("t/openrouter/openai/gpt-5:provider"),
        ),
        (None, "google/gemini-3", Some("t/gemini/gemini-3:provider")),
        (None, "llama", None),
        (None, "groq/llama", Some("t/groq/llama:provider")),
        (None, "strangers/gpt-5", None),
    ] {
        let name_at = ModelName::at(provider, name);
        let found = version(&table, name_at);
        assert_eq!(found.as_deref(), expected, "{provider:?} {name}");
    }
}
