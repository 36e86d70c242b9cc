//! SIGHUP: what was read at the start is read again, and nothing that is open notices.

use anyhow::{Context as _, Result};
use sockeye_gateway::Live;

use super::arguments::{Arguments, Settings};
use super::certificates::Certificates;
use super::logs;
use crate::notes;
use crate::systemd;

/// What a reload reads, and what it changes.
pub(super) struct Reload {
    pub(super) arguments: Arguments,
    /// What cannot change holds as it was said then.
    pub(super) begun_with: Settings,
    pub(super) live: Live,
    pub(super) certificates: Option<Certificates>,
}

/// SIGHUPs, from here on: until then one ends the process. So this comes before anybody hears that the gateway runs.
#[cfg(unix)]
pub(super) struct Hangups(tokio::signal::unix::Signal);

#[cfg(not(unix))]
pub(super) struct Hangups;

impl Hangups {
    /// # Errors
    ///
    /// The system has no room for the signal.
    #[cfg(unix)]
    pub(super) fn catch() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?))
    }

    #[cfg(not(unix))]
    pub(super) fn catch() -> Result<Self> {
        Ok(Self)
    }
}

impl Reload {
    /// Reads everything again whenever a SIGHUP comes. Where anything is wrong, stderr says so and all stays as it was.
    #[cfg(unix)]
    pub(super) fn on(self, mut hangups: Hangups) {
        tokio::spawn(async move {
            while hangups.0.recv().await.is_some() {
                systemd::reloading();
                match self.reload() {
                    Ok(()) => notes::note("reloaded: the configuration, the certificate and the access log"),
                    Err(error) => notes::error(&format!("not reloaded, all stays as it was: {error:#}")),
                }
                systemd::ready();
            }
        });
    }

    /// There is no such signal.
    #[cfg(not(unix))]
    pub(super) fn on(self, Hangups: Hangups) {}

    /// What can fail comes first, and what it changes last.
    #[cfg_attr(not(unix), expect(dead_code, reason = "nothing asks for it"))]
    fn reload(&self) -> Result<()> {
        let settings = self.arguments.settings()?;
        let log = logs::open(&settings)?;
        let certificate = settings.identity.read()?;
        self.live.reload(&settings.config).context("the configuration cannot be used")?;
        if let (Some(certificates), Some(certificate)) = (&self.certificates, certificate) {
            certificates.change(certificate);
        }
        self.live.log_to(log);
        for name in self.begun_with.changed(&settings) {
            notes::warning(&format!(
                "{name} has changed, which only a restart can put into effect: all else is reloaded"
            ));
        }
        Ok(())
    }
}
