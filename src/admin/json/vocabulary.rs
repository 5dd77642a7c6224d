//! The schemas of the closed vocabularies, drawn from their one list of words.

use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::admin::ErrorCode;
use crate::alert::{AlertState, Mode, NotificationKind, NotifyReason, Severity, Unit};
use crate::config::ChannelKind;
use crate::keys::{KeyOrigin, KeyState};
use crate::ledger::query::{NotificationState, TopOrder};
use crate::record::{
    Api, Deferral, ErrorSource, GateReason, GateState, LimitKind, Outcome, Source, UsageSource,
};
use crate::rules::{Metric, NoData, Recovery, Side, Stat, Unbounded};

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
    AlertState,
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
    Metric,
    Mode,
    NoData,
    NotificationKind,
    NotificationState,
    NotifyReason,
    Outcome,
    Recovery,
    Severity,
    Side,
    Source,
    Stat,
    TopOrder,
    Unbounded,
    Unit,
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
