//! Live availability: a versioned bitmap, asked for or streamed (`inventory/board.rs` says how it is written).

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderValue, header},
    response::{
        IntoResponse, Response,
        sse::{Event as Sent, KeepAlive, Sse},
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::stream;
use serde::Deserialize;

use super::{Visitor, api::No};
use crate::{desk::Desk, inventory::board::Known, refusal::Refusal};

/// How often a stream looks.
const LOOK: Duration = Duration::from_millis(500);
/// A stream ends after so many looks; the browser comes back by itself. So an instance that is drained, or a site
/// that was left, does not keep its readers.
const LOOKS_MAX: u32 = 600;

#[derive(Deserialize, Default)]
pub(super) struct Since {
    /// `<generation>.<version>`, both in decimal.
    since: Option<String>,
}

fn known(since: Option<&str>) -> Option<Known> {
    let (generation, version) = since?.split_once('.')?;
    Some(Known { generation: generation.parse().ok()?, version: version.parse().ok()? })
}

pub(super) async fn bits(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    since: Result<Query<Since>, QueryRejection>,
) -> Response {
    let since = since.map(|q| q.0).unwrap_or_default();
    let run = async {
        let catalogue = desk.catalogue().await?;
        let event = catalogue.event(id).ok_or(Refusal::NoSuch)?;
        Ok(desk.live.update(&event, known(since.since.as_deref())).await?.1)
    };
    match run.await {
        Ok(bytes) => {
            let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
            let mut response = (kind, bytes).into_response();
            let caching = HeaderValue::from_static("public, max-age=1");
            response.headers_mut().insert(header::CACHE_CONTROL, caching);
            response
        }
        Err(no) => No(no, visitor.lang).into_response(),
    }
}

struct Reader {
    desk: Desk,
    performance: u32,
    known: Option<Known>,
    looks: u32,
}

/// One event a change: the same bytes in base64.
pub(super) async fn stream_of(State(desk): State<Desk>, visitor: Visitor, Path(id): Path<u32>) -> Response {
    match desk.catalogue().await.map(|c| c.event(id).is_some()) {
        Ok(true) => {}
        Ok(false) => return No(Refusal::NoSuch, visitor.lang).into_response(),
        Err(no) => return No(no, visitor.lang).into_response(),
    }
    let reader = Reader { desk, performance: id, known: None, looks: 0 };
    let events = stream::unfold(reader, |mut reader| async move {
        while reader.looks < LOOKS_MAX {
            if reader.looks > 0 {
                // The rate of this stream; nothing is waited for.
                tokio::time::sleep(LOOK).await;
            }
            reader.looks += 1;
            // While the database refuses the reader keeps what it has.
            if let Ok((now, bytes)) = reader.look().await
                && reader.known != Some(now)
            {
                reader.known = Some(now);
                let sent = Sent::default().event("seats").data(STANDARD.encode(bytes));
                return Some((Ok::<_, Infallible>(sent), reader));
            }
        }
        None
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

impl Reader {
    async fn look(&self) -> Result<(Known, bytes::Bytes), Refusal> {
        let catalogue = self.desk.catalogue().await?;
        let event = catalogue.event(self.performance).ok_or(Refusal::NoSuch)?;
        self.desk.live.update(&event, self.known).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_says_is_read_or_ignored() {
        assert_eq!(known(Some("7.12")), Some(Known { generation: 7, version: 12 }));
        for odd in [None, Some(""), Some("7"), Some("7.x"), Some("-1.2"), Some("7.12.3")] {
            assert_eq!(known(odd), None);
        }
    }
}
