//! Which pages may open a socket (RFC 6455 §10.2, RFC 6454).

use http::Uri;
use http::uri::{Authority, Scheme};

use super::{Offer, Refusal};

/// Whose pages may open WebSockets here. A browser sends a user's cookies along with any page's handshake, so a server
/// that answers every origin lets every page act for its visitor (RFC 6455 §10.2).
///
/// A handshake without `Origin` is allowed under every policy: its client is no browser, and could write there what it
/// liked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Pages of the host and port that the handshake asks for. Where the request says that it came over `https`, the
    /// page must have too; where it came in cleartext, TLS may have ended at a proxy, so both will do.
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
        let allowed = match self {
            Self::SameOrigin => Origin::parse(origin).is_some_and(|origin| origin.is_same(offer)),
            Self::List(list) => {
                let parsed = Origin::parse(origin);
                list.iter().any(|entry| match &parsed {
                    Some(origin) => Origin::parse(entry.as_bytes()).is_some_and(|entry| entry == *origin),
                    None => entry.as_bytes() == origin,
                })
            }
            Self::Any => true,
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
    fn parse(text: &[u8]) -> Option<Self> {
        let uri = Uri::try_from(text).ok()?;
        let scheme = uri.scheme()?.clone();
        let (host, port) = host_and_port(uri.authority()?, &scheme);
        Some(Self { scheme, host, port })
    }

    fn is_same(&self, offer: &Offer) -> bool {
        (self.scheme == Scheme::HTTPS || !offer.is_secure())
            && host_and_port(offer.authority(), &self.scheme) == (self.host.clone(), self.port)
    }
}

fn host_and_port(authority: &Authority, scheme: &Scheme) -> (String, Option<u16>) {
    let default = match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    (authority.host().to_ascii_lowercase(), authority.port_u16().or(default))
}
