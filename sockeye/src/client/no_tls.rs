//! In the place of TLS where the feature `tls` is off.

use std::convert::Infallible;

use http::Version;

use super::Versions;
use crate::engine::transport::AnyTransport;
use crate::error::{Error, Result, Step};

/// The configuration that nobody can give.
pub(super) type ClientConfig = Infallible;

/// There is none.
pub(super) struct Tls(Infallible);

impl Tls {
    pub(super) fn new(_: Option<&ClientConfig>) -> Result<Self> {
        Err(Error::connect(Step::Tls, "the feature `tls` of the crate is off"))
    }

    pub(super) async fn secure(
        &self,
        _: AnyTransport,
        _: &str,
        _: Versions,
    ) -> Result<(AnyTransport, Option<Version>)> {
        match self.0 {}
    }
}
