//! What a gateway counts, in the words of Prometheus.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::live::Live;
use crate::observe::{End, Told};
use crate::open::OpenSockets;

/// Bounds of the histogram of times to an answer, in milliseconds.
const BOUNDS: [u64; 10] = [1, 5, 10, 25, 50, 100, 250, 1000, 5000, 30_000];
/// Exchanges that the status page remembers.
const REMEMBERED: usize = 40;

/// Counters of a gateway since it began.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    open_requests: AtomicU64,
    open_sockets: OpenSockets,
    sockets: AtomicU64,
    requests: AtomicU64,
    octets: [Shard; SHARDS],
    /// By the first digit of the status: 1 to 5.
    statuses: [AtomicU64; 5],
    ends: [AtomicU64; End::NAMES.len()],
    /// Times to an answer: each bound's, and those beyond all.
    answers: [AtomicU64; BOUNDS.len() + 1],
    answer_micros: AtomicU64,
    recent: Mutex<VecDeque<Recent>>,
    /// Lines that the logs before this one lost.
    lost_lines: AtomicU64,
}

/// Octets that threads count each for itself, so that relays on several processors do not wait for one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    received: AtomicU64,
    sent: AtomicU64,
}

/// As many as have their own; more threads share.
const SHARDS: usize = 16;

