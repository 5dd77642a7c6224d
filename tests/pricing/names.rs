use std::sync::Arc;

use tollgate::config::ChannelKind;
use tollgate::pricing::{
    Alias, Layer, MatchRule, ModelName, PriceRow, PriceTable, Prices, Rate, Rates, Unpriced,
    load_files, provider_of,
};
use tollgate::record::TokenType::Input;
use tollgate::record::{Api, Unit};

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
fn the_closest_name_decides_and_then_the_first_layer() {
    let past = PriceRow {
        effective_to: Some(TODAY),
        ..row("core", false, 9)
    };
    let table = table([
        Layer::new(
            "mine",
            [past, row("core-mini", true, 2), row("other", true, 7)],
            [],
        ),
        Layer::new(
            "catalogue",
            [
                row("core", false, 3),
                row("core-mini", false, 3),
                row("core-mini-0301", false, 4),
                row("core-mini-0302", false, 3),
                row("core-mini-max", false, 3),
                row("other-long", true, 8),
            ],
            [],
        ),
        Layer::new(
            "shipped",
            [row("core", false, 5), row("core-mini-pro", false, 9)],
            [Alias {
                provider: String::new(),
                name: "other-swift".to_owned(),
                model: "core".to_owned(),
            }],
        ),
    ]);
    for (name, expected) in [
        // What no longer holds says nothing.
        ("core", Some("catalogue/core:exact")),
        ("core-mini", Some("mine/core-mini:exact")),
        // A price of its own further down is not the one of a looser name further up.
        ("core-mini-0301", Some("catalogue/core-mini-0301:exact")),
        ("core-mini-pro", Some("shipped/core-mini-pro:exact")),
        ("other-swift", Some("shipped/core:alias")),
        ("other-long-x", Some("catalogue/other-long:prefix")),
        // What only says again what it says of the looser name is.
        ("core-mini-0302", Some("mine/core-mini:dated")),
        ("core-mini-max", Some("mine/core-mini:prefix")),
        ("core-mini-else", Some("mine/core-mini:prefix")),
        ("other-0301", Some("mine/other:dated")),
        ("none", None),
    ] {
        assert_eq!(version(&table, name).as_deref(), expected, "{name}");
    }
}

