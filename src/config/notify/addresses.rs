//! Addresses that are credentials themselves, and what is said of them without showing them.

use crate::config::base_url::{BaseUrl, BaseUrlError};
use crate::config::problem::Place;
use crate::config::reader::Reader;
use crate::config::secret::Secret;
use crate::config::section::Section;

/// A secret, and where it was given.
pub(super) struct GivenSecret {
    pub(super) secret: Secret,
    /// The key that it was given by, e.g. `receivers[0].feishu.url_file`.
    pub(super) key: String,
    pub(super) place: Place,
}

/// A secret from one of two keys, which has to be there; `why` it has.
pub(super) fn needed_secret(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
    file_key: &'static str,
    why: &str,
) -> Option<GivenSecret> {
    let secret = section.secret(reader, Some(key), file_key);
    let given = [key, file_key]
        .into_iter()
        .find_map(|key| Some((section.key(key), section.place_of(reader, key)?)));
    let Some((path, place)) = given else {
        let place = section.place.clone()?;
        let hint = format!("give `{key}` or `{file_key}`");
        let message = format!("is missing; {why}");
        reader.problem(&place, &section.key(key), message, Some(&hint));
        return None;
    };
    Some(GivenSecret {
        secret: secret?,
        key: path,
        place,
    })
}

/// An http or https address in parts. Nothing of it is shown but whether it is what it should be.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) base: BaseUrl,
    pub(super) query: Option<String>,
    /// Whether it holds a name or password.
    pub(super) has_user: bool,
}

impl Address {
    fn parse(text: &str) -> Result<Self, BaseUrlError> {
        if text.contains('#') {
            return Err(BaseUrlError::Fragment);
        }
        let (scheme, rest) = text.split_once("://").ok_or(BaseUrlError::NotUrl)?;
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query.to_owned())),
            None => (rest, None),
        };
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        Ok(Self {
            base: format!("{scheme}://{host}{path}").parse()?,
            query,
            has_user: user.is_some(),
        })
    }

    /// Whether its query has a value for this parameter.
    pub(super) fn has(&self, parameter: &str) -> bool {
        let query = self.query.as_deref().unwrap_or_default();
        query.split('&').any(|pair| {
            pair.split_once('=')
                .is_some_and(|(name, value)| name == parameter && !value.is_empty())
        })
    }
}

/// The address that a secret is; a problem where it is none.
pub(super) fn address(reader: &mut Reader<'_>, given: &GivenSecret) -> Option<Address> {
    match Address::parse(given.secret.expose()) {
        Ok(address) => Some(address),
        Err(error) => {
            let message = format!("the address {error}");
            let hint = Some("paste it whole, as `https://…`");
            reader.problem(&given.place, &given.key, message, hint);
            None
        }
    }
}

/// What a service's addresses look like.
pub(super) struct Shape {
    /// The service's own hosts.
    pub(super) hosts: &'static [&'static str],
    pub(super) path: fn(&Address) -> bool,
    /// For people.
    pub(super) form: &'static str,
}

/// Reads `url` or `url_file`, the address of a robot, which is its credential. Of the service's own
/// hosts it has to have the right shape; any other host may be a relay.
pub(super) fn robot(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    shape: &Shape,
) -> Option<Secret> {
    let why = "it is the robot's whole address";
    let given = needed_secret(section, reader, "url", "url_file", why)?;
    let address = address(reader, &given)?;
    if !(shape.path)(&address) {
        let message = format!("the address is not of the form `{}`", shape.form);
        let own = shape.hosts.contains(&address.base.host.as_str());
        if own {
            let hint = Some("copy it whole from the robot's settings");
            reader.problem(&given.place, &given.key, message, hint);
            return None;
        }
        let hint = Some("copy it whole from the robot's settings, unless a relay stands there");
        reader.warning(&given.place, &given.key, message, hint);
    }
    in_clear(reader, &given, &address.base, "the robot's address");
    Some(given.secret)
}

/// Notes that a credential is sent where others can read it.
pub(super) fn in_clear(
    reader: &mut Reader<'_>,
    given: &GivenSecret,
    url: &BaseUrl,
    credential: &str,
) {
    warn_of_clear_text(reader, &given.key, &given.place, url, credential);
}

/// As [`in_clear`], of an address that is no secret itself.
pub(super) fn warn_of_clear_text(
    reader: &mut Reader<'_>,
    key: &str,
    place: &Place,
    url: &BaseUrl,
    credential: &str,
) {
    if !url.tls && !url.is_loopback() {
        let message =
            format!("http:// is not encrypted: {credential} crosses the network in clear");
        reader.warning(place, key, message, Some("use https://"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let address = Address::parse("https://a:b@Host.example:8443/x/y?key=&access=1").unwrap();
        assert_eq!(address.base.to_string(), "https://host.example:8443/x/y");
        assert!(address.has_user && address.has("access") && !address.has("key"));
        for text in [
            "",
            "a.example/x",
            "ftp://a/x",
            "https://",
            "https://a/x#y",
            "https://a:0",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
