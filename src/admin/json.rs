//! What the admin API says, apart from how the ledger keeps it: the ledger may change its types,
//! these are public. Also what the command line prints with `--format json`.
//!
//! Field names are the ledger's column names. Every field is always there: unknown is `null`,
//! never 0 and never left out.

mod alerts;
mod channels;
mod compared;
mod decimal;
mod errors;
mod keys;
mod latency;
mod notifications;
mod payloads;
mod prices;
mod quota;
mod repricing;
mod requests;
mod rules;
mod series;
mod silences;
mod usage;
mod vocabulary;

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use crate::clock::UnixMicros;
use crate::money::NanoUsd;
use crate::record::{TokenType, Tokens, Unit, Units};

pub use alerts::{ActionTakenJson, AlertEventJson, AlertEventList, AlertJson, AlertList};
pub use channels::{
    ChangedChannelJson, ChannelEventJson, ChannelEventList, ChannelJson, ChannelList, CooldownJson,
    CreditsJson, HoldJson, QuotaJson, RateLimitJson,
};
pub use compared::ComparedJson;
pub use decimal::{Decimal, DecimalError};
pub use errors::{ErrorGroupJson, ErrorList};
pub use keys::{KeyJson, KeyList, KeyRequest, KeysOffJson, MadeKeyJson};
pub use latency::{LatencyJson, LatencyRowJson};
pub use notifications::{
    ChatAnswerJson, ChatAnswerList, NotificationDetailJson, NotificationJson, NotificationList,
};
pub use payloads::{AnswerPayload, BodyPayload, HeaderJson, PayloadJson, RequestPayload};
pub use prices::{
    ChargeJson, PriceExplanationJson, PriceFilter, PriceJson, PriceList, ThresholdJson,
    TierPriceJson,
};
pub use quota::{QuotaList, QuotaRowJson};
pub use repricing::{RepriceReportJson, RepricedJson, RepricingJson};
pub use requests::{AttemptJson, PhaseDurations, RequestDetailJson, RequestJson, RequestList};
pub use rules::{MatcherJson, RuleActionJson, RuleJson, RuleList};
pub use series::{
    HeatmapJson, HeatmapOf, HeatmapRowJson, TimeseriesJson, TimeseriesRowJson, TopJson, TopRowJson,
};
pub use silences::{SilenceJson, SilenceList, SilenceRequest};
pub use usage::{
    OutcomeCounts, PeriodJson, PreviousJson, UsageRowJson, UsageSummaryJson, UsageSums,
};

/// Money: a decimal string of USD, exact to the nano-dollar, e.g. `"0.0123"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usd(pub NanoUsd);

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

impl PartialSchema for Usd {
    fn schema() -> RefOr<Schema> {
        text("A decimal number of USD, exact to 9 digits after the point.")
            .pattern(Some(r"^-?\d+(\.\d{1,9})?$"))
            .examples([serde_json::json!("0.0123")])
            .build()
            .into()
    }
}

impl ToSchema for Usd {}

/// A moment: RFC 3339 in UTC with microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub UnixMicros);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let timestamp: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
        Ok(Self(timestamp.into()))
    }
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        text("RFC 3339, UTC, microseconds.")
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .examples([serde_json::json!("2026-11-20T10:00:00.000000Z")])
            .build()
            .into()
    }
}

impl ToSchema for Moment {}

/// Token counts by type. The types are disjoint; `null` where the provider stated none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenCounts {
    /// Input text that was not cached.
    pub input_tokens: Option<u64>,
    /// Input read from the provider's cache.
    pub input_cached_tokens: Option<u64>,
    /// Input written to the provider's cache.
    pub input_cache_write_tokens: Option<u64>,
    /// Visible output text.
    pub output_tokens: Option<u64>,
    /// Output spent on reasoning.
    pub reasoning_tokens: Option<u64>,
    /// Audio in.
    pub input_audio_tokens: Option<u64>,
    /// Audio out.
    pub output_audio_tokens: Option<u64>,
    /// Images in.
    pub input_image_tokens: Option<u64>,
    /// Images out.
    pub output_image_tokens: Option<u64>,
    /// The provider's own total where it states one, else the sum.
    pub total_tokens: Option<u64>,
}

impl TokenCounts {
    /// From the ledger's counts and their total.
    #[must_use]
    pub fn new(tokens: &Tokens, total: Option<u64>) -> Self {
        Self {
            input_tokens: tokens[TokenType::Input],
            input_cached_tokens: tokens[TokenType::InputCached],
            input_cache_write_tokens: tokens[TokenType::InputCacheWrite],
            output_tokens: tokens[TokenType::Output],
            reasoning_tokens: tokens[TokenType::Reasoning],
            input_audio_tokens: tokens[TokenType::InputAudio],
            output_audio_tokens: tokens[TokenType::OutputAudio],
            input_image_tokens: tokens[TokenType::InputImage],
            output_image_tokens: tokens[TokenType::OutputImage],
            total_tokens: total,
        }
    }