#[test]
fn a_row_of_ones_own_leaves_other_models_their_price() {
    let mut prices = String::from("provider: openai\nsource: ours\nprices:\n");
    prices += "- {model: gpt-5.4, family: true, per_million: {input: 2.25, output: 13.5}}\n";
    prices += "- {model: gpt-4o, per_million: {input: 2.25, output: 9}}\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    std::fs::write(&file, prices).unwrap();
    let table = Prices::new(load_files(&[file]).unwrap()).table();
    let usd = |model: &str| {
        let cost = table.price(model, None, &usage(&[(Input, 10_000)]), TODAY)?;
        Some(cost.amount.to_string())
    };
    for (model, expected) in [
        ("gpt-5.4", "0.0225"),
        ("gpt-5.4-2026-03-05", "0.0225"),
        ("gpt-5.4-eu", "0.0225"),
        ("gpt-5.4-pro", "0.3"),
        ("gpt-5.4-mini", "0.0075"),
        ("gpt-5.4-mini-2026-03-17", "0.0075"),
        ("gpt-4o-2024-08-06", "0.0225"),
        ("gpt-4o-2024-05-13", "0.05"),
    ] {
        assert_eq!(usd(model).as_deref(), Some(expected), "{model}");
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

#[test]
fn a_makers_price_of_somebody_elses_model_is_a_resellers() {
    let text = r#"{
        "alibaba": {"models": {
            "deepseek-v4-pro": {"cost": {"input": 9, "output": 9}},
            "glm-5": {"cost": {"input": 9, "output": 9}},
            "kimi-k3": {"cost": {"input": 9, "output": 9}},
            "qwen4-max": {"cost": {"input": 1, "output": 1}},
            "anyones": {"cost": {"input": 9, "output": 9}},
            "alike": {"cost": {"input": 5, "output": 5}},
            "lone": {"cost": {"input": 6, "output": 6}}}},
        "deepseek": {"models": {"deepseek-v4-pro": {"cost": {"input": 2, "output": 2}}}},
        "zhipuai": {"models": {"glm-5": {"cost": {"input": 3, "output": 3}},
            "kimi-k3": {"cost": {"input": 8, "output": 8}},
            "anyones": {"cost": {"input": 8, "output": 8}}}},
        "minimax": {"models": {"MiniMax-M3": {"cost": {"input": 4, "output": 4}},
            "alike": {"cost": {"input": 5, "output": 5}}}}
    }"#;
    let table = table([super::catalogue::layer(text)]);
    let usd = |provider, model| {
        let name = ModelName::at(provider, model);
        let cost = table.price(name, None, &usage(&[(Input, 1_000_000)]), TODAY)?;
        Some(cost.amount.to_string())
    };
    for (provider, model, expected) in [
        (None, "deepseek-v4-pro", Some("2")),
        (None, "glm-5", Some("3")),
        (None, "MiniMax-M3", Some("4")),
        (None, "qwen4-max", Some("1")),
        // Only resellers have it.
        (None, "kimi-k3", None),
        // Whose model it is, its name does not say.
        (None, "anyones", None),
        (None, "alike", Some("5")),
        (None, "lone", Some("6")),
        (Some("dashscope"), "deepseek-v4-pro", Some("9")),
        (None, "alibaba/deepseek-v4-pro", Some("9")),
    ] {
        let found = usd(provider, model);
        assert_eq!(found.as_deref(), expected, "{provider:?} {model}");
    }
}

#[test]
fn data_kept_in_a_region_costs_what_its_row_says() {
    let own = r"
source: ours
prices:
- {model: anyones, per_million: {input: 1}}
- {model: gpt-6-sol, provider: openai, per_million: {input: 1}}
- {model: gpt-6-luna, provider: openai_regional, per_million: {input: 1}}
";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    std::fs::write(&file, own).unwrap();
    let prices = Prices::new(load_files(&[file]).unwrap());
    prices.set_catalogue(Arc::new(super::catalogue::layer(
        r#"{"gpt-5.4": {"litellm_provider": "openai", "input_cost_per_token": 3e-06},
            "gpt-7": {"litellm_provider": "openai", "input_cost_per_token": 3e-06}}"#,
    )));
    let table = prices.table();
    let regional = provider_of(ChannelKind::Openai, "eu.api.openai.com");
    let usd = |model: &str| {
        let name = ModelName::at(regional, model);
        let used = usage(&[(Input, 100_000)]);
        let charged = table.price(name, None, &used, TODAY);
        let explained = table.explain(Api::Chat, name, None, &used, TODAY);
        let told = explained.and_then(|explained| explained.cost);
        assert_eq!(told.as_ref().ok(), charged.as_ref());
        told.map(|cost| cost.amount.to_string())
    };
    for (model, expected) in [
        ("gpt-4o", Ok("0.25")),
        ("gpt-5.3-codex", Ok("0.175")),
        ("gpt-5.5", Ok("0.55")),
        ("gpt-5.6", Ok("0.44")),
        ("openai/gpt-5.5", Ok("0.55")),
        ("gpt-5.5-pro", Ok("3.3")),
        ("anyones", Ok("0.1")),
        ("gpt-6-luna", Ok("0.1")),
        // It is the model's, whose rates are the catalogue's.
        ("gpt-5.4", Ok("0.33")),
        // Nobody states it.
        ("gpt-6-sol", Err(Unpriced::Residency)),
        ("gpt-7", Err(Unpriced::Residency)),
        ("gpt-none", Err(Unpriced::Model)),
    ] {
        let found = usd(model);
        assert_eq!(found.as_deref(), expected.as_deref(), "{model}");
    }
    // The ledger keeps who was asked: the rest of the row does not say it for good.
    let kept = version(&table, ModelName::at(regional, "gpt-5.5")).unwrap();
    assert!(kept.ends_with("/openai_regional/gpt-5.5:exact"), "{kept}");
    // Calls of tools cost there what they do anywhere: 100,000 × 5 × 1.1 and one search.
    let searched = super::with_units(&[(Input, 100_000)], &[(Unit::WebSearch, 1)]);
    let cost = table.price(ModelName::at(regional, "gpt-5.5"), None, &searched, TODAY);
    assert_eq!(cost.unwrap().amount.to_string(), "0.56");
}
