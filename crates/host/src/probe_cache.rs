//! Keeps what the encoder probe found, so that a host starts at once. It is measured anew after a day, and whenever the
//! machine, FFmpeg or Lumen changed. `lumen doctor` always measures.

use crate::files;
use lumen_encode::probe::{CodecReport, Speed};
use lumen_encode::{Preset, ProbeConfig, ProbeReport, ffmpeg_version, probe};
use lumen_media::Codec;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// How long a measurement counts.
const VALID: Duration = Duration::from_secs(24 * 3600);

#[derive(Serialize, Deserialize)]
struct File {
    /// What it was measured on.
    machine: String,
    /// Seconds since 1970.
    measured_at: u64,
    cores: u32,
    ffmpeg: String,
    codecs: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    codec: String,
    library: String,
    works: Result<(), String>,
    offered: bool,
    reason: String,
    speeds: Vec<SpeedEntry>,
}

#[derive(Serialize, Deserialize)]
struct SpeedEntry {
    width: u32,
    height: u32,
    better: bool,
    frames: u32,
    p50_us: u64,
    p95_us: u64,
    cpu_us: u64,
}

/// What was measured on this machine within the last day, else measures now. A file that cannot be read or written costs a
/// second and a half at each start, nothing else. `now` is the time since 1970.
pub fn load_or_probe(state_dir: &Path, now: Duration) -> ProbeReport {
    let path = state_dir.join("encoders.json");
    let machine = machine();
    let kept =
        files::read_optional(&path).ok().flatten().and_then(|text| serde_json::from_str::<File>(&text).ok());
    if let Some(report) = kept.and_then(|file| file.into_report(&machine, now)) {
        return report;
    }
    let report = probe(&ProbeConfig::default());
    let file = File::new(&report, machine, now);
    let written = serde_json::to_string_pretty(&file)
        .map_err(|error| error.to_string())
        .and_then(|text| files::write_private(&path, text.as_bytes()).map_err(|error| error.to_string()));
    if let Err(error) = written {
        tracing::warn!(%error, "the measured encoder speeds are not kept");
    }
    report
}

fn machine() -> String {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find(|line| line.starts_with("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("Lumen {}, FFmpeg {}, {cores} cores, {model}", env!("CARGO_PKG_VERSION"), ffmpeg_version())
}

impl File {
    fn new(report: &ProbeReport, machine: String, now: Duration) -> Self {
        let codecs = report.codecs.iter().map(Entry::new).collect();
        Self {
            machine,
            measured_at: now.as_secs(),
            cores: report.cores,
            ffmpeg: report.ffmpeg.clone(),
            codecs,
        }
    }

    fn into_report(self, machine: &str, now: Duration) -> Option<ProbeReport> {
        let age = now.as_secs().checked_sub(self.measured_at)?;
        if self.machine != machine || age >= VALID.as_secs() {
            return None;
        }
        let codecs = self.codecs.into_iter().map(Entry::into_report).collect::<Option<Vec<_>>>()?;
        Some(ProbeReport { codecs, cores: self.cores, ffmpeg: self.ffmpeg, took: Duration::ZERO })
    }
}

impl Entry {
    fn new(report: &CodecReport) -> Self {
        Self {
            codec: report.codec.to_string(),
            library: report.library.to_owned(),
            works: report.works.clone(),
            offered: report.offered,
            reason: report.reason.clone(),
            speeds: report.speeds.iter().map(SpeedEntry::new).collect(),
        }
    }

    fn into_report(self) -> Option<CodecReport> {
        let codec = Codec::ALL.into_iter().find(|codec| codec.to_string() == self.codec)?;
        let library = ["libx264", "libx265", "libsvtav1"].into_iter().find(|known| *known == self.library)?;
        Some(CodecReport {
            codec,
            library,
            works: self.works,
            offered: self.offered,
            reason: self.reason,
            speeds: self.speeds.into_iter().map(SpeedEntry::into_speed).collect(),
        })
    }
}

impl SpeedEntry {
    fn new(speed: &Speed) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            width: speed.width,
            height: speed.height,
            better: speed.preset == Preset::Better,
            frames: speed.frames,
            p50_us: micros(speed.p50),
            p95_us: micros(speed.p95),
            cpu_us: micros(speed.cpu),
        }
    }

    fn into_speed(self) -> Speed {
        Speed {
            width: self.width,
            height: self.height,
            preset: if self.better { Preset::Better } else { Preset::Fast },
            frames: self.frames,
            p50: Duration::from_micros(self.p50_us),
            p95: Duration::from_micros(self.p95_us),
            cpu: Duration::from_micros(self.cpu_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> ProbeReport {
        let speed = Speed {
            width: 1280,
            height: 720,
            preset: Preset::Better,
            frames: 24,
            p50: Duration::from_micros(3000),
            p95: Duration::from_micros(4000),
            cpu: Duration::from_micros(5000),
        };
        ProbeReport {
            codecs: vec![CodecReport {
                codec: Codec::H264,
                library: "libx264",
                works: Ok(()),
                offered: true,
                reason: "measured".into(),
                speeds: vec![speed],
            }],
            cores: 2,
            ffmpeg: "5.1".into(),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn a_measurement_counts_for_a_day_on_the_same_machine() {
        let now = Duration::from_secs(1_000_000);
        let kept = |machine: &str, later: u64| {
            let text = serde_json::to_string(&File::new(&report(), "this".into(), now)).expect("serialises");
            let file: File = serde_json::from_str(&text).expect("parses");
            file.into_report(machine, now + Duration::from_secs(later))
        };
        assert_eq!(kept("this", 3600), Some(report()));
        assert_eq!(kept("this", 24 * 3600), None, "too old");
        assert_eq!(kept("other", 0), None, "another machine");
        let past = serde_json::to_string(&File::new(&report(), "this".into(), now)).expect("serialises");
        let file: File = serde_json::from_str(&past).expect("parses");
        assert_eq!(file.into_report("this", Duration::ZERO), None, "from the future");
    }
}
