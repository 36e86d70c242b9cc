//! The `Date` of responses (RFC 9110 §6.6.1).

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second of the year 9999, which a date can tell, since 1970.
const LAST_SECOND: u64 = 253_402_300_799;

/// The octets of an IMF-fixdate (RFC 9110 §5.6.7).
type Date = [u8; 29];

thread_local! {
    /// The second that was asked for last, and its date.
    static CACHED: Cell<(u64, Date)> = const { Cell::new((u64::MAX, [b' '; 29])) };
}

/// The time by the system's clock. It is written out once a second.
pub(crate) fn now() -> Date {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let second = since_1970.as_secs().min(LAST_SECOND);
    let (cached, date) = CACHED.get();
    if cached == second {
        return date;
    }
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
    let date = text.into_bytes().try_into().unwrap_or(date);
    CACHED.set((second, date));
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept is the date of its second.
    #[test]
    fn the_date_is_of_this_second() {
        for _ in 0..2 {
            let before = SystemTime::now() - Duration::from_secs(1);
            let date = now();
            let date = httpdate::parse_http_date(std::str::from_utf8(&date).unwrap()).unwrap();
            assert!((before..=SystemTime::now()).contains(&date));
        }
    }
}
