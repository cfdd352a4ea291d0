//! Encoders kept by shape: the sizes of video frames repeat.

use crate::{Encoder, ShapeError};
use std::collections::HashMap;

/// Cauchy encoders by (data shards, parity shards), made when first asked for.
#[derive(Debug, Default)]
pub struct CodecCache {
    encoders: HashMap<(usize, usize), Encoder>,
}

impl CodecCache {
    /// Shapes kept. A constant percentage uses at most 255; when it changes often, the cache starts over at this size
    /// (at most 4 MB, in practice below 1 MB).
    pub const CAPACITY: usize = 255;

    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// The encoder of a shape.
    ///
    /// # Errors
    /// As [`Encoder::new`].
    pub fn encoder(&mut self, data_shards: usize, parity_shards: usize) -> Result<&Encoder, ShapeError> {
        let shape = (data_shards, parity_shards);
        if !self.encoders.contains_key(&shape) {
            let encoder = Encoder::new(data_shards, parity_shards)?;
            if self.encoders.len() >= Self::CAPACITY {
                self.encoders.clear();
            }
            self.encoders.insert(shape, encoder);
        }
        Ok(&self.encoders[&shape])
    }

    /// Shapes held now.
    pub fn len(&self) -> usize {
        self.encoders.len()
    }

    /// Whether no shape is held.
    pub fn is_empty(&self) -> bool {
        self.encoders.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_kept_and_bounded() {
        let mut cache = CodecCache::new();
        assert!(cache.is_empty());
        for data in 1..=200 {
            let encoder = cache.encoder(data, 20).unwrap();
            assert_eq!((encoder.data_shards(), encoder.parity_shards()), (data, 20));
        }
        cache.encoder(7, 20).unwrap();
        assert_eq!(cache.len(), 200);
        for parity in 1..=100 {
            cache.encoder(100, parity).unwrap();
            assert!(cache.len() <= CodecCache::CAPACITY);
        }
        assert!(cache.encoder(200, 56).is_err());
        assert!(!cache.is_empty());
    }
}
