//! The schemas of the closed vocabularies, drawn from their one list of words.

use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::admin::ErrorCode;
use crate::config::ChannelKind;
use crate::keys::{KeyOrigin, KeyState};
use crate::record::{
    Api, Deferral, ErrorSource, GateReason, GateState, LimitKind, Outcome, Source, UsageSource,
};

macro_rules! schemas {
    ($($set:ty),+) => {$(
        impl PartialSchema for $set {
            fn schema() -> RefOr<Schema> {
                words(Self::ALL.iter().map(|word| word.as_str()))
            }
        }

        impl ToSchema for $set {}
    )+};
}

schemas!(
    Api,
    ChannelKind,
    Deferral,
    ErrorCode,
    ErrorSource,
    GateReason,
    GateState,
    KeyOrigin,
    KeyState,
    LimitKind,
    Outcome,
    Source,
    UsageSource
);

/// A schema of exactly these words.
fn words(words: impl Iterator<Item = &'static str>) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .enum_values(Some(words))
        .build()
        .into()
}
