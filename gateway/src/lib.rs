//! A gateway for WebSockets over HTTP/2 (RFC 8441), before servers that have never heard of it.
//!
//! Its clients speak HTTP/2 or HTTP/1.1, and so do its upstreams: a page's hundred WebSockets are streams of one connection, whatever
//! the server behind it speaks. All else on the same origin goes through as well. [`Gateway`] is a tower service for
//! [`sockeye::Server`], and [`Config`] says where things go:
//!
//! ```no_run
//! use sockeye_gateway::{Config, Gateway, Live, RouteConfig};
//! use tokio::net::TcpListener;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::to("http://localhost:3000").route(RouteConfig::new("/api", "http://localhost:4000"));
//! let gateway = Gateway::new(Live::new(&config)?);
//! let listener = TcpListener::bind("[::]:8080").await?;
//! sockeye::Server::new().serve(listener, gateway).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The program `sockeye gateway` is this with TLS, a log, a status page and an orderly end.

// On docs.rs each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod answer;
pub mod config;
pub mod http;
pub mod live;
pub mod log;
mod metrics;
pub mod observe;
mod open;
mod policy;
pub mod reach;
mod routes;
mod service;
pub mod status;
pub mod upstreams;
mod websocket;

pub use self::config::{Config, ConfigError, RouteConfig};
pub use self::http::Content;
pub use self::live::Live;
pub use self::log::{AccessLog, LogFormat};
pub use self::policy::Policy;
pub use self::reach::{Protocol, Reach, Target, Timeouts, Tls};
pub use self::service::Gateway;
