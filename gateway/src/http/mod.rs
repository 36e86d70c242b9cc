//! Ordinary requests, made of an upstream by hyper's client or by ours: streaming both ways, with trailers.

mod body;
pub(crate) mod fields;
mod interim;
pub(crate) mod own;
mod upload;

use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, request};
use http_body::Body as _;
use sockeye::server::Interim;

pub use self::body::Content;
pub(crate) use self::body::Source;
pub(crate) use self::upload::{Incoming, Progress, Upload};
use crate::answer::Failure;
use crate::observe::Exchange;
use crate::policy::Policy;
use crate::reach::{self, Reach, Target};
use crate::upstreams::Lease;

/// Forwards a request, and answers with what comes of it.
pub(crate) async fn forward(
    request: Request<Incoming>,
    policy: &Policy,
    mut lease: Lease,
    mut exchange: Exchange,
) -> Response<Content> {
    let interim = Interim::of(&request);
    let (parts, body) = request.into_parts();
    let outline = Outline::of(&parts, &body, policy, exchange.live().name(), interim);
    let has_trailers = outline.fields.contains_key(TRAILER);
    let mut upload = Upload::new(body, has_trailers, exchange.live().clone());
    // Once more at the same upstream where a connection ended, or took no more; at another once where it may have been seen, and else at any.
    let (mut is_again, mut is_elsewhere) = (false, false);
    loop {
        let (progress, content) = (upload.progress(), upload.content());
        exchange.upstream(lease.reach().shared_target());
        exchange.uploads(&progress);
        let failed = match attempt(&outline, upload, &progress, lease.reach(), is_again).await {
            Ok(mut response) => {
                content.forget();
                lease.succeeded();
                if outline.host.is_none() {
                    fields::lead_back(response.headers_mut(), &outline.fields, lease.reach().target());
                }
                exchange.status(response.status());
                return answer(response, &parts.method, progress, exchange, lease);
            }
            Err(failed) => progress.broken().cloned().unwrap_or(failed),
        };
        if failed.is_of_client() || failed.is_of_gateway() {
            return Failure::of_upstream(&failed).answer(exchange);
        }
        // RFC 9110 §9.2.2: what the upstream may have seen is made again where that does no harm, and with all of its content.
        let may_repeat = failed.is_unreached() || parts.method.is_idempotent() && !failed.is_timeout();
        let again = if may_repeat { content.again() } else { None };
        let says_nothing = failed.is_of_connection() && !is_again;
        if says_nothing && let Some(again) = again {
            (is_again, upload) = (true, again);
            continue;
        }
        if !says_nothing {
            lease.failed(&failed);
        }
        let goes_on = failed.is_unreached() || !std::mem::replace(&mut is_elsewhere, true);
        let Some((other, again)) = again.filter(|_| goes_on).and_then(|again| Some((lease.another()?, again))) else {
            return Failure::of_upstream(&failed).answer(exchange);
        };
        (lease, upload, is_again) = (other, again, false);
    }
}

/// A request as it goes on, but for what depends on the upstream.
struct Outline {
    method: Method,
    path: PathAndQuery,
    fields: HeaderMap,
    /// What the client asked for, where the upstream is to know.
    host: Option<Authority>,
    /// For what the upstream says before its answer.
    interim: Option<Interim>,
    /// Whether the client waits for a 100 before it sends content (RFC 9110 §10.1.1).
    expects_continue: bool,
}

