//! The static table (RFC 7541 §2.3.1 and Appendix A).

/// An entry's name and value.
type Entry = (&'static [u8], &'static [u8]);

/// The number of entries. Their indices begin with 1, and those of the dynamic table follow (RFC 7541 §2.3.3).
pub(super) const LEN: usize = ENTRIES.len();

#[rustfmt::skip]
const ENTRIES: [Entry; 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

/// Where a field stands in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// The index of the very field.
    Field(usize),
    /// The first index that has its name.
    Name(usize),
}

/// The entry at an index, from 1 on.
pub(super) fn get(index: usize) -> Option<Entry> {
    ENTRIES.get(index.wrapping_sub(1)).copied()
}

/// Looks a field up, by one comparison of names.
pub(super) fn find(name: &[u8], value: &[u8]) -> Option<Match> {
    if name.is_empty() {
        return None;
    }
    let first = usize::from(FIRST_BY_NAME[slot(name)]);
    if get(first)?.0 != name {
        return None;
    }
    // Entries of one name stand together.
    let mut same_name = (first..).zip(&ENTRIES[first - 1..]).take_while(|(_, entry)| entry.0 == name);
    let field = same_name.find(|(_, entry)| entry.1 == value);
    Some(field.map_or(Match::Name(first), |(index, _)| Match::Field(index)))
}

// First indices of names that the encoder treats apart.
pub(super) const PATH: usize = index_of(b":path");
pub(super) const AUTHORIZATION: usize = index_of(b"authorization");
pub(super) const AGE: usize = index_of(b"age");
pub(super) const CONTENT_LENGTH: usize = index_of(b"content-length");
pub(super) const CONTENT_RANGE: usize = index_of(b"content-range");
pub(super) const COOKIE: usize = index_of(b"cookie");
pub(super) const ETAG: usize = index_of(b"etag");
pub(super) const IF_MATCH: usize = index_of(b"if-match");
pub(super) const IF_MODIFIED_SINCE: usize = index_of(b"if-modified-since");
pub(super) const IF_NONE_MATCH: usize = index_of(b"if-none-match");
pub(super) const IF_RANGE: usize = index_of(b"if-range");
pub(super) const IF_UNMODIFIED_SINCE: usize = index_of(b"if-unmodified-since");
pub(super) const LAST_MODIFIED: usize = index_of(b"last-modified");
pub(super) const LOCATION: usize = index_of(b"location");
pub(super) const PROXY_AUTHORIZATION: usize = index_of(b"proxy-authorization");
pub(super) const RANGE: usize = index_of(b"range");
pub(super) const SET_COOKIE: usize = index_of(b"set-cookie");

/// The first index of a name that the table has.
const fn index_of(name: &[u8]) -> usize {
    FIRST_BY_NAME[slot(name)] as usize
}

/// By [`slot`]: the first index of the name that belongs there, or 0.
const FIRST_BY_NAME: [u8; 256] = {
    let mut table = [0; 256];
    let mut index = LEN;
    while index > 0 {
        let name = ENTRIES[index - 1].0;
        let other = table[slot(name)] as usize;
        // Nothing but an entry of the same name, the one just behind, may have been here.
        assert!(other == 0 || (other == index + 1 && ENTRIES[index].0.len() == name.len()));
        table[slot(name)] = index as u8;
        index -= 1;
    }
    table
};

/// A place for each name. The factors were searched so that no two names of the table meet.
const fn slot(name: &[u8]) -> usize {
    let length = name.len();
    (length * 59 + name[length / 2] as usize * 24 + name[length * 3 / 4] as usize) % 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_where_it_stands() {
        for (index, (name, value)) in (1..).zip(ENTRIES) {
            assert_eq!(get(index), Some((name, value)));
            assert_eq!(find(name, value), Some(Match::Field(index)));
            let Some(Match::Name(first)) = find(name, b"no such value") else { panic!("{name:?}") };
            assert!(
                first <= index && get(first).unwrap().0 == name && get(first - 1).is_none_or(|entry| entry.0 != name)
            );
        }
        assert_eq!(get(0), None);
        assert_eq!(get(LEN + 1), None);
    }

    #[test]
    fn named_indices_lead_to_their_names() {
        for (index, name) in [
            (PATH, ":path"),
            (AUTHORIZATION, "authorization"),
            (AGE, "age"),
            (CONTENT_LENGTH, "content-length"),
            (CONTENT_RANGE, "content-range"),
            (COOKIE, "cookie"),
            (ETAG, "etag"),
            (IF_MATCH, "if-match"),
            (IF_MODIFIED_SINCE, "if-modified-since"),
            (IF_NONE_MATCH, "if-none-match"),
            (IF_RANGE, "if-range"),
            (IF_UNMODIFIED_SINCE, "if-unmodified-since"),
            (LAST_MODIFIED, "last-modified"),
            (LOCATION, "location"),
            (PROXY_AUTHORIZATION, "proxy-authorization"),
            (RANGE, "range"),
            (SET_COOKIE, "set-cookie"),
        ] {
            assert_eq!(get(index).unwrap().0, name.as_bytes());
        }
    }

    #[test]
    fn other_names_are_not_found() {
        for name in [&b""[..], b"x", b":statuS", b"accept-charsex", b":protocol", b"sec-websocket-version"] {
            assert_eq!(find(name, b""), None);
        }
    }
}
