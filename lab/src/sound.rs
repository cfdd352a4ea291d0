//! Sinks and tones of a private session.

use crate::{LabError, Process, Session, left_out, session_for, wait_for};
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Speakers in the order of WAVEFORMAT, as PipeWire names them.
const SPEAKERS: [&str; 8] = ["FL", "FR", "FC", "LFE", "RL", "RR", "SL", "SR"];
const LIMIT: Duration = Duration::from_secs(10);

/// PipeWire's names of the speakers of so many channels.
pub fn channel_map(channels: usize) -> String {
    if channels == 1 { "MONO".to_owned() } else { SPEAKERS[..channels.min(8)].join(",") }
}

/// What plays until dropped: one tone a channel.
#[derive(Debug)]
pub struct Tones {
    child: Child,
}

impl Drop for Tones {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A plain recording of a sink, beside what is tested: what PipeWire itself loses on a busy machine, it loses too.
#[derive(Debug)]
pub struct Recording {
    process: Process,
    file: PathBuf,
}

impl Recording {
    /// Ends it: the samples of the first of its two channels.
    ///
    /// # Errors
    /// [`LabError::File`].
    pub fn finish(self) -> Result<Vec<f32>, LabError> {
        drop(self.process);
        let cause = |cause| LabError::File { path: self.file.clone(), cause };
        let bytes = std::fs::read(&self.file).map_err(cause)?;
        std::fs::remove_file(&self.file).map_err(cause)?;
        let (frames, _) = bytes.as_chunks::<8>();
        Ok(frames.iter().map(|frame| f32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]])).collect())
    }
}

/// A session with sound, for the test `name`, or none where it cannot be had: without PipeWire, or where its tools are older
/// than 1.0 and want files instead of samples (Debian 12).
pub fn session_with_sound(name: &str) -> Option<Session> {
    let tools = ["pipewire", "wireplumber", "pw-cat", "pw-cli", "pw-metadata", "pw-dump"];
    let session = session_for(name, &tools)?;
    if session.ask("pw-cat", &["--help"]).is_ok_and(|help| help.contains("--raw")) {
        return Some(session);
    }
    left_out(name, "pw-cat takes no --raw, it is too old");
    None
}

impl Session {
    /// Records what goes to `sink`, in stereo, until it is finished.
    ///
    /// # Errors
    /// As [`Session::spawn`].
    pub fn record(&self, name: &str, sink: &str) -> Result<Recording, LabError> {
        let file = self.home().join(format!("{name}.raw"));
        let mut command = self.command("pw-cat");
        command.args(["-r", "--raw", "--format", "f32", "--rate", "48000", "--channels", "2"]);
        command.arg("-P").arg(format!(
            "{{ node.name={name} stream.capture.sink=true target.object={sink} node.latency=480/48000 }}"
        ));
        command.arg(&file);
        Ok(Recording { process: self.spawn(name, command)?, file })
    }

    /// Makes a silent sink that stays until [`Session::remove_sink`], and answers its object's id once the session
    /// manager knows it.
    ///
    /// # Errors
    /// When PipeWire does not make it.
    pub fn make_sink(&self, name: &str, channels: usize, rate: u32) -> Result<u64, LabError> {
        let properties = format!(
            "{{ factory.name=support.null-audio-sink node.name={name} node.description={name} media.class=Audio/Sink \
             object.linger=true audio.rate={rate} audio.channels={channels} audio.position=[{}] \
             monitor.channel-volumes=false monitor.passthrough=true }}",
            channel_map(channels)
        );
        self.ask("pw-cli", &["create-node", "adapter", &properties])?;
        wait_for(&format!("sink {name}"), LIMIT, || self.sound_node(name).ok()?)
    }

    /// Removes an object.
    ///
    /// # Errors
    /// When `pw-cli` does not run.
    pub fn remove_sink(&self, id: u64) -> Result<(), LabError> {
        self.ask("pw-cli", &["destroy", &id.to_string()]).map(drop)
    }

    /// Id of the node of this name.
    ///
    /// # Errors
    /// As [`Session::pipewire_objects`].
    pub fn sound_node(&self, name: &str) -> Result<Option<u64>, LabError> {
        let objects = self.pipewire_objects()?;
        let node = objects.iter().find(|object| object["info"]["props"]["node.name"] == name);
        Ok(node.and_then(|node| node["id"].as_u64()))
    }

    /// Serial number of the node of this name, which is never given twice.
    ///
    /// # Errors
    /// As [`Session::pipewire_objects`].
    pub fn sound_serial(&self, name: &str) -> Result<Option<u64>, LabError> {
        let objects = self.pipewire_objects()?;
        let node = objects.iter().find(|object| object["info"]["props"]["node.name"] == name);
        Ok(node.and_then(|node| node["info"]["props"]["object.serial"].as_u64()))
    }

    /// Names of all sinks.
    ///
    /// # Errors
    /// As [`Session::pipewire_objects`].
    pub fn sinks(&self) -> Result<Vec<String>, LabError> {
        let objects = self.pipewire_objects()?;
        let properties = objects.iter().map(|object| &object["info"]["props"]);
        let sinks = properties.filter(|properties| properties["media.class"] == "Audio/Sink");
        Ok(sinks.filter_map(|properties| properties["node.name"].as_str().map(str::to_owned)).collect())
    }

