//! A session's sound: the connection to PipeWire for as long as its app runs, packets for as long as a stream lasts
//! (`docs/design/audio.md`).

use crate::stream::sender::Route;
use lumen_audio::{
    Capture, Channels, PacketReport, PacketSettings, Packets, SINK_PREFIX, Sound, SoundConfig, SoundReport,
};
use lumen_gamestream::audio::{
    AudioKey, AudioPacketizer, AudioPackets, MAX_OPUS, OpusLayout, PacketDuration, Quality,
};
use lumen_gamestream::launch::LaunchRequest;
use lumen_gamestream::sdp::{AudioParameters, AudioQuality, StreamParameters};
use lumen_gamestream::session::{Connection, SessionId};
use lumen_net::udp::UdpPort;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long an app's start waits for the sink that it is to play to.
const SINK_PATIENCE: Duration = Duration::from_millis(1500);

/// What a stream asks for.
pub struct Wanted<'a> {
    /// The stream.
    pub session: SessionId,
    /// What ANNOUNCE fixed.
    pub parameters: &'a StreamParameters,
    /// The host's speakers play too.
    pub host_audio: bool,
    /// The launch with its key.
    pub key: &'a LaunchRequest,
    /// Linear factor on every sample.
    pub gain: f32,
}

/// What a session's sound needs.
#[derive(Default)]
pub struct SessionSound {
    // In the order in which they go.
    stream: Option<(SessionId, StreamSound)>,
    sound: Option<Sound>,
    /// Of the session's sink, also while there is none: the app was told it at its start.
    sink_name: Option<String>,
}

struct StreamSound {
    // The packets first: they read what is captured.
    packets: Option<Packets>,
    capture: Capture,
    settings: PacketSettings,
    parameters: AudioParameters,
    key: Option<AudioKey>,
    place: (Arc<UdpPort>, Route),
}

/// What the status shows.
pub struct SoundView {
    parameters: AudioParameters,
    layout: OpusLayout,
    gain: f32,
    sound: SoundReport,
    packets: Option<PacketReport>,
}

impl SessionSound {
    /// An app starts: the sink that it is to play to is made, unless the client wants to hear it on the host too.
    pub fn prepare(&mut self, connection: &Connection, session_dir: Option<&Path>) {
        let host_audio = connection.request.host_audio.unwrap_or(false);
        self.connect(host_audio, connection.request.audio.channels.into(), session_dir);
        if let Some(sound) = self.sound.as_ref().filter(|_| !host_audio)
            && !sound.wait_for_sink(SINK_PATIENCE)
        {
            tracing::warn!(
                "the app starts before its sink is there; its sound may begin on the host's speakers"
            );
        }
    }

    /// What an app gets in its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.sound.as_ref().map(Sound::environment).unwrap_or_default()
    }

    /// A stream is made ready: its sound is captured, and nothing is sent.
    pub fn start(&mut self, wanted: &Wanted<'_>, place: (Arc<UdpPort>, Route), session_dir: Option<&Path>) {
        let parameters = wanted.parameters.audio;
        let count = u32::from(parameters.channels);
        let quality = match parameters.quality {
            AudioQuality::Normal => Quality::Normal,
            AudioQuality::High => Quality::High,
        };
        let duration = PacketDuration::from_millis(parameters.packet_ms.into());
        let (Some(layout), Some(channels), Some(duration)) =
            (OpusLayout::select(count, quality), Channels::from_count(count), duration)
        else {
            tracing::warn!(
                channels = count,
                ms = parameters.packet_ms,
                "no sound: the client asked for a layout that does not exist"
            );
            return;
        };
        self.stream = None;
        self.connect(wanted.host_audio, count, session_dir);
        let Some(sound) = &self.sound else { return };
        let key = AudioKey { key: wanted.key.key.clone(), key_id: wanted.key.key_id };
        let settings = PacketSettings { layout: *layout, duration, gain: wanted.gain, limit: MAX_OPUS };
        let stream = StreamSound {
            packets: None,
            capture: sound.capture(channels),
            settings,
            parameters,
            key: parameters.encrypted.then_some(key),
            place,
        };
        self.stream = Some((wanted.session, stream));
    }

    /// PLAY came and the client's address is known: packets flow.
    pub fn open(&mut self, session: SessionId) {
        let Some((_, stream)) = self.stream.as_mut().filter(|(id, _)| *id == session) else { return };
        if stream.packets.is_none() {
            stream.open(session);
        }
    }

    /// A stream is over; the sink stays with the app.
    pub fn stop(&mut self, session: SessionId) {
        if let Some((_, stream)) = self.stream.take_if(|(id, _)| *id == session)
            && let Some(report) = stream.packets.as_ref().map(Packets::report)
        {
            tracing::info!(
                %session, packets = report.packets, gaps = report.gaps, drift_ppm = report.drift_ppm as i64,
                latency_p50_us = report.latency.p50, "sound ended"
            );
        }
    }

    /// For the status.
    pub fn view(&self) -> Option<SoundView> {
        let (_, stream) = self.stream.as_ref()?;
        Some(SoundView {
            parameters: stream.parameters,
            layout: stream.settings.layout,
            gain: stream.settings.gain,
            sound: self.sound.as_ref().map(Sound::report).unwrap_or_default(),
            packets: stream.packets.as_ref().map(Packets::report),
        })
    }

    /// Connects to PipeWire as it is wanted, unless it is connected so. A sink that is made again keeps its name, which
    /// the app knows.
    fn connect(&mut self, host_audio: bool, channels: u32, session_dir: Option<&Path>) {
        let channels = Channels::from_count(channels).unwrap_or(Channels::Stereo);
        let current = self.sound.as_ref().map(Sound::sink);
        let fits = match current {
            None => false,
            Some(None) => host_audio,
            Some(Some((_, has))) => !host_audio && has == channels,
        };
        if fits {
            return;
        }
        self.sound = None;
        let new_name = || {
            let id = uuid::Uuid::new_v4().simple().to_string();
            format!("{SINK_PREFIX}{}", &id[..8])
        };
        let name = self.sink_name.get_or_insert_with(new_name).clone();
        let config = SoundConfig {
            runtime_dir: session_dir.map(Into::into),
            sink: (!host_audio).then_some((name, channels)),
        };
        match Sound::start(config) {
            Ok(sound) => self.sound = Some(sound),
            Err(error) => tracing::error!(%error, "no sound: cannot start a thread"),
        }
    }
}

