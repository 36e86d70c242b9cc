//! The report: for people, and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use http::Version;
use serde::Serialize;

use super::failure::{Kind, Line};
use super::plan::Plan;
use super::run::Outcome;
use super::{Arguments, Status, run};
use crate::style::Style;

/// Columns of the longest bar.
const BAR: usize = 40;
/// Beyond this share of a core for each thread, it may be the load that is slow.
const BUSY: f64 = 0.95;

/// The fields are those of the JSON report, as the help describes them.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    url: String,
    http: &'static str,
    connections: usize,
    sockets: usize,
    size: String,
    binary: bool,
    depth: Option<u64>,
    rate: Option<f64>,
    threads: usize,
    verdict: Verdict,
    interrupted: bool,
    opening: Opening,
    load: Option<Load>,
    idle: Option<Idle>,
    cpu: Cpu,
    memory: Option<Memory>,
    failures: Vec<Line>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Failures,
    Wrong,
    NothingOpened,
}

#[derive(Debug, Serialize)]
struct Opening {
    connections: u64,
    sockets: u64,
    seconds: f64,
    sockets_per_second: f64,
}

#[derive(Debug, Serialize)]
struct Load {
    seconds: f64,
    messages: u64,
    messages_per_second: f64,
    octets_per_second: f64,
    latency_us: Option<Percentiles>,
    lateness_us: Option<Percentiles>,
    histogram: Vec<Bucket>,
}

#[derive(Debug, Serialize)]
struct Percentiles {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

/// Messages whose latency was above that of the bucket before, up to this one.
#[derive(Debug, Serialize)]
struct Bucket {
    up_to_us: f64,
    messages: u64,
}

#[derive(Debug, Serialize)]
struct Idle {
    seconds: f64,
    exchange_seconds: f64,
    answered: u64,
    answered_after: u64,
}

#[derive(Debug, Default, Serialize)]
struct Cpu {
    server_us_per_message: Option<f64>,
    server_cores: Option<f64>,
    own_us_per_message: Option<f64>,
    own_cores: Option<f64>,
}

/// In octets.
#[derive(Debug, Serialize)]
struct Memory {
    before: u64,
    after: u64,
    per_socket: f64,
}

impl Report {
    pub(super) fn new(arguments: &Arguments, plan: &Plan, outcome: Outcome) -> Self {
        let Outcome { totals, opening, load, idle, failures, memory, is_interrupted } = outcome;
        let failures = failures.into_lines();
        let verdict = match &failures[..] {
            lines if lines.iter().any(|line| line.kind == Kind::Mismatch) => Verdict::Wrong,
            _ if totals.opened == 0 => Verdict::NothingOpened,
            [] => Verdict::Ok,
            _ => Verdict::Failures,
        };
        Self {
            url: arguments.url.to_string(),
            http: if plan.http == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" },
            connections: plan.connections,
            sockets: plan.connections * plan.sockets,
            size: plan.messages.sizes().to_string(),
            binary: !plan.messages.is_text(),
            depth: (plan.depth < u64::MAX).then_some(plan.depth),
            rate: plan.rate.map(super::pace::Rate::per_second),
            threads: plan.threads,
            verdict,
            interrupted: is_interrupted,
            opening: Opening {
                connections: totals.connected,
                sockets: totals.opened,
                seconds: opening,
                sockets_per_second: per(totals.opened as f64, opening),
            },
            cpu: load.as_ref().map_or_else(Cpu::default, Cpu::new),
            load: load.map(|load| Load::new(&load, plan)),
            idle: idle.map(|run::Idle { seconds, exchange_seconds, answered, answered_after }| Idle {
                seconds,
                exchange_seconds,
                answered,
                answered_after,
            }),
            memory: memory.map(|(before, after)| Memory {
                before,
                after,
                per_socket: per(after as f64 - before as f64, totals.opened as f64),
            }),
            failures,
        }
    }

