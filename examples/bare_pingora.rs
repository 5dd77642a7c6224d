//! A Pingora proxy that does nothing but forward: the floor that `make bench` measures Tollgate against.
//!
//! `bare_pingora LISTEN UPSTREAM THREADS`, addresses as `127.0.0.1:8080`. It has no filter at all, and the
//! allocator and server settings of Tollgate, so that the difference between the two is Tollgate's own work.

use anyhow::Context;
use async_trait::async_trait;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use std::net::SocketAddr;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Bare {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

fn main() -> anyhow::Result<()> {
    let usage = "usage: bare_pingora LISTEN UPSTREAM THREADS";
    let mut arguments = std::env::args().skip(1);
    let listen: SocketAddr = arguments
        .next()
        .context(usage)?
        .parse()
        .context("LISTEN is not an address")?;
    let upstream = arguments
        .next()
        .context(usage)?
        .parse()
        .context("UPSTREAM is not an address")?;
    let threads = arguments
        .next()
        .context(usage)?
        .parse()
        .context("THREADS is not a count")?;

    let settings = ServerConf {
        threads,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare { upstream });
    service.add_tcp(&listen.to_string());
    server.add_service(service);
    server.run_forever()
}
