//! Colour conversion of one picture. Target: at most 1.3 ms for 1920×1080.
#![allow(missing_docs, reason = "a benchmark has no API")]

use divan::Bencher;
use lumen_encode::{Converter, PlanesPool};
use lumen_media::{Colour, Frame, PixelFormat, Timestamp};
use std::sync::Arc;

fn main() {
    divan::main();
}

/// More sources than the caches hold, as a compositor's buffers would be.
const SOURCES: usize = 8;

fn frames(width: u32, height: u32) -> Vec<Frame> {
    (0..SOURCES as u32)
        .map(|seed| {
            let bytes: Vec<u8> = (0..width * height * 4)
                .map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8)
                .collect();
            Frame {
                width,
                height,
                stride: width as usize * 4,
                format: PixelFormat::Bgrx,
                captured: Timestamp::default(),
                sequence: 1,
                pixels: Arc::new(bytes),
            }
        })
        .collect()
}

#[divan::bench(args = [(1280, 720), (1920, 1080), (3840, 2160)])]
fn bgrx_to_i420(bencher: Bencher, (width, height): (u32, u32)) {
    let frames = frames(width, height);
    let pool = PlanesPool::new(width, height);
    let converter = Converter::new(width, height, Colour::BT709_LIMITED);
    let mut next = 0;
    bencher.bench_local(|| {
        let mut planes = pool.acquire();
        next = (next + 1) % SOURCES;
        converter.convert(&frames[next], &mut planes).expect("sizes fit");
        planes
    });
}
