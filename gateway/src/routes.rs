//! Which route a request takes.

use std::borrow::Cow;
use std::sync::Arc;

use http::Request;

use crate::config::ConfigError;
use crate::http::fields;
use crate::upstreams::{Route, Upstream};

/// Routes, the most exact first: those of a host before those of any, and longer paths before shorter ones.
#[derive(Debug)]
pub(crate) struct Routes(Vec<Arc<Route>>);

impl Routes {
    /// # Errors
    ///
    /// Two routes for the same.
    pub(crate) fn new(routes: Vec<Route>) -> Result<Self, ConfigError> {
        for (index, route) in routes.iter().enumerate() {
            if routes[..index].iter().any(|other| (other.segments(), other.host()) == (route.segments(), route.host()))
            {
                let path = if route.path().is_empty() { "/" } else { route.path() };
                let host = route.host().unwrap_or("any host");
                return Err(ConfigError::new(format!(
                    "there are two routes for {path} at {host}: give one of them all the upstreams"
                )));
            }
        }
        let mut routes: Vec<_> = routes.into_iter().map(Arc::new).collect();
        routes.sort_by_key(|route| (route.host().is_none(), usize::MAX - route.segments().len()));
        Ok(Self(routes))
    }

    pub(crate) fn find<B>(&self, request: &Request<B>) -> Option<Arc<Route>> {
        let path = resolved(request.uri().path());
        let asked = fields::authority(request.uri(), request.headers());
        let host = asked.as_ref().map(|asked| without_root(asked.host()));
        let takes = |route: &&Arc<Route>| {
            route.host().is_none_or(|own| host.is_some_and(|host| own.eq_ignore_ascii_case(host)))
                && is_beneath(&path, route.segments())
        };
        self.0.iter().find(takes).cloned()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.0.iter()
    }

    /// All upstreams, each once.
    pub(crate) fn upstreams(&self) -> Vec<Arc<Upstream>> {
        let mut all: Vec<Arc<Upstream>> = Vec::new();
        for upstream in self.0.iter().flat_map(|route| route.upstreams()) {
            if !all.iter().any(|other| Arc::ptr_eq(other, upstream)) {
                all.push(upstream.clone());
            }
        }
        all
    }
}

/// A host without the dot of the root, which may stand behind it (RFC 3986 §3.2.2) and changes nothing of which host it is.
pub(crate) fn without_root(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// Whether a path begins with these segments.
fn is_beneath(path: &[u8], segments: &[u8]) -> bool {
    path.strip_prefix(segments).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Whether a path has a segment that leads back, or may be taken for one.
pub(crate) fn is_roundabout(path: &str) -> bool {
    segments(&decoded(path)).any(|segment| matches!(segment, b"." | b".."))
}

/// A path as an upstream may read it: without percent-encoding (RFC 3986 §6.2.2.2), that of slashes included, without parameters,
/// without segments that are empty, and without those that lead back (§5.2.4). So nobody goes to one route by the name of another:
/// /%61dmin, //admin, /admin;x and /public/../admin are for who has /admin. It is this alone that is resolved: the path goes on as it came.
pub(crate) fn resolved(path: &str) -> Cow<'_, [u8]> {
    // RFC 9110 §7.1: OPTIONS of a server as a whole.
    if path == "*" {
        return Cow::default();
    }
    if !["%", "\\", "//", "/.", ";"].iter().any(|odd| path.contains(odd)) {
        return path.trim_end_matches('/').as_bytes().into();
    }
    let whole = decoded(path);
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in segments(&whole) {
        match segment {
            b"" | b"." => {}
            b".." => _ = kept.pop(),
            _ => kept.push(segment),
        }
    }
    kept.into_iter().flat_map(|segment| [b"/", segment]).flatten().copied().collect()
}

fn decoded(path: &str) -> Cow<'_, [u8]> {
    percent_encoding::percent_decode_str(path).into()
}

