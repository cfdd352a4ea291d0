//! Erasure decoding over GF(2⁸) with polynomial 0x11d, for any systematic code whose parity coefficients are known
//! (protocol text §6.5 for video, §7.3 for audio). Decoding only: the host encodes.
//!
//! With e data shards missing, e received parity shards give e equations. What the received data shards add to
//! them is subtracted first, then the e×e matrix of the missing columns is inverted.

/// x⁸+x⁴+x³+x²+1.
const POLYNOMIAL: u16 = 0x11d;

/// Tables of the field: products of all pairs (64 KiB, cheaper than logarithms in the shard loops) and inverses.
pub struct Field {
    products: Box<[[u8; 256]; 256]>,
    inverses: [u8; 256],
}

impl Field {
    /// Builds the tables from the polynomial.
    pub fn new() -> Self {
        let mut products = Box::new([[0u8; 256]; 256]);
        let mut inverses = [0u8; 256];
        for a in 0..256usize {
            for b in 0..256usize {
                let product = multiply(a as u8, b as u8);
                products[a][b] = product;
                if product == 1 {
                    inverses[a] = b as u8;
                }
            }
        }
        Field { products, inverses }
    }

    /// Product of two elements.
    pub fn product(&self, a: u8, b: u8) -> u8 {
        self.products[usize::from(a)][usize::from(b)]
    }

    /// Inverse of an element; 0 for 0, which has none.
    pub fn inverse(&self, a: u8) -> u8 {
        self.inverses[usize::from(a)]
    }

    /// `target ^= factor · source`, position by position.
    pub fn add_product(&self, target: &mut [u8], source: &[u8], factor: u8) {
        match factor {
            0 => {}
            1 => target.iter_mut().zip(source).for_each(|(t, s)| *t ^= s),
            _ => {
                let row = &self.products[usize::from(factor)];
                target.iter_mut().zip(source).for_each(|(t, s)| *t ^= row[usize::from(*s)]);
            }
        }
    }

    fn scale(&self, row: &mut [u8], factor: u8) {
        let products = &self.products[usize::from(factor)];
        row.iter_mut().for_each(|value| *value = products[usize::from(*value)]);
    }
}

impl Default for Field {
    fn default() -> Self {
        Field::new()
    }
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Field(2^8, 0x11d)")
    }
}

/// Shift-and-add product, the definition itself.
fn multiply(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut sum) = (u16::from(a), b, 0u16);
    while b != 0 {
        if b & 1 == 1 {
            sum ^= a;
        }
        a <<= 1;
        if a & 0x100 != 0 {
            a ^= POLYNOMIAL;
        }
        b >>= 1;
    }
    sum as u8
}

/// Parity coefficients of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Video, protocol text §6.5: `coef[j][i] = inverse((P + i) xor j)`; the matrix depends on P.
    Cauchy {
        /// Number of parity shards P.
        parity: usize,
    },
    /// Audio, protocol text §7.3: fixed 4 + 2.
    Audio,
}

const AUDIO: [[u8; 4]; 2] = [[0x77, 0x40, 0x38, 0x0e], [0xc7, 0xa7, 0x0d, 0x6c]];

impl Code {
    /// Coefficient of parity row `row` and data column `column`.
    pub fn coefficient(self, field: &Field, row: usize, column: usize) -> u8 {
        match self {
            Code::Cauchy { parity } => field.inverse(((parity + column) ^ row) as u8),
            Code::Audio => AUDIO[row & 1][column & 3],
        }
    }
}

/// Why a block cannot be recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FecError {
    /// Fewer parity shards than missing data shards.
    #[error("{missing} data shards are missing and only {parity} parity shards arrived")]
    TooFew {
        /// Missing data shards.
        missing: usize,
        /// Received parity shards.
        parity: usize,
    },
    /// Shards of one block differ in length.
    #[error("the shards of the block differ in length")]
    UnequalLengths,
    /// More than 255 shards, or a matrix that cannot be inverted.
    #[error("the shape of the block is not a code of this field")]
    BadShape,
}

/// Fills in the missing data shards: `shards` holds `data` data shards, then the parity shards. Parity shards that
/// are missing stay missing. Returns how many were recovered.
pub fn recover(
    field: &Field,
    code: Code,
    shards: &mut [Option<Vec<u8>>],
    data: usize,
) -> Result<usize, FecError> {
    let parity_total = shards.len().checked_sub(data).ok_or(FecError::BadShape)?;
    if shards.len() > 255 && parity_total > 0 {
        return Err(FecError::BadShape);
    }
    if code == Code::Audio && (data != 4 || parity_total != 2) {
        return Err(FecError::BadShape);
    }
    let missing: Vec<usize> = (0..data).filter(|&i| shards[i].is_none()).collect();
    if missing.is_empty() {
        return Ok(0);
    }
    let rows: Vec<usize> =
        (0..parity_total).filter(|&j| shards[data + j].is_some()).take(missing.len()).collect();
    if rows.len() < missing.len() {
        return Err(FecError::TooFew { missing: missing.len(), parity: rows.len() });
    }
    let length = shards.iter().flatten().map(Vec::len).next().unwrap_or(0);
    if shards.iter().flatten().any(|shard| shard.len() != length) {
        return Err(FecError::UnequalLengths);
    }

    let syndromes: Vec<Vec<u8>> = rows
        .iter()
        .map(|&row| {
            let mut sum = shards[data + row].clone().unwrap_or_default();
            for (column, shard) in shards[..data].iter().enumerate() {
                if let Some(shard) = shard {
                    field.add_product(&mut sum, shard, code.coefficient(field, row, column));
                }
            }
            sum
        })
        .collect();

    let inverse = invert(field, code, &rows, &missing).ok_or(FecError::BadShape)?;
    for (position, &column) in missing.iter().enumerate() {
        let mut shard = vec![0; length];
        for (factor, syndrome) in inverse[position].iter().zip(&syndromes) {
            field.add_product(&mut shard, syndrome, *factor);
        }
        shards[column] = Some(shard);
    }
    Ok(missing.len())
}

/// Gauss–Jordan inverse of the square matrix of `rows` × `columns`; `None` if it has none.
fn invert(field: &Field, code: Code, rows: &[usize], columns: &[usize]) -> Option<Vec<Vec<u8>>> {
    let size = rows.len();
    // Left half the matrix, right half the identity that becomes the inverse.
    let mut work: Vec<Vec<u8>> = rows
        .iter()
        .enumerate()
        .map(|(position, &row)| {
            let mut line: Vec<u8> =
                columns.iter().map(|&column| code.coefficient(field, row, column)).collect();
            line.resize(2 * size, 0);
            line[size + position] = 1;
            line
        })
        .collect();
    for pivot in 0..size {
        let swap = (pivot..size).find(|&row| work[row][pivot] != 0)?;
        work.swap(pivot, swap);
        let factor = field.inverse(work[pivot][pivot]);
        field.scale(&mut work[pivot][pivot..], factor);
        let line = std::mem::take(&mut work[pivot]);
        for (row, other) in work.iter_mut().enumerate() {
            if row != pivot {
                let factor = other[pivot];
                field.add_product(&mut other[pivot..], &line[pivot..], factor);
            }
        }
        work[pivot] = line;
    }
    Some(work.into_iter().map(|mut line| line.split_off(size)).collect())
}

#[cfg(test)]
mod tests;
