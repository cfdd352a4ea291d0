//! Sound through a host to the client: the right tone on the right channel, as loud as it was played, and the desktop's
//! own sound settings as they were.

use crate::lab::{Lab, PATIENCE, wait_for};
use lumen_lab::{Session, Tones, session_with_sound as session};
use lumen_testkit::audio::tone::{Watch, decibels, loudest, of_channels, usual_amplitude};
use lumen_testkit::netem::Profile;
use lumen_testkit::{
    AudioRequest, Client, EncryptionWish, SoundDecoder, Stream, StreamOptions, StreamRequest,
};

const AMPLITUDE: f32 = 0.25;
/// The sink that the person at the desk chose.
const ROOM: &str = "room";
/// An output goes as soon as its session ends.
const NO_LINGER: &str = "[display]\nlinger_seconds = 0\n";

/// A session whose user has chosen a sink with so many channels.
fn furnished(name: &str, channels: usize) -> Option<Session> {
    let session = session(name)?;
    session.make_sink(ROOM, channels, 48_000).expect("a sink");
    session.choose_sink(ROOM).expect("chosen");
    Some(session)
}

/// The least picture that there is, and this sound.
fn request(audio: AudioRequest, encrypted: bool) -> StreamRequest {
    let encryption = EncryptionWish { video: false, audio: encrypted };
    StreamRequest { audio, encryption, ..StreamRequest::new(320, 180, 30) }
}

fn listen(lab: &Lab, client: &Client, request: &StreamRequest) -> (Stream, Ear) {
    let options = StreamOptions { keep_audio: true, ..StreamOptions::default() };
    let stream = client.launch(lab.app(client, "static"), request, &options).expect("launched");
    let ear = Ear::new(&stream, request);
    (stream, ear)
}

/// What the client hears.
struct Ear {
    decoder: SoundDecoder,
    channels: usize,
    next: Option<u16>,
    lost: u64,
}

impl Ear {
    fn new(stream: &Stream, request: &StreamRequest) -> Self {
        let decoder = SoundDecoder::new(&stream.offer().surround, request.audio).expect("a layout");
        Self { decoder, channels: request.audio.channels as usize, next: None, lost: 0 }
    }

    fn hear(&mut self, stream: &Stream, packets: usize) -> Vec<Vec<f32>> {
        let mut heard = vec![Vec::new(); self.channels];
        for _ in 0..packets {
            let packet = stream.next_audio(PATIENCE).expect("packets come, silence included");
            if let Some(next) = self.next {
                self.lost += u64::from(packet.sequence.wrapping_sub(next));
            }
            self.next = Some(packet.sequence.wrapping_add(1));
            for frame in self.decoder.decode(&packet.data).expect("Opus").chunks_exact(self.channels) {
                heard.iter_mut().zip(frame).for_each(|(channel, sample)| channel.push(*sample));
            }
        }
        heard
    }

    fn wait_for_sound(&mut self, stream: &Stream) {
        wait_for("sound at the client", PATIENCE, || {
            let heard = self.hear(stream, 20);
            heard.iter().flatten().any(|sample| sample.abs() > 0.05).then_some(())
        });
        self.hear(stream, 100);
    }

    fn is_silent(&mut self, stream: &Stream) -> bool {
        self.hear(stream, 20).iter().flatten().all(|sample| sample.abs() < 1e-3)
    }

    /// Each channel has its tone within half a decibel of `expected`. A gap of a busy machine may fall into one look.
    fn assert_tones(&mut self, stream: &Stream, expected: f64, wanted: &[u32]) {
        let mut found = Vec::new();
        for _ in 0..8 {
            found = self
                .hear(stream, 150)
                .iter()
                .map(|channel| {
                    let (tone, amplitude) = loudest(channel, wanted).expect("tones");
                    (tone, decibels(amplitude, expected))
                })
                .collect::<Vec<_>>();
            let right = |((tone, level), wanted): (&(u32, f64), &u32)| tone == wanted && level.abs() < 0.5;
            if found.iter().zip(wanted).all(right) && found.len() == wanted.len() {
                let levels: Vec<_> = found.iter().map(|(_, level)| format!("{level:+.2}")).collect();
                println!("  levels in dB: {}", levels.join(" "));
                return;
            }
        }
        panic!("{found:?} instead of {wanted:?}");
    }
}

fn play(session: &Session, channels: usize) -> Tones {
    session.play_tones("player", &of_channels(channels), AMPLITUDE).expect("pw-cat plays")
}

