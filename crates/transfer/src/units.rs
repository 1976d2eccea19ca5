//! Numbers as people read them, in what the other side is told and in what a caller shows.

/// Bytes in decimal units, three digits: `999 B`, `1.23 kB`, `45.6 MB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    // In thousandths of the unit, so that no float rounds 999.9996 up to 1000.
    let (mut thousandths, mut unit) = (u128::from(count), 0);
    while thousandths >= 999_500 && unit + 1 < UNITS.len() {
        thousandths = (thousandths + 500) / 1000;
        unit += 1;
    }
    let (whole, rest) = (thousandths / 1000, thousandths % 1000);
    match whole {
        0..10 => format!("{whole}.{:02} {}", rest / 10, UNITS[unit]),
        10..100 => format!("{whole}.{} {}", rest / 100, UNITS[unit]),
        _ => format!("{whole} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_three_digits() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (1999, "1.99 kB"),
            (45_678, "45.6 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (2_147_483_648, "2.14 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
