//! GF(2⁸) with the polynomial x⁸ + x⁴ + x³ + x² + 1, and the tables that the kernels look coefficients up in.

/// The reduction polynomial without its x⁸.
const POLYNOMIAL: u8 = 0x1d;

/// Product in the field.
pub(crate) const fn multiply(a: u8, b: u8) -> u8 {
    let (mut power, mut product, mut bit) = (a, 0, 0);
    while bit < 8 {
        if b >> bit & 1 == 1 {
            product ^= power;
        }
        power = power << 1 ^ if power & 0x80 == 0 { 0 } else { POLYNOMIAL };
        bit += 1;
    }
    product
}

/// Inverse of every element; the entry of 0, which has none, is 0.
pub(crate) static INVERSE: [u8; 256] = inverse_table();

const fn inverse_table() -> [u8; 256] {
    // 2 generates the field and 142 is its inverse: walk both cycles side by side.
    let mut table = [0; 256];
    let (mut forward, mut backward, mut step) = (1u8, 1u8, 0);
    while step < 255 {
        table[forward as usize] = backward;
        forward = multiply(forward, 2);
        backward = multiply(backward, 142);
        step += 1;
    }
    table
}

/// For each coefficient, the bit matrix that GFNI's affine instruction takes to multiply by it.
#[cfg(target_arch = "x86_64")]
pub(crate) static AFFINE: [u64; 256] = affine_table();

#[cfg(target_arch = "x86_64")]
const fn affine_table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut coefficient = 0;
    while coefficient < 256 {
        let (mut matrix, mut input) = (0u64, 0);
        while input < 8 {
            let image = multiply(coefficient as u8, 1 << input);
            let mut output = 0;
            while output < 8 {
                // The instruction keeps the row of output bit 0 in the highest byte.
                matrix |= ((image >> output & 1) as u64) << ((7 - output) * 8 + input);
                output += 1;
            }
            input += 1;
        }
        table[coefficient] = matrix;
        coefficient += 1;
    }
    table
}

/// Products of one coefficient with every low nibble (first 16) and every high nibble (last 16), for byte shuffles.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Nibbles(pub(crate) [u8; 32]);

/// The nibble products of each coefficient.
#[cfg(target_arch = "x86_64")]
pub(crate) static NIBBLES: [Nibbles; 256] = nibble_table();

#[cfg(target_arch = "x86_64")]
const fn nibble_table() -> [Nibbles; 256] {
    let mut table = [Nibbles([0; 32]); 256];
    let mut coefficient = 0;
    while coefficient < 256 {
        let mut nibble = 0;
        while nibble < 16 {
            table[coefficient].0[nibble] = multiply(coefficient as u8, nibble as u8);
            table[coefficient].0[16 + nibble] = multiply(coefficient as u8, (nibble as u8) << 4);
            nibble += 1;
        }
        coefficient += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverses_of_the_protocol_text() {
        assert_eq!((INVERSE[2], INVERSE[3], INVERSE[0x53]), (0x8e, 0xf4, 0x8c));
        for element in 1..=255u8 {
            assert_eq!(multiply(element, INVERSE[usize::from(element)]), 1, "{element}");
        }
    }
}