    /// The counts by type, without the total.
    #[must_use]
    pub fn by_type(&self) -> Tokens {
        let mut tokens = Tokens::default();
        tokens[TokenType::Input] = self.input_tokens;
        tokens[TokenType::InputCached] = self.input_cached_tokens;
        tokens[TokenType::InputCacheWrite] = self.input_cache_write_tokens;
        tokens[TokenType::Output] = self.output_tokens;
        tokens[TokenType::Reasoning] = self.reasoning_tokens;
        tokens[TokenType::InputAudio] = self.input_audio_tokens;
        tokens[TokenType::OutputAudio] = self.output_audio_tokens;
        tokens[TokenType::InputImage] = self.input_image_tokens;
        tokens[TokenType::OutputImage] = self.output_image_tokens;
        tokens
    }
}

/// What is billed besides tokens; `null` where the provider stated none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnitCounts {
    /// Searches of the web that the provider made for the answer.
    pub web_searches: Option<u64>,
    /// Searches of the provider's file store.
    pub file_searches: Option<u64>,
    /// Images made.
    pub images: Option<u64>,
    /// Audio, in milliseconds.
    pub audio_ms: Option<u64>,
    /// Characters turned into speech.
    pub characters: Option<u64>,
    /// How many of the `input_cache_write_tokens` live an hour.
    pub cache_write_1h_tokens: Option<u64>,
    /// Uses of the provider's tools that are billed and have no price here: what has some has no
    /// cost.
    pub other_tools: Option<u64>,
}

impl From<Units> for UnitCounts {
    fn from(units: Units) -> Self {
        Self {
            web_searches: units[Unit::WebSearch],
            file_searches: units[Unit::FileSearch],
            images: units[Unit::Image],
            audio_ms: units[Unit::AudioMs],
            characters: units[Unit::Character],
            cache_write_1h_tokens: units[Unit::CacheWrite1h],
            other_tools: units[Unit::OtherTool],
        }
    }
}

impl UnitCounts {
    /// The counts by unit.
    #[must_use]
    pub fn by_unit(&self) -> Units {
        let mut units = Units::default();
        units[Unit::WebSearch] = self.web_searches;
        units[Unit::FileSearch] = self.file_searches;
        units[Unit::Image] = self.images;
        units[Unit::AudioMs] = self.audio_ms;
        units[Unit::Character] = self.characters;
        units[Unit::CacheWrite1h] = self.cache_write_1h_tokens;
        units[Unit::OtherTool] = self.other_tools;
        units
    }
}

/// What `/api/v1/info` says of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Info {
    /// Tollgate's version.
    pub version: String,
    /// The revision it was built from; `unknown` when the build was not told.
    pub revision: String,
    /// When the process began to serve the admin port.
    pub started_at: Moment,
    /// Which ledger it writes: equal for two processes on one machine exactly when their data
    /// folder is the same one. Says nothing of where that is. `null` when the folder is gone.
    pub ledger_id: Option<String>,
}

/// The schema of a text of a certain form.
fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .description(Some(description))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_type_has_its_field() {
        let mut tokens = Tokens::default();
        for (count, &kind) in (1..).zip(TokenType::ALL) {
            tokens[kind] = Some(count);
        }
        let counts = TokenCounts::new(&tokens, Some(99));
        assert_eq!(counts.by_type(), tokens);
        let json = serde_json::to_value(counts).unwrap();
        for (kind, count) in tokens.iter() {
            assert_eq!(json[format!("{kind}_tokens")], count);
        }
        assert_eq!(json.as_object().unwrap().len(), TokenType::ALL.len() + 1);
    }

    #[test]
    fn every_unit_has_its_field() {
        let mut units = Units::default();
        for (count, &unit) in (1..).zip(Unit::ALL) {
            units[unit] = Some(count);
        }
        let counts = UnitCounts::from(units);
        assert_eq!(counts.by_unit(), units);
        let json = serde_json::to_value(counts).unwrap();
        for (unit, count) in units.iter() {
            assert_eq!(json[unit.column()], count);
        }
        assert_eq!(json.as_object().unwrap().len(), Unit::ALL.len());
    }

    #[test]
    fn money_and_time_survive_the_journey() {
        let usd = Usd(NanoUsd(-1_234_567_890));
        assert_eq!(serde_json::to_string(&usd).unwrap(), "\"-1.23456789\"");
        assert_eq!(serde_json::from_str::<Usd>("\"-1.23456789\"").unwrap(), usd);
        let moment = Moment(UnixMicros(1_763_632_800_000_001));
        let text = serde_json::to_string(&moment).unwrap();
        assert_eq!(text, "\"2025-11-20T10:00:00.000001Z\"");
        assert_eq!(serde_json::from_str::<Moment>(&text).unwrap(), moment);
    }
}
