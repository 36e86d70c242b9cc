//! The report for people: HTTP/2 and HTTP/1.1 side by side, what went wrong below, and the verdict.

use std::fmt::Write as _;

use super::attempt::{Attempt, Close, Handshake, Milliseconds, Settings, Sockets, Tls};
use super::report::Report;
use super::verdict::Kind;
use crate::escape::printable;
use crate::style::Style;

/// Columns between two cells.
const GAP: usize = 3;

struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    fn new(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }

    fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Style::Plain)
    }

    fn judged(text: impl Into<String>, is_good: bool) -> Self {
        Self::new(text, if is_good { Style::Good } else { Style::Bad })
    }

    fn paint(&self, colors: bool) -> String {
        self.style.paint(&self.text, colors)
    }
}

pub(super) fn render(report: &Report, colors: bool) -> String {
    let works = matches!(report.verdict.kind, Kind::Works | Kind::WorksOverHttp2Only);
    let verdict = &report.verdict;
    let notes = verdict.notes.iter().map(|note| format!("Note: {}", printable(note)));
    let advice = verdict.next_step.iter().map(|step| format!("Next: {}", printable(step)));
    let told = told(report).into_iter().map(|line| Cell::new(printable(&line), Style::Bad).paint(colors));
    let sections = [
        Cell::new(&report.url, Style::Bold).paint(colors),
        grid(&rows(&report.http2, &report.http1), colors),
        told.collect::<Vec<_>>().join("\n"),
        Cell::judged(printable(&verdict.text), works).paint(colors),
        notes.chain(advice).collect::<Vec<_>>().join("\n"),
    ];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// Rows under one another, in columns as wide as they must be.
fn grid(rows: &[Row], colors: bool) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].text.chars().count()).max().unwrap_or(0) + GAP;
    let widths = [width(0), width(1), 0];
    let line = |row: &Row| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let padding = width.saturating_sub(cell.text.chars().count());
            write!(line, "{}{:padding$}", cell.paint(colors), "").unwrap_or_default();
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What went wrong, a line for each, as far as the verdict does not say it. What went wrong the same way over both is told once.
fn told(report: &Report) -> Vec<String> {
    let [http2, http1] = [&report.http2, &report.http1].map(|attempt| {
        // The verdict has a status as a part of its sentence.
        let is_told = |text: &str| report.verdict.text.contains(text.trim_start_matches("the server answered "));
        let untold = attempt.problems.iter().filter(|problem| !is_told(&problem.text));
        let problems = untold.map(ToString::to_string);
        problems.chain(body(attempt)).collect::<Vec<_>>()
    });
    let version = |line| if http1.contains(line) { "HTTP/2 and HTTP/1.1" } else { "HTTP/2" };
    let both = http2.iter().map(|line| format!("{}: {line}", version(line)));
    let rest = http1.iter().filter(|line| !http2.contains(line)).map(|line| format!("HTTP/1.1: {line}"));
    both.chain(rest).collect()
}

/// The first line of a refusal's content, which often says why.
fn body(attempt: &Attempt) -> Option<String> {
    let body = attempt.handshake.as_ref()?.body.as_deref()?;
    let line = body.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(format!("the answer says: {}", line.chars().take(200).collect::<String>()))
}

type Row = [Cell; 3];

