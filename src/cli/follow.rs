//! `tollgate requests --follow`: each request as it ends, like `tail -f`.
//!
//! The position is the ledger's own count of what was recorded, so it outlives the sidecar: after a
//! restart following goes on where it was, nothing twice, nothing left out.

use std::process::ExitCode;
use std::time::Duration;

use super::client::Client;
use super::failure::Failure;
use super::output::Output;
use super::request_table;
use super::requests::Format;
use super::source::{NoSidecar, Source, is_no_ledger, sidecar};
use crate::admin::MAX_LIMIT;
use crate::admin::json::RequestJson;
use crate::config::Settings;
use crate::ledger::query::{RequestFilter, Sequence};

/// How often to look for new requests.
const TICK: Duration = Duration::from_millis(500);

/// Prints the `last` requests that match, then each one as it is recorded. Ends when nobody reads
/// any more, or when the admin port refuses for good.
pub(super) async fn follow(
    filter: &RequestFilter,
    last: u32,
    format: Format,
    settings: &Settings,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let print = |request: &RequestJson| -> Result<(), Failure> {
        let line = match format {
            Format::Json => format!("{}\n", serde_json::to_string(request)?),
            Format::Table => request_table::line(request, &settings.timezone, output),
        };
        Ok(output.text(&line)?)
    };
    let mut position = match before(filter, last, settings, output).await {
        Ok((requests, position)) => {
            requests.iter().try_for_each(print)?;
            position
        }
        // Nothing was ever recorded: everything is new.
        Err(failure) if is_no_ledger(&failure) => Sequence::default(),
        Err(failure) => return Err(failure),
    };
    let mut filter = filter.clone();
    filter.limit = MAX_LIMIT;
    loop {
        let client = wait_for_sidecar(settings, output).await?;
        let failure = loop {
            match client.follow(&filter, Some(position)).await {
                Ok(page) => {
                    page.requests.iter().try_for_each(print)?;
                    position = page.position.map_or(position, Sequence);
                    // A full page: there is more already.
                    if page.requests.len() < MAX_LIMIT as usize {
                        tokio::time::sleep(TICK).await;
                    }
                }
                Err(failure) => break failure,
            }
        };
        if !failure.is_passing() {
            return Err(failure.into());
        }
        tokio::time::sleep(TICK).await;
    }
}

/// The last requests, oldest first, and the position after them.
async fn before(
    filter: &RequestFilter,
    last: u32,
    settings: &Settings,
    output: &Output,
) -> Result<(Vec<RequestJson>, Sequence), Failure> {
    let source = Source::open(settings, output).await?;
    // The position first: what is recorded in between is left to the following.
    let position = source.newest().await?;
    let mut requests = source.requests(filter, last).await?;
    requests.retain(|request| request.sequence <= position.0);
    requests.sort_unstable_by_key(|request| request.sequence);
    Ok((requests, position))
}

/// The sidecar, as soon as it runs; says once that it does not.
async fn wait_for_sidecar(settings: &Settings, output: &Output) -> Result<Client, Failure> {
    let mut told = false;
    loop {
        match sidecar(settings).await {
            Ok(client) => return Ok(client),
            Err(NoSidecar::Absent) => {}
            Err(NoSidecar::Other(reason)) => return Err(Failure::NotOurs(reason)),
        }
        if !told {
            let address = super::banner::reachable(settings.admin.listen);
            output.note(&format!("waiting for a sidecar at {address}"));
            told = true;
        }
        tokio::time::sleep(TICK).await;
    }
}
