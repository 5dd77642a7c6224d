//! What is compared, and how each of them is started.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::process::{Cpu, Server};
use crate::upstream::Upstream;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Proxy {
    /// No proxy: the load goes to the upstream.
    Direct,
    Nginx,
    Bare,
    Tollgate,
}

impl Proxy {
    const ALL: [Self; 4] = [Self::Direct, Self::Nginx, Self::Bare, Self::Tollgate];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Bare => "bare Pingora",
            Self::Tollgate => "Tollgate",
        }
    }

    /// All of them, or those that `BENCH_ONLY` names by their first words.
    pub(crate) fn chosen() -> anyhow::Result<Vec<Self>> {
        let Ok(only) = std::env::var("BENCH_ONLY") else {
            return Ok(Self::ALL.to_vec());
        };
        let named = |name: &str| {
            Self::ALL
                .into_iter()
                .find(|proxy| proxy.name().to_lowercase().starts_with(name))
                .with_context(|| format!("BENCH_ONLY: no proxy is called {name:?}"))
        };
        let mut chosen: Vec<_> = only.split(',').map(named).collect::<anyhow::Result<_>>()?;
        chosen.sort_unstable();
        Ok(chosen)
    }
}

/// A proxy that runs in front of an upstream.
pub(crate) struct Running {
    pub(crate) proxy: Proxy,
    pub(crate) address: SocketAddr,
    /// Requests that were answered through it.
    pub(crate) served: u64,
    // The server stands before its folder: fields are dropped in this order.
    server: Option<Server>,
    folder: TempDir,
}

impl Running {
    pub(crate) async fn start(proxy: Proxy, upstream: &Upstream) -> anyhow::Result<Self> {
        let folder = temporary_folder()?;
        let address = free_address()?;
        let log = folder.path().join("output");
        let (program, arguments, on_parent_death) = match proxy {
            Proxy::Direct => {
                return Ok(Self {
                    proxy,
                    address: upstream.address,
                    served: 0,
                    server: None,
                    folder,
                });
            }
            Proxy::Nginx => {
                let servers = nginx_proxy(address, upstream.address);
                let arguments = nginx_arguments(folder.path(), &servers)?;
                (PathBuf::from("nginx"), arguments, "TERM")
            }
            Proxy::Bare => {
                let arguments = [address.to_string(), upstream.address.to_string(), cores()];
                let program = tollgate_program()
                    .with_file_name("examples")
                    .join("bare_pingora");
                (program, arguments.to_vec(), "KILL")
            }
            Proxy::Tollgate => {
                let settings = folder.path().join("tollgate.yaml");
                fs::write(&settings, tollgate_settings(address, upstream.address)?)?;
                let arguments = ["run", "--config", &settings.to_string_lossy()];
                (
                    tollgate_program().to_owned(),
                    arguments.map(str::to_owned).to_vec(),
                    "KILL",
                )
            }
        };
        let server = Server::start(&program, &arguments, on_parent_death, &log, address).await?;
        Ok(Self {
            proxy,
            address,
            served: 0,
            server: Some(server),
            folder,
        })
    }

    pub(crate) fn cpu(&self) -> anyhow::Result<Option<Cpu>> {
        self.server.as_ref().map(Server::cpu).transpose()
    }

    pub(crate) fn resident_bytes(&self) -> anyhow::Result<Option<u64>> {
        self.server.as_ref().map(Server::resident_bytes).transpose()
    }

    /// Waits until the proxy rests.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        let Some(server) = &self.server else {
            return Ok(());
        };
        let mut before = server.cpu()?;
        for _ in 0..100 {
            sleep(Duration::from_millis(100)).await;
            let now = server.cpu()?;
            if now.since(&before) < Duration::from_millis(1) {
                return Ok(());
            }
            before = now;
        }
        bail!("{} does not come to rest after the load", self.proxy.name())
    }

    /// Fails when Tollgate's ledger holds fewer requests than it answered: then it was not measured with
    /// everything on.
    pub(crate) async fn check_ledger(&self) -> anyhow::Result<()> {
        if self.proxy != Proxy::Tollgate {
            return Ok(());
        }
        let ledger = rusqlite::Connection::open_with_flags(
            self.folder.path().join("data/tollgate.db"),
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        )?;
        let mut rows: i64 = 0;
        for _ in 0..100 {
            rows = ledger.query_row("SELECT count(*) FROM requests", [], |row| row.get(0))?;
            if u64::try_from(rows)? >= self.served {
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
        bail!(
            "Tollgate answered {} requests and recorded {rows}",
            self.served
        )
    }
}

/// The release build beside which the example stands.
fn tollgate_program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tollgate"))
}

fn tollgate_settings(listen: SocketAddr, upstream: SocketAddr) -> anyhow::Result<String> {
    let admin = free_address()?;
    Ok(format!(
        "listen: {listen}\nadmin: {{listen: \"{admin}\"}}\nupstream: http://{upstream}/v1\ndata_dir: data\n"
    ))
}

/// On the disk of the build, since temporary folders are often kept in memory, where a ledger costs less.
fn temporary_folder() -> anyhow::Result<TempDir> {
    let beside = tollgate_program().parent().context("no build folder")?;
    Ok(tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(beside)?)
}

/// A port that was free a moment ago.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// As many threads or workers as every proxy gets.
pub(crate) fn cores() -> String {
    std::thread::available_parallelism()
        .map_or(1, NonZero::get)
        .to_string()
}

/// Writes a configuration with `servers` and returns the arguments that make nginx use it and nothing of
/// the machine's own.
pub(crate) fn nginx_arguments(folder: &Path, servers: &str) -> anyhow::Result<Vec<String>> {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    // As root its workers would become another user, whom the temporary folder keeps out.
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};\n", path(kind)))
        .concat();
    let configuration = format!(
        "{user}
         daemon off;
         pid {pid};
         worker_processes {cores};
         worker_rlimit_nofile 16384;
         events {{ worker_connections 8000; }}
         http {{
             access_log off;
             keepalive_requests 1000000000;
             client_max_body_size 0;
             client_body_buffer_size 1m;
             {temporary}
             {servers}
         }}",
        pid = path("pid"),
        cores = cores(),
    );
    fs::write(folder.join("nginx.conf"), configuration)?;
    Ok(vec![
        "-e".into(),
        path("error.log"),
        "-p".into(),
        path(""),
        "-c".into(),
        path("nginx.conf"),
    ])
}

fn nginx_proxy(listen: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "upstream mock {{ server {upstream}; keepalive 256; }}
         server {{
             listen {listen};
             location / {{
                 proxy_pass http://mock;
                 proxy_http_version 1.1;
                 proxy_set_header Connection \"\";
                 proxy_buffering off;
             }}
         }}"
    )
}
