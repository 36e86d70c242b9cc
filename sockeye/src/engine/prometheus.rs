//! What is counted, in the words of Prometheus.

use std::fmt::Write as _;

use crate::engine::metrics::Counter;
use crate::engine::registry::{Handle, Population};

impl Handle {
    /// The media type of [`prometheus`](Self::prometheus), for the response's `content-type`.
    pub const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// All that is counted, in the text format that Prometheus scrapes (version 0.0.4): each [`Counter`] as
    /// `sockeye_<name>_total`, and as gauges what is open now. Costs the same however many connections there are, and says
    /// nothing of any single one.
    ///
    /// | gauge | |
    /// |---|---|
    /// | `sockeye_open_connections` | by `version`: `1.1` or `2` |
    /// | `sockeye_arriving_connections` | those whose handshake is under way |
    /// | `sockeye_max_connections` | as many as there may be, both of the above together; not of a client |
    /// | `sockeye_open_web_sockets` | |
    ///
    /// The counters tell an attacker which limit an attack has met: serve them to those who are to see them, on a listener or
    /// a path of their own.
    ///
    #[cfg_attr(all(feature = "http2", feature = "web-socket"), doc = "```no_run")]
    #[cfg_attr(not(all(feature = "http2", feature = "web-socket")), doc = "```ignore")]
    /// use axum::http::header::CONTENT_TYPE;
    /// use axum::{Router, routing::get};
    /// use sockeye::{Handle, Result, Server, WebSocket, websocket};
    /// use tokio::net::TcpListener;
    ///
    /// # async fn echo(_: WebSocket) -> Result { Ok(()) }
    /// # async fn run() -> Result {
    /// let server = Server::new();
    /// let handle = server.handle();
    /// let metrics = Router::new()
    ///     .route("/metrics", get(async move || ([(CONTENT_TYPE, Handle::PROMETHEUS)], handle.prometheus())));
    /// tokio::spawn(sockeye::serve(TcpListener::bind("127.0.0.1:9100").await?, metrics));
    /// server.serve(TcpListener::bind("[::]:8080").await?, websocket(echo)).await
    /// # }
    /// ```
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        for counter in Counter::ALL {
            let (name, help) = (counter.name(), counter.help());
            // Nothing of it has to be escaped: `\` and line breaks, which would have to, are in none of them.
            _ = write!(text, "# HELP sockeye_{name}_total {help}\n# TYPE sockeye_{name}_total counter\n");
            _ = writeln!(text, "sockeye_{name}_total {}", self.counter(*counter));
        }
        let Population { http1, http2, arriving, max } = self.0.population();
        gauge(
            &mut text,
            "open_connections",
            "Connections that are open.",
            &[(r#"{version="1.1"}"#, http1 as u64), (r#"{version="2"}"#, http2 as u64)],
        );
        let help = "Connections whose handshake is under way.";
        gauge(&mut text, "arriving_connections", help, &[("", arriving as u64)]);
        if let Some(max) = max {
            gauge(&mut text, "max_connections", "Connections that there may be at once.", &[("", max as u64)]);
        }
        // In this order: or of sockets that come and go meanwhile more would have closed than were opened.
        let closed = self.counter(Counter::WebSocketsClosed);
        let open = self.counter(Counter::WebSockets).saturating_sub(closed);
        gauge(&mut text, "open_web_sockets", "WebSockets that are open.", &[("", open)]);
        text
    }
}

fn gauge(text: &mut String, name: &str, help: &str, samples: &[(&str, u64)]) {
    _ = write!(text, "# HELP sockeye_{name} {help}\n# TYPE sockeye_{name} gauge\n");
    for (labels, value) in samples {
        _ = writeln!(text, "sockeye_{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::*;
    use crate::engine::registry::Registry;

    /// Each family once, with its help and its type before its samples, and names that Prometheus takes.
    #[test]
    fn the_text_is_what_prometheus_reads() {
        let registry = Arc::<Registry>::default();
        registry.metrics.add(Counter::ResetFloods, 7);
        registry.metrics.add(Counter::WebSockets, 5);
        registry.metrics.add(Counter::WebSocketsClosed, 2);
        let text = Handle(registry).prometheus();
        assert!(text.ends_with('\n'));
        let mut families = HashSet::new();
        let mut lines = text.lines().peekable();
        while let Some(help) = lines.next() {
            let (name, help) = help.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
            assert!(families.insert(name), "{name} stands there twice");
            assert!(name.bytes().all(|octet| octet.is_ascii_lowercase() || b"_0123456789".contains(&octet)), "{name}");
            assert!(!help.is_empty() && !help.contains(['\\', '[', ']']), "{help}");
            let kind = lines.next().unwrap().strip_prefix("# TYPE ").unwrap();
            let is_counter = name.ends_with("_total");
            assert_eq!(kind, format!("{name} {}", if is_counter { "counter" } else { "gauge" }));
            let mut samples = 0;
            while let Some(sample) = lines.next_if(|line| !line.starts_with('#')) {
                let (series, value) = sample.rsplit_once(' ').unwrap();
                assert_eq!(series.split('{').next(), Some(name));
                value.parse::<u64>().unwrap();
                samples += 1;
            }
            assert!(samples > 0, "{name}");
        }
        // A client has no limit on its connections.
        assert_eq!(families.len(), Counter::ALL.len() + 3);
        assert!(text.contains("\nsockeye_reset_floods_total 7\n"));
        assert!(text.contains("\nsockeye_open_web_sockets 3\n"));
        assert!(text.contains("\nsockeye_open_connections{version=\"2\"} 0\n"));
    }
}
