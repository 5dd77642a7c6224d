//! What is billed besides text: images, audio, caches of an hour, searches.

use tollgate::pricing::PriceTable;
use tollgate::record::TokenType::{
    Input, InputAudio, InputCacheWrite, InputCached, InputImage, Output, OutputImage,
};
use tollgate::record::{Unit, Usage};

use super::{TODAY, usage, usd, with_units};

#[test]
fn images_are_read_at_the_rate_of_text_where_the_provider_does() {
    assert_eq!(
        usd("gpt-4o", None, &[(InputImage, 1_000)]).unwrap(),
        "0.0025"
    );
    assert_eq!(usd("o3-mini", None, &[(InputImage, 1_000)]), None);
    // They have rates of their own, and none in the Batch API.
    assert_eq!(
        usd("gpt-image-1", None, &[(InputImage, 1_000)]).unwrap(),
        "0.01"
    );
    let made = [(Input, 50), (OutputImage, 1_000)];
    assert_eq!(usd("gpt-image-1", None, &made).unwrap(), "0.04025");
    assert_eq!(usd("gpt-image-1", Some("batch"), &made), None);
}

/// The built-in price of `usage` in USD.
fn of(model: &str, tier: Option<&str>, usage: &Usage) -> Option<String> {
    PriceTable::builtin()
        .price(model, tier, usage, TODAY)
        .map(|cost| cost.amount.to_string())
}

#[test]
fn cache_writes_that_live_an_hour_are_a_part_of_all_cache_writes() {
    let counts = [(Input, 10), (InputCacheWrite, 1_000), (Output, 10)];
    // 10 × 3 + 1,000 × 3.75 + 10 × 15
    let short = of("claude-sonnet-4-5", None, &usage(&counts));
    assert_eq!(short.unwrap(), "0.00393");
    // 10 × 3 + 600 × 3.75 + 400 × 6 + 10 × 15
    let mixed = with_units(&counts, &[(Unit::CacheWrite1h, 400)]);
    assert_eq!(
        of("claude-sonnet-4-5-20250929", None, &mixed).unwrap(),
        "0.00483"
    );
    assert_eq!(
        of("claude-sonnet-4-5", Some("batch"), &mixed).unwrap(),
        "0.002415"
    );
    assert_eq!(of("claude-sonnet-4-5", Some("priority"), &mixed), None);
    assert_eq!(of("gpt-6-sol", None, &mixed), None, "nobody states it");
    // Past 100,000 tokens: 100,001 × 0.625 would be all short; 1 of them costs 1 in a million.
    let long = with_units(&[(InputCacheWrite, 100_001)], &[(Unit::CacheWrite1h, 1)]);
    assert_eq!(of("claude-haiku-5-5", None, &long).unwrap(), "0.062501");
    assert_eq!(of("claude-haiku-5-5", Some("batch"), &long), None);
}

#[test]
fn fees_come_on_top_and_an_unknown_fee_makes_the_whole_unknown() {
    let searched = with_units(&[(Input, 1_000)], &[(Unit::WebSearch, 3)]);
    assert_eq!(of("gpt-5", None, &searched).unwrap(), "0.03125");
    // The tokens are half, the searches are not.
    assert_eq!(of("gpt-5", Some("batch"), &searched).unwrap(), "0.030625");
    assert_eq!(of("gpt-4o", None, &searched), None, "nobody states its fee");
    let none = with_units(&[(Input, 1_000)], &[(Unit::WebSearch, 0)]);
    assert_eq!(of("gpt-4o", None, &none).unwrap(), "0.0025");
    let filed = with_units(&[(Input, 1_000)], &[(Unit::FileSearch, 1)]);
    assert_eq!(of("gpt-5", None, &filed).unwrap(), "0.00375");
    assert_eq!(of("claude-opus-5", None, &filed), None);
    assert_eq!(of("gemini-2.5-pro", None, &searched).unwrap(), "0.10625");
    assert_eq!(of("gemini-3.5-flash", None, &searched).unwrap(), "0.0435");
    // A fee alone is no price of a request whose tokens are unknown.
    let only = with_units(&[], &[(Unit::WebSearch, 3)]);
    assert_eq!(of("gpt-5", None, &only), None);
}

#[test]
fn audio_is_paid_by_the_second_or_by_the_token() {
    // 90 seconds at 0.006 a minute.
    let minute_and_half = with_units(&[], &[(Unit::AudioMs, 90_000)]);
    assert_eq!(of("whisper-1", None, &minute_and_half).unwrap(), "0.009");
    assert_eq!(of("whisper-1", Some("batch"), &minute_and_half), None);
    let spoken = with_units(&[], &[(Unit::Character, 1_000)]);
    assert_eq!(of("tts-1", None, &spoken).unwrap(), "0.015");
    assert_eq!(of("tts-1-1106", None, &spoken).unwrap(), "0.015");
    // Its tokens pay for the seconds.
    let both = with_units(
        &[(InputAudio, 900), (Output, 100)],
        &[(Unit::AudioMs, 90_000)],
    );
    assert_eq!(of("gpt-4o-transcribe", None, &both).unwrap(), "0.00325");
    assert_eq!(of("gpt-4o-transcribe", None, &minute_and_half), None);
}

#[test]
fn a_cache_that_holds_what_is_priced_apart_has_no_price() {
    let text = [(Input, 100), (InputCached, 100), (Output, 10)];
    assert_eq!(usd("gpt-realtime-mini", None, &text).unwrap(), "0.00009");
    let audio = [(Input, 100), (InputCached, 100), (InputAudio, 10)];
    assert_eq!(usd("gpt-realtime-mini", None, &audio), None);
    // Here cached audio costs what cached text costs.
    assert_eq!(usd("gpt-realtime", None, &audio).unwrap(), "0.00076");
}

#[test]
fn explicit_zero_is_a_price() {
    let checked = usd("omni-moderation-latest", None, &[(Input, 1_000)]);
    assert_eq!(checked.unwrap(), "0");
}
