//! What an upstream says before its answer (1xx, RFC 9110 §15.2): a proxy passes it on.

use std::sync::atomic::{AtomicU32, Ordering};

use http::{HeaderMap, Request, Response, StatusCode, Version};
use sockeye::client::OnInterim;
use sockeye::server::Interim;

use super::fields;
use super::upload::{Progress, Upload};

/// Interim responses that go on for one request: a server has one or two, and more cost a client more than their upstream.
const MAX_PASSED_ON: u32 = 32;

/// Has what comes before the answer go to the client, if it takes such, and a 100 to whoever waits for it with the content.
pub(super) fn pass_on(request: &mut Request<Upload>, to: Option<Interim>, upload: Progress) {
    let passed_on = AtomicU32::new(0);
    let pass_on = move |status, fields: &HeaderMap| match status {
        StatusCode::CONTINUE => upload.admit(),
        // Nothing was upgraded: hyper says so where that is an answer.
        StatusCode::SWITCHING_PROTOCOLS => {}
        status => {
            let Some(to) = &to else { return };
            if passed_on.fetch_add(1, Ordering::Relaxed) >= MAX_PASSED_ON {
                return;
            }
            let mut response = Response::new(());
            *response.status_mut() = status;
            *response.headers_mut() = fields.clone();
            fields::of_response(response.headers_mut());
            // A client that is gone, or has its answer, needs none.
            to.send(response).ok();
        }
    };
    if request.version() == Version::HTTP_2 {
        let on_interim = OnInterim::new(move |head| pass_on(head.status(), head.headers()));
        request.extensions_mut().insert(on_interim);
    } else {
        hyper::ext::on_informational(request, move |head| pass_on(head.status(), head.headers()));
    }
}
