//! One row: a stream from launch to cancel.

use crate::args::{Row, Style};
use crate::cpu::{Sample, Usage};
use crate::delivery::{Delivery, Received};
use crate::host::{Host, app_title};
use anyhow::{Context, bail};
use lumen_testcard::code::{self, Code};
use lumen_testkit::video::Frame;
use lumen_testkit::{
    Client, Codec, Decoder, Picture, Statistics, Stream, StreamOptions, StreamRequest, Time, WaitError, clock,
};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// From the first frame on: rate control and caches settle.
const SETTLING: Duration = Duration::from_secs(1);
const FIRST_FRAME_LIMIT: Duration = Duration::from_secs(10);
const LINGER: Duration = Duration::from_secs(2);
/// So often an end or an interruption is looked for while no frame comes.
const POLL: Duration = Duration::from_millis(100);
/// Nothing moves: the host may send as little as it likes, but the client's own timeouts end a silent stream.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);

/// Everything measured of one row.
#[derive(Debug, Serialize)]
pub struct Measurement {
    pub delivery: Delivery,
    pub cpu: Usage,
    /// `/launch` sent to first complete frame.
    pub launch_to_frame_ms: Option<f64>,
    /// `/resume` sent to first complete frame.
    pub resume_to_frame_ms: Option<f64>,
    /// The host's own stage times in microseconds, as its status has them.
    pub stages_us: Option<serde_json::Value>,
    pub network: Network,
    pub card: Option<Card>,
    pub seconds: f64,
}

/// What the client's receiver counted over the whole stream.
#[derive(Debug, Serialize)]
pub struct Network {
    pub datagrams: u64,
    pub bytes: u64,
    pub frames_lost: u64,
    pub shards_recovered: u64,
    pub idr_requests: u64,
    /// Things that the host did and the protocol does not allow.
    pub violations: u64,
    /// Frames that this program did not take in time: their pictures are missing above.
    pub dropped_by_bench: u64,
}

/// What the test card said at its end.
#[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct Card {
    pub drawn: u32,
    pub dropped: u32,
    pub cpu_us_per_frame: u64,
}

/// Measures one row. `interrupted` ends it early.
pub fn run(
    host: &mut Host,
    client: &Client,
    (index, row): (usize, &Row),
    seconds: Duration,
    interrupted: &AtomicBool,
) -> anyhow::Result<Measurement> {
    let title = app_title(index);
    let apps = client.app_list().context("listing the apps")?;
    let app = apps
        .iter()
        .find(|app| app.title == title)
        .with_context(|| format!("the host does not list {title:?}"))?;
    let (request, options) =
        (stream_request(row), StreamOptions { frame_queue: 1024, ..StreamOptions::default() });

    let stream = client.launch(app.id, &request, &options).context("launching")?;
    let mut recorder = Recorder { host, stream: &stream, interrupted, frames: Vec::new() };
    let recorded = recorder.record(seconds);
    let frames = recorder.frames;
    let (before, after) = recorded?;
    let stages_us = host.status().ok().as_ref().and_then(stages).cloned();
    let statistics = stream.statistics();
    stream.disconnect(LINGER);

    let resume_to_frame_ms = resume(client, &request, &options)?;
    client.cancel().context("cancelling")?;

    let received = decode(row.codec, frames).context("decoding what was received")?;
    let end = after.at();
    Ok(Measurement {
        delivery: Delivery::of(&received, before.at(), end),
        cpu: after.since(&before),
        launch_to_frame_ms: to_first_frame(&statistics),
        resume_to_frame_ms,
        stages_us,
        network: network(&statistics),
        card: std::fs::read_to_string(host.card_log(index)).ok().as_deref().and_then(card_end),
        seconds: end.since(before.at()).as_secs_f64(),
    })
}

struct Recorder<'a> {
    host: &'a mut Host,
    stream: &'a Stream,
    interrupted: &'a AtomicBool,
    frames: Vec<Frame>,
}

