//! Sound through a real PipeWire with a real session manager: captured, encoded, decoded by the test client's decoder.

use lumen_audio::{Capture, Channels, PacketSettings, Packets, Sound, SoundConfig, survey};
use lumen_gamestream::audio::{MAX_OPUS, OpusLayout, PacketDuration, Quality};
use lumen_lab::{Session, Tones, patient, session_with_sound as session, wait_for};
use lumen_testkit::audio::tone::{Watch, amplitude_among_others, decibels, loudest, of_channels};
use lumen_testkit::{AudioRequest, SoundDecoder};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(15);
const AMPLITUDE: f32 = 0.25;
const NAME: &str = "lumen-sink-test";

/// A stream from PipeWire to the client's decoder.
struct Ear {
    packets: Packets,
    _capture: Capture,
    received: Receiver<Vec<u8>>,
    decoder: SoundDecoder,
    channels: usize,
}

impl Ear {
    fn open(sound: &Sound, layout: &OpusLayout, gain: f32) -> Self {
        let duration = PacketDuration::FiveMs;
        let settings = PacketSettings { layout: *layout, duration, gain, limit: MAX_OPUS };
        let capture = sound.capture(Channels::from_count(layout.channels.into()).expect("a layout"));
        let (sender, received) = channel();
        let packets =
            capture.packets(settings, move |packet| drop(sender.send(packet.to_vec()))).expect("packets");
        let lines: Vec<_> =
            OpusLayout::ADVERTISED.iter().map(|layout| layout.surround_params().to_string()).collect();
        let audio = AudioRequest {
            channels: layout.channels.into(),
            high_quality: layout.quality == Quality::High,
            ..AudioRequest::default()
        };
        let decoder = SoundDecoder::new(&lines, audio).expect("a decoder");
        Self { packets, _capture: capture, received, decoder, channels: layout.channels.into() }
    }

    /// The next `packets` packets, a vector for each channel.
    fn hear(&mut self, packets: usize) -> Vec<Vec<f32>> {
        let mut heard = vec![Vec::new(); self.channels];
        for _ in 0..packets {
            let packet = self.received.recv_timeout(LIMIT).expect("packets come whatever happens");
            for frame in self.decoder.decode(&packet).expect("Opus").chunks_exact(self.channels) {
                heard.iter_mut().zip(frame).for_each(|(channel, sample)| channel.push(*sample));
            }
        }
        heard
    }

    /// Waits until the first channel has a tone, and then until it is steady.
    fn wait_for_sound(&mut self) {
        wait_for("sound", LIMIT, || {
            let heard = self.hear(20);
            heard.iter().any(|channel| channel.iter().any(|sample| sample.abs() > 0.05)).then_some(())
        })
        .expect("sound");
        self.hear(100);
    }

    fn is_silent(&mut self) -> bool {
        self.hear(20).iter().flatten().all(|sample| sample.abs() < 1e-3)
    }

    /// Each channel has its tone within half a decibel of `expected`, once no gap falls into the sample.
    fn assert_tones(&mut self, expected: f64, wanted: &[u32]) {
        let mut found = Vec::new();
        for _ in 0..5 {
            let level = |channel: &Vec<f32>| {
                let (tone, amplitude) = loudest(channel, wanted).expect("tones");
                (tone, decibels(amplitude, expected))
            };
            found = self.hear(200).iter().map(level).collect();
            let right = |((tone, level), wanted): (&(u32, f64), &u32)| tone == wanted && level.abs() < 0.5;
            if found.len() == wanted.len() && found.iter().zip(wanted).all(right) {
                let levels: Vec<_> = found.iter().map(|(_, level)| level).collect();
                println!("tones {wanted:?}: levels {levels:.2?} dB");
                return;
            }
        }
        panic!("{found:?} instead of {wanted:?}");
    }
}

fn start(session: &Session, sink: Option<Channels>) -> Sound {
    let config = SoundConfig {
        runtime_dir: Some(session.runtime_dir().into()),
        sink: sink.map(|channels| (NAME.to_owned(), channels)),
    };
    let sound = Sound::start(config).expect("a thread");
    assert_eq!(sound.wait_for_sink(patient(LIMIT)), sink.is_some());
    sound
}

