//! Requests that are on their way when a stop begins.
//!
//! A client may have connected, and not have sent its request yet, when its connection's turn to
//! be closed comes. Pingora closes what waits for a request as soon as it accepts no more
//! connections; here it waits a little first, so that a request that follows its connection at
//! once is answered and not met with a closed door.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;

use crate::proxy::Gateway;

/// How long after its connection a request may come.
pub(super) const ARRIVAL: Duration = Duration::from_millis(250);

/// The proxy, which lets idle connections go only after [`ARRIVAL`].
pub(super) struct Patient(Arc<HttpProxy<Gateway>>);

impl Patient {
    pub(super) fn new(proxy: HttpProxy<Gateway>) -> Self {
        Self(Arc::new(proxy))
    }
}

#[async_trait]
impl HttpServerApp for Patient {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.0.process_new_http(session, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.0.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.0.server_options()
    }

    async fn http_cleanup(&self) {
        tokio::time::sleep(ARRIVAL).await;
        self.0.http_cleanup().await;
    }
}
