//! One type for all that the program serves: the server, which is generic, is compiled once for it, and not once for each.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either};
use sockeye::{Body, BoxError};
use sockeye_gateway::Gateway;
use tower_service::Service;

/// What an answer consists of: of the gateway's, or of the program's own.
type Content = Either<sockeye_gateway::Content, UnsyncBoxBody<Bytes, BoxError>>;

type OwnAnswer = Pin<Box<dyn Future<Output = Response<UnsyncBoxBody<Bytes, BoxError>>> + Send>>;

#[derive(Clone)]
pub(crate) enum Served {
    Gateway(Gateway),
    Own(Arc<dyn Fn(Request<Body>) -> OwnAnswer + Send + Sync>),
}

pub(crate) enum Answer {
    Gateway(<Gateway as Service<Request<Body>>>::Future),
    Own(OwnAnswer),
}

impl Served {
    /// What an async function answers.
    pub(crate) fn own<F, A, B>(answer: F) -> Self
    where
        F: Fn(Request<Body>) -> A + Send + Sync + 'static,
        A: Future<Output = Response<B>> + Send + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self::Own(Arc::new(move |request| {
            let answer = answer(request);
            Box::pin(async { answer.await.map(|content| content.map_err(Into::into).boxed_unsync()) })
        }))
    }
}

impl Service<Request<Body>> for Served {
    type Response = Response<Content>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        match self {
            // It is always ready.
            Self::Gateway(gateway) => Answer::Gateway(gateway.call(request)),
            Self::Own(answer) => Answer::Own(answer(request)),
        }
    }
}

impl Future for Answer {
    type Output = Result<Response<Content>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.get_mut() {
            Self::Gateway(answer) => ready!(answer.as_mut().poll(cx)).map(|response| response.map(Either::Left)),
            Self::Own(answer) => Ok(ready!(answer.as_mut().poll(cx)).map(Either::Right)),
        })
    }
}
