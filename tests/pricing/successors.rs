//! What may take a catalogue's place, and what that changes.

use std::sync::Arc;

use tollgate::clock::UnixMicros;
use tollgate::pricing::{Catalogue, CatalogueError, Changes, Prices};
use tollgate::record::{Api, TokenType::Input};

use super::catalogue::layer;
use super::{TODAY, usage};

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
