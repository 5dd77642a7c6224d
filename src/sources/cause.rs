//! Why an exchange over HTTP failed, in few words.

use std::error::Error;
use std::fmt;

/// The innermost cause of a failed exchange (`connection refused`, not `error sending request`),
/// without the address.
#[derive(Debug)]
pub struct Cause(reqwest::Error);

impl From<reqwest::Error> for Cause {
    fn from(error: reqwest::Error) -> Self {
        Self(error.without_url())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_timeout() {
            return f.write_str("it took too long");
        }
        let mut cause: &dyn Error = &self.0;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        write!(f, "{cause}")
    }
}

impl Error for Cause {}
