//! Floats of 16 bits (IEEE 754-2008 binary16), from and to 64 bits.

/// Bits of a fraction that 64 bits have and 16 do not.
const FEWER: u32 = 52 - 10;

/// The nearest float of 16 bits, half to even; `None` where that is infinite and `number` is not.
///
/// A NaN keeps its sign alone, as CPython 3.11 has it.
pub(super) fn from_f64(number: f64) -> Option<u16> {
    let bits = number.to_bits();
    let sign = if bits >> 63 == 1 { 0x8000 } else { 0 };
    let fraction = bits & ((1 << 52) - 1);
    let exponent = (bits >> 52) & 0x7ff;
    let magnitude = match exponent {
        0x7ff if fraction == 0 => 0x7c00,
        0x7ff => 0x7e00,
        // From 2^16 up.
        1039.. => return None,
        // From 2^-14 up: normal here as well. What rounding carries goes into the exponent.
        1009.. => ((exponent - 1008) << 10) + rounded(fraction, FEWER),
        // From 2^-25 up: subnormal, or rounded up to that.
        998.. => {
            let missing = u32::try_from(1009 - exponent).unwrap_or(u32::MAX);
            rounded(fraction | 1 << 52, FEWER + missing)
        }
        _ => 0,
    };
    let overflowed = magnitude >= 0x7c00 && exponent != 0x7ff;
    let magnitude = u16::try_from(magnitude).ok()?;
    (!overflowed).then_some(sign | magnitude)
}

/// `number` without its last `bits`, of which there are fewer than 64, to the nearest, half to even.
fn rounded(number: u64, bits: u32) -> u64 {
    let kept = number >> bits;
    let rest = number & ((1 << bits) - 1);
    let half = 1 << (bits - 1);
    let up = rest > half || (rest == half && kept & 1 == 1);
    kept + u64::from(up)
}

/// The same number in 64 bits. A NaN keeps its sign alone.
pub(super) fn to_f64(half: u16) -> f64 {
    let fraction = half & 0x3ff;
    let magnitude = match (half >> 10) & 0x1f {
        0 => f64::from(fraction) * 2f64.powi(-24),
        0x1f if fraction == 0 => f64::INFINITY,
        0x1f => f64::from_bits(0x7ff8 << 48),
        exponent => f64::from(fraction | 0x400) * 2f64.powi(i32::from(exponent) - 25),
    };
    match half >> 15 {
        0 => magnitude,
        _ => -magnitude,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_comes_back() {
        for half in 0..=u16::MAX {
            let number = to_f64(half);
            let expected = match number.is_nan() {
                true => half & 0x8000 | 0x7e00,
                false => half,
            };
            assert_eq!(from_f64(number), Some(expected), "{half:04x}");
        }
    }

    #[test]
    fn between_two_the_even_one_is_taken() {
        for half in 0..0x7bff_u16 {
            let (low, high) = (to_f64(half), to_f64(half + 1));
            let middle = low + (high - low) / 2.0;
            let even = if half % 2 == 0 { half } else { half + 1 };
            assert_eq!(from_f64(middle), Some(even), "{half:04x}");
            assert_eq!(from_f64(middle.next_down()), Some(half), "{half:04x}");
            assert_eq!(from_f64(middle.next_up()), Some(half + 1), "{half:04x}");
        }
    }

    #[test]
    fn what_is_too_large_is_told() {
        assert_eq!(from_f64(65504.0), Some(0x7bff));
        assert_eq!(from_f64(65520_f64.next_down()), Some(0x7bff));
        for number in [65520.0, 65536.0, 1e300, -65520.0, f64::MAX] {
            assert_eq!(from_f64(number), None, "{number}");
        }
        assert_eq!(from_f64(f64::NEG_INFINITY), Some(0xfc00));
        assert_eq!(from_f64(f64::MIN_POSITIVE), Some(0));
        assert_eq!(from_f64(-0.0), Some(0x8000));
    }
}
