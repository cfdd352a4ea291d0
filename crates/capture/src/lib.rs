//! Where pictures come from when no compositor of ours makes them. So far: a test pattern.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod test_pattern;

pub use test_pattern::{BARS, TestPattern};
