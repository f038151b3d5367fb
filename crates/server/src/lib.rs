//! The HTTP interface of a data directory: API, OpenAPI document, metrics, reports.
//!
//! Handlers extract, call one use case of `platform` and convert; they hold no
//! logic, no SQL and no vendor. Errors are problem+json (RFC 9457).

mod auth;
mod feed;
mod metrics;
mod openapi;
mod problem;
mod route;
mod socket;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware;
use foretell_platform::Service;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use auth::Token;
pub use openapi::document as openapi_document;

/// A forecast as the API answers it, for whoever asks without the network.
pub fn forecast_json(view: foretell_platform::ForecastView) -> serde_json::Value {
    serde_json::to_value(wire::Forecast::from(view)).unwrap_or_default()
}

/// Where and for whom the API is.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The bearer token that every request must carry; without one only loopback
    /// addresses are allowed.
    pub token: Option<Token>,
    /// Answer only those who carry the secret of the data directory.
    pub private: bool,
}

impl ServerSettings {
    /// An API for other commands on the same data directory: a free port of this machine,
    /// nothing without the directory's secret.
    pub fn private() -> Self {
        let listen = SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
        Self { listen, token: None, private: true }
    }
}

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A public address without a token.
    #[error("refused to listen on {0} without a token: anyone on the network could use it")]
    PublicWithoutToken(SocketAddr),
    /// The address is taken or not ours.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The listener failed.
    #[error("the server stopped")]
    Serve(#[source] std::io::Error),
}

/// A bound listener: the address is known, nothing is answered yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    token: Option<Token>,
    private: bool,
}

impl Server {
    /// Binds the address.
    ///
    /// # Errors
    /// When a public address comes without a token, or the address cannot be bound.
    pub async fn bind(settings: ServerSettings) -> Result<Self, ServerError> {
        let ServerSettings { listen, token, private } = settings;
        if !listen.ip().is_loopback() && token.is_none() {
            return Err(ServerError::PublicWithoutToken(listen));
        }
        let fail = |source| ServerError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Self { listener, address, token, private })
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for people and clients on this machine.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers until the token is cancelled, then lets running requests end.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run(
        self,
        service: Arc<Service>,
        shutdown: CancellationToken,
    ) -> Result<(), ServerError> {
        let secret = service.secret().to_owned();
        let loopback = self.address.ip().is_loopback();
        let guard = auth::Guard { token: self.token, secret, loopback, private: self.private };
        let metrics = Arc::new(metrics::Metrics::new());
        let app = router(service, guard, Arc::clone(&metrics), shutdown.clone());
        let answering = axum::serve(self.listener, app)
            .with_graceful_shutdown(async move { shutdown.cancelled().await });
        tokio::select! {
            ended = answering.into_future() => ended.map_err(ServerError::Serve),
            () = metrics.keep_up() => Ok(()),
        }
    }
}

fn router(
    service: Arc<Service>,
    guard: auth::Guard,
    metrics: Arc<metrics::Metrics>,
    ending: CancellationToken,
) -> Router {
    route::router(service, Arc::clone(&metrics), ending)
        .layer(middleware::from_fn_with_state(Arc::new(guard), auth::check))
        .layer(middleware::from_fn_with_state(metrics, metrics::measure))
}
