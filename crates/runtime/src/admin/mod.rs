//! The admin API: JSON over HTTP/1.1, `/v1/…` behind a bearer token.
//!
//! [`serve`] adds to a process's own routes what all of them have: `GET /healthz`, `GET /metrics`, and the token
//! check in front of everything under `/v1`. [`Client`] is the other end.

mod client;
mod server;

pub use client::{Client, ClientError};
pub use server::{ApiError, serve};
