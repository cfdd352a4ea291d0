//! Which YCbCr the client asked for.

/// RGB → YCbCr matrix, with the primaries and transfer that go with it in the bitstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// BT.601 (SMPTE 170M in the bitstream: primaries 6, transfer 6, matrix 6).
    Bt601,
    /// BT.709 (1 / 1 / 1).
    Bt709,
}

/// Quantisation range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Range {
    /// 16–235 luma, 16–240 chroma.
    Limited,
    /// 0–255.
    Full,
}

/// Matrix and range of an 8-bit 4:2:0 stream; chroma siting is always left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Colour {
    /// Matrix and primaries.
    pub matrix: Matrix,
    /// Quantisation range.
    pub range: Range,
}

impl Colour {
    /// BT.709 limited range, what most clients ask for.
    pub const BT709_LIMITED: Colour = Colour { matrix: Matrix::Bt709, range: Range::Limited };
}
