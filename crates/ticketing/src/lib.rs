//! The protected workload: a ticketing site for musicals, concerts and sports.
//!
//! A visitor signs up, chooses seats on a map, holds them for seven minutes, pays, and reads out a booking number at
//! the door. A seat is sold once, an account has no more seats than it may, asking twice books once: keys of the
//! database say so ([`store`]), rules say it kindly ([`booking`]), and [`desk`] joins both.
//!
//! Always true here: nothing lives in the process that another instance, anywhere, could miss. Sessions are signed
//! cookies; holds, bookings and payments are rows; numbers are drawn, not counted.
//!
//! Must not know: that there is another site, who replicates the database, or why it refuses for a while. It only
//! stays up, says so kindly, and is back as soon as the database is.

pub mod admission;
pub mod api;
pub mod booking;
pub mod calendar;
pub mod catalogue;
pub mod clock;
pub mod config;
pub mod desk;
pub mod discount;
pub mod fixture;
pub mod hall_csv;
pub mod http;
pub mod ids;
pub mod inventory;
pub mod lang;
pub mod mail;
pub mod password;
pub mod payment;
pub mod policy;
pub mod queue;
pub mod refund;
pub mod refusal;
pub mod role;
pub mod seating;
pub mod session;
pub mod store;
mod view;
pub mod waiting;
pub mod waitlist;
pub mod webhook;

use std::time::Duration;

use axum::serve::ListenerExt;
use runtime::process::Shutdown;
use tokio::net::TcpListener;

/// How long answers under way may take after the process was asked to end.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves the box office on `listener` until `shutdown`, then lets answers under way finish.
pub async fn serve(listener: TcpListener, desk: desk::Desk, shutdown: Shutdown) -> std::io::Result<()> {
    let listener = listener.tap_io(|io| {
        if let Err(e) = io.set_nodelay(true) {
            tracing::debug!("TCP_NODELAY on a visitor's connection: {e}");
        }
    });
    let asked = shutdown.clone();
    let serving = axum::serve(listener, http::router(desk))
        .with_graceful_shutdown(async move { asked.cancelled().await });
    tokio::select! {
        done = async { serving.await } => done,
        () = async { shutdown.cancelled().await; tokio::time::sleep(DRAIN).await } => Ok(()),
    }
}