    /// Makes a sink the user's default, and waits until it is.
    ///
    /// # Errors
    /// When that does not come to pass.
    pub fn choose_sink(&self, name: &str) -> Result<(), LabError> {
        let value = format!("{{ \"name\": \"{name}\" }}");
        // A session manager that has just started has no notebook yet, and what is written then is lost.
        wait_for(&format!("{name} as the default sink"), LIMIT, || {
            self.ask("pw-metadata", &["0", "default.configured.audio.sink", &value, "Spa:String:JSON"])
                .ok()?;
            let is = |key| self.default_sink(key).ok().flatten().as_deref() == Some(name);
            (is("default.audio.sink") && is("default.configured.audio.sink")).then_some(())
        })
    }

    /// A default sink: `default.audio.sink` is the one in effect, `default.configured.audio.sink` the user's wish.
    ///
    /// # Errors
    /// As [`Session::pipewire_objects`].
    pub fn default_sink(&self, key: &str) -> Result<Option<String>, LabError> {
        let entries = self.notebook()?;
        let entry = entries.iter().find(|entry| entry["subject"] == 0 && entry["key"] == key);
        Ok(entry.and_then(|entry| entry["value"]["name"].as_str().map(str::to_owned)))
    }

    /// Has the session manager put a program's stream to a sink, in the way of volume controls, so that it remembers.
    ///
    /// # Errors
    /// When there is no such sink, or `pw-metadata` fails.
    pub fn put(&self, stream: u64, sink: &str) -> Result<(), LabError> {
        let serial = self.sound_serial(sink)?.ok_or_else(|| LabError::Answer {
            program: "pw-dump".to_owned(),
            answer: format!("no sink {sink}"),
        })?;
        self.ask("pw-metadata", &[&stream.to_string(), "target.object", &serial.to_string(), "Spa:Id"])
            .map(drop)
    }

    /// Writes `value` (a text) under `key` of the object with this id into the session manager's metadata `default`.
    ///
    /// # Errors
    /// When `pw-metadata` fails.
    pub fn note(&self, id: u64, key: &str, value: &str) -> Result<(), LabError> {
        self.ask("pw-metadata", &[&id.to_string(), key, value, "Spa:String"]).map(drop)
    }

    /// All entries of the session manager's metadata `default`.
    ///
    /// # Errors
    /// As [`Session::pipewire_objects`].
    pub fn notebook(&self) -> Result<Vec<Value>, LabError> {
        let objects = self.pipewire_objects()?;
        let found = objects.iter().find(|object| object["props"]["metadata.name"] == "default");
        Ok(found.and_then(|object| object["metadata"].as_array().cloned()).unwrap_or_default())
    }

    /// Names of the nodes that the node of this name is linked to, on either side.
    ///
    /// # Errors
    /// As [`Session::pipewire_objects`].
    pub fn linked_to(&self, name: &str) -> Result<Vec<String>, LabError> {
        let objects = self.pipewire_objects()?;
        let id = |name: &str| {
            let node = objects.iter().find(|object| object["info"]["props"]["node.name"] == name);
            node.and_then(|node| node["id"].as_u64())
        };
        let Some(own) = id(name) else { return Ok(Vec::new()) };
        let named = |id: &Value| {
            let node = objects.iter().find(|object| object["id"] == *id)?;
            node["info"]["props"]["node.name"].as_str().map(str::to_owned)
        };
        let mut names: Vec<String> = objects
            .iter()
            .filter(|object| object["type"] == "PipeWire:Interface:Link")
            .filter_map(|link| {
                let (from, to) = (&link["info"]["output-node-id"], &link["info"]["input-node-id"]);
                if *from == own {
                    named(to)
                } else if *to == own {
                    named(from)
                } else {
                    None
                }
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Plays a tone of `amplitude` on each channel, of as many whole hertz as `tones` says, from a program that calls its
    /// stream `name`.
    ///
    /// # Errors
    /// When `pw-cat` does not start.
    pub fn play_tones(&self, name: &str, tones: &[u32], amplitude: f32) -> Result<Tones, LabError> {
        let failed =
            |cause: std::io::Error| LabError::Answer { program: "pw-cat".into(), answer: cause.to_string() };
        let count = tones.len().to_string();
        let mut child = self
            .command("pw-cat")
            .args(["-p", "--raw", "--format", "f32", "--rate", "48000", "--channels", &count])
            .args(["--channel-map", &channel_map(tones.len()), "--latency", "512"])
            .args(["-P", &format!("{{ node.name={name} }}"), "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let second = second_of(tones, amplitude);
        if let Some(mut pipe) = child.stdin.take() {
            // Ends with the program: writing to it fails then.
            std::thread::spawn(move || while pipe.write_all(&second).is_ok() {});
        }
        Ok(Tones { child })
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> Result<String, LabError> {
        let failed = |answer: String| LabError::Answer { program: program.into(), answer };
        let output =
            self.command(program).args(arguments).output().map_err(|cause| failed(cause.to_string()))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// A second of sound that can be repeated without a seam.
fn second_of(tones: &[u32], amplitude: f32) -> Vec<u8> {
    let sample = |frame: u32, tone: u32| {
        // Within the first turn, for the sake of precision.
        let turn = f64::from(frame * (tone % 48_000) % 48_000) / 48_000.0;
        (std::f64::consts::TAU * turn).sin() as f32 * amplitude
    };
    (0..48_000)
        .flat_map(|frame| tones.iter().flat_map(move |tone| sample(frame, *tone).to_le_bytes()))
        .collect()
}
