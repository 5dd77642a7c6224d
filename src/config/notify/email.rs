//! Reads `email`.

use std::sync::Arc;

use super::names::each;
use super::targets::{EmailSettings, SmtpEncryption, TargetSettings};
use crate::config::base_url::BaseUrl;
use crate::config::channels::needed;
use crate::config::problem::Place;
use crate::config::reader::Reader;
use crate::config::secret::Secret;
use crate::config::section::Section;
use crate::config::sections::pem;
use crate::config::units::{self, Refusal};

/// The port that encrypts from the first byte on (RFC 8314).
const IMPLICIT_TLS: u16 = 465;

pub(super) fn read(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<TargetSettings> {
    let mut server = None;
    section.set(reader, "host", &mut server, |text| host(text).map(Some));
    needed(section, reader, "host", "it is the mail server's name");
    let mut port: Option<u16> = None;
    section.set(reader, "port", &mut port, |text| {
        units::whole(1, u16::MAX)(text).map(Some)
    });
    let mut encryption = match port {
        Some(IMPLICIT_TLS) => SmtpEncryption::Tls,
        _ => SmtpEncryption::Starttls,
    };
    let words = units::word(SmtpEncryption::ALL, SmtpEncryption::as_str);
    let encryption_place = section.set(reader, "encryption", &mut encryption, words);
    if let Some(place) = &encryption_place
        && encryption == SmtpEncryption::Starttls
        && port == Some(IMPLICIT_TLS)
    {
        let message =
            "servers encrypt from the first byte on at port 465, and `starttls` begins in clear";
        let hint = Some("write `tls`, or the port 587");
        reader.warning(place, &section.key("encryption"), message, hint);
    }
    let login = login(section, reader);
    let clear = encryption == SmtpEncryption::None;
    let here = server
        .as_ref()
        .is_some_and(|host: &Arc<str>| on_this_machine(host));
    if let Some(place) = encryption_place.filter(|_| clear && !here && login.is_some()) {
        let message = "the password would cross the network in clear";
        let hint = Some("write `starttls` or `tls`, or take `user` and the password away");
        reader.problem(&place, &section.key("encryption"), message, hint);
    }
    let ca_file = pem(section, reader, "ca_file", "CERTIFICATE-----", false);
    let mut from = None;
    section.set(reader, "from", &mut from, |text| mailbox(text).map(Some));
    needed(section, reader, "from", "it is whom the mail comes from");
    let to = recipients(section, reader);
    Some(TargetSettings::Email(EmailSettings {
        host: server?,
        port: port.unwrap_or(match encryption {
            SmtpEncryption::Tls => IMPLICIT_TLS,
            SmtpEncryption::Starttls => 587,
            SmtpEncryption::None => 25,
        }),
        encryption,
        login,
        ca_file,
        from: from?,
        to: to?,
    }))
}

fn recipients(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<Vec<Arc<str>>> {
    let key = section.key("to");
    let listed = section.listed(reader, "to");
    needed(section, reader, "to", "it is who gets the mail");
    let (place, given) = listed?;
    if given.is_empty() {
        let message = "the list is empty, so nobody would get the mail";
        reader.problem(&place, &key, message, Some("name an address"));
    }
    let to = each(reader, &key, given, mailbox);
    (!to.is_empty()).then_some(to)
}

fn login(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<(Arc<str>, Secret)> {
    let mut user = None;
    section.set(reader, "user", &mut user, |text| {
        let fits = !text.is_empty() && text.len() <= 256 && !text.contains(char::is_control);
        fits.then(|| Some(Arc::from(text)))
            .ok_or_else(|| Refusal::new("is no name", "write it as the mail server knows it"))
    });
    let password = section.password(reader, "password", "password_file");
    let has_user = section.has("user");
    let has_password = section.has("password") || section.has("password_file");
    if has_user != has_password {
        let (given, other) = if has_user {
            ("user", "password")
        } else {
            ("password", "user")
        };
        let place = section.place.clone().unwrap_or(Place::Default);
        let message = format!("is missing, and a {given} is given");
        let hint = Some("give `user` and `password` or `password_file`, or none of them");
        reader.problem(&place, &section.key(other), message, hint);
    }
    user.zip(password)
}

fn host(text: &str) -> Result<Arc<str>, Refusal> {
    let refusal = || {
        Refusal::new(
            "is no name or address of a server",
            "write it without scheme and port, as `smtp.example.com`",
        )
    };
    // An IPv6 address stands in brackets in a URL, and bare here.
    let as_url = match text.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("http://[{address}]"),
        Err(_) => format!("http://{text}"),
    };
    let url: BaseUrl = as_url.parse().map_err(|_| refusal())?;
    let bare = url.path.is_empty() && !text.contains(['/', '[']);
    let has_port = text.parse::<std::net::Ipv6Addr>().is_err() && text.contains(':');
    if bare && !has_port && !url.host.is_empty() {
        Ok(Arc::from(text))
    } else {
        Err(refusal())
    }
}

fn on_this_machine(host: &str) -> bool {
    let loopback = |host: &str| {
        host.parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
    };
    host == "localhost" || host.ends_with(".localhost") || loopback(host)
}

/// `local@domain`, or `Name <local@domain>`. Narrower than RFC 5322: what is taken here is taken by
/// every mail server.
fn mailbox(text: &str) -> Result<Arc<str>, Refusal> {
    let address = match text.strip_suffix('>').and_then(|text| text.split_once('<')) {
        Some((name, address)) if is_display_name(name.trim()) => address,
        Some(_) => {
            return Err(Refusal::new(
                "has a name with characters that need quotes",
                "put the name in quotes: '\"Tollgate, Berlin\" <tollgate@example.com>'",
            ));
        }
        None => text,
    };
    if is_address(address) {
        Ok(Arc::from(text))
    } else {
        Err(Refusal::new(
            "is no mail address",
            "write `tollgate@example.com` or `Tollgate <tollgate@example.com>`",
        ))
    }
}

fn is_display_name(name: &str) -> bool {
    let quoted = name
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'));
    match quoted {
        Some(name) => !name.contains(['"', '\\']) && !name.contains(char::is_control),
        None => name
            .chars()
            .all(|c| is_atom(c) || c == ' ' || !c.is_ascii()),
    }
}

/// A character of RFC 5322's `atext`.
fn is_atom(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let is_local = local.len() <= 64
        && local
            .split('.')
            .all(|part| !part.is_empty() && part.chars().all(is_atom));
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    is_local && domain.len() <= 253 && domain.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_every_server_takes() {
        for text in [
            "a@example.com",
            "a.b+c@mail.example.com",
            "root@localhost",
            "Tollgate <t@e.com>",
            "\"Tollgate, Berlin\" <t@e.com>",
            "收费站 <t@e.com>",
            "<t@e.com>",
        ] {
            assert!(mailbox(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "a",
            "a@",
            "@b",
            "a b@c",
            "a..b@c",
            "a@b..c",
            "a@-b",
            "a@b\nBcc: c@d",
            "A, B <a@b>",
            "\"A\" B\" <a@b>",
            "a@b <c@d>",
            "A <a@b",
        ] {
            assert!(mailbox(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_is_bare() {
        for text in ["smtp.example.com", "localhost", "127.0.0.1", "::1"] {
            assert!(host(text).is_ok(), "{text}");
        }
        for text in ["", "smtp://a", "a:25", "a/b", "[::1]", "a b", "u@a"] {
            assert!(host(text).is_err(), "{text}");
        }
    }
}
