//! Towards an upstream over HTTP/2: an extended CONNECT (RFC 8441 §5) on a connection that many clients' sockets share.

use http::Request;
use sockeye::client::TunnelAnswer;
use sockeye::{Client, Error as Failed};

use super::Answer;
use super::handshake::Handshake;
use crate::http::Source;
use crate::reach::{Error, Reach};

/// None where the upstream does not offer the extended CONNECT.
pub(super) async fn open(handshake: &Handshake, client: &Client, reach: &Reach) -> Result<Option<Answer>, Error> {
    let target = reach.target();
    let uri = target.uri(handshake.host(target).clone(), handshake.path.clone());
    let mut request = Request::new(());
    *request.uri_mut() = uri.map_err(|error| Error::failed(format!("the request cannot go to {target}: {error}")))?;
    // There is neither a key nor an Accept over HTTP/2.
    *request.headers_mut() = handshake.fields.clone();
    match client.tunnel(request).await {
        Ok(TunnelAnswer::Opened(response, tunnel)) => {
            handshake.check(response.headers(), target)?;
            Ok(Some(Answer::Opened(response.into_parts().0.headers, tunnel)))
        }
        Ok(TunnelAnswer::Refused(response)) => Ok(Some(Answer::Refused(response.map(Source::Sockeye)))),
        Ok(_) => Err(Error::failed(format!("{target} gave an answer of no known kind"))),
        Err(Failed::NotOffered(_)) => Ok(None),
        Err(error) => Err(Error::of_http2(target, error)),
    }
}
