//! Why a command did not do what it should, and with which exit code it says so.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::backup::BackupError;
use super::client::AskError;
use super::restore::RestoreError;
use crate::admin::{MomentError, SpanError};
use crate::app::{NotKnownAtRest, RunError};
use crate::config::Problems;
use crate::keys::KeysError;
use crate::ledger::{QueryError, RepriceError};
use crate::sources::billing::BillingError;
use crate::sources::prices::UpdateError;

/// `EX_USAGE` of sysexits: the settings or the arguments are wrong.
pub(super) const EX_USAGE: u8 = 64;

/// Why a command ends without success.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The settings are wrong.
    #[error("{0}")]
    Settings(Problems),
    /// The arguments are wrong.
    #[error("{0}")]
    Usage(String),
    /// An argument that should be a time is none.
    #[error("--{argument}: {source}")]
    Moment {
        /// Which argument.
        argument: &'static str,
        /// What is wrong with it.
        source: MomentError,
    },
    /// An argument that should be a length of time is none.
    #[error("--{argument}: {source}")]
    Span {
        /// Which argument.
        argument: &'static str,
        /// What is wrong with it.
        source: SpanError,
    },
    /// The settings were found wrong and that was told already.
    #[error("the settings have problems")]
    Told,
    /// The sidecar did not begin, or ended badly.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The working folder is gone.
    #[error("cannot tell the working folder: {0}")]
    WorkingDir(io::Error),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] QueryError),
    /// Nobody can say what the rules would.
    #[error(transparent)]
    Rules(#[from] NotKnownAtRest),
    /// A payload cannot be read.
    #[error(transparent)]
    Payload(#[from] crate::payloads::ReadError),
    /// The sidecar cannot be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Who answers at the admin port's address is not the sidecar that is wanted.
    #[error("cannot follow: {0}")]
    NotOurs(String),
    /// The ledger is in use and whoever uses it cannot be asked.
    #[error("nothing was changed: {0}, and only the sidecar that writes this ledger may change it")]
    NotWritten(String),
    /// No sidecar runs whose channel could be closed or opened.
    #[error(
        "nothing was changed: no sidecar answers at {0} (`admin.listen`), and without one no request \
         goes anywhere; start it first"
    )]
    NoSidecar(std::net::SocketAddr),
    /// Who answers will not do.
    #[error("nothing was changed: {0}")]
    NotChanged(String),
    /// Pricing history anew was not done, or not to its end.
    #[error(transparent)]
    Reprice(#[from] RepriceError),
    /// A key was not made or revoked.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// What root writes into another user's data folder, that user could not open.
    #[error(
        "nothing was changed: {} belongs to the user {keeper}, whose Tollgate could not open what root \
         writes there; call it as that user: `{remedy}` (or, where Tollgate shall run as root, give root \
         the folder: `chown -R root: {}`)",
        .data_dir.display(), .data_dir.display()
    )]
    Owner {
        /// The data folder.
        data_dir: PathBuf,
        /// Whose it is.
        keeper: String,
        /// How to call Tollgate as that user.
        remedy: String,
    },
    /// There is no backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Nothing was restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The provider does not show its account.
    #[error(transparent)]
    Billing(#[from] BillingError),
    /// There is no such request.
    #[error("the ledger has no request {0}; it may have expired or not have ended yet")]
    NoRequest(crate::record::RequestId),
    /// A model has no price.
    #[error("{0}")]
    Unpriced(String),
    /// There is no newer catalogue.
    #[error("the prices stay as they are: {0}")]
    Update(#[source] UpdateError),
    /// Standard output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// An answer cannot be written as JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The system gives no runtime for network calls.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

impl Failure {
    /// Whether this is a reader that has seen enough, as `head` does: nothing is wrong.
    fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What to tell the user; `None` when there is nothing (more) to tell.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Told => None,
            failure if failure.is_closed_pipe() => None,
            failure => Some(failure.to_string()),
        }
    }

    /// The process's exit code.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Settings(_)
            | Self::Run(RunError::Files(_))
            | Self::Rules(NotKnownAtRest::Files(_))
            | Self::Usage(_)
            | Self::Keys(KeysError::Bad(_))
            | Self::Moment { .. }
            | Self::Span { .. }
            | Self::Told => ExitCode::from(EX_USAGE),
            failure if failure.is_closed_pipe() => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}
