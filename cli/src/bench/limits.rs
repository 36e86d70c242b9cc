//! The system's limit on open files, of which every connection is one.

use anyhow::Result;

/// Files that are open besides the connections.
const OTHER_FILES: u64 = 64;

/// Raises this process's own limit so that so many connections fit.
///
/// # Errors
///
/// The system allows no such limit.
#[cfg(unix)]
pub(super) fn make_room(connections: usize) -> Result<()> {
    use anyhow::{Context as _, bail};
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let needed = connections as u64 + OTHER_FILES;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the limit on open files")?;
    if needed > soft && (needed > hard || setrlimit(Resource::RLIMIT_NOFILE, needed, hard).is_err()) {
        bail!(
            "{connections} connections need {needed} open files, and this system allows {hard}: raise the hard limit \
             (`ulimit -Hn {needed}` as root, or /etc/security/limits.conf), or ask for fewer connections"
        );
    }
    Ok(())
}

/// This system has no such limit.
#[cfg(not(unix))]
pub(super) fn make_room(_: usize) -> Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::make_room;

    #[test]
    fn what_cannot_be_had_is_said() {
        make_room(1).unwrap();
        let error = make_room(usize::MAX >> 1).unwrap_err().to_string();
        assert!(error.contains("ulimit -Hn"), "{error}");
    }
}
