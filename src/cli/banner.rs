//! What a start prints: where to point an SDK, and where everything lies.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::app::Ready;
use crate::config::Loaded;

/// The text for a run of these settings that listens at `ready`. Ends with a newline; holds no
/// secret.
#[must_use]
pub fn banner(loaded: &Loaded, ready: Ready) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write(&mut text, loaded, ready);
    text
}

fn write(text: &mut String, loaded: &Loaded, ready: Ready) -> std::fmt::Result {
    let settings = &loaded.settings;
    let scheme = if settings.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let base = format!("{scheme}://{}/v1", reachable(ready.listen));
    let admin = format!("http://{}", reachable(ready.admin));
    writeln!(
        text,
        "tollgate {} is ready. Point your SDK at it:\n",
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(text, "  shell    export OPENAI_BASE_URL={base}")?;
    writeln!(text, "  Python   OpenAI(base_url=\"{base}\")")?;
    writeln!(text, "  Node     new OpenAI({{ baseURL: \"{base}\" }})")?;
    writeln!(
        text,
        "  curl     curl {base}/models -H \"Authorization: Bearer $OPENAI_API_KEY\""
    )?;
    writeln!(
        text,
        "  Codex    codex -c model_provider=tollgate -c 'model_providers.tollgate={{name=\"tollgate\", \
         base_url=\"{base}\", wire_api=\"responses\", env_key=\"OPENAI_API_KEY\"}}'\n"
    )?;
    let width = settings
        .channels
        .iter()
        .map(|channel| channel.name.len())
        .max()
        .unwrap_or(0);
    for (index, channel) in settings.channels.iter().enumerate() {
        let title = if index == 0 { "channels" } else { "" };
        let credential = if channel.api_key.is_some() {
            "its own key"
        } else {
            "the client's key"
        };
        writeln!(
            text,
            "  {title:<9}{:<width$}  {}  ({credential})",
            channel.name, channel.base_url
        )?;
    }
    writeln!(text, "  admin    {admin}  (/metrics /readyz /api/v1/)")?;
    let ledger = settings.data_dir.join("tollgate.db");
    writeln!(text, "  ledger   {}", ledger.display())?;
    match &loaded.file {
        Some(file) => writeln!(text, "  settings {}", file.display())?,
        None => writeln!(text, "  settings defaults (there is no tollgate.yaml here)")?,
    }
    writeln!(
        text,
        "\nSee it work: `tollgate requests --follow`, `tollgate usage`."
    )?;
    for warning in &loaded.warnings {
        writeln!(text, "\nwarning: {warning}")?;
    }
    Ok(())
}

/// An address a client on this machine can use: a listener on every address is reached through
/// loopback.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
