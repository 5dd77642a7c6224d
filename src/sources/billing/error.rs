//! Why the provider's account cannot be had, and what to do.

use crate::sources::Cause;

/// Why the provider's account cannot be had. No text holds the key.
#[derive(Debug, thiserror::Error)]
pub enum BillingError {
    /// Nobody answers there, or not to the end.
    #[error("no answer from {url}: {reason}; is `sources.billing.base_url` right?")]
    Unreachable {
        /// What was asked.
        url: String,
        /// The innermost reason.
        reason: String,
    },
    /// The key is none.
    #[error(
        "{url} refuses the admin key (401): it is wrong or was revoked. Give an admin key in \
         `sources.billing.admin_key_file`, --admin-key-file or OPENAI_ADMIN_KEY; an owner of the \
         organization makes one at https://platform.openai.com/settings/organization/admin-keys"
    )]
    WrongKey {
        /// What was asked.
        url: String,
    },
    /// The key is that of a project or a user.
    #[error(
        "{url} refuses the key ({status}): it is not an admin key, or has no right to read usage \
         (`api.usage.read`). Keys for models cannot read the bill; give an admin key (sk-admin-…) \
         in `sources.billing.admin_key_file`, --admin-key-file or OPENAI_ADMIN_KEY. An owner of \
         the organization makes one at https://platform.openai.com/settings/organization/admin-keys"
    )]
    NotAdmin {
        /// What was asked.
        url: String,
        /// 401 or 403.
        status: u16,
    },
    /// Any other failure, after as many tries as make sense.
    #[error("{url} answered {status}{}", .message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        /// What was asked.
        url: String,
        /// The last status.
        status: u16,
        /// The provider's words.
        message: Option<String>,
    },
    /// The answer has not the shape it should have.
    #[error(
        "{url} answered what is no page of usage or costs ({reason}); does \
         `sources.billing.base_url` name OpenAI's API?"
    )]
    Strange {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The bill is in another currency.
    #[error("{url} answered amounts in `{currency}`; only usd can be compared")]
    Currency {
        /// What was asked.
        url: String,
        /// What they are in.
        currency: String,
    },
}

/// The answer to `url` has not the shape it should have.
pub(super) fn strange(url: &str, reason: String) -> BillingError {
    BillingError::Strange {
        url: url.to_owned(),
        reason,
    }
}

/// Nobody answers at `url`, or not to the end.
pub(super) fn unreachable_at(url: &str, error: reqwest::Error) -> BillingError {
    BillingError::Unreachable {
        url: url.to_owned(),
        reason: Cause::from(error).to_string(),
    }
}
