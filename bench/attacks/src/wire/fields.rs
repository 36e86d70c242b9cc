//! Header blocks as an attacker writes them (RFC 7541 §6): no table is kept, so that any block can be anything.

/// Fields as literals that no table keeps (RFC 7541 §6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut octets = Vec::new();
    for (name, value) in fields {
        literal(&mut octets, name.as_bytes(), value.as_bytes());
    }
    octets
}

/// A field as a literal that no table keeps.
pub fn literal(octets: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    octets.push(0x00);
    string(octets, name);
    string(octets, value);
}

/// A field that goes into the dynamic table (RFC 7541 §6.2.1).
pub fn remembered(octets: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    octets.push(0x40);
    string(octets, name);
    string(octets, value);
}

/// The newest field of the dynamic table, in one octet (RFC 7541 §2.3.3).
pub const NEWEST: u8 = 0x80 | 62;

fn string(octets: &mut Vec<u8>, value: &[u8]) {
    integer(octets, 7, 0, value.len());
    octets.extend_from_slice(value);
}

/// RFC 7541 §5.1
pub fn integer(octets: &mut Vec<u8>, prefix: u32, pattern: u8, mut value: usize) {
    let most = (1 << prefix) - 1;
    if value < most {
        octets.push(pattern | value as u8);
        return;
    }
    octets.push(pattern | most as u8);
    value -= most;
    while value >= 128 {
        octets.push(value as u8 | 0x80);
        value >>= 7;
    }
    octets.push(value as u8);
}

/// A plain request.
pub fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut octets = block(&[(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost")]);
    octets.extend(block(more));
    octets
}

pub fn get() -> Vec<u8> {
    request("GET", "/", &[])
}

pub fn post() -> Vec<u8> {
    request("POST", "/", &[])
}

/// What asks for a WebSocket (RFC 8441 §5).
pub fn connect(more: &[(&str, &str)]) -> Vec<u8> {
    let mut octets = block(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/echo"),
        (":authority", "localhost"),
        ("sec-websocket-version", "13"),
    ]);
    octets.extend(block(more));
    octets
}

/// The same in few octets, as a client's encoder would have it from the second on: what is indexed is in the table by
/// [`connect_remembered`]. The newest entry has index 62.
pub fn connect_again() -> [u8; 6] {
    [0x80 | 67, 0x80 | 66, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62]
}

/// The first of them.
pub fn connect_remembered() -> Vec<u8> {
    let mut octets = Vec::new();
    for (name, value) in [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/echo"),
        (":authority", "localhost"),
        ("sec-websocket-version", "13"),
    ] {
        remembered(&mut octets, name.as_bytes(), value.as_bytes());
    }
    octets
}
