//! The data plane: the proxy behind its listener, on a runtime of its own.

use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings as PingoraTls;
use pingora::protocols::http::v2::server::H2Options;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use tokio::sync::watch;

use crate::config::{Settings, TlsSettings};
use crate::proxy::{Gateway, OpenRequests};

use super::arrivals::{ARRIVAL, Patient};
use super::listeners::Listeners;
use super::{RunError, stop};

/// Pooled connections kept for each worker and upstream.
const POOLED_CONNECTIONS: usize = 1024;

/// The proxy's listener and the runtime it lives on.
pub(super) struct DataPlane {
    runtime: tokio::runtime::Runtime,
    stop_accepting: watch::Sender<bool>,
    open: OpenRequests,
}

impl DataPlane {
    pub(super) fn start(
        settings: &Settings,
        gateway: Gateway,
        listeners: &Listeners,
    ) -> Result<Self, RunError> {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("data-plane")
            .enable_all()
            .build()?;
        let open = gateway.open_requests();
        let mut service = service(settings, gateway, workers);
        match &settings.tls {
            None => service.add_tcp(listeners.data_name()),
            Some(tls) => {
                let certificate = certificate(tls)?;
                service.add_tls_with_settings(listeners.data_name(), None, certificate);
            }
        }
        let (stop_accepting, stopped) = watch::channel(false);
        let table = listeners.table();
        runtime.spawn(async move { service.start_service(Some(table), stopped, 1).await });
        Ok(Self {
            runtime,
            stop_accepting,
            open,
        })
    }

    /// Stops accepting, gives running requests up to `grace` to end, then ends them. Another
    /// signal ends them at once.
    pub(super) async fn drain(self, grace: Duration, signals: &mut stop::Signals) {
        self.stop_accepting.send_replace(true);
        tokio::time::sleep(ARRIVAL).await;
        stop::drained(&self.open, grace, signals).await;
        let left = self.open.count();
        if left > 0 {
            tracing::warn!(
                left,
                "requests were cut off; they are recorded as interrupted"
            );
        }
        // Drops what still runs; each account is closed by its drop.
        let _ = tokio::task::spawn_blocking(move || {
            self.runtime.shutdown_timeout(Duration::from_secs(2));
        })
        .await;
    }
}

fn service(settings: &Settings, gateway: Gateway, workers: usize) -> Service<Patient> {
    let conf = ServerConf {
        threads: workers,
        max_retries: gateway.most_tries(),
        upstream_keepalive_pool_size: POOLED_CONNECTIONS,
        ..ServerConf::default()
    };
    let mut proxy = http_proxy(&Arc::new(conf), gateway);
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    proxy.server_options = Some(options);
    let mut h2 = H2Options::new();
    h2.max_header_list_size(u32::try_from(settings.limits.header_bytes).unwrap_or(u32::MAX));
    proxy.h2_options = Some(h2);
    Service::new("data plane".to_owned(), Patient::new(proxy))
}

fn certificate(tls: &TlsSettings) -> Result<PingoraTls, RunError> {
    let fail = |reason: String| RunError::Certificate {
        cert: tls.cert.clone(),
        key: tls.key.clone(),
        reason,
    };
    let (Some(cert), Some(key)) = (tls.cert.to_str(), tls.key.to_str()) else {
        return Err(fail("the paths are not UTF-8".to_owned()));
    };
    let mut settings =
        PingoraTls::intermediate(cert, key).map_err(|error| fail(error.to_string()))?;
    settings.enable_h2();
    Ok(settings)
}
