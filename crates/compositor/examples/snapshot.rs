//! Runs a program on a built-in output, types a text into it or clicks (`@X,Y` in pixels), and writes what is seen as a PPM picture.
//!
//! `cargo run -p lumen-compositor --example snapshot OUT.ppm TEXT SECONDS PROGRAM [ARGUMENTS]`

use lumen_compositor::{BuiltinConfig, BuiltinDisplay};
use lumen_media::slot::Wait;
use lumen_media::{AppLaunch, InputEvent, InputSink, Mode, OutputSource, VirtualDisplay, clock};
use std::error::Error;
use std::process::Command;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [out, text, seconds, program, rest @ ..] = arguments.as_slice() else {
        return Err("usage: snapshot OUT.ppm TEXT SECONDS PROGRAM [ARGUMENTS]".into());
    };
    let dir = tempfile::tempdir()?;
    let display = BuiltinDisplay::new(BuiltinConfig::new(dir.path()))?;
    let output = display.create(Mode::new(1280, 720, 60_000)?, &AppLaunch::default())?;
    let OutputSource::Frames(mut source) = output.source else { unreachable!("made in this process") };
    source.set_active(true);
    let mut command = Command::new(program);
    command.args(rest);
    for (name, value) in &output.env {
        if value.is_empty() {
            command.env_remove(name);
        } else {
            command.env(name, value);
        }
    }
    let mut child = command.spawn()?;
    let end = clock::now() + Duration::from_secs(seconds.parse()?);
    let middle = clock::now() + Duration::from_secs(seconds.parse::<u64>()?) / 2;
    let (mut last, mut frames, mut typed) = (None, 0, false);
    loop {
        match source.wait_latest(Some(if typed { end } else { middle })) {
            Wait::Value(frame) => {
                frames += 1;
                last = Some(frame);
            }
            Wait::Deadline if typed => break,
            Wait::Deadline => {
                typed = true;
                act(&*output.input, text)?;
            }
            Wait::Nudged => {}
            Wait::Closed => return Err("the compositor is gone".into()),
        }
        if clock::now() > end {
            break;
        }
    }
    child.kill()?;
    child.wait()?;
    let frame = last.ok_or("no picture")?;
    let mut picture = format!("P6\n{} {}\n255\n", frame.width, frame.height).into_bytes();
    for row in frame.pixels.bytes().chunks(frame.stride).take(frame.height as usize) {
        for pixel in row[..frame.width as usize * 4].chunks_exact(4) {
            picture.extend([pixel[2], pixel[1], pixel[0]]);
        }
    }
    std::fs::write(out, picture)?;
    println!("{frames} frames, the last one is in {out}");
    Ok(())
}

fn act(input: &dyn InputSink, text: &str) -> Result<(), Box<dyn Error>> {
    let Some((x, y)) = text.strip_prefix('@').and_then(|place| place.split_once(',')) else {
        input.send(InputEvent::PointerAbsolute { x: 0.5, y: 0.5 });
        input.send(InputEvent::Text(text.to_owned()));
        return Ok(());
    };
    input.send(InputEvent::PointerAbsolute { x: x.parse::<f64>()? / 1280.0, y: y.parse::<f64>()? / 720.0 });
    for pressed in [true, false] {
        input.send(InputEvent::Button { code: 0x110, pressed });
    }
    Ok(())
}
