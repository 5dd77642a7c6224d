//! Query parameters, strictly: a misspelt filter that is ignored would answer another question.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::IntoParams;
use utoipa::openapi::path::ParameterIn;

use super::error::{ApiError, ErrorCode};
use super::moment::parse_moment;
use crate::clock::UnixMicros;
use crate::config::likeliest;
use crate::ledger::query::{NameFilter, UsageFilter};
use crate::record::Api;

/// The query parameters of a path. `T`'s fields are `Option<String>`; the names that exist are
/// those its OpenAPI description lists, so neither can drift from the other. An empty value counts
/// as not given: dashboards send `channel=` for "all".
pub(super) struct Parameters<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + IntoParams> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::new(ErrorCode::InvalidParameter, error.body_text()))?;
        let known = T::into_params(|| Some(ParameterIn::Query));
        let known: Vec<&str> = known.iter().map(|known| known.name.as_str()).collect();
        let mut given = Map::new();
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                return Err(unknown(&name, &known));
            }
            if !value.is_empty() && given.insert(name.clone(), Value::String(value)).is_some() {
                return Err(invalid(
                    &name,
                    format!("`{name}` is given twice; once is enough"),
                ));
            }
        }
        serde_json::from_value(Value::Object(given))
            .map(Self)
            .map_err(|error| ApiError::new(ErrorCode::InvalidParameter, error.to_string()))
    }
}

/// The value of parameter `name`, where it is given.
pub(super) fn parsed<V: FromStr<Err: Display>>(
    name: &str,
    given: Option<&str>,
) -> Result<Option<V>, ApiError> {
    given
        .map(|text| {
            text.parse()
                .map_err(|error| invalid(name, format!("{name}: {error}")))
        })
        .transpose()
}

/// The names of parameter `name`; everything where it is not given.
pub(super) fn names(name: &str, given: Option<&str>) -> Result<NameFilter, ApiError> {
    Ok(parsed(name, given)?.unwrap_or_default())
}

/// As [`names`], of a closed vocabulary: `words` are all that there are.
pub(super) fn words(
    name: &'static str,
    given: Option<&str>,
    words: impl Iterator<Item = &'static str>,
) -> Result<NameFilter, ApiError> {
    known(name, names(name, given)?, words)
}

/// `filter` of parameter `name`, where it speaks of `words` only, which are all that there are.
pub(super) fn known(
    name: &'static str,
    filter: NameFilter,
    words: impl Iterator<Item = &'static str>,
) -> Result<NameFilter, ApiError> {
    let words: Vec<&str> = words.collect();
    match filter.check(name, &words) {
        Ok(()) => Ok(filter),
        Err(error) => Err(invalid(name, format!("{name}: {error}"))),
    }
}

/// The range of time that the parameters `since` and `until` name; an end that is not given is open.
/// One that ends before it begins is a slip, and would look like a time without requests.
pub(super) fn range(
    given: [&Option<String>; 2],
    now: UnixMicros,
    timezone: &TimeZone,
) -> Result<(Option<UnixMicros>, Option<UnixMicros>), ApiError> {
    let [since, until] = given.map(|end| end.as_deref());
    let moment = |name: &str, given: Option<&str>| {
        let moment = given.map(|text| parse_moment(text, now, timezone));
        moment
            .transpose()
            .map_err(|error| invalid(name, format!("{name}: {error}")))
    };
    let range = (moment("since", since)?, moment("until", until)?);
    if let (Some(begin), Some(end)) = range
        && begin > end
    {
        let (since, until) = (since.unwrap_or_default(), until.unwrap_or_default());
        let message = format!(
            "since: `{since}` is after `until`, which is `{until}`; swap them, or leave one out"
        );
        return Err(invalid("since", message));
    }
    Ok(range)
}

/// The end of a range that has one: now when none is given, or its beginning where that is to come.
pub(super) fn until_now(
    (since, until): (Option<UnixMicros>, Option<UnixMicros>),
    now: UnixMicros,
) -> UnixMicros {
    until.unwrap_or_else(|| since.map_or(now, |since| since.max(now)))
}

/// The filters that roll-ups know: channel, model, API, key.
pub(super) fn usage_filter(given: [&Option<String>; 4]) -> Result<UsageFilter, ApiError> {
    let [channel, model, api, key] = given.map(|names| names.as_deref());
    Ok(UsageFilter {
        channel: names("channel", channel)?,
        model: names("model", model)?,
        api: words("api", api, Api::ALL.iter().map(|api| api.as_str()))?,
        key: names("key", key)?,
    })
}

/// What the parameter `by` groups by, each once; nothing where it is not given.
pub(super) fn groupings<G>(given: Option<&str>) -> Result<Vec<G>, ApiError>
where
    G: FromStr<Err: Display> + Display + PartialEq,
{
    let mut by: Vec<G> = Vec::new();
    for name in given.iter().flat_map(|names| names.split(',')) {
        let group: G = name
            .trim()
            .parse()
            .map_err(|error| invalid("by", format!("by: {error}")))?;
        if by.contains(&group) {
            return Err(invalid("by", format!("by: `{group}` is named twice")));
        }
        by.push(group);
    }
    Ok(by)
}

/// A parameter whose value makes no sense, and why.
pub(super) fn invalid(name: &str, message: impl Into<String>) -> ApiError {
    ApiError::parameter(ErrorCode::InvalidParameter, name, message)
}

fn unknown(name: &str, known: &[&str]) -> ApiError {
    let hint = match likeliest(name, known.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`? "),
        None => String::new(),
    };
    let known = match known {
        [] => "this path takes none".to_owned(),
        names => format!("known: {}", names.join(", ")),
    };
    ApiError::parameter(
        ErrorCode::UnknownParameter,
        name,
        format!("there is no parameter `{name}`; {hint}{known}"),
    )
}
