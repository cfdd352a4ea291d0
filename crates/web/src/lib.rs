//! HTTP and HTTPS servers for the GameStream API, protocol text §2.
//!
//! What a request means is the host's business: it implements [`Api`]. This crate keeps connections apart (one task
//! each, so that none waits on another), bounds what a peer may hold, completes TLS with any client certificate after
//! checking that the client owns its key, and answers what is not HTTP.
//!
//! A handler may take minutes (the first phase of pairing waits for a person). When the client closes its connection
//! meanwhile, the handler's future is dropped.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod api;
mod connection;
mod counters;
mod limits;
mod server;
mod tls;
mod watchdog;

#[cfg(test)]
mod tests;

pub use api::{Api, ApiFuture, ApiRequest, ApiResponse};
pub use counters::WebCounts;
pub use limits::Limits;
pub use server::{Listeners, Server, StartError};
pub use tls::{Identity, IdentityError};