    pub(super) fn status(&self) -> Status {
        match self.verdict {
            Verdict::Ok => Status::Right,
            Verdict::NothingOpened => Status::NothingOpened,
            Verdict::Failures => Status::Failures,
            Verdict::Wrong => Status::Wrong,
        }
    }
}

impl Load {
    fn new(load: &run::Load, plan: &Plan) -> Self {
        let run::Load { seconds, measured, .. } = load;
        Self {
            seconds: *seconds,
            messages: measured.messages,
            messages_per_second: per(measured.messages as f64, *seconds),
            octets_per_second: per(measured.octets as f64, *seconds),
            latency_us: Percentiles::new(&measured.latency),
            lateness_us: plan.rate.and_then(|_| Percentiles::new(&measured.lateness)),
            histogram: buckets(&measured.latency),
        }
    }
}

impl Percentiles {
    /// None of nothing.
    fn new(latency: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| micros(latency.value_at_quantile(quantile).min(latency.max()));
        (!latency.is_empty()).then(|| Self {
            mean: latency.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: micros(latency.max()),
        })
    }
}

impl Cpu {
    fn new(load: &run::Load) -> Self {
        let messages = load.measured.messages;
        let each = |time: Option<Duration>| {
            time.filter(|_| messages > 0).map(|time| time.as_secs_f64() * 1e6 / messages as f64)
        };
        let cores = |time: Option<Duration>| time.map(|time| per(time.as_secs_f64(), load.seconds));
        Self {
            server_us_per_message: each(load.server_cpu),
            server_cores: cores(load.server_cpu),
            own_us_per_message: each(load.own_cpu),
            own_cores: cores(load.own_cpu),
        }
    }
}

/// Latencies by powers of two, in microseconds, without the empty ends.
fn buckets(latency: &Histogram<u64>) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut limit = 1_000;
    for recorded in latency.iter_recorded() {
        while limit < recorded.value_iterated_to() {
            limit *= 2;
            if !buckets.is_empty() {
                buckets.push(Bucket { up_to_us: micros(limit), messages: 0 });
            }
        }
        let messages = recorded.count_since_last_iteration();
        match buckets.last_mut() {
            Some(bucket) => bucket.messages += messages,
            None => buckets.push(Bucket { up_to_us: micros(limit), messages }),
        }
    }
    buckets
}

