//! Types of numbers in the files of NumPy and PyTorch.

/// The type of the numbers of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 64-bit floating point.
    F64,
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point (IEEE 754).
    F16,
    /// The upper half of a 32-bit one (bfloat16).
    Bf16,
    /// A signed integer of so many bytes.
    Int(u8),
    /// An unsigned integer of so many bytes.
    Unsigned(u8),
}

impl Dtype {
    /// Of NumPy's short name, such as `f8` or `<i4`; of `O` (objects) nothing.
    pub(crate) fn of_numpy(name: &str) -> Option<Self> {
        Some(match name.trim_start_matches(['<', '>', '=', '|']) {
            "f8" => Self::F64,
            "f4" => Self::F32,
            "f2" => Self::F16,
            "i1" => Self::Int(1),
            "i2" => Self::Int(2),
            "i4" => Self::Int(4),
            "i8" => Self::Int(8),
            "u1" | "b1" => Self::Unsigned(1),
            "u2" => Self::Unsigned(2),
            "u4" => Self::Unsigned(4),
            "u8" => Self::Unsigned(8),
            _ => return None,
        })
    }

    /// Of PyTorch's storage class, such as `FloatStorage`.
    pub(crate) fn of_storage(class: &str) -> Option<Self> {
        Some(match class {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "LongStorage" => Self::Int(8),
            "IntStorage" => Self::Int(4),
            "ShortStorage" => Self::Int(2),
            "CharStorage" => Self::Int(1),
            "ByteStorage" | "BoolStorage" => Self::Unsigned(1),
            _ => return None,
        })
    }

    /// Bytes of one number.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Int(size) | Self::Unsigned(size) => usize::from(size),
        }
    }

    /// The number in [`Self::size`] bytes; 64-bit integers are rounded to what 64 bits of
    /// floating point hold.
    pub(crate) fn number(self, bytes: &[u8], big_endian: bool) -> f64 {
        // All widths up to eight bytes as one integer, the lowest byte first.
        let mut wide = [0u8; 8];
        let bytes = &bytes[..self.size()];
        for (i, place) in wide.iter_mut().take(bytes.len()).enumerate() {
            *place = bytes[if big_endian { bytes.len() - 1 - i } else { i }];
        }
        let raw = u64::from_le_bytes(wide);
        match self {
            Self::F64 => f64::from_bits(raw),
            Self::F32 => f64::from(f32::from_bits(raw as u32)),
            Self::Bf16 => f64::from(f32::from_bits((raw as u32) << 16)),
            Self::F16 => half(raw as u16),
            Self::Unsigned(_) => raw as f64,
            Self::Int(size) => {
                let unused = 64 - 8 * u32::from(size);
                (((raw << unused) as i64) >> unused) as f64
            }
        }
    }
}

/// A 16-bit number of IEEE 754: sign, five bits of exponent, ten of fraction.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let power = |e: i32| f64::from_bits(((1023 + e) as u64) << 52);
    sign * match exponent {
        0 => fraction * power(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        e => (1.0 + fraction / 1024.0) * power(e - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The left side by `numpy.array([...], dtype).tobytes()`.
    #[test]
    fn numbers_equal_numpys() {
        assert_eq!(Dtype::F16.number(&[0x00, 0x3c], false), 1.0);
        assert_eq!(Dtype::F16.number(&[0xfe, 0xc4], false), -4.992_187_5);
        assert_eq!(Dtype::F16.number(&[0x01, 0x00], false), 5.960_464_477_539_063e-8);
        assert_eq!(Dtype::F16.number(&[0x7c, 0x00], true), f64::INFINITY);
        assert_eq!(Dtype::Bf16.number(&[0x49, 0x40], false), 3.140_625);
        assert_eq!(Dtype::F32.number(&[0x00, 0x00, 0x20, 0xc1], false), -10.0);
        let tenth = [0x3f, 0xb9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a];
        assert_eq!(Dtype::F64.number(&tenth, true), 0.1);
        assert_eq!(Dtype::Int(2).number(&[0xfe, 0xff], false), -2.0);
        assert_eq!(Dtype::Int(8).number(&[0x6d, 0x19, 0, 0, 0, 0, 0, 0], false), 6509.0);
        assert_eq!(Dtype::Unsigned(4).number(&[0xff, 0xff, 0xff, 0xff], false), 4_294_967_295.0);
        assert_eq!(Dtype::of_numpy("<f8"), Some(Dtype::F64));
        assert_eq!((Dtype::of_numpy("O"), Dtype::of_storage("os")), (None, None));
    }
}