/// To some servers a backslash is as good as a slash, and a segment ends before its parameters (RFC 3986 §3.3).
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let segments = path.split(|octet| matches!(octet, b'/' | b'\\'));
    segments.map(|segment| segment.split(|octet| *octet == b';').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, RouteConfig};

    fn found(config: &Config, uri: &str, host: Option<&str>) -> Option<String> {
        let mut request = http::Request::get(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let route = config.routes(&[]).unwrap().find(&request.body(()).unwrap())?;
        Some(route.upstreams()[0].reach().target().to_string())
    }

    #[test]
    fn the_longest_path_of_whole_segments_wins() {
        let config = Config::to("http://all:1")
            .route(RouteConfig::new("/api", "http://api:1"))
            .route(RouteConfig::new("/api/v2/", "http://v2:1"));
        for (path, upstream) in [
            ("/", "http://all:1"),
            ("/api", "http://api:1"),
            ("/api?x", "http://api:1"),
            ("/api/users", "http://api:1"),
            ("/apis", "http://all:1"),
            ("/api/v2", "http://v2:1"),
            ("/api/v2/x", "http://v2:1"),
            ("/api/v20", "http://api:1"),
            ("/API", "http://all:1"),
        ] {
            assert_eq!(found(&config, path, None).as_deref(), Some(upstream), "{path}");
        }
    }

    #[test]
    fn a_route_of_a_host_comes_before_one_of_any() {
        let mut shop = RouteConfig::new("/", "http://shop:1");
        shop.host = Some("shop.Example.".into());
        let config = Config::to("http://all:1").route(shop).route(RouteConfig::new("/api", "http://api:1"));
        assert_eq!(found(&config, "https://SHOP.example:8443/api", None).as_deref(), Some("http://shop:1"));
        assert_eq!(found(&config, "https://shop.example./api", None).as_deref(), Some("http://shop:1"));
        assert_eq!(found(&config, "/x", Some("shop.example:80")).as_deref(), Some("http://shop:1"));
        assert_eq!(found(&config, "/api", Some("other.example")).as_deref(), Some("http://api:1"));
        assert_eq!(found(&config, "/api", None).as_deref(), Some("http://api:1"));
    }

    #[test]
    fn nothing_is_found_where_no_route_leads() {
        let config = Config::default().route(RouteConfig::new("/api", "http://api:1"));
        assert_eq!(found(&config, "/", None), None);
    }

    /// RFC 3986 §5.2.4
    #[test]
    fn no_path_leads_around_a_route() {
        let config = Config::to("http://all:1").route(RouteConfig::new("/admin", "http://admin:1"));
        for path in [
            "/x/../admin",
            "/./admin/",
            "/x/%2e%2E/admin/y",
            "/x/.%2e/admin",
            "/../admin",
            "/x\\..\\admin",
            "/%61dmin",
            "/adm%69n/y",
            "//admin",
            "/%2fadmin",
            "/admin%2Fy",
            "/x%2f..%2fadmin",
            "/x%5C..%5Cadmin",
            "/admin;x=y",
            "/x/..;/admin;/y",
        ] {
            assert_eq!(found(&config, path, None).as_deref(), Some("http://admin:1"), "{path}");
        }
        assert_eq!(found(&config, "/%2561dmin", None).as_deref(), Some("http://all:1"), "it is decoded once");
        assert_eq!(found(&config, "/admin/../x", None).as_deref(), Some("http://all:1"));
        assert_eq!(found(&config, "/a.b/..c", None).as_deref(), Some("http://all:1"));
    }

    /// RFC 3986 §6.2.2.1, §6.2.2.2
    #[test]
    fn a_route_is_the_same_however_its_octets_are_written() {
        for route in ["/caf\u{e9} au lait".replace(' ', "%20"), "/caf%c3%a9%20au%20lait/".into()] {
            let config = Config::to("http://all:1").route(RouteConfig::new(route, "http://bar:1"));
            for path in ["/caf%C3%A9%20au%20lait", "/caf%c3%A9%20%61u%20lait/x"] {
                assert_eq!(found(&config, path, None).as_deref(), Some("http://bar:1"), "{path}");
            }
            assert_eq!(found(&config, "/caf%C3%A8%20au%20lait", None).as_deref(), Some("http://all:1"));
        }
    }

    /// With a route that says this.
    fn with(say: fn(&mut RouteConfig)) -> Config {
        let mut route = RouteConfig::new("/api", "http://a:1");
        say(&mut route);
        Config::to("http://a:1").route(route)
    }

    #[test]
    fn what_cannot_be_says_what_to_do() {
        for (config, word) in [
            (Config::default(), "http://localhost:3000"),
            (Config::to("localhost:1"), "http://host:port"),
            (Config::default().route(RouteConfig::new("/api", "http://a:1/x")), "the route /api"),
            (Config::to("http://a:1").route(RouteConfig::new("api", "http://a:1")), "such as /api"),
            (Config::to("http://a:1").route(RouteConfig::new("/a/..", "http://a:1")), "such as /api"),
            (
                Config::to("http://a:1")
                    .route(RouteConfig::new("/a", "http://a:1"))
                    .route(RouteConfig::new("/a/", "http://b:1")),
                "two routes",
            ),
            (
                Config::to("http://a:1")
                    .route(RouteConfig::new("/a", "http://a:1"))
                    .route(RouteConfig::new("/%61", "http://b:1")),
                "two routes",
            ),
            (Config::to("http://a:1").route(RouteConfig::default()), "neither a path nor a host"),
            (with(|config| config.host = Some("example.com:80".into())), "without a port"),
            (with(|config| config.host = Some("*.example.com".into())), "one alone"),
            (with(|config| config.origin = vec!["example.com".into()]), "such as https://example.com"),
            (with(|config| config.origin = vec!["wss://example.com".into()]), "such as https://example.com"),
            (with(|config| config.origin = vec!["https://*.example.com".into()]), "a whole host"),
            (with(|config| config.to = Some("h3".into())), "to: \"h3\""),
            (with(|config| config.check = Some("healthy".into())), "check: \"healthy\""),
        ] {
            let error = config.routes(&[]).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn whose_certificate_is_to_be_verified_has_one() {
        let says: [fn(&mut RouteConfig); 2] = [
            |config| config.upstream_ca = Some("no-such-file.pem".into()),
            |config| config.upstream_name = Some("example.com".into()),
        ];
        for say in says {
            let mut all = Config::to("http://a:1").route(RouteConfig::new("/api", "unix:/run/a.sock"));
            say(&mut all.all);
            let error = all.routes(&[]).unwrap_err().to_string();
            assert!(error.starts_with("upstream-") && error.contains("by https://"), "{error}");
            let mut route = RouteConfig::new("/api", "http://a:1");
            say(&mut route);
            let error = Config::to("https://a:1").route(route).routes(&[]).unwrap_err().to_string();
            assert!(error.starts_with("the route /api: upstream-"), "{error}");
        }
        let mut none = Config::to("https://a:1");
        none.all.upstream_ca = Some("no-such-file.pem".into());
        let error = none.routes(&[]).unwrap_err().to_string();
        assert!(error.contains("upstream-ca") && error.contains("no-such-file.pem"), "{error}");
        let mut mixed = Config::to("http://a:1").route(RouteConfig::new("/api", "https://a:1"));
        mixed.all.upstream_name = Some("example.com".into());
        mixed.routes(&[]).expect("one of them is for it");
        mixed.all.upstream_name = Some("2001:db8::7".into());
        mixed.routes(&[]).expect("a certificate may be for an address");
    }
}