fn print_status(lab: &Lab) {
    let audio = &lab.status()["sessions"][0]["audio"];
    let ms = |value: &serde_json::Value| value.as_f64().unwrap_or(0.0) / 1000.0;
    println!(
        "  host: latency p50 {:.1} p95 {:.1} ms, lateness p99 {:.2} ms, work p50 {:.2} ms, quantum {}, gaps {}, drift {:.0} ppm",
        ms(&audio["latency_us"]["p50"]),
        ms(&audio["latency_us"]["p95"]),
        ms(&audio["lateness_us"]["p99"]),
        ms(&audio["work_us"]["p50"]),
        audio["quantum"],
        audio["gaps"],
        audio["drift_ppm"].as_f64().unwrap_or(0.0),
    );
}

fn plays_to(session: &Session, sink: impl Fn(&str) -> bool, what: &str) {
    wait_for(what, PATIENCE, || {
        let linked = session.linked_to("player").ok()?;
        matches!(linked.as_slice(), [only] if sink(only)).then_some(())
    });
}

fn session_sink(name: &str) -> bool {
    name.starts_with("lumen-sink-")
}

fn defaults(session: &Session) -> [Option<String>; 2] {
    ["default.audio.sink", "default.configured.audio.sink"]
        .map(|key| session.default_sink(key).expect("pw-dump answers"))
}

#[test]
fn every_layout_arrives_channel_by_channel() {
    let Some(session) = furnished("layouts", 8) else { return };
    let lab = Lab::start_in(session.env(), NO_LINGER);
    let client = lab.paired(0);
    for (channels, high_quality) in [(2, false), (2, true), (6, false), (6, true), (8, false), (8, true)] {
        // Half of them encrypted, half of them with the speakers on, and 10 ms where packets of 5 ms are smallest.
        let audio = AudioRequest {
            channels,
            high_quality,
            packet_duration_ms: if high_quality { 10 } else { 5 },
            play_on_host: channels == 8 && high_quality,
        };
        println!("{audio:?}");
        let _tones = play(&session, channels as usize);
        let (stream, mut ear) = listen(&lab, &client, &request(audio, high_quality));
        ear.wait_for_sound(&stream);
        ear.assert_tones(&stream, AMPLITUDE.into(), &of_channels(channels as usize));
        print_status(&lab);
        let status = lab.status()["sessions"][0]["audio"].clone();
        assert_eq!(status["own_sink"], !audio.play_on_host, "{status}");
        assert_eq!(status["channels"], channels, "{status}");
        let counts = stream.statistics().audio;
        assert_eq!(
            (counts.rejected, counts.wrong_timestamps, counts.lost, ear.lost),
            (0, 0, 0, 0),
            "{counts:?}"
        );
        assert!(counts.parity_packets.abs_diff(counts.data_packets / 2) <= 2, "{counts:?}");
        stream.disconnect(PATIENCE);
        client.cancel().expect("cancelled");
    }
}

#[test]
fn the_gain_of_the_configuration_is_heard() {
    let Some(session) = furnished("gain", 2) else { return };
    for gain in [2.0f32, 0.5] {
        let mut env = session.env();
        env.insert("LUMEN_AUDIO_GAIN".into(), gain.to_string());
        let lab = Lab::start_in(env, NO_LINGER);
        let client = lab.paired(0);
        let _tones = play(&session, 2);
        let (stream, mut ear) = listen(&lab, &client, &request(AudioRequest::default(), false));
        ear.wait_for_sound(&stream);
        println!("gain {gain}: against {:+.2} dB", decibels(gain.into(), 1.0));
        ear.assert_tones(&stream, f64::from(AMPLITUDE * gain), &of_channels(2));
    }
}

#[test]
fn one_datagram_in_twenty_may_get_lost() {
    let Some(session) = furnished("lossy", 2) else { return };
    let lab = Lab::start_in(session.env(), NO_LINGER);
    let client = lab.paired(0);
    let network = Some(Profile::rough(3, 0.05));
    let options = StreamOptions { keep_audio: true, network, ..StreamOptions::default() };
    let request = request(AudioRequest::default(), true);
    let stream = client.launch(lab.app(&client, "static"), &request, &options).expect("launched");
    let mut ear = Ear::new(&stream, &request);
    let _tones = play(&session, 2);
    ear.wait_for_sound(&stream);
    ear.assert_tones(&stream, AMPLITUDE.into(), &of_channels(2));
    let counts = stream.statistics().audio;
    println!("{counts:?}");
    assert_eq!((counts.rejected, counts.wrong_timestamps), (0, 0), "{counts:?}");
    assert!(counts.recovered > 0, "{counts:?}");
    assert!(counts.lost * 50 < counts.data_packets, "{counts:?}");
}