fn play(session: &Session, name: &str, channels: usize) -> Tones {
    session.play_tones(name, &of_channels(channels), AMPLITUDE).expect("pw-cat plays")
}

#[test]
fn every_channel_of_every_layout_arrives_on_its_speaker() {
    let Some(session) = session("layouts") else { return };
    for layout in OpusLayout::ALL {
        let channels = layout.channels.into();
        let sound = start(&session, Channels::from_count(layout.channels.into()));
        let mut ear = Ear::open(&sound, &layout, 1.0);
        // A stream that was there before, or comes later: both are moved.
        let _tones = play(&session, "player", channels);
        ear.wait_for_sound();
        ear.assert_tones(f64::from(AMPLITUDE), &of_channels(channels));
        let report = ear.packets.report();
        println!(
            "{} {:?}: latency p50 {:.1} p95 {:.1} ms, lateness p99 {:.2} ms, work p50 {:.2} ms, quantum {}, gaps {}, {:?}",
            channels,
            layout.quality,
            f64::from(report.latency.p50) / 1e3,
            f64::from(report.latency.p95) / 1e3,
            f64::from(report.lateness.p99) / 1e3,
            f64::from(report.work.p50) / 1e3,
            report.quantum,
            report.gaps,
            sound.report()
        );
    }
}

#[test]
fn gain_is_in_decibels_what_it_should_be() {
    let Some(session) = session("gain") else { return };
    let sound = start(&session, Some(Channels::Stereo));
    let _tones = play(&session, "player", 2);
    for gain in [2.0, 0.5, 1.0] {
        let mut ear = Ear::open(&sound, &OpusLayout::STEREO, gain);
        ear.wait_for_sound();
        ear.assert_tones(f64::from(AMPLITUDE * gain), &of_channels(2));
    }
}

#[test]
fn the_default_sink_stays_and_streams_come_back() {
    let Some(session) = session("moves") else { return };
    session.make_sink("room", 2, 48_000).expect("a sink");
    for chosen in [false, true] {
        if chosen {
            session.choose_sink("room").expect("chosen");
        } else {
            wait_for("a default sink", LIMIT, || session.default_sink("default.audio.sink").ok()?)
                .expect("one is there");
        }
        defaults_stay(&session);
    }
}

/// Whether the user chose it or it is just the only one: the default sink is not touched.
fn defaults_stay(session: &Session) {
    let defaults = || {
        ["default.audio.sink", "default.configured.audio.sink"]
            .map(|key| session.default_sink(key).expect("pw-dump answers"))
    };
    let before = defaults();
    let _tones = play(session, "player", 2);
    let plays_to = |sink: &str| plays_to(session, sink);
    plays_to("room");
    let sound = start(session, Some(Channels::Stereo));
    plays_to("room");
    let mut ear = Ear::open(&sound, &OpusLayout::STEREO, 1.0);
    ear.wait_for_sound();
    plays_to(NAME);
    assert_eq!(defaults(), before);
    // The stream ends: what was moved goes back, the sink stays with the app.
    drop(ear);
    plays_to("room");
    assert!(session.sound_node(NAME).expect("pw-dump").is_some());
    let ear = Ear::open(&sound, &OpusLayout::STEREO, 1.0);
    plays_to(NAME);
    drop(ear);
    drop(sound);
    plays_to("room");
    assert_eq!(defaults(), before);
    assert_eq!(session.sinks().expect("pw-dump"), ["room"]);
    assert_eq!(notes(session), [] as [String; 0]);
}