impl Recorder<'_> {
    /// Takes frames until `seconds` after settling; the samples stand at both ends of the measured time.
    fn record(&mut self, seconds: Duration) -> anyhow::Result<(Sample, Sample)> {
        let pid = self.host.pid();
        let first = self.stream.next_frame(FIRST_FRAME_LIMIT).context("waiting for the first frame")?;
        let settled = first.complete + SETTLING;
        self.frames.push(first);
        self.take_until(settled)?;
        let before = Sample::take(pid)?;
        self.take_until(before.at() + seconds)?;
        Ok((before, Sample::take(pid)?))
    }

    fn take_until(&mut self, until: Time) -> anyhow::Result<()> {
        let mut last = clock::now();
        loop {
            let now = clock::now();
            if now >= until {
                return Ok(());
            }
            if self.interrupted.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            match self.stream.next_frame(until.since(now).min(POLL)) {
                Ok(frame) => {
                    last = frame.complete;
                    self.frames.push(frame);
                }
                Err(WaitError::Timeout) => {
                    self.host.check_alive()?;
                    if now.since(last) > SILENCE_LIMIT {
                        bail!("no frame for {SILENCE_LIMIT:?}");
                    }
                }
                Err(ended) => return Err(ended).context("the stream ended while it was measured"),
            }
        }
    }
}

fn stream_request(row: &Row) -> StreamRequest {
    let rate = row.mode.refresh_mhz();
    let mut request = StreamRequest::new(row.mode.width(), row.mode.height(), rate.div_ceil(1000));
    request.refresh_x100 = (rate + 5) / 10;
    request.bitrate_kbps = row.bitrate_kbps;
    request.codec = row.codec;
    request.encryption.video = row.encrypt;
    // The pointer would lie over the picture, and moving it would make a static one move.
    request.wake_pointer = false;
    request
}

fn resume(client: &Client, request: &StreamRequest, options: &StreamOptions) -> anyhow::Result<Option<f64>> {
    let stream = client.resume(request, options).context("resuming")?;
    stream.next_frame(FIRST_FRAME_LIMIT).context("waiting for the first frame after /resume")?;
    let statistics = stream.statistics();
    stream.disconnect(LINGER);
    Ok(to_first_frame(&statistics))
}

fn to_first_frame(statistics: &Statistics) -> Option<f64> {
    let timings = statistics.timings;
    timings.first_frame.map(|first| first.since(timings.launch_sent).as_secs_f64() * 1e3)
}

fn network(statistics: &Statistics) -> Network {
    let video = statistics.video;
    Network {
        datagrams: video.datagrams,
        bytes: video.bytes,
        frames_lost: video.frames_lost,
        shards_recovered: video.shards_recovered,
        idr_requests: statistics.idr_requests,
        violations: video.violations,
        dropped_by_bench: statistics.queue_dropped,
    }
}

/// Reads the time codes. Every frame is decoded, since each needs the ones before it.
fn decode(codec: Codec, frames: Vec<Frame>) -> anyhow::Result<Vec<Received>> {
    let mut decoder = Decoder::new(codec)?;
    let mut pairing = Pairing::default();
    for frame in frames {
        // What cannot be decoded still arrived: it counts as unreadable.
        let pictures = decoder.decode(&frame.data).unwrap_or_default();
        let codes = pictures.iter().map(read_code).collect();
        pairing.frame(Received { complete: frame.complete, bytes: frame.data.len(), code: None }, codes);
    }
    Ok(pairing.end(decoder.flush()?.iter().map(read_code).collect()))
}

fn read_code(picture: &Picture) -> Option<Code> {
    code::decode_luma(&picture.luma8(), picture.width as usize, picture.width, picture.height)
}

/// Brings pictures and frames together. A decoder without delay gives each frame's picture at once, and a frame that
/// yields none is broken; one that holds the first frame back gives them later, in order.
#[derive(Default)]
struct Pairing {
    delayed: Option<bool>,
    waiting: VecDeque<Received>,
    received: Vec<Received>,
}

