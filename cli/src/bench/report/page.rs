//! The report for people.

use std::fmt::Write as _;

use super::super::failure::Line;
use super::super::units::{octets, plural, thousands, time};
use super::{Beside, Bucket, Cpu, Idle, Load, Memory, Opening, Percentiles, Report, Verdict, per};
use crate::escape::printable;
use crate::style::Style;

/// Columns of the longest bar.
const BAR: usize = 40;
/// Beyond this share of a core for each thread, it may be the load that is slow.
const BUSY: f64 = 0.95;

impl Report {
    /// For people.
    pub(in super::super) fn render(&self, colors: bool) -> String {
        let mut page = Page { text: String::new(), colors };
        writeln!(page.text, "{}  {}", Style::Bold.paint(&self.url, colors), self.summary()).unwrap_or_default();
        page.line("opened", &self.opened());
        if let Some(load) = &self.load {
            self.render_load(load, &mut page);
        }
        if let Some(Beside { size, messages, octets_per_second }) = &self.beside {
            let through = format!(
                "{} messages of {size} octets, {}/s each way",
                thousands(*messages),
                octets(*octets_per_second)
            );
            page.line("beside", &through);
        }
        if let Some(idle) = &self.idle {
            let Idle { seconds, exchange_seconds, answered, answered_after } = idle;
            let exchanged =
                format!("{} answered a message within {exchange_seconds:.2} s", plural(*answered, "socket"));
            // Who interrupts it asks the sockets no more.
            let after = if self.interrupted {
                format!("held for {seconds:.1} s")
            } else {
                format!("and {} after {seconds:.1} s", thousands(*answered_after))
            };
            page.line("idle", &format!("{exchanged}, {after}"));
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
            format!("{}, {connections} × {}", self.http, plural((self.sockets / self.connections) as u64, "socket"));
        let kind = if self.binary { "binary" } else { "text" };
        write!(text, ", {} octets {kind}", self.size).unwrap_or_default();
        if self.idle.is_none() {
            match (self.rate, self.depth) {
                (Some(rate), _) => write!(text, ", {} messages/s asked for", thousands(rate as u64)),
                (None, depth) => write!(text, ", depth {}", depth.unwrap_or_default()),
            }
            .unwrap_or_default();
        }
        if self.broadcast {
            text.push_str(", each message to all");
        }
        if self.silent > 0 {
            write!(text, ", {} more on each that say nothing", thousands(self.silent as u64)).unwrap_or_default();
        }
        if self.stall > 0 {
            write!(text, ", {} more on each that are not read", thousands(self.stall as u64)).unwrap_or_default();
        }
        if self.interrupted {
            text.push_str(", interrupted");
        }
        text
    }

    fn opened(&self) -> String {
        let Opening { connections, sockets, seconds, sockets_per_second, .. } = self.opening;
        if sockets == 0 {
            return "nothing".to_owned();
        }
        let rate = thousands(sockets_per_second as u64);
        let connections = plural(connections, "connection");
        let cpu = self.opening.server_us_per_socket;
        let cpu = cpu.map(|each| format!(", server: {} each", time(each))).unwrap_or_default();
        format!("{} on {connections} in {seconds:.3} s: {rate} sockets/s{cpu}", plural(sockets, "socket"))
    }

    fn render_load(&self, load: &Load, page: &mut Page) {
        let Load { seconds, messages, messages_per_second, octets_per_second, .. } = load;
        let rate = thousands(*messages_per_second as u64);
        let through = format!("{rate} messages/s, {}/s each way", octets(*octets_per_second));
        page.line("throughput", &format!("{through}  ({} in {seconds:.1} s)", plural(*messages, "message")));
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
            Verdict::Failures if self.answered == 0 => {
                page.styled(Style::Bad, "verdict", "no message came back, and sockets failed");
            }
            Verdict::Failures => page.styled(Style::Bad, "verdict", "what came back was right, but sockets failed"),
            Verdict::Wrong => page.styled(Style::Bad, "verdict", "what came back is not what was sent"),
            Verdict::NothingOpened => page.styled(Style::Bad, "verdict", "no socket could be opened"),
            Verdict::NothingCame => page.styled(Style::Bad, "verdict", &self.nothing_came()),
        }
        for Line { what, sockets, first, .. } in &self.failures {
            let first = first.as_ref().map(|first| format!(" (first: {first})")).unwrap_or_default();
            page.line("", &printable(&format!("{}: {what}{first}", plural(*sockets, "socket"))));
        }
    }
}