thread_local! {
    /// The thread's shard.
    static SHARD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

/// An exchange that ended lately.
#[derive(Clone, Debug)]
pub(crate) struct Recent {
    pub(crate) told: Arc<Told>,
    pub(crate) end: End,
    pub(crate) took: Duration,
    /// Its number among all that ended, so that who looks again sees which are new.
    pub(crate) number: u64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counts {
    pub(crate) fn begin_request(&self) {
        add(&self.requests, 1);
        add(&self.open_requests, 1);
    }

    pub(crate) fn end_request(&self) {
        self.open_requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// A request became a socket, which is listed by this number.
    pub(crate) fn open_socket(&self, told: &Arc<Told>) -> u64 {
        self.end_request();
        add(&self.sockets, 1);
        self.open_sockets.add(told)
    }

    pub(crate) fn close_socket(&self, number: u64) {
        self.open_sockets.remove(number);
    }

    pub(crate) fn answered(&self, took: Duration) {
        let index = BOUNDS.iter().position(|bound| took.as_millis() <= u128::from(*bound)).unwrap_or(BOUNDS.len());
        add(&self.answers[index], 1);
        add(&self.answer_micros, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Octets went from a client on, of an exchange that is under way.
    pub(crate) fn received(&self, octets: u64) {
        add(&self.shard().received, octets);
    }

    /// Octets went to a client, of an exchange that is under way.
    pub(crate) fn sent(&self, octets: u64) {
        add(&self.shard().sent, octets);
    }

    fn shard(&self) -> &Shard {
        &self.octets[SHARD.with(|shard| *shard)]
    }

    pub(crate) fn ended(&self, told: &Told, end: &End) {
        add(&self.ends[end.index()], 1);
        let class = told.status.map(|status| usize::from(status.as_u16() / 100));
        if let Some(statuses) = class.and_then(|class| self.statuses.get(class.wrapping_sub(1))) {
            add(statuses, 1);
        }
    }

    pub(crate) fn remember(&self, told: &Arc<Told>, end: End, took: Duration) {
        let mut ended = Recent { told: told.clone(), end, took, number: 0 };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        ended.number = recent.back().map_or(1, |last| last.number + 1);
        let forgotten = if recent.len() == REMEMBERED { recent.pop_front() } else { None };
        recent.push_back(ended);
        // Copies are made and dropped without the lock, which all threads take.
        drop(recent);
        drop(forgotten);
    }

    /// A log makes way for another one, and has lost so many lines.
    pub(crate) fn lost_lines(&self, lines: u64) {
        add(&self.lost_lines, lines);
    }

    /// The latest last.
    pub(crate) fn recent(&self) -> Vec<Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn open_requests(&self) -> u64 {
        get(&self.open_requests)
    }

    pub(crate) fn open_sockets(&self) -> &OpenSockets {
        &self.open_sockets
    }

    pub(crate) fn requests(&self) -> u64 {
        get(&self.requests)
    }

    pub(crate) fn sockets(&self) -> u64 {
        get(&self.sockets)
    }

    pub(crate) fn octets(&self) -> (u64, u64) {
        let sum = |of: fn(&Shard) -> &AtomicU64| self.octets.iter().map(of).map(get).sum();
        (sum(|shard| &shard.received), sum(|shard| &shard.sent))
    }

    pub(crate) fn failed(&self) -> u64 {
        let failed = [End::Unavailable(String::new()), End::Failed(String::new())];
        failed.iter().map(|end| get(&self.ends[end.index()])).sum()
    }
}

impl Live {
    /// All that is counted, in the text format that Prometheus scrapes (version 0.0.4): what goes behind
    /// `sockeye::Handle::prometheus`, with its media type.
    ///
    /// | `sockeye_gateway_…` | |
    /// |---|---|
    /// | `requests_total`, `web_sockets_total` | what came, handshakes among the requests; the WebSockets that opened |
    /// | `open_requests`, `open_web_sockets` | what is under way |
    /// | `responses_total` | by `class` of the status: `1xx` to `5xx`, of what has ended |
    /// | `ends_total` | by `end`: how exchanges ended, as the access log has it |
    /// | `octets_total` | by `direction`, `received` of clients or `sent` to them, as they go |
    /// | `answer_seconds` | a histogram of the times to an answer |
    /// | `upstream_open`, `upstream_well` | by `upstream`, all routes together: exchanges that are under way, and 1 where it is well |
    /// | `upstream_exchanges_total`, `upstream_failures_total` | by `upstream`: all, and those without an answer |
    /// | `log_lines_lost_total` | lines of the access log that could not be written, or not in time |
    pub fn prometheus(&self) -> String {
        let counts = self.counts();
        let mut text = Text::default();
        text.family("requests_total", "counter", "Requests that came, handshakes of WebSockets included.");
        text.sample("", counts.requests());
        text.family("web_sockets_total", "counter", "WebSockets that opened.");
        text.sample("", counts.sockets());
        text.family("open_requests", "gauge", "Requests that are under way.");
        text.sample("", counts.open_requests());
        text.family("open_web_sockets", "gauge", "WebSockets that are open.");
        text.sample("", counts.open_sockets().len());
        text.family("responses_total", "counter", "Exchanges that ended, by the class of their status.");
        for (index, count) in counts.statuses.iter().enumerate() {
            text.sample(&format!("{{class=\"{}xx\"}}", index + 1), get(count));
        }
        text.family("ends_total", "counter", "Exchanges that ended, by how they did.");
        for (name, count) in End::NAMES.iter().zip(&counts.ends) {
            text.sample(&format!("{{end=\"{name}\"}}"), get(count));
        }
        text.family("octets_total", "counter", "Octets of content and of WebSockets, as they go.");
        let (received, sent) = counts.octets();
        text.sample("{direction=\"received\"}", received);
        text.sample("{direction=\"sent\"}", sent);
        text.answers(counts);
        text.upstreams(self);
        text.family("log_lines_lost_total", "counter", "Lines of the access log that could not be written.");
        text.sample("", get(&counts.lost_lines) + self.log().lost());
        text.text
    }
}

/// What is written of one family after the other.
#[derive(Default)]
struct Text {
    text: String,
    /// Of the family that was begun last.
    name: &'static str,
}

const PREFIX: &str = "sockeye_gateway_";

impl Text {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        _ = write!(self.text, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n");
    }

    fn sample(&mut self, labels: &str, value: u64) {
        _ = writeln!(self.text, "{PREFIX}{}{labels} {value}", self.name);
    }

    fn answers(&mut self, counts: &Counts) {
        self.family("answer_seconds", "histogram", "Seconds from a request to its answer.");
        let name = self.name;
        let mut total = 0;
        for (bound, count) in BOUNDS.iter().zip(&counts.answers) {
            total += get(count);
            let bound = Duration::from_millis(*bound).as_secs_f64();
            _ = writeln!(self.text, "{PREFIX}{name}_bucket{{le=\"{bound}\"}} {total}");
        }
        total += get(&counts.answers[BOUNDS.len()]);
        _ = writeln!(self.text, "{PREFIX}{name}_bucket{{le=\"+Inf\"}} {total}");
        let seconds = Duration::from_micros(get(&counts.answer_micros)).as_secs_f64();
        _ = writeln!(self.text, "{PREFIX}{name}_sum {seconds}\n{PREFIX}{name}_count {total}");
    }

    fn upstreams(&mut self, live: &Live) {
        let upstreams = Counted::all(live);
        type Look = fn(&Counted) -> u64;
        let families: [(&'static str, &str, &str, Look); 4] = [
            ("upstream_open", "gauge", "Exchanges that are under way.", |upstream| upstream.open),
            ("upstream_well", "gauge", "1 where it is well, 0 where it rests or fails its check.", |upstream| {
                u64::from(upstream.is_well)
            }),
            ("upstream_exchanges_total", "counter", "Exchanges so far.", |upstream| upstream.begun),
            ("upstream_failures_total", "counter", "Exchanges that got no answer.", |upstream| upstream.failures),
        ];
        for (name, kind, help, look) in families {
            self.family(name, kind, help);
            for upstream in &upstreams {
                self.sample(&format!("{{upstream=\"{}\"}}", escaped(&upstream.target)), look(upstream));
            }
        }
    }
}

/// An upstream as it is counted: one for each target, though routes may reach it each in their own way. A label that came twice would
/// make a scrape invalid.
struct Counted {
    target: String,
    open: u64,
    is_well: bool,
    begun: u64,
    failures: u64,
}

impl Counted {
    fn all(live: &Live) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for upstream in live.upstreams() {
            let (target, is_well) = (upstream.reach().target().to_string(), upstream.trouble().is_none());
            match all.iter_mut().find(|other| other.target == target) {
                Some(same) => same.is_well &= is_well,
                None => all.push(Self {
                    target,
                    open: upstream.open() as u64,
                    is_well,
                    begun: upstream.begun(),
                    failures: upstream.failures(),
                }),
            }
        }
        all
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Request, StatusCode};

    use crate::config::{Config, RouteConfig};
    use crate::live::Live;
    use crate::log::{AccessLog, LogFormat};
    use crate::observe::{End, Exchange};

    #[test]
    fn what_happened_is_counted_once() {
        let live = Live::new(&Config::to("http://a:1")).unwrap();
        let request = Request::get("https://example.com/chat?token=1").body(()).unwrap();
        let mut socket = Exchange::begin(&request, &live);
        socket.upgraded();
        let mut page = Exchange::begin(&request, &live);
        page.status(StatusCode::NOT_FOUND);
        page.received(7);
        assert!(live.prometheus().contains("octets_total{direction=\"received\"} 7\n"), "while it goes on");
        page.ended(End::Done);
        page.ended(End::ClientReset);
        drop(page);
        let text = live.prometheus();
        let says =
            |line: &str| assert!(text.lines().any(|told| told == format!("sockeye_gateway_{line}")), "{line}: {text}");
        says("requests_total 2");
        says("web_sockets_total 1");
        says("open_requests 0");
        says("open_web_sockets 1");
        says("responses_total{class=\"4xx\"} 1");
        says("responses_total{class=\"1xx\"} 0");
        says("ends_total{end=\"done\"} 1");
        says("ends_total{end=\"client_reset\"} 0");
        says("octets_total{direction=\"received\"} 7");
        says("answer_seconds_count 2");
        says("answer_seconds_bucket{le=\"+Inf\"} 2");
        says("upstream_open{upstream=\"http://a:1\"} 0");
        says("upstream_well{upstream=\"http://a:1\"} 1");
        drop(socket);
        assert!(live.prometheus().contains("sockeye_gateway_open_web_sockets 0\n"));
        assert!(live.counts().recent().iter().all(|recent| &*recent.told.path == "/chat"), "a query may hold secrets");
    }

    #[test]
    fn an_upstream_that_two_routes_reach_each_in_their_own_way_is_counted_once() {
        let mut slow = RouteConfig::new("/slow", "http://a:1");
        slow.answer_timeout = Some(Duration::from_secs(300).into());
        let live = Live::new(&Config::to("http://a:1").route(slow)).unwrap();
        let leases: Vec<_> = live.routes().iter().map(|route| route.lease().unwrap()).collect();
        leases[0].failed(&"refused");
        let text = live.prometheus();
        for (name, value) in [("open", 2), ("well", 1), ("exchanges_total", 2), ("failures_total", 1)] {
            let name = format!("sockeye_gateway_upstream_{name}{{");
            let samples: Vec<_> = text.lines().filter(|line| line.starts_with(&name)).collect();
            assert_eq!(samples, [format!("{name}upstream=\"http://a:1\"}} {value}")]);
        }
    }

    #[test]
    fn lines_that_a_log_lost_count_when_another_is_in_its_place() {
        struct Full;
        impl std::io::Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let live = Live::new(&Config::to("http://a:1")).unwrap();
        live.log_to(AccessLog::to(LogFormat::Text, Full).unwrap());
        drop(Exchange::begin(&Request::get("/").body(()).unwrap(), &live));
        live.flush_log(Duration::from_secs(10));
        let lost = "sockeye_gateway_log_lines_lost_total 1\n";
        assert!(live.prometheus().contains(lost));
        live.log_to(AccessLog::off());
        assert!(live.prometheus().contains(lost));
    }
}