impl Pairing {
    fn frame(&mut self, frame: Received, codes: Vec<Option<Code>>) {
        if *self.delayed.get_or_insert(codes.is_empty()) {
            self.waiting.push_back(frame);
            self.pictures(codes);
        } else {
            self.received.push(Received { code: codes.last().copied().flatten(), ..frame });
        }
    }

    fn pictures(&mut self, codes: Vec<Option<Code>>) {
        for code in codes {
            self.received.extend(self.waiting.pop_front().map(|frame| Received { code, ..frame }));
        }
    }

    fn end(mut self, codes: Vec<Option<Code>>) -> Vec<Received> {
        self.pictures(codes);
        self.received.extend(self.waiting);
        self.received
    }
}

/// The stage times of the first session that has some.
fn stages(status: &serde_json::Value) -> Option<&serde_json::Value> {
    match status {
        serde_json::Value::Object(fields) => match fields.get("stages") {
            Some(stages) if stages.is_object() => Some(stages),
            _ => fields.values().find_map(stages),
        },
        serde_json::Value::Array(items) => items.iter().find_map(stages),
        _ => None,
    }
}

/// The `end` line of a test card's log.
fn card_end(log: &str) -> Option<Card> {
    let line = log.lines().rev().find(|line| line.contains(r#""type":"end""#))?;
    serde_json::from_str(line).ok()
}

/// Whether a row's pictures move.
pub fn is_moving(row: &Row) -> bool {
    row.style != Style::Static
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    #[test]
    fn a_row_asks_for_its_exact_mode() {
        let line = ["--mode", "1364x768@59.94", "--encrypt", "--bitrate", "8000"];
        let args::Command::Run(options) = args::parse(lexopt::Parser::from_args(line)).expect("valid") else {
            panic!("not a run")
        };
        let request = stream_request(&options.rows[0]);
        assert_eq!((request.width, request.height, request.fps, request.refresh_x100), (1364, 768, 60, 5994));
        assert_eq!((request.bitrate_kbps, request.encryption.video), (8000, true));
    }

    #[test]
    fn a_lost_picture_does_not_shift_the_others() {
        let frame = |at| Received { complete: Time(at), bytes: 1, code: None };
        let code = |number| Some(Code { frame: number, time_ns: 1 });
        let codes = |pairing: Pairing, last| -> Vec<(u64, Option<u32>)> {
            let received = pairing.end(last);
            received.iter().map(|frame| (frame.complete.nanos(), frame.code.map(|code| code.frame))).collect()
        };
        let mut prompt = Pairing::default();
        for (at, pictures) in [(1, vec![code(1)]), (2, vec![]), (3, vec![code(3)]), (4, vec![None])] {
            prompt.frame(frame(at), pictures);
        }
        assert_eq!(codes(prompt, vec![]), [(1, Some(1)), (2, None), (3, Some(3)), (4, None)]);

        let mut delayed = Pairing::default();
        for (at, pictures) in [(1, vec![]), (2, vec![code(1)]), (3, vec![code(2)])] {
            delayed.frame(frame(at), pictures);
        }
        assert_eq!(codes(delayed, vec![code(3)]), [(1, Some(1)), (2, Some(2)), (3, Some(3))]);
    }

    #[test]
    fn stages_are_found_where_the_status_has_them() {
        let status = serde_json::json!({"sessions": [{"id": 1, "stages": null}, {"video": {"stages": {"encode": {"p50": 7}}}}]});
        assert_eq!(stages(&status).expect("there")["encode"]["p50"], 7);
        assert!(stages(&serde_json::json!({"sessions": []})).is_none());
    }

    #[test]
    fn the_card_s_last_words() {
        let log = "{\"t_ns\":1,\"type\":\"start\",\"pid\":1}\n\
                   {\"t_ns\":2,\"type\":\"end\",\"reason\":\"signal\",\"drawn\":600,\"dropped\":2,\"cpu_us_per_frame\":900}\n";
        assert_eq!(card_end(log), Some(Card { drawn: 600, dropped: 2, cpu_us_per_frame: 900 }));
        assert_eq!(card_end("{\"type\":\"start\"}"), None);
    }
}
