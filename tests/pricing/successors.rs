//! What may take a catalogue's place, and what that changes.

use std::sync::Arc;

use tollgate::clock::UnixMicros;
use tollgate::pricing::{Catalogue, CatalogueError, Changes, Prices, catalogue_layer, load_files};
use tollgate::record::TokenType::{Input, InputAudio, InputCacheWrite, InputCached};
use tollgate::record::{Api, Unit, Usage};

use super::catalogue::layer;
use super::{TODAY, usage, with_units};

/// A catalogue of `count` models at a rate per token.
fn many(count: usize, rate: &str) -> Catalogue {
    let models: Vec<String> = (0..count)
        .map(|n| {
            format!(
                r#""m{n}": {{"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": {rate}}}"#
            )
        })
        .collect();
    Catalogue::parse(&format!("{{{}}}", models.join(","))).unwrap()
}

#[test]
fn a_catalogue_must_make_sense_beside_the_one_before() {
    let before = many(100, "2e-06");
    assert!(many(50, "2e-06").may_follow(&before).is_ok());
    assert!(matches!(
        many(49, "2e-06").may_follow(&before),
        Err(CatalogueError::Shrunk {
            now: 49,
            before: 100
        })
    ));
    assert!(many(100, "3e-06").may_follow(&before).is_ok());
    assert!(many(300, "0").may_follow(&before).is_ok(), "free now");
    assert!(matches!(
        many(100, "1e-03").may_follow(&before),
        Err(CatalogueError::Jumped {
            count: 100,
            of: 100,
            ..
        })
    ));
    // Per million where per token is meant.
    let text =
        r#"{"a": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5}}"#;
    let refused = Catalogue::parse(text).unwrap_err().to_string();
    assert_eq!(
        refused,
        "1 of its 1 prices are beyond reason, as 2500000 USD for a million of input of `a`; are its \
         units others?"
    );
}

#[test]
fn changes_are_told_by_kind() {
    let before = Catalogue::parse(
        r#"{"a": {"litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
            "b": {"litellm_provider": "openai", "input_cost_per_token": 1e-06},
            "c": {"litellm_provider": "openai", "input_cost_per_token": 1e-06},
            "d": {"litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
            "e": {"litellm_provider": "openai", "input_cost_per_token": 1e-06}}"#,
    );
    let now = Catalogue::parse(
        r#"{"a": {"litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 3e-06},
            "b": {"litellm_provider": "openai", "input_cost_per_token": 5e-07},
            "d": {"litellm_provider": "openai", "input_cost_per_token": 2e-06, "output_cost_per_token": 1e-06},
            "e": {"litellm_provider": "openai", "input_cost_per_token": 1e-06},
            "f": {"litellm_provider": "openai", "input_cost_per_token": 1e-06}}"#,
    );
    let changes = Changes::between(&before.unwrap(), &now.unwrap());
    assert_eq!(changes.new, ["openai/f"]);
    assert_eq!(changes.gone, ["openai/c"]);
    assert_eq!(changes.otherwise, ["openai/d"]);
    assert_eq!(changes.unchanged, 1);
    let of = |changes: &[tollgate::pricing::Change]| -> Vec<String> {
        changes
            .iter()
            .map(|change| format!("{} {} {}", change.model, change.before, change.now))
            .collect()
    };
    assert_eq!(of(&changes.dearer), ["openai/a 2 3"]);
    assert_eq!(of(&changes.cheaper), ["openai/b 1 0.5"]);
}

