//! WebSocket: after both sides have agreed to switch protocols, bytes go both ways until one side ends.
//!
//! Always true here: only `websocket` is passed on. An application that took `h2c` would read requests that no phase of
//! ours has looked at. What is said over such a connection is outside the commit gate's promise; it ends with the epoch,
//! as every connection to the application does.

use hyper::{
    HeaderMap, Response,
    header::{self, HeaderValue},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::{io::copy_bidirectional, task::spawn_local};

use crate::{body::AnswerBody, headers, parking::Passage, upstream};

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");

/// Whether a request asks for a WebSocket: an `Upgrade` header means something only where `Connection` names it.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    let names = |header, wanted: &str| {
        let lines = headers.get_all(header).iter().filter_map(|v| v.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|name| name.trim().eq_ignore_ascii_case(wanted))
    };
    names(header::UPGRADE, "websocket") && names(header::CONNECTION, "upgrade")
}

/// Puts back what was taken off with the other headers of one connection.
pub(crate) fn ask(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, UPGRADE);
    headers.insert(header::UPGRADE, WEBSOCKET);
}

/// The application has agreed: tells the visitor, and lets the bytes through from then on.
pub(crate) fn through(
    visitor: OnUpgrade,
    mut response: Response<upstream::Answer>,
    mut passage: Passage,
) -> Response<AnswerBody> {
    let application = hyper::upgrade::on(&mut response);
    let (mut parts, body) = response.into_parts();
    headers::strip_answer(&mut parts.headers, None);
    ask(&mut parts.headers);
    passage.streams();
    let connection = body.keep_open();
    spawn_local(async move {
        // Both count as under way until the end.
        let (_passage, connection) = (passage, connection);
        let copy = async {
            let (visitor, application) =
                tokio::try_join!(visitor, application).map_err(std::io::Error::other)?;
            copy_bidirectional(&mut TokioIo::new(visitor), &mut TokioIo::new(application)).await
        };
        let ended = match &connection {
            Some(connection) => connection.term().run_until_cancelled(copy).await,
            None => Some(copy.await),
        };
        match ended {
            Some(Ok((up, down))) => tracing::debug!(up, down, "a WebSocket has ended"),
            Some(Err(e)) => tracing::debug!("a WebSocket broke: {e}"),
            None => tracing::debug!("a WebSocket ends with its epoch"),
        }
    });
    Response::from_parts(parts, AnswerBody::Empty)
}
