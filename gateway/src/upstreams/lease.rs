use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::{Group, Upstream};

/// A place at an upstream, which counts as open there until it is dropped.
#[derive(Debug)]
pub struct Lease {
    upstream: Arc<Upstream>,
    group: Arc<Group>,
    /// Those that were asked before it.
    tried: Vec<Arc<Upstream>>,
}

impl Lease {
    pub(super) fn new(upstream: Arc<Upstream>, group: Arc<Group>, tried: Vec<Arc<Upstream>>) -> Self {
        upstream.begin();
        Self { upstream, group, tried }
    }

    /// The upstream gave no answer. After several in a row it rests for a while.
    pub fn failed(&self, why: &dyn fmt::Display) {
        self.upstream.failed(why);
    }

    /// The upstream gave an answer, whatever it was.
    pub fn succeeded(&self) {
        self.upstream.succeeded();
    }

    /// A place at another upstream of the route, for what neither this one nor those before it took. None where there is no other that
    /// may be asked: one that rests is where this is the first.
    pub fn another(&self) -> Option<Self> {
        let tried = self.tried.iter().chain([&self.upstream]).cloned().collect();
        self.group.least_open(tried)
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
