//! The encoder: a matrix, a kernel, and the check that the shards lie inside the buffer.

use crate::galois::INVERSE;
use crate::{Kernel, MAX_SHARDS, portable};

/// Why a code cannot exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// No data, or more shards than the field has room for.
    #[error(
        "{data} data and {parity} parity shards: a code needs at least 1 data shard and at most 255 shards; \
         split the data into more blocks"
    )]
    Count {
        /// Data shards asked for.
        data: usize,
        /// Parity shards asked for.
        parity: usize,
    },
    /// The matrix is not made of whole rows.
    #[error("a matrix of {len} coefficients is not made of whole rows of {data}; pass parity × data bytes")]
    Matrix {
        /// Data shards, the length of a row.
        data: usize,
        /// Coefficients passed.
        len: usize,
    },
}

/// The shards do not lie inside the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{shards} shards at stride {}, offset {}, length {} do not fit a buffer of {buffer} bytes; \
     each shard must end before the next slot begins",
    layout.stride, layout.offset, layout.shard_len
)]
pub struct BufferError {
    /// Where the shards were said to lie.
    pub layout: Layout,
    /// Data and parity shards.
    pub shards: usize,
    /// Length of the buffer in bytes.
    pub buffer: usize,
}

/// Where shards lie in a buffer: shard k is `shard_len` bytes from `k × stride + offset`, all in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// From one shard to the next.
    pub stride: usize,
    /// From the start of a slot to its shard, for example a header that is no part of the code.
    pub offset: usize,
    /// Bytes of a shard.
    pub shard_len: usize,
}

/// A code of fixed shape. Cheap to make (one byte per coefficient), cheap to keep.
#[derive(Clone, Debug)]
pub struct Encoder {
    data_shards: usize,
    parity_shards: usize,
    /// Column after column: the `parity_shards` coefficients of data shard 0, then those of shard 1, …, as the kernels
    /// read them.
    coefficients: Box<[u8]>,
    /// Always one that this CPU runs; the safety of `sys` stands on it.
    kernel: Kernel,
}

impl Encoder {
    /// The Cauchy code of video: coefficient of parity row j and data shard i is inverse((P + i) xor j)
    /// (protocol text §6.5). No parity shards is a valid code that does nothing.
    ///
    /// # Errors
    /// [`ShapeError::Count`] without data or with more than [`MAX_SHARDS`] shards.
    pub fn new(data_shards: usize, parity_shards: usize) -> Result<Self, ShapeError> {
        check_count(data_shards, parity_shards)?;
        let mut coefficients = Vec::with_capacity(data_shards * parity_shards);
        for column in parity_shards..parity_shards + data_shards {
            coefficients.extend((0..parity_shards).map(|row| INVERSE[column ^ row]));
        }
        Ok(Self::from_columns(data_shards, parity_shards, coefficients))
    }

    /// A code with a given matrix: `rows` holds the coefficients of parity row 0, then those of row 1, …,
    /// `data_shards` bytes each (audio's fixed 4 + 2 code, protocol text §7.3).
    ///
    /// # Errors
    /// [`ShapeError::Matrix`] if `rows` is not made of whole rows, [`ShapeError::Count`] as in [`Encoder::new`].
    pub fn with_matrix(data_shards: usize, rows: &[u8]) -> Result<Self, ShapeError> {
        if data_shards == 0 {
            return Err(ShapeError::Count { data: 0, parity: 0 });
        }
        if !rows.len().is_multiple_of(data_shards) {
            return Err(ShapeError::Matrix { data: data_shards, len: rows.len() });
        }
        let parity_shards = rows.len() / data_shards;
        check_count(data_shards, parity_shards)?;
        let coefficients = (0..data_shards)
            .flat_map(|column| (0..parity_shards).map(move |row| rows[row * data_shards + column]))
            .collect();
        Ok(Self::from_columns(data_shards, parity_shards, coefficients))
    }

    fn from_columns(data_shards: usize, parity_shards: usize, coefficients: Vec<u8>) -> Self {
        Self { data_shards, parity_shards, coefficients: coefficients.into(), kernel: Kernel::best() }
    }

    /// The same code on another kernel; none if this CPU does not run it.
    pub fn on(mut self, kernel: Kernel) -> Option<Self> {
        self.kernel = kernel;
        kernel.is_available().then_some(self)
    }

    /// Data shards.
    pub fn data_shards(&self) -> usize {
        self.data_shards
    }

    /// Parity shards.
    pub fn parity_shards(&self) -> usize {
        self.parity_shards
    }

    /// The kernel in use.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Coefficient of a parity row and a data shard; none outside the matrix.
    pub fn coefficient(&self, row: usize, data_shard: usize) -> Option<u8> {
        let inside = row < self.parity_shards && data_shard < self.data_shards;
        inside.then(|| self.coefficients[data_shard * self.parity_shards + row])
    }

    /// Computes the parity of shards that lie back to back, data first; `shards` may be longer.
    ///
    /// # Errors
    /// [`BufferError`] if `shards` is shorter than all shards together.
    pub fn encode(&self, shards: &mut [u8], shard_len: usize) -> Result<(), BufferError> {
        self.encode_strided(shards, Layout { stride: shard_len, offset: 0, shard_len })
    }

    /// Computes the parity of shards that lie in larger slots, data first. Bytes outside the shards are left alone,
    /// what the parity shards held is overwritten.
    ///
    /// # Errors
    /// [`BufferError`] if a shard would end beyond its slot or the buffer; nothing is written then.
    pub fn encode_strided(&self, buffer: &mut [u8], layout: Layout) -> Result<(), BufferError> {
        let shards = self.data_shards + self.parity_shards;
        let refused = BufferError { layout, shards, buffer: buffer.len() };
        let Layout { stride, offset, shard_len } = layout;
        let shard_end = offset.checked_add(shard_len).filter(|end| *end <= stride).ok_or(refused)?;
        let last_slot = stride.checked_mul(shards - 1).ok_or(refused)?;
        if last_slot.checked_add(shard_end).is_none_or(|needed| needed > buffer.len()) {
            return Err(refused);
        }
        if shard_len == 0 || self.parity_shards == 0 {
            return Ok(());
        }
        let (data, parity) = buffer.split_at_mut(self.data_shards * stride);
        self.run(Job {
            coefficients: &self.coefficients,
            data: &data[offset..],
            parity: &mut parity[offset..],
            data_shards: self.data_shards,
            parity_shards: self.parity_shards,
            stride,
            shard_len,
        });
        Ok(())
    }

    fn run(&self, mut job: Job<'_>) {
        #[cfg(target_arch = "x86_64")]
        if crate::sys::encode(self.kernel, &mut job) {
            return;
        }
        portable::encode(&mut job);
    }
}

/// One encoding, checked: every shard of `shard_len` bytes at its multiple of `stride` lies inside its slice, there is
/// at least one shard of each kind with at least one byte, and a coefficient for each pair.
pub(crate) struct Job<'a> {
    pub(crate) coefficients: &'a [u8],
    pub(crate) data: &'a [u8],
    pub(crate) parity: &'a mut [u8],
    pub(crate) data_shards: usize,
    pub(crate) parity_shards: usize,
    pub(crate) stride: usize,
    pub(crate) shard_len: usize,
}

fn check_count(data: usize, parity: usize) -> Result<(), ShapeError> {
    if data == 0 || data.saturating_add(parity) > MAX_SHARDS {
        return Err(ShapeError::Count { data, parity });
    }
    Ok(())
}

#[cfg(test)]
#[path = "encoder_tests.rs"]
mod tests;
