//! `testcard decode`: what a picture says.

use crate::args::Decode;
use anyhow::{Context, bail};
use lumen_testcard::bars::{self, BarError};
use lumen_testcard::picture::Picture;
use std::fs::File;
use std::io::Read;

/// More than the largest picture with its header: a longer input is not one.
const MAX_BYTES: u64 = 7680 * 4320 * 3 + 4096;

#[derive(serde::Serialize)]
struct Report {
    frame: u32,
    time_ns: u64,
    /// Largest colour error in 8-bit steps; absent without colour.
    worst_bar: Option<f32>,
    bars: Option<Vec<BarError>>,
}

pub fn run(options: &Decode) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    match &options.file {
        Some(path) => {
            let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
            file.take(MAX_BYTES)
                .read_to_end(&mut bytes)
                .with_context(|| format!("reading {}", path.display()))?
        }
        None => std::io::stdin().take(MAX_BYTES).read_to_end(&mut bytes).context("reading standard input")?,
    };
    let picture = match options.raw_luma {
        Some((width, height)) => Picture::from_luma(width, height, &bytes)?,
        None => Picture::from_pnm(&bytes)?,
    };
    let Some(code) = picture.code() else {
        bail!("no readable block in this picture of {}x{} pixels", picture.width(), picture.height());
    };
    let bars = picture.bars();
    let worst_bar = bars.as_deref().map(bars::worst);
    let report = Report { frame: code.frame, time_ns: code.time_ns, worst_bar, bars };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