#[test]
fn a_catalogue_without_dates_ends_with_a_promotion_that_is_known() {
    let text = r#"{"gpt-5.6-sol": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 4e-06},
                   "gpt-5.6": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 4e-06},
                   "gpt-4o": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06}}"#;
    let prices = Prices::builtin();
    prices.set_catalogue(Arc::new(layer(text)));
    let last = UnixMicros(1_795_305_599_999_999);
    let next = UnixMicros(1_795_305_600_000_000);
    let earlier = UnixMicros(1_787_270_399_999_999);
    let price = |model: &str, at| {
        let cost = prices
            .price(Api::Chat, model, None, &usage(&[(Input, 1_000)]), at)
            .unwrap();
        (cost.amount.to_string(), cost.price_version.to_string())
    };
    for model in ["gpt-5.6-sol", "gpt-5.6"] {
        let (usd, version) = price(model, last);
        assert_eq!(usd, "0.004");
        assert!(version.starts_with("litellm-2026-11-20-"), "{version}");
        for at in [earlier, next] {
            let (usd, version) = price(model, at);
            assert_eq!(usd, "0.005");
            assert!(version.starts_with("builtin-"), "{version}");
        }
    }
    // Where no change is known the catalogue's word holds for ever.
    for at in [earlier, last, next] {
        assert_eq!(price("gpt-4o", at).0, "0.001");
    }
}

/// What 1,000 tokens of input cost, in USD, and whether the catalogue says so.
fn price(prices: &Prices, model: &str, at: UnixMicros) -> (String, bool) {
    let cost = prices
        .price(Api::Chat, model, None, &usage(&[(Input, 1_000)]), at)
        .unwrap();
    let is_shipped = cost.price_version.starts_with("builtin-");
    (cost.amount.to_string(), !is_shipped)
}

/// 2026-07-01, 2026-09-01, 2026-12-10
const SUMMER: UnixMicros = UnixMicros(1_782_864_000_000_000);
const AUTUMN: UnixMicros = UnixMicros(1_788_220_800_000_000);
const WINTER: UnixMicros = UnixMicros(1_796_860_800_000_000);

#[test]
fn a_price_that_ended_is_not_had_from_a_catalogue_that_still_has_it() {
    let sol = |usd: &str| {
        let text = format!(
            r#"{{"openai": {{"models": {{"gpt-5.6-sol": {{"cost": {{"input": {usd}, "output": 20}}}}}}}}}}"#
        );
        let catalogue = Catalogue::parse(&text).unwrap();
        let prices = Prices::builtin();
        prices.set_catalogue(Arc::new(catalogue_layer(catalogue, &text, WINTER)));
        prices
    };
    let stale = sol("4");
    assert_eq!(
        price(&stale, "gpt-5.6-sol", WINTER),
        ("0.005".into(), false)
    );
    assert_eq!(price(&stale, "gpt-5.6-sol", AUTUMN), ("0.004".into(), true));
    // A rate that nobody knew is the present one.
    let new = sol("7");
    assert_eq!(price(&new, "gpt-5.6-sol", WINTER), ("0.007".into(), true));
    assert_eq!(price(&new, "gpt-5.6-sol", AUTUMN), ("0.004".into(), false));
}

#[test]
fn the_time_of_a_file_does_not_date_its_prices() {
    let text = r#"{"gpt-5.6-terra": {"litellm_provider": "openai", "input_cost_per_token": 2e-06},
                   "gpt-5.6-luna": {"litellm_provider": "openai", "input_cost_per_token": 9e-06},
                   "gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 9e-06}}"#;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.json");
    std::fs::write(&path, text).unwrap();
    let table = |seconds: u64| {
        let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(modified).unwrap();
        Prices::new(load_files(std::slice::from_ref(&path)).unwrap())
    };
    // 1980-01-01, as archives have it.
    let old = table(315_532_800);
    assert_eq!(price(&old, "gpt-5.6-terra", AUTUMN), ("0.002".into(), true));
    assert_eq!(
        price(&old, "gpt-5.6-terra", SUMMER),
        ("0.0025".into(), false)
    );
    assert_eq!(price(&old, "gpt-5.6-luna", SUMMER), ("0.001".into(), false));
    assert_eq!(
        price(&old, "gpt-5.6-luna", AUTUMN),
        ("0.0002".into(), false)
    );
    assert_eq!(price(&old, "gpt-4o", SUMMER), ("0.009".into(), true));
    let today = table(1_795_132_800);
    assert_eq!(
        price(&today, "gpt-5.6-luna", SUMMER),
        ("0.001".into(), false)
    );
    assert_eq!(
        price(&today, "gpt-5.6-luna", AUTUMN),
        ("0.009".into(), true)
    );
}

