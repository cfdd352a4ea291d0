//! Captures a PipeWire node for some seconds and says what came: a look at one compositor without the rest of Lumen.
//!
//! `grab RUNTIME_DIR NODE SECONDS [WIDTHxHEIGHT] [dmabuf] [cursor] [rate] [serial] [out=FILE.ppm]`

use anyhow::Context;
use lumen_capture::CaptureConfig;
use lumen_media::slot::Wait;
use lumen_media::{Frame, Mode, NodeTarget, OutputSource, PipeWireTarget, PixelFormat, RateRequest, clock};
use std::io::Write;
use std::time::Duration;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, node, seconds, options @ ..] = &arguments[..] else {
        anyhow::bail!("which RUNTIME_DIR, NODE, how many SECONDS?")
    };
    let has = |name: &str| options.iter().any(|option| option == name);
    let size = options.iter().find_map(|option| option.split_once('x'));
    let (width, height) = size.unwrap_or(("1280", "720"));
    let mode = Mode::new(width.parse()?, height.parse()?, 60_000)?;
    let number: u32 = node.parse().context("NODE is a number")?;
    let target = PipeWireTarget {
        remote_fd: None,
        node: if has("serial") { NodeTarget::Serial(number.into()) } else { NodeTarget::Id(number) },
        size: None,
        rate: if has("rate") { RateRequest::UpTo(mode) } else { RateRequest::DontAsk },
        cursor_metadata: has("cursor"),
    };
    let config =
        CaptureConfig { dmabuf: has("dmabuf"), runtime_dir: Some(dir.into()), ..CaptureConfig::default() };
    let begun = clock::now();
    let mut source = lumen_capture::open(OutputSource::PipeWire(target), mode, &config)?;
    println!("negotiated after {:?}", clock::now().since(begun));
    source.set_active(true);
    let end = clock::now() + Duration::from_secs(seconds.parse()?);
    let (mut last, mut count): (Option<Frame>, u32) = (None, 0);
    while let Wait::Value(frame) = source.wait_latest(Some(end)) {
        if count == 0 {
            println!("first picture after {:?}: {frame:?}", clock::now().since(begun));
        }
        count += 1;
        last = Some(frame);
    }
    println!("{count} pictures; closed: {}; {:?}", source.is_closed(), source.report());
    // Held by nobody, as between two sessions; then the current picture must come again.
    drop(last.take());
    source.set_active(false);
    let quiet = source.wait_latest(Some(clock::now() + Duration::from_millis(500)));
    let resumed = clock::now();
    source.set_active(true);
    let again = source.wait_latest(Some(clock::now() + Duration::from_secs(10)));
    let late = clock::now().since(resumed);
    println!("while paused: {quiet:?}; resumed: {again:?} after {late:?}");
    let Wait::Value(frame) = again else { return Ok(()) };
    if let Some(file) = options.iter().find_map(|option| option.strip_prefix("out=")) {
        save(file, &frame)?;
    }
    Ok(())
}

fn save(file: &str, frame: &Frame) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    writeln!(out, "P6 {} {} 255", frame.width, frame.height)?;
    for row in frame.pixels.bytes().chunks(frame.stride).take(frame.height as usize) {
        for pixel in row[..frame.width as usize * PixelFormat::BYTES].chunks_exact(PixelFormat::BYTES) {
            let colours = match frame.format {
                PixelFormat::Bgrx => [pixel[2], pixel[1], pixel[0]],
                PixelFormat::Rgbx => [pixel[0], pixel[1], pixel[2]],
            };
            out.write_all(&colours)?;
        }
    }
    Ok(out.flush()?)
}