impl Report {
    fn nothing_came(&self) -> String {
        if self.interrupted && self.load.is_none() {
            return "it was interrupted before a message came back".to_owned();
        }
        let measured = self.load.as_ref().map_or_else(
            || "in time".to_owned(),
            |load| format!("within the {:.1} s that were measured", load.seconds),
        );
        let outside = match self.answered {
            0 => String::new(),
            answered => format!(" ({} before or after)", plural(answered, "message")),
        };
        format!("no message came back {measured}{outside}")
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

#[cfg(test)]
mod tests {
    use super::super::super::Status;
    use super::super::super::failure::{Failure, Failures, Kind};
    use super::super::tests::report;
    use super::*;

    #[test]
    fn a_report_says_it_all() {
        let mut failures = Failures::default();
        failures.add(
            Failure { detail: Some("octet 3\x1b[2J".into()), ..Failure::new(Kind::Mismatch, "octets changed") },
            1,
        );
        failures.add(Failure::timeout("TLS"), 1200);
        let text = report(Verdict::Wrong, failures).render(false);
        let expected = [
            "wss://example.com/echo  HTTP/2, 2 connections × 1,000 sockets, 16..1k octets binary, depth 1\n",
            "opened      2,000 sockets on 2 connections in 0.250 s: 8,000 sockets/s, server: 12.3 µs each\n",
            "throughput  1,234,567 messages/s, 3.50 MiB/s each way  (5 messages in 2.0 s)\n",
            "processor   this program: 0.21 µs a message, 0.99 cores\n",
            "note        this program was busy all the time",
            "latency     p50 61.0 µs  p90 500 µs  p99 500 µs  p99.9 500 µs  max 500 µs",
            "verdict     what came back is not what was sent\n",
            "            1,200 sockets: TLS took too long\n            1 socket: octets changed (first: octet 3\\x1b[2J)\n",
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
    fn a_report_of_nothing_says_so() {
        let nothing = |verdict, answered, failures| {
            let mut report = report(verdict, failures);
            report.answered = answered;
            report.render(false)
        };
        let none = Failures::default;
        let text = nothing(Verdict::NothingCame, 0, none());
        assert!(text.contains("verdict     no message came back within the 2.0 s that were measured\n"), "{text}");
        let text = nothing(Verdict::NothingCame, 3, none());
        assert!(text.contains(" that were measured (3 messages before or after)\n"), "{text}");
        let mut failures = none();
        failures.add(Failure::timeout("an answer"), 1);
        let text = nothing(Verdict::Failures, 0, failures);
        assert!(text.contains("verdict     no message came back, and sockets failed\n"), "{text}");
    }

    /// Sockets that nobody asked again are not counted as silent.
    #[test]
    fn a_hold_that_was_interrupted_says_how_long_it_was() {
        let mut report = report(Verdict::Ok, Failures::default());
        report.idle = Some(Idle { seconds: 0.7, exchange_seconds: 0.01, answered: 1, answered_after: 0 });
        report.interrupted = true;
        let text = report.render(false);
        assert!(text.contains("idle        1 socket answered a message within 0.01 s, held for 0.7 s\n"), "{text}");
    }

    #[test]
    fn colors_are_only_where_they_are_wanted() {
        let report = report(Verdict::Ok, Failures::default());
        assert!(!report.render(false).contains('\x1b'));
        assert!(report.render(true).contains("\x1b[32mevery message came back as it was sent"));
        assert_eq!(report.status(), Status::Right);
    }
}
