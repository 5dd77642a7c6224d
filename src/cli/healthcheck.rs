//! `tollgate healthcheck`.

use std::process::ExitCode;

use super::client::Client;
use super::failure::Failure;
use super::output::Output;
use super::question::wait;
use crate::config::Settings;

/// Asks `/readyz` of the admin port in the settings.
pub(super) fn healthcheck(settings: &Settings, output: &Output) -> Result<ExitCode, Failure> {
    let (status, text) = wait(async {
        let client = Client::new(&settings.admin)?;
        Ok(client.readiness().await?)
    })?;
    if status.is_success() {
        output.text("ready\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    output.error(&format!("not ready ({status}): {text}"));
    Ok(ExitCode::FAILURE)
}
