//! The stream that listens to a sink.

use crate::channels::Channels;
use crate::inbox::Inbox;
use libspa::param::ParamType;
use libspa::param::audio::{AudioFormat, AudioInfoRaw};
use libspa::pod::serialize::PodSerializer;
use libspa::pod::{Object, Pod, Value};
use libspa::utils::{Direction, SpaTypes};
use lumen_media::clock;
use pipewire::core::CoreRc;
use pipewire::properties::PropertiesBox;
use pipewire::stream::{StreamFlags, StreamListener, StreamRc, StreamState};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Samples that PipeWire is asked to hand over at once. It takes the next lower power of two: 256, a little more than a
/// packet. Less gives xruns where there is no realtime scheduling.
pub(super) const LATENCY: &str = "480/48000";

/// A connected stream; goes when dropped.
pub(super) struct Listening {
    // The listener goes first: what the stream says at its end finds nobody.
    _listener: StreamListener<Ear>,
    stream: StreamRc,
    facts: Rc<Facts>,
}

/// What became of a stream.
#[derive(Default)]
pub(super) struct Facts {
    /// Why it ended, if it did.
    pub(super) failed: RefCell<Option<String>>,
    /// Sound came.
    pub(super) flowing: Cell<bool>,
}

struct Ear {
    inbox: Arc<Inbox>,
    facts: Rc<Facts>,
}

impl Listening {
    /// Listens to the sink of this name, or to the default one, wherever that is.
    pub(super) fn start(
        core: &CoreRc,
        sink: Option<&str>,
        channels: Channels,
        inbox: Arc<Inbox>,
    ) -> Result<Self, String> {
        let library = |error: pipewire::Error| error.to_string();
        let stream = StreamRc::new(core.clone(), "lumen-audio", properties(sink)).map_err(library)?;
        let facts = Rc::new(Facts::default());
        let ear = Ear { inbox, facts: facts.clone() };
        let listener = stream
            .add_local_listener_with_user_data(ear)
            .state_changed(|_, ear, _, state| ear.state(&state))
            .process(|stream, ear| {
                while let Some(mut buffer) = stream.dequeue_buffer() {
                    ear.hear(&mut buffer);
                }
            })
            .register()
            .map_err(library)?;
        let format = format(channels);
        let mut pods: Vec<&Pod> = Pod::from_bytes(&format).into_iter().collect();
        let flags = StreamFlags::AUTOCONNECT | StreamFlags::MAP_BUFFERS;
        stream.connect(Direction::Input, None, flags, &mut pods).map_err(library)?;
        Ok(Self { _listener: listener, stream, facts })
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.stream.disconnect();
    }
}

impl Ear {
    fn state(&self, state: &StreamState) {
        tracing::debug!(?state, "PipeWire sound stream");
        match state {
            StreamState::Error(message) => {
                self.facts.failed.borrow_mut().get_or_insert_with(|| message.clone());
            }
            StreamState::Unconnected => {
                self.facts
                    .failed
                    .borrow_mut()
                    .get_or_insert_with(|| "the stream was disconnected".to_owned());
            }
            StreamState::Connecting | StreamState::Paused => self.facts.flowing.set(false),
            StreamState::Streaming => {}
        }
    }

    fn hear(&self, buffer: &mut pipewire::buffer::Buffer<'_>) {
        let Some(data) = buffer.datas_mut().first_mut() else { return };
        let (offset, size) = (data.chunk().offset() as usize, data.chunk().size() as usize);
        // As the daemon wrote it: an offset beyond the end gives nothing.
        let Some(sound) = data.data().and_then(|bytes| bytes.get(offset..)) else { return };
        let sound = &sound[..size.min(sound.len())];
        if !sound.is_empty() {
            self.facts.flowing.set(true);
            self.inbox.push(sound, clock::now());
        }
    }
}

fn properties(sink: Option<&str>) -> PropertiesBox {
    let mut properties = PropertiesBox::new();
    for (key, value) in [
        ("media.type", "Audio"),
        ("media.category", "Capture"),
        ("media.role", "Production"),
        ("media.name", "Sound for a client"),
        ("node.name", "lumen-audio"),
        ("node.description", "Lumen"),
        ("application.name", "Lumen"),
        ("stream.capture.sink", "true"),
        ("node.latency", LATENCY),
        // What a user once chose for another session is not for this one.
        ("state.restore-target", "false"),
        ("state.restore-props", "false"),
    ] {
        properties.insert(key, value);
    }
    if let Some(sink) = sink {
        properties.insert("target.object", sink);
        // Where the session's sink is not, there is nothing to hear.
        properties.insert("node.dont-fallback", "true");
        properties.insert("node.dont-move", "true");
        // WirePlumber 0.4 has a stream that found the default sink by its wish follow the default from then on.
        properties.insert("node.dont-reconnect", "true");
    }
    properties
}

/// Interleaved floats at 48 kHz, whatever the sink has: PipeWire converts.
fn format(channels: Channels) -> Vec<u8> {
    let mut info = AudioInfoRaw::new();
    info.set_format(AudioFormat::F32LE);
    info.set_rate(48_000);
    info.set_channels(channels.count() as u32);
    info.set_position(channels.numbers());
    let object = Value::Object(Object {
        type_: SpaTypes::ObjectParamFormat.as_raw(),
        id: ParamType::EnumFormat.as_raw(),
        properties: info.into(),
    });
    // Writing to memory does not fail.
    PodSerializer::serialize(std::io::Cursor::new(Vec::new()), &object)
        .map(|(cursor, _)| cursor.into_inner())
        .unwrap_or_default()
}
