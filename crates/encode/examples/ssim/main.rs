//! Picture quality and cost of our settings next to x264 `superfast` zero-latency at the same bitrate:
//! `cargo run --release -p lumen-encode --example ssim`. Further arguments are `x264-params` texts to try on top of
//! `ultrafast`, each a row of its own.
#![allow(missing_docs, reason = "a program has no API")]

mod quality;
mod reference;
mod scenes;

use lumen_encode::{Converter, Encoder, EncoderConfig, Planes, PlanesPool, Preset};
use lumen_media::{Codec, Colour, Frame, clock};
use quality::Luma;
use std::sync::Arc;
use std::time::Duration;

const FRAMES: u64 = 60;

type Scene = fn(usize, usize, u64) -> Frame;

/// What one row of the table shows.
struct Row {
    name: String,
    ssim: f64,
    psnr: f64,
    megabits: f64,
    p50: Duration,
    p95: Duration,
    cpu: Duration,
}

/// One picture in, one access unit out.
trait Subject {
    fn encode(&mut self, planes: &Arc<Planes>) -> Vec<u8>;
}

impl Subject for Encoder {
    fn encode(&mut self, planes: &Arc<Planes>) -> Vec<u8> {
        Encoder::encode(self, planes, false).expect("the encoder works").data
    }
}

fn main() {
    let extra: Vec<String> = std::env::args().skip(1).collect();
    for (size, hz, megabits) in [((1280, 720), 60, 10), ((1280, 720), 120, 20), ((1920, 1080), 60, 20)] {
        for (name, scene) in [("testcard", scenes::testcard as Scene), ("desktop", scenes::desktop)] {
            let (width, height) = size;
            println!("\n{name} {width}x{height}@{hz}, {megabits} Mbit/s, {FRAMES} frames");
            println!(
                "{:<64} {:>7} {:>8} {:>6} {:>7} {:>6} {:>6} {:>6}",
                "", "SSIM", "to ref", "PSNR", "Mbit/s", "p50", "p95", "CPU ms"
            );
            let config = EncoderConfig::new(Codec::H264, width, height, hz * 1000, megabits * 1_000_000);
            let pictures = pictures(&config, scene);
            let mut baseline = None;
            for (name, mut subject) in subjects(&config, &extra) {
                let row = measure(name, subject.as_mut(), &pictures, &config);
                let baseline = *baseline.get_or_insert(row.ssim);
                print(&row, baseline);
            }
        }
    }
}

/// The reference first.
fn subjects(config: &EncoderConfig, extra: &[String]) -> Vec<(String, Box<dyn Subject>)> {
    let mut subjects: Vec<(String, Box<dyn Subject>)> = vec![(
        "reference: superfast zerolatency".into(),
        Box::new(reference::Plain::open(config, "superfast", "").expect("x264 opens")),
    )];
    for preset in [Preset::Fast, Preset::Better] {
        let config = EncoderConfig { preset, ..config.clone() };
        let encoder = Encoder::open(&config).expect("x264 opens");
        subjects.push((format!("ours: {preset:?}"), Box::new(encoder)));
    }
    for params in extra {
        let encoder = reference::Plain::open(config, "ultrafast", params).expect("x264 opens");
        subjects.push((params.clone(), Box::new(encoder)));
    }
    subjects
}

fn pictures(config: &EncoderConfig, scene: Scene) -> Vec<Arc<Planes>> {
    let (width, height) = (config.width, config.height);
    let pool = PlanesPool::new(width, height);
    let converter = Converter::new(width, height, Colour::BT709_LIMITED);
    (0..FRAMES)
        .map(|number| {
            let mut planes = pool.acquire();
            // The scenes move by the picture; at twice the rate they would move half as far.
            converter
                .convert(&scene(width as usize, height as usize, number), &mut planes)
                .expect("sizes fit");
            Arc::new(planes)
        })
        .collect()
}

fn measure(name: String, subject: &mut dyn Subject, pictures: &[Arc<Planes>], config: &EncoderConfig) -> Row {
    let mut units = Vec::new();
    let mut times = Vec::new();
    let cpu = process_time();
    for planes in pictures {
        let before = clock::now();
        units.push(subject.encode(planes));
        times.push(clock::now().since(before));
    }
    let cpu = (process_time() - cpu) / pictures.len() as u32;
    let decoded = reference::decode(&units);
    assert_eq!(decoded.len(), pictures.len(), "every picture comes back");
    let (mut ssim, mut error) = (0.0, 0.0);
    for (planes, picture) in pictures.iter().zip(&decoded) {
        let (width, height) = (planes.width() as usize, planes.height() as usize);
        let original = Luma { bytes: planes.y(), stride: planes.luma_stride(), width, height };
        let coded = Luma { bytes: picture.data(0), stride: picture.stride(0), width, height };
        ssim += quality::ssim(original, coded);
        error += quality::squared_error(original, coded);
    }
    times.sort_unstable();
    let count = pictures.len() as f64;
    let bytes: usize = units.iter().map(Vec::len).sum();
    Row {
        name,
        ssim: ssim / count,
        psnr: quality::psnr(error / count),
        megabits: bytes as f64 * 8.0 / count * f64::from(config.refresh_mhz) / 1e9,
        p50: times[times.len() / 2],
        p95: times[times.len() * 95 / 100],
        cpu,
    }
}

fn print(row: &Row, baseline: f64) {
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{:<64} {:>7.4} {:>+7.2}% {:>6.2} {:>7.2} {:>6.1} {:>6.1} {:>6.1}",
        row.name,
        row.ssim,
        (row.ssim / baseline - 1.0) * 100.0,
        row.psnr,
        row.megabits,
        millis(row.p50),
        millis(row.p95),
        millis(row.cpu)
    );
}

fn process_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
