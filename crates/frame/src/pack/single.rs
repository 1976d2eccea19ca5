//! Floats of 32 bits, from and to 64 bits. A NaN is made of bits here, since `as` promises nothing about
//! those: it keeps its sign and what of its payload there is room for, and becomes quiet, as it does on
//! the machines that CPython runs on.

/// The nearest float of 32 bits; infinite where `number` is too large.
pub(super) fn from_f64(number: f64) -> u32 {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "rounding to 32 bits is what this is for"
    )]
    let narrow = number as f32;
    if !number.is_nan() {
        return narrow.to_bits();
    }
    let bits = number.to_bits();
    let high = (bits >> 32) & 0x8000_0000;
    let payload = (bits >> 29) & 0x007f_ffff;
    u32::try_from(high | 0x7fc0_0000 | payload).unwrap_or(0x7fc0_0000)
}

/// The same number in 64 bits.
pub(super) fn to_f64(single: u32) -> f64 {
    let number = f32::from_bits(single);
    if !number.is_nan() {
        return f64::from(number);
    }
    let sign = u64::from(single >> 31) << 63;
    let payload = u64::from(single & 0x007f_ffff) << 29;
    f64::from_bits(sign | 0x7ff8 << 48 | payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_keeps_what_there_is_room_for() {
        assert_eq!(to_f64(0x7fa0_0001).to_bits(), 0x7ffc_0000_2000_0000);
        let signalling = f64::from_bits(0x7ff0_0000_2000_0001);
        assert_eq!(from_f64(signalling), 0x7fc0_0001);
        assert_eq!(from_f64(f64::from_bits(0xfff0_0000_0000_0001)), 0xffc0_0000);
    }

    #[test]
    fn numbers_are_rounded() {
        assert_eq!(from_f64(0.1), 0.1_f32.to_bits());
        assert_eq!(from_f64(1e39), f32::INFINITY.to_bits());
        assert_eq!(to_f64(0.1_f32.to_bits()), 0.100_000_001_490_116_12);
    }
}