#[test]
fn a_catalogue_does_not_take_away_what_it_does_not_state() {
    let text = r#"{
        "openai": {"models": {
            "gpt-5.4-pro": {"cost": {"input": 30, "output": 180}},
            "gpt-5.5": {"cost": {"input": 5, "output": 30, "cache_read": 0.5,
                "tiers": [{"input": 9, "output": 45, "cache_read": 0.9, "tier": {"type": "context", "size": 200000}}]}},
            "gpt-realtime-mini": {"cost": {"input": 0.6, "output": 2.4, "input_audio": 10, "output_audio": 20}},
            "gpt-5": {"cost": {"input": 1.2, "output": 10}}}},
        "anthropic": {"models": {"claude-sonnet-4-5": {"cost": {"input": 3, "output": 15, "cache_write": 3.75}}}}
    }"#;
    let prices = Prices::builtin();
    prices.set_catalogue(Arc::new(layer(text)));
    let usd = |model: &str, tier: Option<&str>, used: &Usage| {
        let cost = prices.price(Api::Chat, model, tier, used, TODAY)?;
        assert!(cost.price_version.starts_with("models-dev-"), "{cost:?}");
        Some(cost.amount.to_string())
    };
    let searched = with_units(
        &[(Input, 10_000)],
        &[(Unit::WebSearch, 1), (Unit::FileSearch, 1)],
    );
    let long = usage(&[(Input, 272_001)]);
    let hour = with_units(&[(InputCacheWrite, 1_000)], &[(Unit::CacheWrite1h, 400)]);
    let heard = usage(&[(InputCached, 100), (InputAudio, 10)]);
    for (model, tier, used, expected) in [
        ("gpt-5.4-pro", None, &searched, Some("0.3125")),
        ("gpt-5.4-pro", Some("flex"), &searched, Some("0.1625")),
        ("gpt-5.4-pro", None, &long, Some("16.32006")),
        // A threshold of its own is no other's.
        ("gpt-5.5", None, &long, Some("2.448009")),
        ("gpt-5.5", Some("batch"), &long, Some("1.2240045")),
        ("claude-sonnet-4-5", None, &hour, Some("0.00465")),
        ("gpt-realtime-mini", None, &heard, None),
        // Another price has nothing of this one's.
        ("gpt-5", None, &usage(&[(Input, 1_000)]), Some("0.0012")),
        ("gpt-5", Some("batch"), &usage(&[(Input, 1_000)]), None),
        ("gpt-5", None, &searched, None),
    ] {
        let cost = usd(model, tier, used);
        assert_eq!(cost.as_deref(), expected, "{model} {tier:?}");
    }
    let table = prices.table();
    let source = |model| table.find(model, TODAY).unwrap().row.source.to_string();
    assert!(source("gpt-5.5").contains("; what it does not state: "));
    assert_eq!(source("gpt-5"), "https://models.dev/api.json");
}

#[test]
fn what_is_priced_keeps_its_price_when_the_table_changes() {
    let prices = Prices::builtin();
    let used = usage(&[(Input, 1_000)]);
    let before = prices
        .price(Api::Chat, "gpt-4o", None, &used, TODAY)
        .unwrap();
    let table = prices.table();
    prices.set_catalogue(Arc::new(layer(
        r#"{"gpt-4o": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06}}"#,
    )));
    let after = prices
        .price(Api::Chat, "gpt-4o", None, &used, TODAY)
        .unwrap();
    assert_eq!(before.amount.to_string(), "0.0025");
    assert_eq!(after.amount.to_string(), "0.001");
    assert_ne!(before.price_version, after.price_version);
    // Whoever still holds the old table goes on with it.
    assert_eq!(table.price("gpt-4o", None, &used, TODAY), Some(before));
}