#[test]
fn the_default_sink_is_as_before_however_a_session_ends() {
    let Some(session) = furnished("defaults", 2) else { return };
    let before = defaults(&session);
    assert_eq!(before, [Some(ROOM.to_owned()), Some(ROOM.to_owned())]);
    let _tones = play(&session, 2);
    plays_to(&session, |sink| sink == ROOM, "the player in the room");
    let mut lab = Lab::start_in(session.env(), NO_LINGER);
    let client = lab.paired(0);
    for end in ["disconnect and cancel", "the client vanishes", "SIGTERM", "SIGKILL"] {
        println!("{end}");
        let (stream, mut ear) = listen(&lab, &client, &request(AudioRequest::default(), false));
        ear.wait_for_sound(&stream);
        plays_to(&session, session_sink, "the player on the session's sink");
        assert_eq!(defaults(&session), before, "while it streams");
        match end {
            "disconnect and cancel" => {
                stream.disconnect(PATIENCE);
                plays_to(&session, |sink| sink == ROOM, "the player back in the room");
                client.cancel().expect("cancelled");
            }
            "the client vanishes" => {
                stream.kill();
                // The control stream notices after its time-out.
                wait_for("the end of the session's stream", PATIENCE * 3, || {
                    (lab.session_state()? == "paused").then_some(())
                });
                plays_to(&session, |sink| sink == ROOM, "the player back in the room");
                client.cancel().expect("cancelled");
            }
            "SIGTERM" => {
                lab.stop_host();
                drop(stream);
            }
            _ => {
                lab.kill_host();
                drop(stream);
            }
        }
        plays_to(&session, |sink| sink == ROOM, "the player back in the room");
        wait_for("the session's sink to be gone", PATIENCE, || {
            (session.sinks().ok()? == [ROOM]).then_some(())
        });
        assert_eq!(defaults(&session), before, "after: {end}");
        if end == "SIGTERM" {
            lab.start_host();
        }
    }
    // What the killed one wrote about streams is forgotten by the next one.
    lab.start_host();
    let (stream, mut ear) = listen(&lab, &client, &request(AudioRequest::default(), false));
    ear.wait_for_sound(&stream);
    stream.disconnect(PATIENCE);
    client.cancel().expect("cancelled");
    plays_to(&session, |sink| sink == ROOM, "the player back in the room");
    wait_for("an empty notebook", PATIENCE, || {
        let notes = session.notebook().ok()?;
        notes.iter().all(|note| note["key"] != "target.object").then_some(())
    });
}

#[test]
fn without_pipewire_and_with_a_restarted_one_the_stream_goes_on() {
    let Some(session) = session("restarts") else { return };
    session.stop_pipewire();
    let lab = Lab::start_in(session.env(), NO_LINGER);
    let client = lab.paired(0);
    let (stream, mut ear) = listen(&lab, &client, &request(AudioRequest::default(), true));
    assert!(ear.is_silent(&stream), "silence is sent, but it is sent");
    for _ in 0..2 {
        session.start_pipewire().expect("PipeWire starts");
        wait_for("the session's sink", PATIENCE, || {
            session.sinks().ok()?.iter().any(|name| session_sink(name)).then_some(())
        });
        let tones = play(&session, 2);
        ear.wait_for_sound(&stream);
        session.stop_pipewire();
        drop(tones);
        wait_for("silence", PATIENCE, || ear.is_silent(&stream).then_some(()));
    }
    assert_eq!(ear.lost, 0);
    let said = lab.log().lines().filter(|line| line.contains("no sound")).count();
    assert!((1..=6).contains(&said), "said {said} times:\n{}", lab.log());
    let counts = stream.statistics().audio;
    assert_eq!((counts.rejected, counts.wrong_timestamps, counts.lost), (0, 0, 0), "{counts:?}");
}

/// An app "tone" that plays for a minute, by the name of "player", and on the left only.
fn app_that_plays(session: &Session, hertz: u32) -> String {
    let file = session.home().join("tone.raw");
    let second: Vec<u8> = (0..48_000u32)
        .flat_map(|frame| {
            let turn = f64::from(frame * hertz % 48_000) / 48_000.0;
            let sample = (turn * std::f64::consts::TAU).sin() * f64::from(AMPLITUDE);
            [sample as f32, 0.0].map(f32::to_le_bytes).concat()
        })
        .collect();
    std::fs::write(&file, second.repeat(60)).expect("written");
    format!(
        "[[apps]]\ntitle = \"tone\"\ncommand = [\"pw-cat\", \"-p\", \"--raw\", \"--format\", \"f32\", \"--rate\", \"48000\", \
         \"--channels\", \"2\", \"-P\", \"{{ node.name=player }}\", \"{}\"]\n",
        file.display()
    )
}

