//! What of a client's handshake goes to an upstream, and what the upstream may agree to.

use http::header::{CONTENT_LENGTH, EXPECT, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS};
use http::header::{SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TE};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue};
use sockeye::{Peer, Upgrade};

use crate::http::fields;
use crate::policy::Policy;
use crate::reach::{Error, Target};

/// draft-damjanovic-websockets-nomasking-02: what is agreed between two ends of one secure connection. The masks of one hop would
/// be missing on another, so that it goes over neither.
const NO_MASKING: &str = "no-masking";

/// What is asked of an upstream, over either version of HTTP.
pub(super) struct Handshake {
    pub(super) path: PathAndQuery,
    /// What the client asked for, where the upstream is to know.
    host: Option<Authority>,
    /// All but `Host`, and what one version alone has.
    pub(super) fields: HeaderMap,
    protocols: Vec<String>,
    extensions: Vec<String>,
}

impl Handshake {
    pub(super) fn of(upgrade: &Upgrade, peer: Option<&Peer>, policy: &Policy, name: &str) -> Self {
        let parts = upgrade.request();
        let mut fields = fields::of_request(parts, peer, policy, name);
        // No trailers follow a tunnel, nor any content a 100 (RFC 9110 §10.1).
        for own in [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_ACCEPT, CONTENT_LENGTH, EXPECT, TE] {
            fields.remove(own);
        }
        fields.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        let offered = upgrade.offer().extensions().iter().filter(|extension| extension.name != NO_MASKING);
        let (extensions, shown): (Vec<_>, Vec<_>) =
            offered.map(|extension| (extension.name.clone(), extension.to_string())).unzip();
        fields.remove(SEC_WEBSOCKET_EXTENSIONS);
        if let Ok(value) = HeaderValue::try_from(shown.join(", "))
            && !shown.is_empty()
        {
            fields.insert(SEC_WEBSOCKET_EXTENSIONS, value);
        }
        Self {
            path: fields::path(&parts.uri),
            host: if policy.preserve_host { fields::authority(&parts.uri, &parts.headers) } else { None },
            fields,
            protocols: upgrade.offer().protocols().map(str::to_owned).collect(),
            extensions,
        }
    }

    /// The host to name to this upstream.
    pub(super) fn host<'a>(&'a self, target: &'a Target) -> &'a Authority {
        self.host.as_ref().unwrap_or(target.authority())
    }

    /// See [`fields::lead_back`].
    pub(super) fn lead_back(&self, answered: &mut HeaderMap, target: &Target) {
        if self.host.is_none() {
            fields::lead_back(answered, &self.fields, target);
        }
    }

    /// RFC 6455 §4.1: an upstream agrees to what was offered, and to nothing else. The client would have to fail the socket, and
    /// not know whose fault it is.
    pub(super) fn check(&self, agreed: &HeaderMap, target: &Target) -> Result<(), Error> {
        if let Some(name) =
            names(agreed, &SEC_WEBSOCKET_EXTENSIONS).find(|name| !self.extensions.iter().any(|own| own == name))
        {
            return Err(Error::failed(format!("{target} agreed to the extension {name:?}, which was not offered")));
        }
        let mut protocols = names(agreed, &SEC_WEBSOCKET_PROTOCOL);
        match (protocols.next(), protocols.next()) {
            (Some(_), Some(_)) => Err(Error::failed(format!("{target} agreed to more than one subprotocol"))),
            (Some(name), None) if !self.protocols.iter().any(|own| own == name) => {
                Err(Error::failed(format!("{target} agreed to the subprotocol {name:?}, which was not offered")))
            }
            _ => Ok(()),
        }
    }
}

/// The names in a list of them with parameters.
fn names<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    fields::tokens(fields, name).map(|token| token.split(';').next().unwrap_or(token).trim())
}
