//! An agent that speaks the real admin API and says what the test wants.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State},
    routing::{get, post},
};
use model::{BarrierOutcome, BarrierReply, BarrierRequest, Epoch, Mode, Position, Serving, Site, StreamId};
use runtime::{metrics::Metrics, process::Shutdown, secret::Secret};
use serde::Deserialize;
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, oneshot, watch},
};

pub(crate) const TOKEN: &str = "the admin token of these tests";

/// A barrier that a gateway asks for; answer it, or drop it to fail it.
pub(crate) struct Asked {
    pub(crate) request: BarrierRequest,
    reply: oneshot::Sender<BarrierReply>,
}

impl Asked {
    pub(crate) fn reply(self, outcome: BarrierOutcome) {
        let position = Position { stream: StreamId("s-1".into()), file: 3, offset: 400 };
        self.reply_with(BarrierReply { outcome, epoch: None, mode: None, position: Some(position) });
    }

    pub(crate) fn reply_with(self, reply: BarrierReply) {
        self.reply.send(reply).ok();
    }
}

pub(crate) struct Agent {
    pub(crate) address: SocketAddr,
    serving: watch::Sender<Serving>,
    asked: Mutex<mpsc::UnboundedReceiver<Asked>>,
}

#[derive(Clone)]
struct Api {
    serving: watch::Receiver<Serving>,
    ask: mpsc::UnboundedSender<Asked>,
}

#[derive(Deserialize)]
struct Known {
    epoch: Option<Epoch>,
    primary: Option<Site>,
    mode: Option<Mode>,
    open: Option<bool>,
    wait_ms: Option<u64>,
}

pub(crate) fn serving(primary: &str, epoch: u64) -> Serving {
    let (site, primary) = (Site::new("nhn"), Site::new(primary));
    let stream = StreamId("s".into());
    Serving { open: primary == site, site, epoch: Epoch(epoch), stream, primary, mode: Mode::Sync }
}

impl Agent {
    pub(crate) async fn start(first: Serving, shutdown: Shutdown) -> Agent {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (serving, told) = watch::channel(first);
        let (ask, asked) = mpsc::unbounded_channel();
        let routes = Router::new()
            .route("/v1/serving", get(poll))
            .route("/v1/barrier", post(barrier))
            .with_state(Api { serving: told, ask });
        tokio::spawn(runtime::admin::serve(
            listener,
            Secret::new(TOKEN),
            Metrics::default(),
            routes,
            shutdown,
        ));
        Agent { address, serving, asked: Mutex::new(asked) }
    }

    /// Says something new to whoever polls.
    pub(crate) fn says(&self, serving: Serving) {
        self.serving.send_replace(serving);
    }

    /// The next barrier that a gateway asks for.
    pub(crate) async fn asked(&self) -> Asked {
        let next = async { self.asked.lock().await.recv().await };
        tokio::time::timeout(Duration::from_secs(10), next)
            .await
            .expect("no barrier was asked for within 10 s")
            .expect("the agent ended")
    }

    /// Whether no barrier is being asked for at this moment.
    pub(crate) async fn is_idle(&self) -> bool {
        self.asked.lock().await.try_recv().is_err()
    }
}

async fn poll(State(mut api): State<Api>, Query(known): Query<Known>) -> Json<Serving> {
    let news = |s: &Serving| {
        known.epoch.is_none_or(|e| e != s.epoch)
            || known.primary.as_ref().is_none_or(|p| *p != s.primary)
            || known.mode.is_none_or(|m| m != s.mode)
            || known.open.is_none_or(|o| o != s.open)
    };
    let wait = Duration::from_millis(known.wait_ms.unwrap_or(0));
    // In time or not: what is said now is the answer.
    tokio::time::timeout(wait, api.serving.wait_for(news)).await.ok();
    let now = api.serving.borrow().clone();
    Json(now)
}

async fn barrier(
    State(api): State<Api>,
    Json(request): Json<BarrierRequest>,
) -> Result<Json<BarrierReply>, &'static str> {
    let (reply, replied) = oneshot::channel();
    api.ask.send(Asked { request, reply }).map_err(|_| "the test is over")?;
    replied.await.map(Json).map_err(|_| "the test drops this barrier")
}
