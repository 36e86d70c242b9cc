//! The server under attack: a process of its own, on a processor of its own, with one worker.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::attack::Setting;
use crate::target::Whose;

const STARTUP: Duration = Duration::from_secs(10);
/// The processor of the server, and that of everybody else.
const CORE: &str = "0";

/// Where the servers' programs are.
pub struct Programs {
    pub sockeye: PathBuf,
    pub axum: Option<PathBuf>,
}

pub struct Server {
    child: Child,
    pub address: SocketAddr,
    log: PathBuf,
}

impl Server {
    pub fn start(programs: &Programs, whose: Whose, setting: &Setting) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = std::env::temp_dir().join(format!("attacks-{}-{}.log", std::process::id(), address.port()));
        let mut command = Command::new("taskset");
        command.args(["-c", CORE]);
        match whose {
            Whose::Ours => {
                command.arg(&programs.sockeye).arg("serve").arg("--listen").arg(address.to_string());
                if !setting.over.is_tls() {
                    command.arg("--cleartext");
                }
                command.args(setting.arguments);
            }
            Whose::Axum => {
                command.arg(programs.axum.as_ref().context("no axum")?).arg(address.to_string());
                if setting.over.is_tls() {
                    command.arg("--tls");
                }
            }
        }
        let child = command
            .env("TOKIO_WORKER_THREADS", "1")
            .env("RUST_LOG", "warn")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("the server does not start")?;
        let mut server = Self { child, address, log };
        server.wait_until_it_listens()?;
        Ok(server)
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < STARTUP {
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            if !self.is_alive() {
                break;
            }
            sleep(Duration::from_millis(10));
        }
        bail!("the server does not listen: {}", self.log())
    }

    /// Its process: `taskset` becomes the server.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}

/// Builds a program in release mode, and says where it is.
pub fn build(workspace: &Path, package: &str, binary: &str) -> Result<PathBuf> {
    let status = Command::new("cargo")
        .args(["build", "--release", "--locked", "--package", package, "--bin", binary])
        .current_dir(workspace)
        .status()?;
    if !status.success() {
        bail!("{package} does not build");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    Ok(target.join("release").join(binary))
}
