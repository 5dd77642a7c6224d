//! Both public catalogues, in fixtures of our own writing, and what may take their place.

use std::sync::Arc;

use tollgate::pricing::{
    Catalogue, CatalogueError, Layer, ModelName, PriceTable, Shape, catalogue_layer,
};
use tollgate::record::TokenType::{
    self, Input, InputAudio, InputCacheWrite, InputCached, InputImage, Output, Reasoning,
};
use tollgate::record::{Unit, Usage};

use super::{TODAY, usage, with_units};

const LITELLM: &str = include_str!("../fixtures/prices/litellm.json");
const MODELS_DEV: &str = include_str!("../fixtures/prices/models-dev.json");

pub(super) fn layer(text: &str) -> Layer {
    catalogue_layer(Catalogue::parse(text).unwrap(), text, TODAY)
}

/// What `usage` costs at `provider` by the catalogue alone, in USD.
fn of(
    text: &str,
    provider: &str,
    model: &str,
    tier: Option<&str>,
    usage: &Usage,
) -> Option<String> {
    let table = PriceTable::new([Arc::new(layer(text))]);
    let name = ModelName::at(Some(provider), model);
    let cost = table.price(name, tier, usage, TODAY)?;
    Some(cost.amount.to_string())
}

fn litellm(model: &str, tier: Option<&str>, counts: &[(TokenType, u64)]) -> Option<String> {
    of(LITELLM, "openai", model, tier, &usage(counts))
}

#[test]
fn suffixes_compose_and_numbers_may_be_texts() {
    for (tier, counts, expected) in [
        (
            None,
            [(Input, 1_000), (InputCached, 100), (Output, 10)],
            Some("0.00213"),
        ),
        (
            Some("priority"),
            [(Input, 1_000), (InputCached, 100), (Output, 10)],
            Some("0.0037275"),
        ),
        // The standard tier has a rate for the cache, this one states none.
        (
            Some("batch"),
            [(Input, 1_000), (InputCached, 100), (Output, 10)],
            None,
        ),
        (
            Some("batch"),
            [(Input, 1_000), (InputCached, 0), (Output, 10)],
            Some("0.00104"),
        ),
        (
            None,
            [(Input, 272_000), (InputCached, 0), (Output, 10)],
            Some("0.54408"),
        ),
        (
            None,
            [(Input, 272_001), (InputCached, 0), (Output, 10)],
            Some("1.088124"),
        ),
        (
            None,
            [(Input, 272_000), (InputCached, 1), (Output, 0)],
            Some("1.088001"),
        ),
        (
            Some("batch"),
            [(Input, 272_001), (InputCached, 0), (Output, 10)],
            Some("0.544062"),
        ),
        // Beyond the threshold nobody states this tier.
        (
            Some("priority"),
            [(Input, 272_001), (InputCached, 0), (Output, 10)],
            None,
        ),
        (
            Some("flex"),
            [(Input, 1), (InputCached, 0), (Output, 0)],
            None,
        ),
    ] {
        assert_eq!(
            litellm("acme-1", tier, &counts).as_deref(),
            expected,
            "{tier:?} {counts:?}"
        );
    }
    // Images are read as text where the model reads images; reasoning is output.
    let read = litellm("acme-1", None, &[(InputImage, 1_000), (Reasoning, 10)]);
    assert_eq!(read.unwrap(), "0.00208");
    // What is stated and is no other rate is none in a tier that does not state it again.
    let thought = litellm("acme-think", Some("batch"), &[(Reasoning, 1_000)]);
    assert_eq!(thought.unwrap(), "0.002");
    let searched = with_units(&[(Input, 0)], &[(Unit::WebSearch, 2)]);
    assert_eq!(
        of(LITELLM, "openai", "acme-1", None, &searched).unwrap(),
        "0.02"
    );
}

#[test]
fn lifetimes_of_caches_are_no_thresholds() {
    let claude = |usage: &Usage| of(LITELLM, "anthropic", "claude-acme", None, usage);
    let writes = with_units(&[(InputCacheWrite, 1_000)], &[(Unit::CacheWrite1h, 400)]);
    assert_eq!(claude(&writes).unwrap(), "0.00465");
    // An explicit zero is a price.
    assert_eq!(claude(&usage(&[(InputCached, 1_000)])).unwrap(), "0");
    // Beyond the threshold only the hour is stated.
    assert_eq!(
        claude(&usage(&[(Input, 200_001), (InputCacheWrite, 1)])),
        None
    );
    let hour = with_units(
        &[(Input, 200_000), (InputCacheWrite, 1)],
        &[(Unit::CacheWrite1h, 1)],
    );
    assert_eq!(claude(&hour).unwrap(), "1.200012");
    // The fee depends on how much is read, which nobody says.
    let searched = with_units(&[(Input, 1)], &[(Unit::WebSearch, 1)]);
    assert_eq!(claude(&searched), None);
}

#[test]
fn ranges_price_the_whole_request() {
    let turbo =
        |counts: &[(TokenType, u64)]| of(LITELLM, "dashscope", "acme-turbo", None, &usage(counts));
    assert_eq!(
        turbo(&[(Input, 32_000), (Reasoning, 10)]).unwrap(),
        "0.001608"
    );
    assert_eq!(
        turbo(&[(Input, 32_001), (Reasoning, 10)]).unwrap(),
        "0.0032161"
    );
    assert_eq!(
        turbo(&[(Input, 128_001), (Output, 10)]).unwrap(),
        "0.0256162"
    );
    // Stated apart at first, and not here.
    assert_eq!(turbo(&[(Input, 128_001), (Reasoning, 10)]), None);
}

