//! `admin`: metrics, health and the API, apart from traffic.

use super::problem::Place;
use super::reader::Reader;
use super::secret::Secret;
use super::section::Section;
use super::settings::AdminSettings;
use super::units;

/// Reads the section; where its address was given.
pub(super) fn admin(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    admin: &mut AdminSettings,
) -> Place {
    let listen = section.set(reader, "listen", &mut admin.listen, units::socket_address);
    let token_given = section.has("token_file");
    admin.token = section.secret(reader, None, "token_file");
    admin.metrics_token = section.secret(reader, None, "metrics_token_file");
    let others = [&admin.token, &admin.metrics_token].map(Option::as_ref);
    admin.read_token = read_token(section, reader, others);
    section.set(reader, "public_url", &mut admin.public_url, |text| {
        super::notify::browsed(text).map(Some)
    });
    let place = listen.unwrap_or(Place::Default);
    if !admin.listen.ip().is_loopback() && !token_given {
        reader.problem(
            &place,
            "admin.listen",
            format!(
                "`{}` can be reached from other machines, and there is no token",
                admin.listen
            ),
            Some("set `admin.token_file`, or listen on 127.0.0.1"),
        );
    }
    place
}

/// The token that only reads. Beside no token, or where it is the one of operators or that of who
/// scrapes, it would promise what it does not keep.
fn read_token(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    [token, metrics_token]: [Option<&Secret>; 2],
) -> Option<Secret> {
    let place = section.place_of(reader, "read_token_file")?;
    let token_given = section.has("token_file");
    let read_token = section.secret(reader, None, "read_token_file")?;
    let is_that_of = |other: Option<&Secret>| {
        other.is_some_and(|other| other.matches(read_token.expose().as_bytes()))
    };
    let (message, hint) = if !token_given {
        (
            "limits nobody: without `admin.token_file` the API asks for no token",
            "set `admin.token_file` too",
        )
    } else if is_that_of(token) {
        (
            "holds the token of `admin.token_file`, which may change everything",
            "write another token into the file",
        )
    } else if is_that_of(metrics_token) {
        (
            "holds the token of `admin.metrics_token_file`: whoever may scrape could read requests and kept payloads",
            "write another token into the file",
        )
    } else {
        return Some(read_token);
    };
    reader.problem(&place, "admin.read_token_file", message, Some(hint));
    None
}
