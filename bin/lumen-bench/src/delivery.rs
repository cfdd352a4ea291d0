//! What the received pictures say: how many new ones, how old they were.

use crate::statistics::Percentiles;
use lumen_testcard::code::Code;
use lumen_testkit::Time;
use serde::Serialize;
use std::collections::BTreeSet;

/// A complete frame at the client, and what its picture says.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    pub complete: Time,
    pub bytes: usize,
    /// `None` when the block could not be read.
    pub code: Option<Code>,
}

/// Delivery within the measured time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Delivery {
    /// Pictures with a new time code, per second.
    pub fps: f64,
    /// Frames of any kind per second: repeats too.
    pub frames_per_second: f64,
    /// Pictures delivered of those drawn, in percent; `None` when nothing moved.
    pub share_percent: Option<f64>,
    /// Drawing of the picture to complete frame at the client, before decoding, in milliseconds.
    pub latency_ms: Option<Percentiles>,
    /// Codec data, in kbit/s.
    pub bitrate_kbps: f64,
    /// Frames whose block could not be read.
    pub unreadable: usize,
    /// Frames that showed an older picture than one before: there must be none.
    pub backwards: usize,
}

impl Delivery {
    /// `frames` in the order of their arrival; those complete before `start` only say which picture is old already.
    pub fn of(frames: &[Received], start: Time, end: Time) -> Self {
        let seconds = end.since(start).as_secs_f64().max(f64::EPSILON);
        let mut newest: Option<u32> = None;
        let (mut numbers, mut latency) = (BTreeSet::new(), Vec::new());
        let (mut count, mut bytes, mut unreadable, mut backwards) = (0_usize, 0_usize, 0, 0);
        for frame in frames.iter().filter(|frame| frame.complete <= end) {
            let measured = frame.complete >= start;
            if measured {
                count += 1;
                bytes += frame.bytes;
                unreadable += usize::from(frame.code.is_none());
            }
            let Some(code) = frame.code else { continue };
            match newest {
                Some(newest) if code.frame == newest => continue,
                Some(newest) if code.frame < newest => {
                    backwards += 1;
                    continue;
                }
                _ => newest = Some(code.frame),
            }
            if measured {
                numbers.insert(code.frame);
                latency.push(frame.complete.since(Time(code.time_ns)).as_secs_f64() * 1e3);
            }
        }
        let drawn = numbers.last().zip(numbers.first()).map(|(last, first)| last - first + 1);
        Self {
            fps: numbers.len() as f64 / seconds,
            frames_per_second: count as f64 / seconds,
            share_percent: drawn.map(|drawn| numbers.len() as f64 / f64::from(drawn) * 100.0),
            latency_ms: Percentiles::of(latency),
            bitrate_kbps: bytes as f64 * 8.0 / seconds / 1000.0,
            unreadable,
            backwards,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Picture `frame`, drawn at 10 ms × frame, complete at `complete_ms`.
    fn received(frame: u32, complete_ms: u64) -> Received {
        let code = Some(Code { frame, time_ns: u64::from(frame) * 10 * MS });
        Received { complete: Time(complete_ms * MS), bytes: 1000, code }
    }

    #[test]
    fn repeats_and_lost_pictures_do_not_count_as_delivered() {
        // Picture 9 came before the measurement; 10 twice; 12 never.
        let frames =
            [received(9, 95), received(10, 104), received(10, 110), received(11, 115), received(13, 136)];
        let delivery = Delivery::of(&frames, Time(100 * MS), Time(200 * MS));
        assert!((delivery.fps - 30.0).abs() < 1e-9);
        assert!((delivery.frames_per_second - 40.0).abs() < 1e-9);
        assert_eq!(delivery.share_percent, Some(75.0));
        assert!((delivery.bitrate_kbps - 320.0).abs() < 1e-9);
        let latency = delivery.latency_ms.expect("pictures came");
        assert!((latency.p50 - 5.0).abs() < 1e-9 && (latency.max - 6.0).abs() < 1e-9, "{latency:?}");
        assert_eq!((delivery.unreadable, delivery.backwards), (0, 0));
    }

    #[test]
    fn a_still_picture_is_not_delivered_again() {
        let frames = [received(0, 5), received(0, 150), received(0, 160)];
        let delivery = Delivery::of(&frames, Time(100 * MS), Time(200 * MS));
        assert_eq!(delivery.fps, 0.0);
        assert_eq!((delivery.share_percent, delivery.latency_ms), (None, None));
        assert!((delivery.frames_per_second - 20.0).abs() < 1e-9);
    }

    #[test]
    fn unreadable_and_older_pictures_are_counted() {
        let unreadable = Received { code: None, ..received(11, 111) };
        let frames = [received(10, 110), unreadable, received(9, 112), received(12, 300)];
        let delivery = Delivery::of(&frames, Time(100 * MS), Time(200 * MS));
        assert_eq!((delivery.unreadable, delivery.backwards), (1, 1));
        assert_eq!(delivery.share_percent, Some(100.0));
    }
}