/// The rows that say something.
fn rows(http2: &Attempt, http1: &Attempt) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut add = |name: &str, cell: &dyn Fn(&Attempt) -> Option<Cell>| {
        if let (left, right) = (cell(http2), cell(http1))
            && (left.is_some() || right.is_some())
        {
            let [left, right] = [left, right].map(|cell| cell.unwrap_or_else(|| Cell::new("-", Style::Dim)));
            if rows.is_empty() {
                rows.push(["", "HTTP/2", "HTTP/1.1"].map(|text| Cell::new(text, Style::Bold)));
            }
            rows.push([Cell::new(name, Style::Dim), left, right]);
        }
    };
    let settings = |show: fn(&Settings) -> Cell| move |attempt: &Attempt| attempt.settings.as_ref().map(show);
    let handshake = |show: fn(&Handshake) -> Cell| {
        move |attempt: &Attempt| attempt.handshake.as_ref().filter(|handshake| handshake.accepted).map(show)
    };
    add("via", &|attempt| attempt.via.clone().map(Cell::plain));
    add("address", &|attempt| attempt.address.map(|address| Cell::plain(address.to_string())));
    add("TCP", &|attempt| attempt.connect_ms.map(time));
    add("TLS", &|attempt| attempt.tls.as_ref().map(tls));
    add("certificate", &|attempt| attempt.tls.as_ref().map(certificate));
    add("SETTINGS", &settings(|settings| time(settings.ms)));
    add("extended CONNECT", &settings(extended_connect));
    add("most streams", &settings(|settings| number(settings.max_concurrent_streams, "no limit")));
    add("stream window", &settings(|settings| number(Some(settings.initial_window_size), "")));
    add("largest frame", &settings(|settings| number(Some(settings.max_frame_size), "")));
    add("header list", &settings(|settings| number(settings.max_header_list_size, "no limit said")));
    add("status", &|attempt| attempt.handshake.as_ref().map(status));
    add("server", &|attempt| server(attempt.handshake.as_ref()?));
    add("subprotocol", &handshake(|it| Cell::plain(it.subprotocol.as_deref().unwrap_or("none"))));
    add("extensions", &handshake(extensions));
    add("ping", &|attempt| attempt.ping_ms.map(time));
    add("message echoed", &|attempt| attempt.close.as_ref().map(|_| echo(attempt)));
    add("other messages", &|attempt| (attempt.messages > 0).then(|| Cell::plain(attempt.messages.to_string())));
    add("Close", &|attempt| attempt.close.as_ref().map(close));
    add("end", &|attempt| attempt.close.as_ref().map(end));
    add("sockets at once", &|attempt| attempt.sockets.as_ref().map(sockets));
    add("Chromium's close", &|attempt| attempt.close_with_end_stream.as_ref().map(chromium_close));
    rows
}

fn time(elapsed: Milliseconds) -> Cell {
    Cell::plain(elapsed.to_string())
}

fn number(number: Option<u32>, none: &str) -> Cell {
    Cell::plain(number.map_or_else(|| none.to_owned(), |number| number.to_string()))
}

fn tls(tls: &Tls) -> Cell {
    let alpn = tls.alpn.as_deref().map_or("no ALPN".into(), printable);
    Cell::plain(format!("{}, {alpn}, {}", tls.version, tls.handshake_ms))
}

fn certificate(tls: &Tls) -> Cell {
    if tls.verified { Cell::plain("trusted") } else { Cell::plain("not checked") }
}

fn extended_connect(settings: &Settings) -> Cell {
    let text = if settings.enable_connect_protocol { "offered" } else { "not offered" };
    Cell::judged(text, settings.enable_connect_protocol)
}

fn status(handshake: &Handshake) -> Cell {
    Cell::judged(format!("{}, {}", handshake.status, handshake.ms), handshake.accepted)
}

fn server(handshake: &Handshake) -> Option<Cell> {
    let (_, value) = handshake.headers.iter().find(|(name, _)| name == "server")?;
    Some(Cell::plain(printable(value)))
}

fn extensions(handshake: &Handshake) -> Cell {
    let list = handshake.extensions.join(", ");
    Cell::plain(if list.is_empty() { "none".into() } else { printable(&list) })
}

fn echo(attempt: &Attempt) -> Cell {
    attempt.echo_ms.map_or_else(|| Cell::plain("no"), time)
}

fn close(close: &Close) -> Cell {
    let Some(code) = close.code else { return Cell::judged("none", false) };
    let reason = if close.reason.is_empty() { String::new() } else { format!(" \"{}\"", printable(&close.reason)) };
    if close.by_server {
        Cell::plain(format!("{code}{reason}, by the server"))
    } else {
        Cell::plain(format!("{code}{reason}, {}", close.ms))
    }
}

fn end(close: &Close) -> Cell {
    let end = close.end.as_ref().map_or("left open".to_owned(), ToString::to_string);
    let after = if close.ended_first || close.end.is_none() { "" } else { ", after the client's" };
    Cell::judged(printable(&format!("{end}{after}")), close.clean)
}

fn sockets(sockets: &Sockets) -> Cell {
    let Sockets { asked, opened, .. } = sockets;
    Cell::judged(format!("{opened} of {asked}"), opened == asked)
}

/// Code and end.
fn chromium_close(close: &Close) -> Cell {
    let code = close.code.map_or("no Close".to_owned(), |code| code.to_string());
    let end = close.end.as_ref().map_or("left open".to_owned(), ToString::to_string);
    Cell::judged(printable(&format!("{code}, {end}")), close.clean)
}
