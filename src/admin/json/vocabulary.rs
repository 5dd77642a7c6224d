//! The schemas of the closed vocabularies, drawn from their one list of words.

use serde_json::Value;
use utoipa::openapi::Object;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

use crate::record::{Api, ErrorSource, Outcome, Source, UsageSource};

/// Which API was called.
pub(in crate::admin) fn api() -> Object {
    words(Api::ALL.iter().map(|word| word.as_str()))
}

/// How it ended.
pub(in crate::admin) fn outcome() -> Object {
    words(Outcome::ALL.iter().map(|word| word.as_str()))
}

/// Where token counts come from.
pub(super) fn usage_source() -> Object {
    words(UsageSource::ALL.iter().map(|word| word.as_str()))
}

/// Where a row comes from.
pub(super) fn source() -> Object {
    words(Source::ALL.iter().map(|word| word.as_str()))
}

/// Whose fault a failure was; `null` where nothing failed.
pub(super) fn error_source() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::String, Type::Null]))
        .enum_values(Some(
            ErrorSource::ALL
                .iter()
                .map(|word| Value::from(word.as_str()))
                .chain([Value::Null]),
        ))
        .build()
}

/// A schema of exactly these words.
pub(in crate::admin) fn words(words: impl Iterator<Item = &'static str>) -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .enum_values(Some(words))
        .build()
}
