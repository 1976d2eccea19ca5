//! Sequence numbers, which wrap (RFC 9293 §3.4).

/// Whether `a` comes after `b`: by less than half of all numbers.
pub(super) fn after(a: u32, b: u32) -> bool {
    b.wrapping_sub(a).cast_signed() < 0
}

/// `number` counted on across the wrap: of all 64-bit numbers that end in its 32 bits, the nearest to `near`.
pub(super) fn unwrap(number: u32, near: i64) -> i64 {
    let low = u32::try_from(near.rem_euclid(1 << 32)).unwrap_or_default();
    let ahead = number.wrapping_sub(low).cast_signed();
    near.saturating_add(i64::from(ahead))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_across_the_wrap() {
        assert_eq!(unwrap(5, (1 << 32) - 10), (1 << 32) + 5);
        assert_eq!(unwrap(u32::MAX, 3), -1);
        assert_eq!(unwrap(u32::MAX, 3 << 32), (3 << 32) - 1);
        assert_eq!(unwrap(7, -3), 7);
        assert!(after(3, u32::MAX) && !after(u32::MAX, 3) && !after(3, 3));
    }
}
