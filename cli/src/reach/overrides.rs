//! `--resolve` and `--connect-to`: what is done in place of asking for a host's addresses, and of connecting to it.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

/// Addresses of a host at a port; none take back what was said before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolve {
    /// None for any.
    host: Option<String>,
    port: u16,
    addresses: Vec<IpAddr>,
}

impl FromStr for Resolve {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "it is such as example.com:443:127.0.0.1, or example.com:443:127.0.0.1,[::1], or -example.com:443"
                .to_owned()
        };
        let address = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        // With a plus curl forgets it some time, as it does what it has looked up.
        let (host, rest) = take_host(text.trim_start_matches(['+', '-'])).ok_or_else(wrong)?;
        let (port, addresses) = match rest.split_once(':') {
            Some((port, addresses)) if !text.starts_with('-') => (port, addresses.split(',').map(address).collect()),
            None if text.starts_with('-') => (rest, Ok(Vec::new())),
            _ => return Err(wrong()),
        };
        let addresses: Result<Vec<_>, _> = addresses;
        Ok(Self {
            host: (host != "*").then_some(host).filter(|host| !host.is_empty()),
            port: parse_port(port).ok_or_else(wrong)?,
            addresses: addresses.map_err(|_| wrong())?,
        })
    }
}

/// Another place for a host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectTo {
    /// None for any.
    of: (Option<String>, Option<u16>),
    /// None for the same.
    to: (Option<String>, Option<u16>),
}

impl FromStr for ConnectTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "it is such as example.com:443:127.0.0.1:8443, where each part may be empty".to_owned();
        let port = |text: &str| match text {
            "" => Ok(None),
            text => parse_port(text).map(Some).ok_or_else(wrong),
        };
        let named = |host: String| (!host.is_empty()).then_some(host);
        let (of_host, rest) = take_host(text).ok_or_else(wrong)?;
        let (of_port, rest) = rest.split_once(':').ok_or_else(wrong)?;
        let (to_host, to_port) = take_host(rest).ok_or_else(wrong)?;
        Ok(Self { of: (named(of_host), port(of_port)?), to: (named(to_host), port(to_port)?) })
    }
}

/// All of them. The last one that fits counts, and one for any host only where none is for this one.
#[derive(Clone, Debug)]
pub(super) struct Overrides {
    resolve: Arc<[Resolve]>,
    connect_to: Arc<[ConnectTo]>,
}

impl Overrides {
    pub(super) fn new(resolve: &[Resolve], connect_to: &[ConnectTo]) -> Self {
        Self { resolve: resolve.into(), connect_to: connect_to.into() }
    }

    /// Where to connect for this host and port.
    pub(super) fn goal(&self, host: &str, port: u16) -> (String, u16) {
        let fits = |rule: &&ConnectTo| {
            rule.of.0.as_deref().is_none_or(|of| of.eq_ignore_ascii_case(host)) && rule.of.1.is_none_or(|of| of == port)
        };
        let to = self.connect_to.iter().rev().find(fits).map(|rule| rule.to.clone()).unwrap_or_default();
        (to.0.unwrap_or_else(|| host.to_owned()), to.1.unwrap_or(port))
    }

    /// The addresses that were given for a host at a port.
    pub(super) fn addresses(&self, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        let at_port = || self.resolve.iter().rev().filter(|rule| rule.port == port);
        let of_host = |rule: &&Resolve| rule.host.as_deref().is_some_and(|of| of.eq_ignore_ascii_case(host));
        let rule = at_port().find(of_host).or_else(|| at_port().find(|rule| rule.host.is_none()))?;
        (!rule.addresses.is_empty())
            .then(|| rule.addresses.iter().map(|address| SocketAddr::new(*address, port)).collect())
    }
}

/// A host, which may be an IPv6 address in brackets, up to the colon behind it; and the rest.
fn take_host(text: &str) -> Option<(String, &str)> {
    match text.strip_prefix('[') {
        Some(inside) => {
            let (host, rest) = inside.split_once(']')?;
            Some((host.to_ascii_lowercase(), rest.strip_prefix(':')?))
        }
        None => text.split_once(':').map(|(host, rest)| (host.to_ascii_lowercase(), rest)),
    }
}

fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::{ConnectTo, Overrides, Resolve};

    fn overrides(resolve: &[&str], connect_to: &[&str]) -> Overrides {
        let resolve: Vec<Resolve> = resolve.iter().map(|text| text.parse().unwrap()).collect();
        let connect_to: Vec<ConnectTo> = connect_to.iter().map(|text| text.parse().unwrap()).collect();
        Overrides::new(&resolve, &connect_to)
    }

    #[test]
    fn the_last_address_given_for_a_host_at_a_port_counts() {
        let given = ["*:443:192.0.2.9", "Example.com:443:192.0.2.1", "example.com:443:192.0.2.2,[::1],::2"];
        let overrides = overrides(&given, &[]);
        let addresses = |host, port| overrides.addresses(host, port).unwrap_or_default();
        let texts: Vec<_> = addresses("example.com", 443).iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["192.0.2.2:443", "[::1]:443", "[::2]:443"]);
        assert_eq!(addresses("example.org", 443).len(), 1, "any host");
        assert!(overrides.addresses("example.com", 80).is_none(), "another port");
    }

    #[test]
    fn what_was_said_of_a_host_is_taken_back_by_a_minus() {
        let given = ["a.example:443:192.0.2.1", "+b.example:443:192.0.2.2", "*:443:192.0.2.9", "-a.example:443"];
        let overrides = overrides(&given, &[]);
        assert_eq!(overrides.addresses("a.example", 443), None);
        assert_eq!(
            overrides.addresses("b.example", 443),
            Some(vec!["192.0.2.2:443".parse().unwrap()]),
            "more than any host"
        );
        assert_eq!(overrides.addresses("c.example", 443), Some(vec!["192.0.2.9:443".parse().unwrap()]));
    }

    #[test]
    fn an_empty_part_is_any_or_the_same() {
        let goal = |rule: &str| overrides(&[], &[rule]).goal("example.com", 443);
        assert_eq!(goal("example.com:443:[::1]:8443"), ("::1".to_owned(), 8443));
        assert_eq!(goal("::127.0.0.1:"), ("127.0.0.1".to_owned(), 443));
        assert_eq!(goal("EXAMPLE.com:::8443"), ("example.com".to_owned(), 8443));
        for other in ["example.org:443:127.0.0.1:1", "example.com:80:127.0.0.1:1"] {
            assert_eq!(goal(other), ("example.com".to_owned(), 443), "{other}");
        }
    }

    #[test]
    fn what_is_neither_says_how_it_is_written() {
        for text in [
            "",
            "example.com",
            "example.com:443",
            "example.com:x:127.0.0.1",
            "example.com:443:localhost",
            "a:0:::1",
            "-a",
            "-a:443:::1",
        ] {
            assert!(text.parse::<Resolve>().is_err(), "{text}");
        }
        for text in ["", "a:1", "a:1:b", "a:b:c:d", "[::1:1:b:2", "a:1:b:70000"] {
            assert!(text.parse::<ConnectTo>().is_err(), "{text}");
        }
    }
}
