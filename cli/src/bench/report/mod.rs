//! The report: what is in it, which is how it looks as JSON.

mod page;

use std::time::Duration;

use hdrhistogram::Histogram;
use http::Version;
use serde::Serialize;

use super::failure::{Kind, Line};
use super::plan::Plan;
use super::run::Outcome;
use super::{Arguments, Status, run};
use crate::hide;

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
    broadcast: bool,
    silent: usize,
    stall: usize,
    threads: usize,
    verdict: Verdict,
    /// Messages that came back at any time, measured or not.
    answered: u64,
    interrupted: bool,
    opening: Opening,
    load: Option<Load>,
    beside: Option<Beside>,
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
    /// Sockets opened, and no message came back while it was measured.
    NothingCame,
}

#[derive(Debug, Serialize)]
struct Opening {
    connections: u64,
    sockets: u64,
    seconds: f64,
    sockets_per_second: f64,
    server_us_per_socket: Option<f64>,
    own_us_per_socket: Option<f64>,
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

/// What went on beside the load.
#[derive(Debug, Serialize)]
struct Beside {
    size: String,
    messages: u64,
    octets_per_second: f64,
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
        let messages = plan.messages(plan.task());
        let Outcome { totals, opening, load, idle, failures, memory, is_interrupted } = outcome;
        let failures = failures.into_lines();
        let came =
            load.as_ref().map_or(0, |load| load.measured.messages) + idle.as_ref().map_or(0, |idle| idle.answered);
        let fails = |line: &Line| line.kind != Kind::Interrupted;
        let verdict = match &failures[..] {
            lines if lines.iter().any(|line| line.kind == Kind::Mismatch) => Verdict::Wrong,
            lines if totals.opened == 0 && (lines.is_empty() || lines.iter().any(fails)) => Verdict::NothingOpened,
            lines if lines.iter().any(fails) => Verdict::Failures,
            _ if came == 0 && !arguments.duration.is_zero() => Verdict::NothingCame,
            _ => Verdict::Ok,
        };
        Self {
            url: hide::url(&arguments.url.to_string()),
            http: if plan.http == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" },
            connections: plan.connections,
            sockets: plan.connections * plan.sockets,
            size: messages.sizes().to_string(),
            binary: !messages.is_text(),
            depth: (plan.depth < u64::MAX).then_some(plan.depth),
            rate: plan.rate.map(super::pace::Rate::per_second),
            broadcast: plan.is_broadcast,
            silent: plan.silent,
            stall: plan.stalled,
            threads: plan.threads,
            verdict,
            answered: totals.answered,
            interrupted: is_interrupted,
            opening: Opening {
                connections: totals.connected,
                sockets: totals.opened,
                seconds: opening.seconds,
                sockets_per_second: per(totals.opened as f64, opening.seconds),
                server_us_per_socket: each(opening.cpu.server, totals.opened),
                own_us_per_socket: each(opening.cpu.own, totals.opened),
            },
            cpu: load.as_ref().map_or_else(Cpu::default, Cpu::new),
            beside: load.as_ref().and_then(|load| Beside::new(load, plan)),
            load: load.map(|load| Load::new(load, plan)),
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
            Verdict::Failures | Verdict::NothingCame => Status::Failures,
            Verdict::Wrong => Status::Wrong,
        }
    }
}

impl Load {
    fn new(load: run::Load, plan: &Plan) -> Self {
        let run::Load { seconds, measured, .. } = load;
        let (latency, lateness) = (measured.latency.into_histogram(), measured.lateness.into_histogram());
        Self {
            seconds,
            messages: measured.messages,
            messages_per_second: per(measured.messages as f64, seconds),
            octets_per_second: per(measured.octets as f64, seconds),
            latency_us: Percentiles::new(&latency),
            lateness_us: plan.rate.and_then(|_| Percentiles::new(&lateness)),
            histogram: buckets(&latency),
        }
    }
}

impl Beside {
    fn new(load: &run::Load, plan: &Plan) -> Option<Self> {
        plan.beside().map(|messages| Self {
            size: messages.sizes().to_string(),
            messages: load.measured.beside_messages,
            octets_per_second: per(load.measured.beside_octets as f64, load.seconds),
        })
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
        let cores = |time: Option<Duration>| time.map(|time| per(time.as_secs_f64(), load.seconds));
        Self {
            server_us_per_message: each(load.cpu.server, messages),
            server_cores: cores(load.cpu.server),
            own_us_per_message: each(load.cpu.own, messages),
            own_cores: cores(load.cpu.own),
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

/// Microseconds for each of so many.
fn each(time: Option<Duration>, number: u64) -> Option<f64> {
    time.filter(|_| number > 0).map(|time| time.as_secs_f64() * 1e6 / number as f64)
}

/// A ratio, which is 0 where there is nothing to divide by.
fn per(amount: f64, whole: f64) -> f64 {
    if whole > 0.0 { amount / whole } else { 0.0 }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::failure::{Failure, Failures};
    use super::super::measured::histogram;
    use super::*;

    pub(super) fn report(verdict: Verdict, failures: Failures) -> Report {
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
            broadcast: false,
            silent: 0,
            stall: 0,
            threads: 1,
            verdict,
            answered: 5,
            interrupted: false,
            opening: Opening {
                connections: 2,
                sockets: 2000,
                seconds: 0.25,
                sockets_per_second: 8000.0,
                server_us_per_socket: Some(12.34),
                own_us_per_socket: None,
            },
            load: Some(Load {
                seconds: 2.0,
                messages: 5,
                messages_per_second: 1_234_567.8,
                octets_per_second: 3.5 * 1_048_576.0,
                latency_us: Percentiles::new(&latency),
                lateness_us: None,
                histogram: buckets(&latency),
            }),
            beside: None,
            idle: None,
            cpu: Cpu { own_us_per_message: Some(0.212), own_cores: Some(0.99), ..Cpu::default() },
            memory: None,
            failures: failures.into_lines(),
        }
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
        report.beside = Some(Beside { size: "1Mi".to_owned(), messages: 1, octets_per_second: 1.0 });
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
}
