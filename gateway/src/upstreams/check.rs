//! Asks an upstream from time to time whether it is well.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::Upstream;
use crate::reach::Error;

/// Time for an answer: a server that takes longer for its own check is not well.
const PATIENCE: Duration = Duration::from_secs(5);

/// The check ends with the upstream, or by what is returned.
pub(super) fn start(upstream: &Arc<Upstream>, path: String, interval: Duration) -> Result<AbortHandle, Error> {
    let runtime = Handle::try_current()
        .map_err(|_| Error::invalid("a check needs a runtime of tokio: make the gateway inside of one"))?;
    Ok(runtime.spawn(repeat(Arc::downgrade(upstream), path, interval)).abort_handle())
}

async fn repeat(upstream: Weak<Upstream>, path: String, interval: Duration) {
    while let Some(upstream) = upstream.upgrade() {
        if let Some(found) = ask(&upstream, &path).await {
            upstream.checked(found);
        }
        drop(upstream);
        sleep(jittered(interval)).await;
    }
}

/// Never all upstreams in one moment.
fn jittered(interval: Duration) -> Duration {
    let seconds = interval.as_secs_f64() * rand::random_range(0.9..=1.1);
    Duration::try_from_secs_f64(seconds).unwrap_or(interval)
}

/// None where that could not be found out.
async fn ask(upstream: &Upstream, path: &str) -> Option<Result<(), String>> {
    Some(match timeout(PATIENCE, upstream.reach().check(path)).await {
        Ok(Ok(status)) if status.is_success() || status.is_redirection() => Ok(()),
        Ok(Ok(status)) => Err(format!("{path} answers {status}")),
        Ok(Err(error)) if error.is_of_gateway() => return None,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("{path} does not answer within {} s", PATIENCE.as_secs())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_may_be_as_long_as_can_be_said() {
        for _ in 0..100 {
            assert!(jittered(Duration::MAX) > Duration::from_secs(u64::MAX / 2));
            assert!(jittered(Duration::from_secs(10)).abs_diff(Duration::from_secs(10)) <= Duration::from_millis(1001));
        }
    }
}
