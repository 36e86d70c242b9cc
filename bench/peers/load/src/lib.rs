//! What the clients to compare share: their arguments, the messages, and the account of them.

use std::cell::Cell;
use std::error::Error;
use std::fs;
use std::time::Duration;

pub type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Until memory, caches and windows have found their size.
const WARM_UP: Duration = Duration::from_secs(1);

/// `ADDRESS SOCKETS OCTETS SECONDS`, and flags of the client's own.
pub struct Arguments {
    pub address: String,
    pub sockets: usize,
    pub octets: usize,
    seconds: f64,
    flags: Vec<String>,
}

impl Arguments {
    pub fn parse() -> Result<Self> {
        let (flags, arguments): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|word| word.starts_with("--"));
        let [address, sockets, octets, seconds] = &arguments[..] else {
            return Err("arguments: ADDRESS SOCKETS OCTETS SECONDS".into());
        };
        let address = address.clone();
        Ok(Self { address, sockets: sockets.parse()?, octets: octets.parse()?, seconds: seconds.parse()?, flags })
    }

    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|given| given == flag)
    }
}

thread_local! {
    /// The echoes of all sockets, which one thread runs.
    static ECHOES: Cell<u64> = const { Cell::new(0) };
}

/// Counts an echo, which is to be the [message] of so many octets of this socket and turn.
pub fn enter(echo: &[u8], octets: usize, socket: usize, turn: u64) {
    let stamp = stamp(socket, turn);
    let (words, rest) = echo.as_chunks();
    let is_echo = echo.len() == octets && words.iter().all(|word| *word == stamp) && stamp.starts_with(rest);
    assert!(is_echo, "what comes back is what was sent");
    ECHOES.set(ECHOES.get() + 1);
}

/// Waits, and prints the echoes and the processor time of this thread per echo, as a line of JSON.
pub async fn measure(arguments: &Arguments) -> Result {
    tokio::time::sleep(WARM_UP).await;
    let (echoes, time) = (ECHOES.get(), processor_time()?);
    tokio::time::sleep(Duration::from_secs_f64(arguments.seconds)).await;
    let (echoes, time) = (ECHOES.get() - echoes, processor_time()? - time);
    if echoes == 0 {
        return Err("nothing comes back".into());
    }
    let microseconds = time.as_nanos() as f64 / 1000.0 / echoes as f64;
    let rate = echoes as f64 / arguments.seconds;
    println!("{{\"echoes\": {echoes}, \"echoes_per_s\": {rate:.0}, \"client_us_per_echo\": {microseconds:.4}}}");
    Ok(())
}

/// The message of a socket and turn, which is like no other.
pub fn message(octets: usize, socket: usize, turn: u64) -> Vec<u8> {
    let stamp = stamp(socket, turn);
    let mut message = vec![0; octets];
    for word in message.chunks_mut(stamp.len()) {
        word.copy_from_slice(&stamp[..word.len()]);
    }
    message
}

fn stamp(socket: usize, turn: u64) -> [u8; 8] {
    ((socket as u64) << 40 | turn).to_be_bytes()
}

/// What the scheduler has given the first thread of this process, where everything runs: Linux, `schedstat`.
fn processor_time() -> Result<Duration> {
    let text = fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().ok_or("schedstat is empty")?.parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}
