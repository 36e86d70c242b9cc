use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A time as people write it: `30s`, `500ms`, `2m`, `1h 30m`, or a number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(Duration);

const FORM: &str = "a time is such as 30s, 500ms or 2m, or a number of seconds";

impl Time {
    /// As the machine counts it.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl From<Duration> for Time {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(seconds) = text.parse() {
            return Ok(Self(Duration::from_secs(seconds)));
        }
        humantime::parse_duration(text).map(Self).map_err(|_| format!("{text:?}: {FORM}"))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORM)
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Time, E> {
        let seconds = u64::try_from(seconds).map_err(|_| E::custom(FORM))?;
        Ok(Time(Duration::from_secs(seconds)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_people_write_them() {
        for (text, millis) in [("30", 30_000), ("30s", 30_000), ("500ms", 500), ("2m", 120_000), ("1m 30s", 90_000)] {
            assert_eq!(text.parse::<Time>().unwrap().duration(), Duration::from_millis(millis), "{text}");
        }
        for text in ["", "-1", "soon", "3 parsecs", "99999999999999999999h"] {
            assert!(text.parse::<Time>().unwrap_err().contains("30s"), "{text}");
        }
    }
}