impl Outline {
    fn of(parts: &request::Parts, body: &Incoming, policy: &Policy, name: &str, interim: Option<Interim>) -> Self {
        let mut fields = fields::of_request(parts, parts.extensions.get(), policy, name);
        // A length beside another framing counts for nothing (RFC 9112 §6.3), and leaves no room for trailers. One that came several
        // times goes on once (RFC 9110 §8.6).
        match body.size_hint().exact() {
            Some(octets) if fields.contains_key(CONTENT_LENGTH) && !fields.contains_key(TRAILER) => {
                fields.insert(CONTENT_LENGTH, octets.into());
            }
            // RFC 9110 §8.6: some servers answer 411 to what has content by its meaning, and does not say that there is none.
            Some(0) if [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method) && body.is_end_stream() => {
                fields.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            _ => _ = fields.remove(CONTENT_LENGTH),
        }
        own::count_down(&parts.method, &mut fields);
        let path = fields::path(&parts.uri);
        let host = if policy.preserve_host { fields::authority(&parts.uri, &parts.headers) } else { None };
        let expects_continue = fields::tokens(&fields, &EXPECT).any(|token| token.eq_ignore_ascii_case("100-continue"));
        Self { method: parts.method.clone(), path, fields, host, interim, expects_continue }
    }

    fn request(&self, mut upload: Upload, target: &Target, version: Version) -> Result<Request<Upload>, reach::Error> {
        let invalid = |error: http::Error| reach::Error::failed(format!("the request cannot go to {target}: {error}"));
        let host = self.host.as_ref().unwrap_or(target.authority());
        // By this hyper's pool tells its connections apart, so a client is to choose it only where the version of HTTP needs it.
        let named = if version == Version::HTTP_2 { host } else { target.authority() };
        let uri: Uri = target.uri(named.clone(), self.path.clone()).map_err(invalid)?;
        if self.expects_continue && !upload.is_end_stream() {
            upload.wait();
        }
        let progress = upload.progress();
        let mut request = Request::new(upload);
        *request.version_mut() = version;
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.fields.clone();
        interim::pass_on(&mut request, self.interim.clone(), progress);
        let host = HeaderValue::from_str(host.as_str()).map_err(|error| invalid(error.into()))?;
        request.headers_mut().insert(HOST, host);
        if version != Version::HTTP_2 && self.fields.contains_key(TE) {
            // RFC 9110 §10.1.4
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("te"));
        }
        Ok(request)
    }
}

async fn attempt(
    outline: &Outline,
    upload: Upload,
    progress: &Progress,
    reach: &Reach,
    is_again: bool,
) -> Result<Response<Source>, reach::Error> {
    let request = outline.request(upload, reach.target(), reach.version().await?)?;
    let answered = reach.request(request, is_again);
    match within(reach.timeouts().answer, progress, answered).await {
        // RFC 9110 §15.2.2: it goes over to what nobody asked for, and its client would take what follows for that.
        Some(Ok(response)) if response.status().is_informational() => {
            let (target, status) = (reach.target(), response.status());
            Err(reach::Error::failed(format!(
                "{target} answered {status} to a request that asks for no other protocol"
            )))
        }
        Some(Ok(response)) if fields::has_foreign_coding(response.headers()) => {
            Err(reach::Error::foreign_coding(reach.target()))
        }
        Some(Ok(response)) => Ok(response),
        Some(Err(error)) => Err(error),
        // RFC 9110 §15.5.9
        None if progress.awaits_client() => Err(reach::Error::content_stalled(reach.timeouts().answer)),
        None => {
            let (target, time) = (reach.target(), reach.timeouts().answer.as_secs_f32());
            let text = format!("{target} did not begin to answer within {time} s (--answer-timeout gives more)");
            Err(reach::Error::timed_out(text, true))
        }
    }
}

/// Waits for an answer for as long as the content of the request makes progress, and `time` behind that.
async fn within<T>(time: Duration, progress: &Progress, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    loop {
        let before = progress.octets();
        match tokio::time::timeout(time, future.as_mut()).await {
            Ok(output) => return Some(output),
            Err(_) if progress.octets() > before => {}
            Err(_) => return None,
        }
    }
}

fn answer(
    response: Response<Source>,
    method: &Method,
    upload: Progress,
    exchange: Exchange,
    lease: Lease,
) -> Response<Content> {
    let (mut parts, body) = response.into_parts();
    fields::head_of_response(&mut parts);
    // RFC 9110 §6.4.1
    let has_content = *method != Method::HEAD
        && !matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    Response::from_parts(parts, Content::of_upstream(body, upload, exchange, lease, has_content))
}
