//! Rows of `requests` as rules see them: the few columns of it, borrowed from SQLite.

use std::fmt::Write as _;

use rusqlite::Row;

use super::{ReadError, count, vocabulary};
use crate::clock::UnixMicros;
use crate::money::NanoUsd;
use crate::record::{
    Dimensions, Disposition, Figures, ModelNames, Phase, Phases, TokenType, Tokens,
};

/// A request that is one for rules.
#[derive(Debug)]
pub(in crate::ledger) struct SampledRow<'r> {
    /// Its number in the order of recording.
    pub(in crate::ledger) sequence: i64,
    pub(in crate::ledger) id: &'r str,
    pub(in crate::ledger) started_at: UnixMicros,
    /// Without tags.
    pub(in crate::ledger) dimensions: Dimensions<'r>,
    pub(in crate::ledger) figures: Figures,
    /// Its tags as they are stored, where they were asked for and it has any.
    pub(in crate::ledger) tags: Option<&'r str>,
}

/// The columns in the order [`read`] reads them.
pub(in crate::ledger) fn columns(tags: bool) -> String {
    let mut columns = String::from(
        "sequence, id, started_at, outcome, channel, api, key, requested_model, served_model, \
         total_us, first_token_us, coalesce(cost_nanousd, assumed_cost_nanousd), total_tokens, \
         billable, deferral",
    );
    columns.push_str(if tags { ", tags" } else { ", NULL" });
    for kind in TokenType::ALL {
        let _infallible = write!(columns, ", {kind}_tokens");
    }
    columns
}

/// A row; `None` when it is nothing for rules.
pub(in crate::ledger) fn read<'r>(row: &'r Row<'_>) -> Result<Option<SampledRow<'r>>, ReadError> {
    let started_at = UnixMicros(row.get(2)?);
    let mut phases = Phases::default();
    phases[Phase::Total] = number(row, 9)?;
    phases[Phase::FirstToken] = number(row, 10)?;
    let mut tokens = Tokens::default();
    for (column, &kind) in (16..).zip(TokenType::ALL) {
        tokens[kind] = number(row, column)?;
    }
    let figures = Figures::of(
        started_at,
        Disposition {
            outcome: vocabulary("outcome", text(row, 3)?)?,
            billable: row.get(13)?,
            deferral: some_text(row, 14)?
                .map(|word| vocabulary("deferral", word))
                .transpose()?,
        },
        &tokens,
        number(row, 12)?,
        &phases,
        row.get::<_, Option<i64>>(11)?.map(NanoUsd),
    );
    let Some(figures) = figures else {
        return Ok(None);
    };
    Ok(Some(SampledRow {
        sequence: row.get(0)?,
        id: text(row, 1)?,
        started_at,
        dimensions: Dimensions {
            channel: some_text(row, 4)?.unwrap_or_default(),
            api: vocabulary("api", text(row, 5)?)?,
            key: some_text(row, 6)?,
            model: ModelNames {
                asked: some_text(row, 7)?,
                meant: None,
                called: None,
                served: some_text(row, 8)?,
            },
            tags: None,
        },
        figures,
        tags: some_text(row, 15)?,
    }))
}

pub(super) fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, ReadError> {
    let value = row.get_ref(column)?;
    Ok(value.as_str().map_err(rusqlite::Error::from)?)
}

pub(super) fn some_text<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r str>, ReadError> {
    let value = row.get_ref(column)?;
    Ok(value.as_str_or_null().map_err(rusqlite::Error::from)?)
}

pub(super) fn number(row: &Row<'_>, column: usize) -> Result<Option<u64>, ReadError> {
    Ok(row.get::<_, Option<i64>>(column)?.map(count))
}