fn micros(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

/// A ratio, which is 0 where there is nothing to divide by.
fn per(amount: f64, whole: f64) -> f64 {
    if whole > 0.0 { amount / whole } else { 0.0 }
}

impl Report {
    /// For people.
    pub(super) fn render(&self, colors: bool) -> String {
        let mut page = Page { text: String::new(), colors };
        writeln!(page.text, "{}  {}", Style::Bold.paint(&self.url, colors), self.summary()).unwrap_or_default();
        page.line("opened", &self.opened());
        if let Some(load) = &self.load {
            self.render_load(load, &mut page);
        }
        if let Some(idle) = &self.idle {
            let Idle { seconds, exchange_seconds, answered, answered_after } = idle;
            let exchanged =
                format!("{} sockets answered a message within {exchange_seconds:.2} s", thousands(*answered));
            page.line("idle", &format!("{exchanged}, and {} after {seconds:.1} s", thousands(*answered_after)));
        }
        if let Some(Memory { before, after, per_socket }) = &self.memory {
            let mut text = format!("server: {} resident, {} before", octets(*after as f64), octets(*before as f64));
            if self.idle.is_some() {
                write!(text, ": {} for each socket", octets(*per_socket)).unwrap_or_default();
            }
            page.line("memory", &text);
        }
        self.render_failures(&mut page);
        page.text
    }

    fn summary(&self) -> String {
        let connections = plural(self.connections as u64, "connection");
        let mut text =
            format!("{}, {connections} × {} sockets", self.http, thousands((self.sockets / self.connections) as u64));
        let kind = if self.binary { "binary" } else { "text" };
        write!(text, ", {} octets {kind}", self.size).unwrap_or_default();
        if self.idle.is_none() {
            match (self.rate, self.depth) {
                (Some(rate), _) => write!(text, ", {} messages/s asked for", thousands(rate as u64)),
                (None, depth) => write!(text, ", depth {}", depth.unwrap_or_default()),
            }
            .unwrap_or_default();
        }
        if self.interrupted {
            text.push_str(", interrupted");
        }
        text
    }

    fn opened(&self) -> String {
        let Opening { connections, sockets, seconds, sockets_per_second } = self.opening;
        if sockets == 0 {
            return "nothing".to_owned();
        }
        let rate = thousands(sockets_per_second as u64);
        let connections = plural(connections, "connection");
        format!("{} on {connections} in {seconds:.3} s: {rate} sockets/s", plural(sockets, "socket"))
    }

    fn render_load(&self, load: &Load, page: &mut Page) {
        let Load { seconds, messages, messages_per_second, octets_per_second, .. } = load;
        let rate = thousands(*messages_per_second as u64);
        let through = format!("{rate} messages/s, {}/s each way", octets(*octets_per_second));
        page.line("throughput", &format!("{through}  ({} messages in {seconds:.1} s)", thousands(*messages)));
        let Cpu { server_us_per_message: server, own_us_per_message: own, server_cores, own_cores } = &self.cpu;
        for (who, each, cores) in [("server", server, server_cores), ("this program", own, own_cores)] {
            if let (Some(each), Some(cores)) = (each, cores) {
                page.line("processor", &format!("{who}: {} a message, {cores:.2} cores", time(*each)));
            }
        }
        if own_cores.is_some_and(|cores| cores > BUSY * self.threads as f64) {
            let what = "this program was busy all the time: the server may do more (--threads adds to the load)";
            page.styled(Style::Bad, "note", what);
        }
        if let Some(latency) = &load.latency_us {
            page.line("latency", &latency.to_string());
        }
        if let Some(lateness) = &load.lateness_us {
            page.line("sent late", &format!("{lateness}  (part of the latency)"));
        }
        page.histogram(&load.histogram);
    }

    fn render_failures(&self, page: &mut Page) {
        match self.verdict {
            Verdict::Ok => page.styled(Style::Good, "verdict", "every message came back as it was sent"),
            Verdict::Failures => page.styled(Style::Bad, "verdict", "what came back was right, but sockets failed"),
            Verdict::Wrong => page.styled(Style::Bad, "verdict", "what came back is not what was sent"),
            Verdict::NothingOpened => page.styled(Style::Bad, "verdict", "no socket could be opened"),
        }
        for Line { what, sockets, first, .. } in &self.failures {
            let first = first.as_ref().map(|first| format!(" (first: {first})")).unwrap_or_default();
            page.line("", &format!("{}: {what}{first}", plural(*sockets, "socket")));
        }
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { mean, p50, p90, p99, p99_9, max } = self;
        let named = [("p50", p50), ("p90", p90), ("p99", p99), ("p99.9", p99_9), ("max", max), ("mean", mean)];
        let parts = named.map(|(name, value)| format!("{name} {}", time(*value)));
        f.write_str(&parts.join("  "))
    }
}

/// Lines with names before them.
struct Page {
    text: String,
    colors: bool,
}

impl Page {
    fn line(&mut self, name: &str, text: &str) {
        self.styled(Style::Plain, name, text);
    }

    fn styled(&mut self, style: Style, name: &str, text: &str) {
        let name = Style::Dim.paint(&format!("{name:<10}"), self.colors && !name.is_empty());
        writeln!(self.text, "{name}  {}", style.paint(text, self.colors)).unwrap_or_default();
    }

    fn histogram(&mut self, buckets: &[Bucket]) {
        let all: u64 = buckets.iter().map(|bucket| bucket.messages).sum();
        let most = buckets.iter().map(|bucket| bucket.messages).max().unwrap_or(0);
        for Bucket { up_to_us, messages } in buckets {
            let share = 100.0 * per(*messages as f64, all as f64);
            let bar = bar(per(*messages as f64, most as f64));
            writeln!(self.text, "{:>12} {bar:<BAR$} {share:5.1} %", format!("≤ {}", time(*up_to_us)))
                .unwrap_or_default();
        }
    }
}

/// A bar of this share of the longest, to an eighth of a column.
fn bar(share: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share * (BAR * 8) as f64).ceil() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// Microseconds in the unit that suits them, to three digits.
fn time(microseconds: f64) -> String {
    let (amount, unit) = match microseconds {
        ..0.1 => (microseconds * 1e3, "ns"),
        ..1e3 => (microseconds, "µs"),
        ..1e6 => (microseconds / 1e3, "ms"),
        _ => (microseconds / 1e6, "s"),
    };
    format!("{} {unit}", three_digits(amount))
}

/// Octets in the unit that suits them, to three digits.
fn octets(octets: f64) -> String {
    let size = octets.abs();
    let (unit, name) = match size {
        ..1024.0 => (1.0, "B"),
        ..1_048_576.0 => (1024.0, "KiB"),
        ..1_073_741_824.0 => (1_048_576.0, "MiB"),
        _ => (1_073_741_824.0, "GiB"),
    };
    format!("{} {name}", three_digits(octets / unit))
}

fn three_digits(number: f64) -> String {
    let decimals = match number.abs() {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{number:.decimals$}")
}

/// A number with commas.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::super::failure::{Failure, Failures, Kind};
    use super::super::ledger::histogram;
    use super::*;

    fn report(verdict: Verdict, failures: Failures) -> Report {
        let mut latency = histogram();
        for nanoseconds in [3_000, 60_000, 61_000, 62_000, 500_000] {
            latency.record(nanoseconds).unwrap();
        }
        Report {
            url: "wss://example.com/echo".to_owned(),
            http: "HTTP/2",
            connections: 2,
            sockets: 2000,
            size: "16..1k".to_owned(),
            binary: true,
            depth: Some(1),
            rate: None,
            threads: 1,
            verdict,
            interrupted: false,
            opening: Opening { connections: 2, sockets: 2000, seconds: 0.25, sockets_per_second: 8000.0 },
            load: Some(Load {
                seconds: 2.0,
                messages: 5,
                messages_per_second: 1_234_567.8,
                octets_per_second: 3.5 * 1_048_576.0,
                latency_us: Percentiles::new(&latency),
                lateness_us: None,
                histogram: buckets(&latency),
            }),
            idle: None,
            cpu: Cpu { own_us_per_message: Some(0.212), own_cores: Some(0.99), ..Cpu::default() },
            memory: None,
            failures: failures.into_lines(),
        }
    }

    #[test]
    fn a_report_says_it_all() {
        let mut failures = Failures::default();
        failures.add(Failure { detail: Some("octet 3".into()), ..Failure::new(Kind::Mismatch, "octets changed") }, 1);
        failures.add(Failure::timeout("TLS"), 1200);
        let text = report(Verdict::Wrong, failures).render(false);
        let expected = [
            "wss://example.com/echo  HTTP/2, 2 connections × 1,000 sockets, 16..1k octets binary, depth 1\n",
            "opened      2,000 sockets on 2 connections in 0.250 s: 8,000 sockets/s\n",
            "throughput  1,234,567 messages/s, 3.50 MiB/s each way  (5 messages in 2.0 s)\n",
            "processor   this program: 0.21 µs a message, 0.99 cores\n",
            "note        this program was busy all the time",
            "latency     p50 61.0 µs  p90 500 µs  p99 500 µs  p99.9 500 µs  max 500 µs",
            "verdict     what came back is not what was sent\n",
            "            1,200 sockets: TLS took too long\n            1 socket: octets changed (first: octet 3)\n",
        ];
        for part in expected {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        let rows: Vec<_> = text.lines().filter(|line| line.contains('≤')).collect();
        assert_eq!(rows.len(), 8, "{text}");
        assert!(rows[0].starts_with("   ≤ 4.00 µs █████████████▍ ") && rows[0].ends_with(" 20.0 %"), "{text}");
        assert!(rows[4].contains(&"█".repeat(BAR)) && rows[4].ends_with(" 60.0 %"), "{text}");
    }

    #[test]
    fn colors_are_only_where_they_are_wanted() {
        let report = report(Verdict::Ok, Failures::default());
        assert!(!report.render(false).contains('\x1b'));
        assert!(report.render(true).contains("\x1b[32mevery message came back as it was sent"));
        assert_eq!(report.status(), Status::Right);
    }

    /// Programs read the report: every name in it stands in the help.
    #[test]
    fn json_is_documented() {
        fn names(value: &serde_json::Value, found: &mut Vec<String>) {
            if let Some(object) = value.as_object() {
                found.extend(object.keys().cloned());
            }
            let objects = value.as_object().into_iter().flat_map(|object| object.values());
            objects.chain(value.as_array().into_iter().flatten()).for_each(|value| names(value, found));
        }
        let mut failures = Failures::default();
        failures.add(Failure::timeout("TLS"), 1);
        let mut report = report(Verdict::NothingOpened, failures);
        report.idle = Some(Idle { seconds: 1.0, exchange_seconds: 0.5, answered: 1, answered_after: 1 });
        report.memory = Some(Memory { before: 1, after: 2, per_socket: 1.0 });
        let report = serde_json::to_value(report).unwrap();
        let mut found = Vec::new();
        names(&report, &mut found);
        assert!(
            ["p99_9", "own_cores", "up_to_us", "first", "per_socket"]
                .iter()
                .all(|name| found.iter().any(|it| it == name))
        );
        let words: Vec<_> = super::super::AFTER_HELP.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        let unknown: Vec<_> = found.iter().filter(|name| !words.contains(&name.as_str())).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert_eq!(report["verdict"], "nothing_opened");
        assert_eq!(report["load"]["histogram"][0]["up_to_us"], 4.0);
    }

    #[test]
    fn no_latency_is_lost_between_buckets() {
        let mut latency = histogram();
        for number in 0..100_000_u64 {
            latency.record(super::super::messages::mix(number) % 50_000_000).unwrap();
        }
        let buckets = buckets(&latency);
        assert_eq!(buckets.iter().map(|bucket| bucket.messages).sum::<u64>(), 100_000);
        assert!(buckets.windows(2).all(|pair| pair[1].up_to_us == 2.0 * pair[0].up_to_us));
        assert!(self::buckets(&histogram()).is_empty());
    }

    #[test]
    fn amounts_have_three_digits_and_a_unit() {
        assert_eq!(
            [0.0512, 0.5, 12.34, 123.4, 5_123.0, 2.5e6].map(time),
            ["51.2 ns", "0.50 µs", "12.3 µs", "123 µs", "5.12 ms", "2.50 s"]
        );
        assert_eq!([0.0, 1536.0, -2.0, 3e6].map(octets), ["0.00 B", "1.50 KiB", "-2.00 B", "2.86 MiB"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