#[test]
fn units_have_fees_where_tokens_do_not_pay() {
    let open = |model: &str, usage: &Usage| of(LITELLM, "openai", model, None, usage);
    let minute = with_units(&[], &[(Unit::AudioMs, 60_000)]);
    assert_eq!(open("acme-hear", &minute).unwrap(), "0.006");
    assert_eq!(
        open("acme-hear-tokens", &minute),
        None,
        "the same price in other words"
    );
    let spoken = with_units(&[], &[(Unit::Character, 1_000)]);
    assert_eq!(open("acme-speak", &spoken).unwrap(), "0.015");
    let painted = with_units(&[], &[(Unit::Image, 3)]);
    assert_eq!(open("acme-paint", &painted).unwrap(), "0.12");
    assert_eq!(open("acme-paint-sized", &painted), None);
    let text = usage(&[(Input, 1_000), (InputCached, 1_000)]);
    assert_eq!(open("acme-voice", &text).unwrap(), "0.00066");
    let heard = usage(&[(Input, 1_000), (InputCached, 1_000), (InputAudio, 1)]);
    assert_eq!(
        open("acme-voice", &heard),
        None,
        "what is cached may be audio"
    );
}

#[test]
fn what_is_not_understood_has_no_price_and_a_reason() {
    let catalogue = Catalogue::parse(LITELLM).unwrap();
    assert_eq!(catalogue.shape, Shape::Litellm);
    let told: Vec<String> = catalogue
        .skipped
        .iter()
        .map(|skipped| format!("{}: {}", skipped.model, skipped.reason))
        .collect();
    insta::assert_snapshot!("litellm_skipped", told.join("\n"));
    for plain in ["acme-per-request-free", "acme-free", "acme-nulls"] {
        assert!(litellm(plain, None, &[(Input, 1)]).is_some(), "{plain}");
    }
}

#[test]
fn providers_are_told_apart() {
    let table = PriceTable::new([Arc::new(layer(LITELLM))]);
    let found = |name: ModelName<'_>| {
        let found = table.find(name, TODAY)?;
        Some((found.row.provider.to_string(), found.rule.to_string()))
    };
    for (provider, model, expected) in [
        (None, "acme-1", Some(("openai", "exact"))),
        (Some("azure"), "acme-1", None),
        (Some("azure"), "eu/acme-1", Some(("azure", "exact"))),
        (None, "azure/eu/acme-1", Some(("azure", "provider"))),
        (None, "vertex_ai/acme-1", Some(("vertex_ai", "provider"))),
        (None, "acme-turbo", Some(("dashscope", "exact"))),
    ] {
        let found = found(ModelName::at(provider, model));
        let found = found
            .as_ref()
            .map(|(provider, rule)| (&**provider, &**rule));
        assert_eq!(found, expected, "{provider:?} {model}");
    }
}

#[test]
fn the_other_catalogue_is_read_as_well() {
    let catalogue = Catalogue::parse(MODELS_DEV).unwrap();
    assert_eq!(catalogue.shape, Shape::ModelsDev);
    let told: Vec<String> = catalogue
        .skipped
        .iter()
        .map(|skipped| format!("{}: {}", skipped.model, skipped.reason))
        .collect();
    insta::assert_snapshot!("models_dev_skipped", told.join("\n"));
    for (provider, model, counts, expected) in [
        (
            "openai",
            "acme-1",
            vec![(Input, 1_000), (InputCached, 100), (Output, 10)],
            Some("0.00213"),
        ),
        (
            "openai",
            "acme-1",
            vec![(Input, 1_000), (InputImage, 1_000)],
            Some("0.004"),
        ),
        // `tiers` hold, not the older form beside them.
        ("openai", "acme-1", vec![(Input, 272_000)], Some("0.544")),
        ("openai", "acme-1", vec![(Input, 272_001)], Some("1.088004")),
        ("openai", "acme-1", vec![(Input, 500_001)], Some("4.000008")),
        ("openai", "acme-1", vec![(Reasoning, 1_000)], Some("0.012")),
        (
            "openai",
            "acme-1",
            vec![(Input, 272_001), (Reasoning, 1)],
            None,
        ),
        (
            "openai",
            "acme-mini",
            vec![(InputAudio, 1_000)],
            Some("0.001"),
        ),
        ("openai", "acme-mini", vec![(InputImage, 1_000)], None),
        ("gemini", "acme-pro", vec![(Input, 200_000)], Some("0.25")),
        (
            "gemini",
            "acme-pro",
            vec![(Input, 200_001)],
            Some("0.5000025"),
        ),
        (
            "openrouter",
            "openai/acme-1",
            vec![(Input, 1_000)],
            Some("0.0021"),
        ),
        ("openai", "acme-odd", vec![(Input, 1)], None),
        ("openai", "acme-hourly", vec![(Input, 1)], None),
    ] {
        let cost = of(MODELS_DEV, provider, model, None, &usage(&counts));
        assert_eq!(cost.as_deref(), expected, "{provider} {model} {counts:?}");
    }
}

#[test]
fn what_is_no_catalogue_is_refused() {
    for text in [
        "",
        "[]",
        "nonsense",
        "{\"a\": 1",
        "\u{feff}{}",
        "{}",
        "{\"a\": {\"b\": 1}}",
        "null",
    ] {
        let refused = Catalogue::parse(text);
        assert!(
            matches!(
                refused,
                Err(CatalogueError::NotJson(_) | CatalogueError::UnknownShape)
            ),
            "{text}: {refused:?}"
        );
    }
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(Catalogue::parse(&deep).is_err());
    let nothing = r#"{"a": {"litellm_provider": "openai", "mode": "chat"}}"#;
    assert!(matches!(
        Catalogue::parse(nothing),
        Err(CatalogueError::Empty { skipped: 1 })
    ));
}
