//! All that a probe finds out: this is what `--json` prints.

use serde::Serialize;

use super::attempt::Attempt;
use super::verdict::Verdict;

/// Both connections, and what they come to. Fields are only ever added; one that does not apply is null. Times are in milliseconds.
#[derive(Serialize, Debug)]
pub(crate) struct Report {
    pub(crate) url: String,
    pub(crate) verdict: Verdict,
    pub(crate) http2: Attempt,
    pub(crate) http1: Attempt,
}
