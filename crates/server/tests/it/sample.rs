//! A server on a free port, and things to tell.

use std::net::SocketAddr;
use std::sync::Arc;

use foretell_market::{Clock, Fingerprint, FixedClock, Interval, Timestamp};
use foretell_platform::{DataDir, Forecast, ForecastView, Ownership, Service, Told};
use foretell_server::{Server, ServerError, ServerSettings, Token};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// 2025-11-01T00:00:00Z and so many seconds.
pub(crate) fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_761_955_200 + secs)
}

pub(crate) struct Serving {
    _folder: tempfile::TempDir,
    pub(crate) service: Arc<Service>,
    pub(crate) address: SocketAddr,
    pub(crate) ending: CancellationToken,
    pub(crate) answering: JoinHandle<Result<(), ServerError>>,
}

impl Serving {
    pub(crate) async fn new(token: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let Ownership::Mine(dir) = DataDir::take(folder.path(), "test").expect("a directory")
        else {
            panic!("nobody else has it")
        };
        let clock: Arc<dyn Clock> = Arc::new(FixedClock(at(100)));
        let service = Service::open(dir, None, "test", clock).await.expect("an empty directory");
        let service = Arc::new(service);
        let token = token.map(|text| Token::new(text).expect("it is long enough"));
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let settings = ServerSettings { listen, token, private: false };
        let server = Server::bind(settings).await.expect("a free port");
        let (address, ending) = (server.address(), CancellationToken::new());
        let answering = tokio::spawn(server.run(Arc::clone(&service), ending.clone()));
        Self { _folder: folder, service, address, ending, answering }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A forecast of an instrument by a pipeline.
pub(crate) fn forecast(id: &str, instrument: &str, pipeline: &str) -> Told {
    let golden =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/forecaster/forecast-v1.json");
    let text = std::fs::read_to_string(golden).expect("it is in the repository");
    let mut forecast: Forecast = serde_json::from_str(&text).expect("a forecast");
    forecast.id = id.to_owned();
    forecast.instrument = instrument.parse().expect("a name");
    forecast.model.name = pipeline.to_owned();
    Told::Forecast(Box::new(ForecastView { forecast, age_seconds: 3 }))
}

pub(crate) fn row(number: u64) -> Told {
    Told::Row {
        instrument: "BTC-USD".parse().expect("a name"),
        interval: Interval::MINUTE,
        as_of: at(60),
        hash: Fingerprint::of_bytes(&number.to_le_bytes()),
    }
}

pub(crate) fn gap() -> Told {
    Told::Gap {
        instrument: "BTC-USD".parse().expect("a name"),
        from: at(0),
        to: at(30),
        reason: "the socket was closed".to_owned(),
    }
}