fn plays_to(session: &Session, sink: &str) {
    wait_for(&format!("the player on {sink}"), LIMIT, || {
        (session.linked_to("player").ok()? == [sink]).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", session.linked_to("player")));
}

/// What the notebook says about streams and their targets.
fn notes(session: &Session) -> Vec<String> {
    let entries = session.notebook().expect("pw-dump").into_iter();
    let targets = entries.filter(|entry| entry["key"].as_str().is_some_and(|key| key.contains("target")));
    targets.map(|entry| format!("{}={}", entry["key"], entry["value"]).replace('"', "")).collect()
}

#[test]
fn a_program_that_the_user_has_put_elsewhere_goes_back_there_also_after_a_crash() {
    let Some(session) = session("pinned") else { return };
    for sink in ["room", "headphones"] {
        session.make_sink(sink, 2, 48_000).expect("a sink");
    }
    session.choose_sink("room").expect("chosen");
    let _tones = play(&session, "player", 2);
    plays_to(&session, "room");
    let player = session.sound_node("player").expect("pw-dump").expect("it plays");
    session.note(player, "target.object", "headphones").expect("noted");
    plays_to(&session, "headphones");
    let sound = start(&session, Some(Channels::Stereo));
    let ear = Ear::open(&sound, &OpusLayout::STEREO, 1.0);
    plays_to(&session, NAME);
    let moved = notes(&session);
    drop((ear, sound));
    plays_to(&session, "headphones");
    assert_eq!(notes(&session), ["target.object=headphones"]);

    // What a host leaves that is killed: its notes, and no sink.
    for note in &moved {
        let (key, value) = note.split_once('=').expect("a note");
        session.note(player, key, &value.replace(NAME, "lumen-sink-killed")).expect("noted");
    }
    let sound = start(&session, None);
    wait_for("the notes of before", LIMIT, || {
        (notes(&session) == ["target.object=headphones"]).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", notes(&session)));
    plays_to(&session, "headphones");
    drop(sound);
}

/// The session manager remembers where the user put a program, and writes that down when it is started again.
#[test]
fn a_program_that_the_session_manager_puts_elsewhere_is_moved_all_the_same() {
    let Some(session) = session("recalled") else { return };
    for sink in ["room", "headphones"] {
        session.make_sink(sink, 2, 48_000).expect("a sink");
    }
    session.choose_sink("room").expect("chosen");
    let player = play(&session, "player", 2);
    plays_to(&session, "room");
    let stream = session.sound_node("player").expect("pw-dump").expect("it plays");
    session.put(stream, "headphones").expect("put");
    plays_to(&session, "headphones");
    drop(player);
    let gone = || session.sound_node("player").ok()?.is_none().then_some(());
    wait_for("the end of the player", LIMIT, gone).expect("gone");
    // It does remember.
    let player = play(&session, "player", 2);
    plays_to(&session, "headphones");
    drop(player);
    wait_for("the end of the player", LIMIT, gone).expect("gone");

    let sound = start(&session, Some(Channels::Stereo));
    let mut ear = Ear::open(&sound, &OpusLayout::STEREO, 1.0);
    let player = play(&session, "player", 2);
    ear.wait_for_sound();
    plays_to(&session, NAME);
    drop((ear, sound));
    plays_to(&session, "headphones");
    drop(player);
}

#[test]
fn programs_find_the_sink_by_their_environment() {
    let Some(session) = session("environment") else { return };
    session.make_sink("room", 2, 48_000).expect("a sink");
    session.choose_sink("room").expect("chosen");
    let sound = start(&session, Some(Channels::Surround51));
    let mut command = session.command("pw-cat");
    command.envs(sound.environment());
    let silence = session.home().join("silence.raw");
    std::fs::write(&silence, vec![0; 48_000 * 8 * 60]).expect("written");
    command.args(["-p", "--raw", "--format", "f32", "--rate", "48000", "--channels", "2"]);
    command.args(["-P", "{ node.name=app }"]).arg(&silence);
    let _app = session.spawn("app", command).expect("pw-cat");
    // Nothing is captured, so nothing is moved: it goes there by itself.
    wait_for("the app on the session's sink", LIMIT, || {
        (session.linked_to("app").ok()? == [NAME]).then_some(())
    })
    .expect("linked");
    // Nor does it count as moved, or is it moved away, when somebody listens.
    let _ear = Ear::open(&sound, &OpusLayout::SURROUND_51, 1.0);
    wait_for("sound", LIMIT, || sound.report().flowing.then_some(())).expect("flows");
    assert_eq!(sound.report().moved, 0, "{:?}", session.notebook());
}

#[test]
fn what_is_captured_stays_the_session_sink_when_another_one_comes() {
    let Some(session) = session("only") else { return };
    // The only sink is the default one.
    let sound = start(&session, Some(Channels::Stereo));
    let mut ear = Ear::open(&sound, &OpusLayout::STEREO, 1.0);
    let _tones = play(&session, "player", 2);
    ear.wait_for_sound();
    session.make_sink("room", 2, 48_000).expect("a sink");
    session.choose_sink("room").expect("chosen");
    plays_to(&session, NAME);
    ear.assert_tones(f64::from(AMPLITUDE), &of_channels(2));
    // Neither the captured sink nor the player has gone elsewhere.
    assert_eq!(session.linked_to("lumen-audio").expect("pw-dump"), [NAME]);
    assert_eq!(sound.report().source.as_deref(), Some(NAME));
}

#[test]
fn without_a_session_sink_the_default_one_is_heard_wherever_it_goes() {
    let Some(session) = session("default") else { return };
    for (name, channels, rate) in
        [("first", 2, 48_000), ("cd", 2, 44_100), ("studio", 2, 192_000), ("one", 1, 48_000)]
    {
        session.make_sink(name, channels, rate).expect("a sink");
    }
    session.choose_sink("first").expect("chosen");
    let _tones = play(&session, "player", 2);
    let sound = start(&session, None);
    let mut ear = Ear::open(&sound, &OpusLayout::STEREO, 1.0);
    for name in ["first", "cd", "studio", "first"] {
        session.choose_sink(name).expect("chosen");
        wait_for("the capture on the new default", LIMIT, || {
            (sound.report().source.as_deref() == Some(name)
                && session.linked_to("lumen-audio").ok()? == [name]
                && session.linked_to("player").ok()? == [name])
            .then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {:?}", session.linked_to("lumen-audio")));
        ear.wait_for_sound();
        println!("{name}:");
        ear.assert_tones(f64::from(AMPLITUDE), &of_channels(2));
    }
    // One speaker: both tones on both sides.
    session.choose_sink("one").expect("chosen");
    wait_for("the capture on the mono sink", LIMIT, || {
        (session.linked_to("lumen-audio").ok()? == ["one"] && session.linked_to("player").ok()? == ["one"])
            .then_some(())
    })
    .expect("linked");
    ear.wait_for_sound();
    let heard = ear.hear(200);
    for channel in &heard {
        for tone in of_channels(2) {
            let level = amplitude_among_others(channel, tone.into());
            assert!(level > 0.05, "{tone} Hz at {level} in mono");
        }
    }
}

#[test]
fn seven_one_and_mono_programs_are_heard_by_a_stereo_client() {
    let Some(session) = session("mixes") else { return };
    let sound = start(&session, Some(Channels::Stereo));
    for channels in [8, 1] {
        let _tones = play(&session, "player", channels);
        let mut ear = Ear::open(&sound, &OpusLayout::STEREO, 1.0);
        ear.wait_for_sound();
        let heard = ear.hear(200);
        // Front left, front centre, rear left, side left; of the only channel of one.
        for tone in of_channels(channels).into_iter().step_by(2) {
            let level = amplitude_among_others(&heard[0], tone.into());
            println!("{channels} channels, {tone} Hz on the left: {level:.3}");
            assert!(level > 0.02, "{tone} Hz of {channels} channels is not heard on the left");
        }
    }
}

#[test]
fn without_pipewire_there_is_silence_until_it_comes() {
    let Some(session) = session("absent") else { return };
    session.stop_pipewire();
    let config = SoundConfig {
        runtime_dir: Some(session.runtime_dir().into()),
        sink: Some((NAME.into(), Channels::Stereo)),
    };
    let sound = Sound::start(config).expect("a thread");
    // The answer comes at once, not after the whole time.
    assert!(!sound.wait_for_sink(Duration::from_secs(3600)));
    let mut ear = Ear::open(&sound, &OpusLayout::STEREO, 1.0);
    assert!(ear.is_silent());
    let report = sound.report();
    assert!(!report.connected && report.problem.is_some(), "{report:?}");
    for _ in 0..2 {
        session.start_pipewire().expect("PipeWire starts");
        wait_for("the session's sink", LIMIT, || session.sound_node(NAME).ok()?).expect("made again");
        let tones = play(&session, "player", 2);
        ear.wait_for_sound();
        assert_eq!(sound.report().problem, None);
        drop(tones);
        session.stop_pipewire();
        wait_for("silence", LIMIT, || ear.is_silent().then_some(())).expect("silence");
    }
}

#[test]
fn without_a_sink_there_is_silence_and_a_sink_that_vanishes_comes_back() {
    let Some(session) = session("sinkless") else { return };
    let sound = start(&session, None);
    let mut ear = Ear::open(&sound, &OpusLayout::STEREO, 1.0);
    wait_for("the cause", LIMIT, || sound.report().problem).expect("told");
    assert!(ear.is_silent());
    println!("without a sink: {:?}", sound.report().problem);
    for round in 0..3 {
        let id = session.make_sink("room", 2, 48_000).expect("a sink");
        let tones = play(&session, "player", 2);
        ear.wait_for_sound();
        if round == 2 {
            break;
        }
        // In the midst of it.
        session.remove_sink(id).expect("removed");
        wait_for("silence", LIMIT, || ear.is_silent().then_some(())).expect("silence");
        wait_for("the cause", LIMIT, || sound.report().problem).expect("told");
        drop(tones);
    }
}

#[test]
fn a_session_sink_that_vanishes_is_made_again() {
    let Some(session) = session("unplugged") else { return };
    let sound = start(&session, Some(Channels::Stereo));
    let mut ear = Ear::open(&sound, &OpusLayout::STEREO, 1.0);
    let _tones = play(&session, "player", 2);
    ear.wait_for_sound();
    let id = session.sound_node(NAME).expect("an answer").expect("the sink");
    let serial = session.sound_serial(NAME).expect("an answer").expect("the sink");
    session.remove_sink(id).expect("destroyed");
    // The number of what is gone may be given again.
    wait_for("another sink", patient(LIMIT), || {
        session.sound_serial(NAME).ok()?.filter(|found| *found != serial).map(|_| ())
    })
    .expect("it comes back");
    // What was heard before the sink went.
    while ear.received.try_recv().is_ok() {}
    ear.wait_for_sound();
    ear.assert_tones(f64::from(AMPLITUDE), &of_channels(2));
}

#[test]
fn a_missing_session_manager_is_named_and_one_that_starts_again_moves_programs_again() {
    let Some(session) = session("unmanaged") else { return };
    session.make_sink("room", 2, 48_000).expect("a sink");
    session.choose_sink("room").expect("chosen");
    let _tones = play(&session, "player", 2);
    let sound = start(&session, Some(Channels::Stereo));
    let mut ear = Ear::open(&sound, &OpusLayout::STEREO, 1.0);
    for _ in 0..2 {
        ear.wait_for_sound();
        wait_for("the player on the session's sink", LIMIT, || {
            (session.linked_to("player").ok()? == [NAME]).then_some(())
        })
        .expect("moved");
        session.stop_wireplumber();
        let named = || sound.report().problem.filter(|cause| cause.contains("session manager"));
        wait_for("the cause", LIMIT, named).expect("told");
        wait_for("silence", LIMIT, || ear.is_silent().then_some(())).expect("silence");
        session.start_pipewire().expect("WirePlumber starts");
    }
    ear.wait_for_sound();
    ear.assert_tones(f64::from(AMPLITUDE), &of_channels(2));
}

#[test]
fn what_was_captured_before_is_not_played() {
    let Some(session) = session("drained") else { return };
    let sound = start(&session, Some(Channels::Stereo));
    let capture = sound.capture(Channels::Stereo);
    let tones = play(&session, "player", 2);
    wait_for("sound", LIMIT, || sound.report().flowing.then_some(())).expect("flows");
    std::thread::sleep(Duration::from_millis(300));
    drop(tones);
    wait_for("the player's end", LIMIT, || session.sound_node("player").ok()?.is_none().then_some(()))
        .expect("gone");
    std::thread::sleep(Duration::from_millis(100));
    let settings = PacketSettings {
        layout: OpusLayout::STEREO,
        duration: PacketDuration::FiveMs,
        gain: 1.0,
        limit: MAX_OPUS,
    };
    let (sender, received) = channel();
    let _packets =
        capture.packets(settings, move |packet| drop(sender.send(packet.to_vec()))).expect("packets");
    let mut decoder = SoundDecoder::new(&[], AudioRequest::default()).expect("a decoder");
    for _ in 0..100 {
        let packet = received.recv_timeout(LIMIT).expect("a packet");
        assert!(decoder.decode(&packet).expect("Opus").iter().all(|sample| sample.abs() < 1e-3), "old sound");
    }
}

#[test]
fn doctor_sees_what_is_there() {
    let Some(session) = session("survey") else { return };
    let look = || survey(Some(session.runtime_dir()), LIMIT);
    session.make_sink("room", 2, 48_000).expect("a sink");
    session.choose_sink("room").expect("chosen");
    // The session manager takes a moment for a choice.
    let chosen = || look().ok().filter(|found| found.default.as_deref() == Some("room"));
    let found = wait_for("the chosen sink", LIMIT, chosen).expect("it is told");
    assert!(found.session_manager);
    assert!(found.sinks.iter().any(|sink| sink == "room"), "{found:?}");
    session.stop_pipewire();
    assert!(look().is_err());
}

/// A tone through everything, watched sample by sample. Ten minutes with `LUMEN_LONG_TESTS`, else half a minute.
#[expect(clippy::disallowed_methods, reason = "which tests run is the environment's choice")]
#[test]
fn a_tone_goes_on_without_clicks() {
    let Some(session) = session("long") else { return };
    let long = std::env::var_os("LUMEN_LONG_TESTS").is_some();
    let seconds: usize = if long { 600 } else { 30 };
    let sound = start(&session, Some(Channels::Stereo));
    let _tones = session.play_tones("player", &[1000, 1000], AMPLITUDE).expect("pw-cat plays");
    let mut ear = Ear::open(&sound, &OpusLayout::STEREO_HIGH, 1.0);
    ear.wait_for_sound();
    ear.hear(400);
    let witness = session.record("witness", NAME).expect("it records");
    let mut watch = Watch::new(1000.0, AMPLITUDE.into());
    for _ in 0..seconds {
        watch.push(ear.hear(200)[0].iter().copied());
    }
    let mut beside = Watch::new(1000.0, AMPLITUDE.into());
    beside.push(witness.finish().expect("recorded").into_iter());
    assert!(beside.seen() > 48_000 * (seconds as u64 - 5), "{beside}");
    println!("beside: {beside}");
    for flaw in watch.flaws_alone(&beside) {
        println!("ours alone: {flaw}");
    }
    let report = ear.packets.report();
    println!(
        "ours:   {watch}; host: gaps {}, cut {:.1} ms, drift {:.1} ppm, latency p50 {:.1} p99 {:.1} ms",
        report.gaps,
        report.cut_ms,
        report.drift_ppm,
        f64::from(report.latency.p50) / 1e3,
        f64::from(report.latency.p99) / 1e3
    );
    assert_eq!(watch.seen(), seconds as u64 * 48_000);
    // A machine that builds beside it loses a moment now and then; what is wrong with us comes again and again. Who asks
    // for ten minutes has a machine that is not busy with something else.
    watch.is_no_worse_than(&beside, if long { 0 } else { 10 }).expect("no click of our own");
}
