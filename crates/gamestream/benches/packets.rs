//! Packets, parity and encryption of video frames. The figure to reach: a frame of 42 kB (31 + 7 datagrams of 1392,
//! 20 %, encrypted) at 20 Gbit/s of data per core, which is 16.8 µs.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use lumen_gamestream::crypto::SessionKey;
use lumen_gamestream::video::{FrameMeta, FrameType, Packetizer, PacketizerConfig, ShardBatch};
use std::fmt;

/// Bytes of access units: a desktop that hardly moves, a frame of 20 Mbit/s at 60 Hz, an IDR.
const FRAMES: [usize; 3] = [4_000, 42_000, 250_000];

/// Gigabits of access units per second, the unit of the figure to reach.
struct Gigabits(f64);

impl fmt::Display for Gigabits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} Gbit/s", self.0)
    }
}

fn main() {
    println!("FEC kernel on this CPU: {:?}", lumen_fec::Kernel::best());
    divan::main();
    println!("42 kB, 31 + 7 datagrams, encrypted, best of many runs: {}", best_rate(42_000));
}

fn packetizer(fec_percent: u8, encrypted: bool) -> Packetizer {
    Packetizer::new(PacketizerConfig {
        packet_size: 1392,
        fec_percent,
        min_fec_packets: 2,
        encryption: encrypted.then(|| SessionKey::new([7; 16])),
    })
    .expect("1392 is a packet size of clients")
}

const FRAME: FrameMeta =
    FrameMeta { kind: FrameType::Predicted, rtp_timestamp: 0, host_latency: 0, ltr: false };

fn access_unit(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 % 251) as u8).collect()
}

fn measure(bencher: Bencher<'_, '_>, length: usize, mut packetizer: Packetizer) {
    let (data, mut batch) = (access_unit(length), ShardBatch::new());
    bencher.counter(BytesCount::new(length)).bench_local(|| {
        packetizer
            .packetize(FRAME, black_box(&data), &mut batch)
            .is_ok_and(|info| black_box(info.packets) > 0)
    });
}

#[divan::bench(args = FRAMES)]
fn parity_and_encryption(bencher: Bencher<'_, '_>, length: usize) {
    measure(bencher, length, packetizer(20, true));
}

#[divan::bench(args = FRAMES)]
fn parity_only(bencher: Bencher<'_, '_>, length: usize) {
    measure(bencher, length, packetizer(20, false));
}

#[divan::bench(args = FRAMES)]
fn encryption_only(bencher: Bencher<'_, '_>, length: usize) {
    measure(bencher, length, packetizer(0, true));
}

#[divan::bench(args = FRAMES)]
fn copy_only(bencher: Bencher<'_, '_>, length: usize) {
    measure(bencher, length, packetizer(0, false));
}

/// The rate of the fastest of several hundred rounds of 100 frames: what a core does when nobody takes it away.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn best_rate(length: usize) -> Gigabits {
    const FRAMES_PER_ROUND: usize = 100;
    let (data, mut batch, mut packetizer) = (access_unit(length), ShardBatch::new(), packetizer(20, true));
    let fastest = (0..500)
        .map(|_| {
            let start = std::time::Instant::now();
            for _ in 0..FRAMES_PER_ROUND {
                let info = packetizer.packetize(FRAME, black_box(&data), &mut batch);
                assert!(info.is_ok_and(|info| info.packets == 38));
            }
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    Gigabits((FRAMES_PER_ROUND * length * 8) as f64 / fastest / 1e9)
}
