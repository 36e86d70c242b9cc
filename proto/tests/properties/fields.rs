//! Header lists whose fields repeat often enough to be worth a table, beside some that never do.

use sockeye_proto::hpack::Field;

use super::choices::Choices;

/// A field that owns its octets.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedField {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
    pub sensitive: bool,
}

impl OwnedField {
    fn new(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        Self { name: name.as_ref().into(), value: value.as_ref().into(), sensitive: false }
    }

    pub fn as_field(&self) -> Field<'_> {
        Field { name: &self.name, value: &self.value, sensitive: self.sensitive }
    }

    /// Octets, as RFC 7541 §4.1 counts them.
    pub fn size(&self) -> usize {
        self.name.len() + self.value.len() + 32
    }
}

impl From<Field<'_>> for OwnedField {
    fn from(field: Field<'_>) -> Self {
        Self { name: field.name.into(), value: field.value.into(), sensitive: field.sensitive }
    }
}

impl std::fmt::Debug for OwnedField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name.escape_ascii(), self.value.escape_ascii())?;
        if self.sensitive { f.write_str(" (sensitive)") } else { Ok(()) }
    }
}

/// Our encoder marks these as sensitive by itself, but for what the static table has.
pub fn with_credentials(mut list: Vec<OwnedField>) -> Vec<OwnedField> {
    for field in &mut list {
        field.sensitive |= match &field.name[..] {
            b"authorization" | b"proxy-authorization" => !field.value.is_empty(),
            b"cookie" => !field.value.is_empty() && field.value.len() < 20,
            _ => false,
        };
    }
    list
}

/// For lists whose source does not tell.
pub fn without_sensitive(mut list: Vec<OwnedField>) -> Vec<OwnedField> {
    list.iter_mut().for_each(|field| field.sensitive = false);
    list
}

/// Mostly short strings of mostly plain letters.
fn any_string(choices: &mut Choices<'_>) -> Vec<u8> {
    let max_length = choices.pick(&[1, 4, 16, 16, 64, 64, 300, 3000]);
    let length = choices.below(max_length);
    match choices.below(8) {
        0 => (0..length).map(|_| choices.octet()).collect(),
        1 => vec![choices.octet(); length],
        _ => (0..length).map(|_| choices.pick(b"aeionrst0123-/=;, ABCXYZ&*#~")).collect(),
    }
}

fn any_field(choices: &mut Choices<'_>) -> OwnedField {
    const COMMON: &[(&str, &str)] = &[
        (":status", "200"),
        (":status", "403"),
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":path", "/chat"),
        (":path", "/search?q=sockeye"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
        ("content-length", "17"),
        ("cookie", "short"),
        ("cookie", "session=31cf64b90210475fb3a3cf9d5b9abdca"),
        ("authorization", "Basic YWxhZGRpbjpvcGVuc2VzYW1l"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
        ("x-request-id", ""),
        ("", "no name"),
        ("", ""),
    ];
    let (name, value) = choices.pick(COMMON);
    let mut field = OwnedField::new(name, value);
    if choices.one_in(3) {
        field.value = any_string(choices);
    }
    if choices.one_in(6) {
        field.name = any_string(choices);
    }
    field.sensitive = choices.one_in(12);
    field
}

pub fn any_list(choices: &mut Choices<'_>) -> Vec<OwnedField> {
    (0..choices.below(12)).map(|_| any_field(choices)).collect()
}