impl StreamSound {
    fn open(&mut self, session: SessionId) {
        let mut packetizer = AudioPacketizer::new(self.settings.duration, self.key.clone());
        let mut datagrams = AudioPackets::new();
        let (port, route) = self.place.clone();
        let send = move |opus: &[u8]| {
            // The first ping is known by now.
            let Some(path) = route.current() else { return };
            match packetizer.packetize(opus, &mut datagrams) {
                // Errors are logged once by the port, and sound goes on.
                Ok(()) => datagrams.iter().for_each(|datagram| drop(port.send(&path, datagram))),
                Err(error) => tracing::trace!(%error, "a packet of sound was left out"),
            }
        };
        match self.capture.packets(self.settings, send) {
            Ok(packets) => {
                self.packets = Some(packets);
                tracing::info!(
                    %session, channels = self.parameters.channels, kbps = self.settings.layout.bitrate / 1000,
                    packet_ms = self.parameters.packet_ms, encrypted = self.parameters.encrypted, "sound is sent"
                );
            }
            Err(error) => tracing::error!(%error, "no sound"),
        }
    }
}

impl SoundView {
    /// For programs.
    pub fn json(&self) -> Value {
        let (sound, packets) = (&self.sound, self.packets.unwrap_or_default());
        let times = |times: lumen_media::stats::Percentiles| json!({ "p50": times.p50, "p95": times.p95, "p99": times.p99, "max": times.max });
        json!({
            "channels": self.layout.channels,
            "quality": match self.layout.quality { Quality::Normal => "normal", Quality::High => "high" },
            "bitrate": self.layout.bitrate,
            "packet_ms": self.parameters.packet_ms,
            "encrypted": self.parameters.encrypted,
            "gain": self.gain,
            "source": sound.source,
            "own_sink": sound.own_sink,
            "moved_streams": sound.moved,
            "flowing": sound.flowing,
            "problem": sound.problem,
            "sending": self.packets.is_some(),
            "packets": packets.packets,
            "silent_packets": packets.silent,
            "gaps": packets.gaps,
            "missing_ms": packets.missing_ms,
            "cut_ms": packets.cut_ms,
            "slots_given_up": packets.given_up,
            "drift_ppm": packets.drift_ppm,
            "quantum": packets.quantum,
            "latency_us": times(packets.latency),
            "lateness_us": times(packets.lateness),
            "work_us": times(packets.work),
        })
    }

    /// [`SoundView::json`] for people, in one line.
    pub fn line(json: &Value) -> Option<String> {
        let channels = json["channels"].as_u64()?;
        let layout = u32::try_from(channels).ok().and_then(Channels::from_count).map_or("?", Channels::name);
        let source = match (json["source"].as_str(), json["problem"].as_str()) {
            (_, Some(problem)) => format!("silence ({problem})"),
            (Some(source), None) => format!("from {source}"),
            (None, None) => "starting".to_owned(),
        };
        let ms = json["latency_us"]["p50"].as_f64().unwrap_or(0.0) / 1000.0;
        Some(format!(
            "{layout} {} kbit/s, {source}: {} packets, {} gaps, p50 {ms:.1} ms",
            json["bitrate"].as_u64().unwrap_or(0) / 1000,
            json["packets"],
            json["gaps"],
        ))
    }
}
