//! Amounts in words.

/// Microseconds in the unit that suits them, to three digits.
pub(super) fn time(microseconds: f64) -> String {
    let (amount, unit) = match microseconds {
        ..0.1 => (microseconds * 1e3, "ns"),
        ..1e3 => (microseconds, "µs"),
        ..1e6 => (microseconds / 1e3, "ms"),
        _ => (microseconds / 1e6, "s"),
    };
    format!("{} {unit}", three_digits(amount))
}

/// Octets in the unit that suits them, to three digits.
pub(super) fn octets(octets: f64) -> String {
    let size = octets.abs();
    let (unit, name) = match size {
        ..1024.0 => (1.0, "B"),
        ..1_048_576.0 => (1024.0, "KiB"),
        ..1_073_741_824.0 => (1_048_576.0, "MiB"),
        _ => (1_073_741_824.0, "GiB"),
    };
    format!("{} {name}", three_digits(octets / unit))
}

fn three_digits(number: f64) -> String {
    let decimals = match number.abs() {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{number:.decimals$}")
}

/// A number with commas.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

pub(super) fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_three_digits_and_a_unit() {
        assert_eq!(
            [0.0512, 0.5, 12.34, 123.4, 5_123.0, 2.5e6].map(time),
            ["51.2 ns", "0.50 µs", "12.3 µs", "123 µs", "5.12 ms", "2.50 s"]
        );
        assert_eq!([0.0, 1536.0, -2.0, 3e6].map(octets), ["0.00 B", "1.50 KiB", "-2.00 B", "2.86 MiB"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
