//! Reed–Solomon parity as GameStream clients expect it (protocol text §6.5, §7.3).
//!
//! An [`Encoder`] computes parity shards over data shards that lie at a fixed stride in one buffer, data first, parity
//! behind, so that a sender needs no list of slices and no copy. Kernels for GFNI, AVX2 and SSSE3 are chosen at run
//! time; all give the same bytes. Set-up is one multiplication-free pass over data × parity bytes, and a [`CodecCache`]
//! saves even that.
//!
//! A crate of its own because SIMD loads need `unsafe`, which the protocol crate forbids; here it lives in `sys`.
//! Recovery is the client's work; there is no decoder.
#![deny(unsafe_code)]
#![deny(missing_docs)]

mod cache;
mod encoder;
mod galois;
mod kernel;
mod portable;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "SIMD loads and stores go through raw pointers")]
mod sys;

pub use cache::CodecCache;
pub use encoder::{BufferError, Encoder, Layout, ShapeError};
pub use kernel::Kernel;

/// Data and parity shards of one code together: the elements of GF(2⁸) but one (protocol text §6.5).
pub const MAX_SHARDS: usize = 255;
