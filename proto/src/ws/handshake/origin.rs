//! Which pages may open a socket (RFC 6455 §10.2, RFC 6454).

use http::Uri;
use http::uri::{Authority, Scheme};

use super::{Offer, Refusal};
use crate::uri::default_port;

/// Whose pages may open WebSockets here. A browser sends a user's cookies along with any page's handshake, so a server
/// that answers every origin lets every page act for its visitor (RFC 6455 §10.2).
///
/// A handshake without `Origin` is allowed under every policy: its client is no browser, and could write there what it
/// liked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginPolicy {
    /// Pages of the host and port that the handshake asks for. Where the connection is encrypted by TLS, or the request's
    /// target says `https`, the page must have come so, too; where nothing says it, TLS may have ended at a proxy, so both
    /// will do. Nothing says it in cleartext HTTP/1.1, nor in the HTTP/1.1 of a server that is not Sockeye's.
    #[default]
    SameOrigin,
    /// Pages of these origins and no others, each written as a browser does: `https://example.com`, or `null`.
    List(Vec<String>),
    /// Pages from anywhere.
    Any,
}

impl OriginPolicy {
    /// Whether this page may open this socket.
    ///
    /// # Errors
    ///
    /// [`Refusal::Origin`] where it may not.
    pub fn check(&self, offer: &Offer) -> Result<(), Refusal> {
        let Some(origin) = offer.origin() else {
            return Ok(());
        };
        let page = Origin::parse(origin.as_bytes());
        let allowed = match (self, &page) {
            (Self::Any, _) => true,
            (Self::SameOrigin, Some(page)) => {
                let ours = Origin::new(page.scheme.clone(), offer.authority());
                *page == ours && (page.scheme == Scheme::HTTPS || !offer.is_secure())
            }
            (Self::SameOrigin, None) => false,
            (Self::List(list), Some(_)) => list.iter().any(|entry| Origin::parse(entry.as_bytes()) == page),
            (Self::List(list), None) => list.iter().any(|entry| entry.as_bytes() == origin),
        };
        if allowed { Ok(()) } else { Err(Refusal::Origin) }
    }
}

/// Scheme, host and port (RFC 6454 §4): what `null` has none of.
#[derive(PartialEq)]
struct Origin {
    scheme: Scheme,
    host: String,
    port: Option<u16>,
}

impl Origin {
    fn new(scheme: Scheme, authority: &Authority) -> Self {
        let port = authority.port_u16().or_else(|| default_port(scheme.as_str()));
        Self { scheme, host: authority.host().to_ascii_lowercase(), port }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let uri = Uri::try_from(text).ok()?;
        Some(Self::new(uri.scheme()?.clone(), uri.authority()?))
    }
}