#[test]
fn an_apps_own_sound_goes_to_the_session_from_its_first_moment() {
    let Some(session) = furnished("apps", 2) else { return };
    let app = format!("{NO_LINGER}{}", app_that_plays(&session, 700));
    let lab = Lab::start_in(session.env(), &app);
    let client = lab.paired(0);
    let request = request(AudioRequest::default(), false);
    let options = StreamOptions { keep_audio: true, ..StreamOptions::default() };
    let stream = client.launch(lab.app(&client, "tone"), &request, &options).expect("launched");
    let mut ear = Ear::new(&stream, &request);
    ear.wait_for_sound(&stream);
    plays_to(&session, session_sink, "the app on the session's sink");
    let heard = ear.hear(&stream, 60);
    let [left, right] = [0, 1].map(|channel| usual_amplitude(&heard[channel], 700.0));
    assert!(decibels(left, 0.25).abs() < 0.5, "{left}");
    assert!(right < 0.01, "{right}");
    wait_for("the app, which nobody moved", PATIENCE, || {
        (lab.status()["sessions"][0]["audio"]["moved_streams"] == 0).then_some(())
    });
    client.cancel().expect("cancelled");
    wait_for("the session's sink to be gone", PATIENCE, || (session.sinks().ok()? == [ROOM]).then_some(()));
}

#[test]
fn an_app_is_heard_in_the_room_while_the_client_wants_that_and_not_afterwards() {
    let Some(session) = furnished("toggled", 2) else { return };
    let app = format!("{NO_LINGER}{}", app_that_plays(&session, 700));
    let lab = Lab::start_in(session.env(), &app);
    let client = lab.paired(0);
    let options = StreamOptions { keep_audio: true, ..StreamOptions::default() };
    let [silent_room, loud_room] = [false, true]
        .map(|play_on_host| request(AudioRequest { play_on_host, ..AudioRequest::default() }, false));
    let mut stream = client.launch(lab.app(&client, "tone"), &silent_room, &options).expect("launched");
    for turn in 0..2 {
        Ear::new(&stream, &silent_room).wait_for_sound(&stream);
        plays_to(&session, session_sink, "the app on the session's sink");
        stream.disconnect(PATIENCE);
        stream = client.resume(&loud_room, &options).expect("resumed");
        Ear::new(&stream, &loud_room).wait_for_sound(&stream);
        plays_to(&session, |sink| sink == ROOM, "the app in the room");
        stream.disconnect(PATIENCE);
        println!("resumed without the room, {turn}");
        stream = client.resume(&silent_room, &options).expect("resumed");
    }
    Ear::new(&stream, &silent_room).wait_for_sound(&stream);
    plays_to(&session, session_sink, "the app on the session's sink");
    client.cancel().expect("cancelled");
    wait_for("the session's sink to be gone", PATIENCE, || (session.sinks().ok()? == [ROOM]).then_some(()));
}

/// Ten minutes of a tone with `LUMEN_LONG_TESTS`, else twenty seconds: no gap and no click that a recording beside it lacks.
#[test]
fn a_tone_goes_on() {
    #[expect(clippy::disallowed_methods, reason = "only tests look at this variable")]
    let long = std::env::var_os("LUMEN_LONG_TESTS").is_some();
    let seconds: u64 = if long { 600 } else { 20 };
    let Some(session) = furnished("long", 2) else { return };
    let lab = Lab::start_in(session.env(), NO_LINGER);
    let client = lab.paired(0);
    let audio = AudioRequest { high_quality: true, ..AudioRequest::default() };
    let (stream, mut ear) = listen(&lab, &client, &request(audio, false));
    let _tones = session.play_tones("player", &[1000, 1000], AMPLITUDE).expect("pw-cat plays");
    ear.wait_for_sound(&stream);
    ear.hear(&stream, 400);
    let sinks = session.sinks().expect("an answer");
    let sink = sinks.iter().find(|name| session_sink(name)).expect("the session's sink");
    let witness = session.record("witness", sink).expect("it records");
    let [mut watch, mut beside] = [0, 1].map(|_| Watch::new(1000.0, AMPLITUDE.into()));
    for _ in 0..seconds {
        watch.push(ear.hear(&stream, 200)[0].iter().copied());
    }
    beside.push(witness.finish().expect("recorded").into_iter());
    assert!(beside.seen() > 48_000 * (seconds - 5), "{beside}");
    println!("beside: {beside}\nours:   {watch}; {} packets lost", ear.lost);
    for flaw in watch.flaws_alone(&beside) {
        println!("ours alone: {flaw}");
    }
    print_status(&lab);
    assert_eq!(watch.seen(), seconds * 48_000);
    // A machine that builds beside it loses a moment now and then; what is wrong with us comes again and again. Who asks
    // for ten minutes has a machine that is not busy with something else.
    watch.is_no_worse_than(&beside, if long { 0 } else { 20 }).expect("no click of our own");
}
