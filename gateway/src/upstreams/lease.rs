use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::{Group, Upstream};

/// A place at an upstream, which counts as open there until it is dropped.
#[derive(Debug)]
pub struct Lease {
    upstream: Arc<Upstream>,
    group: Arc<Group>,
}

impl Lease {
    pub(super) fn new(upstream: Arc<Upstream>, group: Arc<Group>) -> Self {
        upstream.begin();
        Self { upstream, group }
    }

    /// The upstream gave no answer. After several in a row it rests for a while.
    pub fn failed(&self, why: &dyn fmt::Display) {
        self.upstream.failed(why);
    }

    /// The upstream gave an answer, whatever it was.
    pub fn succeeded(&self) {
        self.upstream.succeeded();
    }

    /// A place at another upstream of the route, for what this one did not take. None where there is no other that may be asked.
    pub fn another(&self) -> Option<Self> {
        self.group.least_open(Some(&self.upstream))
    }
}

impl Deref for Lease {
    type Target = Upstream;

    fn deref(&self) -> &Upstream {
        &self.upstream
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.upstream.end();
    }
}
