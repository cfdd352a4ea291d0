//! Files that `ffprobe` reads without a word of complaint.

use crate::{encode, working};
use lumen_encode::{EncodedFrame, EncoderConfig, FileError, FileWriter, StreamInfo};
use lumen_media::{Codec, Colour};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn info(codec: Codec) -> StreamInfo {
    StreamInfo { codec, width: 320, height: 180, refresh_mhz: 60_000, colour: Colour::BT709_LIMITED }
}

fn write(path: &Path, codec: Codec, frames: &[EncodedFrame]) {
    let mut writer = FileWriter::create(path, info(codec)).expect("created");
    for (number, frame) in frames.iter().enumerate() {
        writer.write(frame, Duration::from_nanos(16_666_667) * number as u32).expect("written");
    }
    writer.finish().expect("finished");
}

#[test]
fn every_container_is_read_without_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    for codec in working() {
        let frames = encode(&EncoderConfig::new(codec, 320, 180, 60_000, 2_000_000), 12, &[6]);
        let raw: &[&str] = match codec {
            Codec::H264 => &["h264"],
            Codec::Hevc => &["hevc", "h265"],
            Codec::Av1 => &["obu", "ivf"],
        };
        for extension in ["mkv", "mp4"].iter().chain(raw) {
            let path = directory.path().join(format!("{codec:?}.{extension}"));
            write(&path, codec, &frames);
            let output = Command::new("ffprobe")
                .args(["-v", "error", "-count_frames", "-select_streams", "v", "-of", "csv=p=0"])
                .args(["-show_entries", "stream=codec_name,width,height,nb_read_frames"])
                .arg(&path)
                .output()
                .expect("ffprobe is installed");
            let name = format!("{codec:?}").to_lowercase();
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{path:?}");
            assert_eq!(
                String::from_utf8_lossy(&output.stdout).trim(),
                format!("{name},320,180,12"),
                "{path:?}"
            );
        }
    }
}

#[test]
fn what_cannot_be_written_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    for name in ["a", "a.avi", "a.hevc", "a.ivf"] {
        let refused = FileWriter::create(&at(name), info(Codec::H264)).map(drop);
        assert!(matches!(refused, Err(FileError::Extension { .. })), "{name}");
        assert!(!at(name).exists(), "nothing is left behind");
    }
    let refused = FileWriter::create(&at("none/a.mkv"), info(Codec::H264)).map(drop);
    assert!(matches!(refused, Err(FileError::Io { .. })));
    let mut writer = FileWriter::create(&at("a.mkv"), info(Codec::H264)).expect("created");
    let predicted = EncodedFrame { data: vec![0, 0, 0, 1, 0x41, 0x9a], idr: false };
    assert!(matches!(writer.write(&predicted, Duration::ZERO), Err(FileError::NotIdr)));
    writer.finish().expect("an empty file is no error");
}
