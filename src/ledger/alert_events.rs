//! What happened to the alerts, in the table `alert_events`: written by the writer as it reads it in
//! the journal, asked by the start and by operators.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use serde::Serializer as _;

use super::events::{EventCursor, EventPage, EventTable, Wanted};
use super::query::{ReadError, json, vocabulary};
use crate::alert::{AlertEvent, AlertId, Labels, Quantity};
use crate::clock::UnixMicros;

pub(super) const TABLE: EventTable = EventTable {
    name: "alert_events",
    columns: "sequence, at, rule, labels, state, severity, mode, active_since, fired_at, \
              cleared_since, value, value_unit, limit_value, limit_unit, window_end, actions, \
              critical_since, critical_cleared_since, told",
    owner: &["rule", "labels"],
    over: "state = 'inactive'",
};

/// Which events, how many; the newest first.
#[derive(Clone, Debug)]
pub struct AlertEventFilter {
    /// Of this rule.
    pub rule: Option<String>,
    /// At this moment or later.
    pub since: Option<UnixMicros>,
    /// Before this moment.
    pub until: Option<UnixMicros>,
    /// Where the page before ended.
    pub cursor: Option<AlertCursor>,
    /// At most so many; 1 to 1,000, other values are brought into that range.
    pub limit: u32,
}

impl Default for AlertEventFilter {
    fn default() -> Self {
        Self {
            rule: None,
            since: None,
            until: None,
            cursor: None,
            limit: 100,
        }
    }
}

/// Where a page of alerts' events ended.
pub type AlertCursor = EventCursor<'a'>;

/// One page of alerts' events.
pub type AlertEventPage = EventPage<AlertEvent, 'a'>;

/// Adds an event.
pub(super) fn insert(connection: &Connection, event: &AlertEvent) -> rusqlite::Result<()> {
    let moment = |at: Option<UnixMicros>| at.map(|at| at.0);
    let unit = |quantity: Option<Quantity>| quantity.map(|quantity| quantity.unit.as_str());
    let actions = serde_json::to_string(&event.actions)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection
        .prepare_cached(
            "INSERT INTO alert_events (at, rule, labels, state, severity, mode, active_since, \
             fired_at, cleared_since, value, value_unit, limit_value, limit_unit, window_end, \
             actions, critical_since, critical_cleared_since, told) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            event.at.0,
            &*event.alert.rule,
            labels_json(&event.alert.labels)?,
            event.state.as_str(),
            event.severity.map(crate::alert::Severity::as_str),
            event.mode.as_str(),
            moment(event.active_since),
            moment(event.fired_at),
            moment(event.cleared_since),
            event.value.map(|quantity| quantity.value),
            unit(event.value),
            event.limit.map(|quantity| quantity.value),
            unit(event.limit),
            moment(event.window_end),
            actions,
            moment(event.critical_since),
            moment(event.critical_cleared_since),
            event.told,
        ])?;
    Ok(())
}

/// Labels as a JSON object, the same text for the same labels.
fn labels_json(labels: &Labels) -> rusqlite::Result<String> {
    let mut json = Vec::new();
    serde_json::Serializer::new(&mut json)
        .collect_map(labels.iter())
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    String::from_utf8(json).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Deletes up to `limit` of the oldest events before `cutoff`, and says how many. The last event of
/// an alert stays while it is not inactive.
pub(super) fn expire(
    connection: &Connection,
    cutoff: UnixMicros,
    limit: u32,
) -> rusqlite::Result<usize> {
    TABLE.expire(connection, cutoff, limit)
}

/// The last event of each alert.
pub(super) fn last(connection: &Connection) -> Result<Vec<AlertEvent>, ReadError> {
    TABLE.last(connection, event)
}

/// A page of events.
pub(super) fn page(
    connection: &Connection,
    filter: &AlertEventFilter,
) -> Result<AlertEventPage, ReadError> {
    let wanted = Wanted {
        of: filter.rule.as_deref().map(|rule| ("rule", rule)),
        also: &[],
        since: filter.since,
        until: filter.until,
        before: filter.cursor.map(|cursor| cursor.0),
        limit: filter.limit,
    };
    TABLE.page(connection, &wanted, event)
}

fn event(row: &Row<'_>) -> Result<AlertEvent, ReadError> {
    let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let moment =
        |column: usize| Ok::<_, ReadError>(row.get::<_, Option<i64>>(column)?.map(UnixMicros));
    let quantity = |name: &'static str, value: usize, unit: usize| {
        let value: Option<i64> = row.get(value)?;
        value
            .map(|value| {
                let unit = vocabulary(name, text(unit)?)?;
                Ok::<_, ReadError>(Quantity { unit, value })
            })
            .transpose()
    };
    let severity: Option<String> = row.get(5)?;
    let labels: BTreeMap<Arc<str>, Arc<str>> = json("labels", text(3)?)?;
    Ok(AlertEvent {
        at: UnixMicros(row.get(1)?),
        alert: AlertId {
            rule: text(2)?.into(),
            labels: Labels::new(labels),
        },
        state: vocabulary("state", text(4)?)?,
        severity: severity
            .map(|severity| vocabulary("severity", &severity))
            .transpose()?,
        mode: vocabulary("mode", text(6)?)?,
        active_since: moment(7)?,
        fired_at: moment(8)?,
        cleared_since: moment(9)?,
        value: quantity("value_unit", 10, 11)?,
        limit: quantity("limit_unit", 12, 13)?,
        window_end: moment(14)?,
        actions: json("actions", text(15)?)?,
        critical_since: moment(16)?,
        critical_cleared_since: moment(17)?,
        told: row.get(18)?,
    })
}
