//! Parity of video blocks, shards of 1408 bytes: our kernels against `fec-rs`, and what it costs to make an encoder.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use fec_rs::ReedSolomon;
use lumen_fec::{Encoder, Kernel};

const SHARD: usize = 1408;
/// (data, parity); 31 + 7 is a frame of 42 kB.
const SHAPES: [(usize, usize); 6] = [(10, 2), (30, 6), (31, 7), (50, 10), (100, 20), (200, 40)];

fn main() {
    println!("kernel chosen on this CPU: {:?}", Kernel::best());
    divan::main();
}

fn shards(data: usize, parity: usize) -> Vec<u8> {
    (0..(data + parity) * SHARD).map(|index| (index * 31 % 251) as u8).collect()
}

fn ours(bencher: Bencher<'_, '_>, (data, parity): (usize, usize), kernel: Kernel) {
    let Some(encoder) = Encoder::new(data, parity).ok().and_then(|encoder| encoder.on(kernel)) else {
        println!("not available on this CPU");
        return;
    };
    let mut shards = shards(data, parity);
    bencher
        .counter(BytesCount::new(data * SHARD))
        .bench_local(|| encoder.encode(black_box(&mut shards), SHARD));
}

#[divan::bench(args = SHAPES)]
fn gfni_512(bencher: Bencher<'_, '_>, shape: (usize, usize)) {
    ours(bencher, shape, Kernel::Gfni512);
}

#[divan::bench(args = SHAPES)]
fn gfni_256(bencher: Bencher<'_, '_>, shape: (usize, usize)) {
    ours(bencher, shape, Kernel::Gfni256);
}

#[divan::bench(args = SHAPES)]
fn avx2(bencher: Bencher<'_, '_>, shape: (usize, usize)) {
    ours(bencher, shape, Kernel::Avx2);
}

#[divan::bench(args = SHAPES)]
fn ssse3(bencher: Bencher<'_, '_>, shape: (usize, usize)) {
    ours(bencher, shape, Kernel::Ssse3);
}

#[divan::bench(args = SHAPES)]
fn portable(bencher: Bencher<'_, '_>, shape: (usize, usize)) {
    ours(bencher, shape, Kernel::Portable);
}

#[divan::bench(args = SHAPES)]
fn reference(bencher: Bencher<'_, '_>, (data, parity): (usize, usize)) {
    let codec = ReedSolomon::new(data, parity).expect("the shapes are possible");
    let mut shards: Vec<Vec<u8>> = shards(data, parity).chunks(SHARD).map(<[u8]>::to_vec).collect();
    bencher
        .counter(BytesCount::new(data * SHARD))
        .bench_local(|| codec.encode(black_box(&mut shards)).is_ok());
}

#[divan::bench(args = SHAPES)]
fn set_up(bencher: Bencher<'_, '_>, (data, parity): (usize, usize)) {
    bencher.bench_local(|| Encoder::new(black_box(data), black_box(parity)));
}

#[divan::bench(args = SHAPES)]
fn set_up_reference(bencher: Bencher<'_, '_>, (data, parity): (usize, usize)) {
    bencher.bench_local(|| ReedSolomon::new(black_box(data), black_box(parity)));
}
