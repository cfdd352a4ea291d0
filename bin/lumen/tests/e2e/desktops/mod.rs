//! Real desktops: the client's mode in the compositor that the user runs, seen by the client, and nothing left behind.
//!
//! Each desktop is a private session of the lab. Where its programs are not installed the test says "left out". Tests
//! that need a render node, a card or dmabufs are called `vm_…` and run in the lab's virtual machine, at two to five
//! pictures a second: there they judge function, not speed.

mod failures;
mod gamescope;
mod gnome;
mod hyprland;
mod input;
mod kwin;
mod mutter;
mod portal;
mod sway;

use crate::lab::{Lab, PATIENCE, now, testcard, wait_for};
use crate::picture::assert_colours;
use lumen_lab::{Desktop, Process, Session, patient};
use lumen_testcard::code::{Code, decode_luma};
use lumen_testkit::video::{Frame, FrameType, Rule};
use lumen_testkit::{Client, Decoder, Ending, Picture, Stream, StreamOptions, StreamRequest};
use std::collections::BTreeMap;
use std::time::Duration;

/// Configuration of all hosts here: an output goes as soon as its session ends.
pub const NO_LINGER: &str = "[display]\nlinger_seconds = 0\n";
/// The same, and an existing monitor through the portal.
pub const BY_PORTAL: &str = "[display]\nlinger_seconds = 0\nsource = \"portal\"\n";

/// What the client shows when the host lost the picture: the protocol has no number of its own for it.
pub const HOST_FAILURE: u32 = 0x800e_9400;

/// For the host to recover or to give up: it takes 4.5 s (`docs/design/outputs.md`), and a busy machine some beside.
pub const VERDICT: Duration = Duration::from_secs(8);

/// Whether a portal backend is installed; distributions disagree on the folder.
pub fn portal_installed(program: &str) -> bool {
    ["/usr/libexec", "/usr/lib/x86_64-linux-gnu/libexec", "/usr/lib/aarch64-linux-gnu/libexec"]
        .iter()
        .any(|folder| std::path::Path::new(folder).join(program).is_file())
}

/// What a test expects of a stream.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// App to launch.
    pub app: &'a str,
    /// Display backend, as the status names it.
    pub backend: &'a str,
    /// Start of the capture path's name in the status.
    pub capture: &'a str,
    /// What the status must say of the format: kind of memory, size.
    pub format: &'a str,
    /// Distinct time codes to read.
    pub codes: usize,
    /// How long to record after they were read, for the figures.
    pub seconds: u64,
    /// The mode that the compositor must show while the stream lasts; `None` where it makes no output.
    pub monitor: Option<Monitor>,
}

/// A monitor as Wayland clients see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    pub width: u32,
    pub height: u32,
    /// Hertz with three decimals, as `wl_output` counts.
    pub refresh: String,
    /// Its refresh is what a formula for timings makes of the asked one.
    by_formula: bool,
}

impl Monitor {
    pub fn of(request: &StreamRequest) -> Self {
        let hundredths = if request.refresh_x100 == 0 { request.fps * 100 } else { request.refresh_x100 };
        let refresh = format!("{}.{:02}0", hundredths / 100, hundredths % 100);
        Self { width: request.width, height: request.height, refresh, by_formula: false }
    }

    /// As [`Self::of`], on a desktop that makes its modes by a formula for timings.
    pub fn by_formula(request: &StreamRequest) -> Self {
        Self { by_formula: true, ..Self::of(request) }
    }

    /// Whether it is this mode; 59.94 and 60 Hz are two.
    fn is(&self, other: &Self) -> bool {
        let hertz = |monitor: &Self| monitor.refresh.parse::<f64>().unwrap_or(f64::NAN);
        // Formulas count the pixel clock in quarters of a megahertz, which is much for a small picture.
        let pixels = f64::from(self.width * self.height);
        let step = if self.by_formula { 250_000.0 / (pixels * hertz(self)) } else { 0.0005 };
        (self.width, self.height) == (other.width, other.height)
            && (hertz(self) / hertz(other) - 1.0).abs() < step
    }
}

/// What came out of a stream.
#[derive(Debug)]
pub struct Figures {
    /// Pictures a second with a new time code.
    pub fps: f64,
    /// Share of the pictures that the app drew and the compositor took, which the client saw.
    pub share: f64,
    /// From the app's drawing to the complete frame at the client, in milliseconds: median and 95th percentile.
    pub latency_ms: (f64, f64),
    /// `/launch` or `/resume` to the first complete frame, in milliseconds.
    pub first_frame_ms: f64,
    /// Distinct codes.
    pub codes: usize,
}

/// Monitors of a compositor by name, as `wayland-info` lists them.
pub fn monitors(desktop: &impl Desktop) -> BTreeMap<String, (Monitor, String)> {
    let output =
        desktop.command("wayland-info").args(["-i", "wl_output"]).output().expect("wayland-info runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "wayland-info: {}", String::from_utf8_lossy(&output.stderr));
    parse_monitors(&text)
}

fn parse_monitors(text: &str) -> BTreeMap<String, (Monitor, String)> {
    let mut found = BTreeMap::new();
    let (mut name, mut place, mut current) = (String::new(), String::new(), None);
    let mut width_height_refresh = None;
    let field = |line: &str, key: &str| -> Option<String> {
        let rest = line.split(&format!("{key}: ")).nth(1)?;
        Some(rest.trim_start_matches('\'').split([',', ' ', '\'']).next()?.to_owned())
    };
    for line in text.lines().map(str::trim).chain(["interface: 'end'"]) {
        if line.starts_with("interface:") {
            if let Some(monitor) = current.take() {
                found.insert(std::mem::take(&mut name), (monitor, std::mem::take(&mut place)));
            }
        } else if line.starts_with("name:") && !line.contains("interface") {
            name = field(line, "name").unwrap_or_default();
        } else if line.starts_with("x:") {
            place = line.to_owned();
        } else if line.starts_with("width:") && line.contains("refresh:") {
            let number = |key| field(line, key).and_then(|text| text.parse().ok());
            if let (Some(width), Some(height), Some(refresh)) =
                (number("width"), number("height"), field(line, "refresh"))
            {
                width_height_refresh = Some(Monitor { width, height, refresh, by_formula: false });
            }
        } else if line.starts_with("flags:") && line.contains("current") {
            current = width_height_refresh.take();
        }
    }
    found
}

/// What must be the same before and after.
#[derive(Debug, PartialEq)]
pub struct Trace {
    monitors: BTreeMap<String, (Monitor, String)>,
    nodes: usize,
}

pub fn trace(desktop: &impl Desktop) -> Trace {
    let nodes = desktop.session().video_nodes().expect("PipeWire answers").len();
    Trace { monitors: monitors(desktop), nodes }
}

/// Waits until the desktop is as it was.
pub fn assert_restored(desktop: &impl Desktop, lab: &Lab, before: &Trace) {
    let deadline = now() + patient(PATIENCE);
    loop {
        let after = trace(desktop);
        if after == *before && lab.app_processes().is_empty() {
            return;
        }
        assert!(
            now() < deadline,
            "left behind: {after:?} instead of {before:?}, processes {:?}",
            lab.app_commands()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One whole session: launch, watch, leave, cancel; checks the picture, the monitor, and that nothing is left.
pub fn whole_session(
    desktop: &impl Desktop,
    lab: &Lab,
    client: &Client,
    request: &StreamRequest,
    expected: &Expected<'_>,
) -> Figures {
    let before = trace(desktop);
    let stream = lab.launch(client, expected.app, request);
    let figures = watch(lab, &stream, request, expected.codes, expected.seconds);
    assert_path(lab, expected);
    if let Some(monitor) = &expected.monitor {
        let shown = monitors(desktop);
        assert!(shown.values().any(|(shown, _)| monitor.is(shown)), "{monitor:?} is not among {shown:?}");
    }
    let mut violations = stream.violations();
    // The emulated machine takes seconds for a picture, which is what this rule finds implausible.
    violations.retain(|violation| !(lumen_lab::in_vm() && violation.rule == Rule::Latency));
    assert_eq!(violations, [], "the host broke the protocol");
    stream.disconnect(patient(PATIENCE));
    client.cancel().expect("cancelled");
    assert_restored(desktop, lab, &before);
    print_figures(expected, request, &figures);
    if expected.seconds > 0 {
        assert_share(&figures);
    }
    figures
}

/// A client sees nine of ten pictures that the compositor shows, at the least, on a machine that has the time for it.
fn assert_share(figures: &Figures) {
    if let Some(load) = lumen_lab::overload() {
        return lumen_lab::left_out("the share of pictures that arrived", &format!("the load is {load}"));
    }
    assert!(figures.share >= 0.9, "{figures:?}");
}

pub fn print_figures(expected: &Expected<'_>, request: &StreamRequest, figures: &Figures) {
    println!(
        "{} {} {}x{}@{}: {:.1} fps, {:.0} % of what was drawn, latency p50 {:.1} p95 {:.1} ms, first frame {:.0} ms, {} codes",
        expected.backend,
        expected.capture,
        request.width,
        request.height,
        request.fps,
        figures.fps,
        figures.share * 100.0,
        figures.latency_ms.0,
        figures.latency_ms.1,
        figures.first_frame_ms,
        figures.codes
    );
}

pub fn assert_path(lab: &Lab, expected: &Expected<'_>) {
    let status = lab.status();
    let session = &status["sessions"][0];
    assert_eq!(session["display"]["effective"], expected.backend, "{session}");
    let capture = session["capture"]["path"].as_str().unwrap_or_default();
    assert!(capture.starts_with(expected.capture), "{session}");
    let format = session["capture"]["format"].as_str().unwrap_or_default();
    assert!(format.contains(expected.format), "{session}");
}

/// Records until so many distinct codes were seen and `seconds` have passed; checks size and colours of what came.
pub fn watch(lab: &Lab, stream: &Stream, request: &StreamRequest, codes: usize, seconds: u64) -> Figures {
    let seen = record(lab, stream, request, (request.width, request.height), codes, seconds);
    figures(stream, &seen, false)
}

/// Luma of a picture, brought back to the size in which the card was drawn.
fn luma_as_drawn(picture: &Picture, drawn: (u32, u32)) -> Vec<u8> {
    let luma = picture.luma8();
    if drawn == (picture.width, picture.height) {
        return luma;
    }
    let (width, height) = (picture.width as usize, picture.height as usize);
    let pixel = |x: u32, y: u32| {
        let column = (x as usize * 2 + 1) * width / (drawn.0 as usize * 2);
        let row = (y as usize * 2 + 1) * height / (drawn.1 as usize * 2);
        luma[row.min(height - 1) * width + column.min(width - 1)]
    };
    (0..drawn.1).flat_map(|y| (0..drawn.0).map(move |x| (x, y))).map(|(x, y)| pixel(x, y)).collect()
}

/// As [`watch`], of a card that was drawn in the size `drawn`, and that may be another one than what stands there shows.
pub fn watch_again(
    lab: &Lab,
    stream: &Stream,
    request: &StreamRequest,
    drawn: (u32, u32),
    codes: usize,
    seconds: u64,
) -> Figures {
    let seen = record(lab, stream, request, drawn, codes + 1, seconds);
    figures(stream, &seen, true)
}

/// Frames and their codes, until there are enough.
fn record(
    lab: &Lab,
    stream: &Stream,
    request: &StreamRequest,
    drawn: (u32, u32),
    codes: usize,
    seconds: u64,
) -> Vec<(Frame, Option<Code>)> {
    let mut decoder = Decoder::new(request.codec).expect("decoder");
    let mut seen: Vec<(Frame, Option<Code>)> = Vec::new();
    let mut last: Option<Picture> = None;
    let mut distinct = 0;
    let next =
        || stream.next_frame(patient(PATIENCE)).unwrap_or_else(|error| panic!("{error}\n{}", lab.log()));
    let mut frame = next();
    if frame.kind != FrameType::Idr {
        // In the middle of a stream: what is queued belongs to pictures that this decoder never saw.
        stream.request_idr().expect("the stream runs");
        while frame.kind != FrameType::Idr {
            frame = next();
        }
    }
    let until = now() + Duration::from_secs(seconds);
    let deadline = now() + patient(PATIENCE) * 2;
    loop {
        let mut code = None;
        for picture in decoder.decode(&frame.data).expect("decodes") {
            code = decode_luma(&luma_as_drawn(&picture, drawn), drawn.0 as usize, drawn.0, drawn.1);
            last = Some(picture);
        }
        if code.is_some()
            && seen.iter().rev().find_map(|(_, code)| *code).is_none_or(|last| Some(last) != code)
        {
            distinct += 1;
        }
        seen.push((frame, code));
        if distinct >= codes && now() >= until {
            break;
        }
        assert!(
            now() < deadline,
            "only {distinct} of {codes} codes in {} pictures\n{}",
            seen.len(),
            lab.status()["sessions"][0]
        );
        frame = next();
    }
    let picture = last.expect("decoded");
    assert_eq!((picture.width, picture.height), (request.width, request.height));
    assert_colours(&picture);
    seen
}

fn figures(stream: &Stream, seen: &[(Frame, Option<Code>)], again: bool) -> Figures {
    let mut fresh: Vec<(u64, Code)> = Vec::new();
    for (frame, code) in seen {
        if let Some(code) = code
            && fresh.last().is_none_or(|(_, last)| last.frame != code.frame)
        {
            fresh.push((frame.complete.nanos(), *code));
        }
    }
    // A card that was started anew counts from the start again.
    let begun_again =
        fresh.windows(2).position(|pair| pair[1].1.frame < pair[0].1.frame && pair[1].1.frame < 20);
    if let Some(position) = begun_again.filter(|_| again) {
        fresh.drain(..=position);
    }
    let increasing = fresh.windows(2).all(|pair| pair[0].1.frame < pair[1].1.frame);
    assert!(
        increasing,
        "time codes run backwards: {:?}",
        fresh.iter().map(|(_, code)| code.frame).collect::<Vec<_>>()
    );
    // The first pictures wait for the app's start and the window's place on the output.
    let settled = &fresh[fresh.len() / 4..];
    let (Some(start), Some(end)) = (settled.first(), settled.last()) else { panic!("no codes") };
    let mut latency: Vec<f64> =
        settled.iter().map(|(at, code)| at.saturating_sub(code.time_ns) as f64 / 1e6).collect();
    latency.sort_by(f64::total_cmp);
    let percentile = |part: f64| latency[((latency.len() - 1) as f64 * part) as usize];
    let steps = (settled.len() - 1) as f64;
    let timings = stream.statistics().timings;
    let first = timings.first_frame.expect("a frame came").since(timings.launch_sent);
    Figures {
        fps: steps / ((end.0 - start.0).max(1) as f64 / 1e9),
        share: steps / f64::from((end.1.frame - start.1.frame).max(1)),
        latency_ms: (percentile(0.5), percentile(0.95)),
        first_frame_ms: first.as_secs_f64() * 1e3,
        codes: fresh.len(),
    }
}

/// The test card, started by the user in the desktop, not by the host.
pub fn card_on(desktop: &impl Desktop) -> Process {
    let mut command = desktop.session().command(testcard());
    command.envs(desktop.variables()).args(["--style", "box", "--clock", "callback"]);
    desktop.session().spawn("testcard", command).expect("the card starts")
}

/// A client that looks at the Desktop, with a card on it.
fn looks_at(desktop: &impl Desktop, request: &StreamRequest, codes: usize) -> (Lab, Client, Stream, Process) {
    let lab = Lab::start_in(desktop.env(), NO_LINGER);
    let client = lab.paired(0);
    let stream = lab.launch(&client, "Desktop", request);
    let card = card_on(desktop);
    watch(&lab, &stream, request, codes, 0);
    (lab, client, stream, card)
}

/// The compositor is killed while a client looks at its Desktop and stays dead: the client is told, and when it runs
/// again the host streams again.
pub fn dies_for_good<D: Desktop>(
    session: &Session,
    start: impl Fn(&Session) -> D,
    request: &StreamRequest,
    expected: &Expected<'_>,
) {
    let first = start(session);
    let (lab, client, stream, card) = looks_at(&first, request, expected.codes);
    let died = now();
    first.kill();
    let ending = stream.wait_end(patient(VERDICT)).expect("the client is told");
    println!("{} killed: the client got {ending:?} after {:?}", expected.backend, now() - died);
    assert_eq!(ending, Ending::HostError(HOST_FAILURE));
    assert!(lab.log().contains("could not be made again in time"), "{}", lab.log());
    drop((card, first));
    let _ = client.cancel();
    let again = start(session);
    whole_session(&again, &lab, &client, request, expected);
}

/// PipeWire is restarted while a client looks at the Desktop: what happens, it is never left with a frozen picture, and the
/// host streams again.
pub fn pipewire_restarts<D: Desktop>(
    session: &Session,
    start: impl Fn(&Session) -> D,
    request: &StreamRequest,
    expected: &Expected<'_>,
) {
    let desktop = start(session);
    let (lab, client, stream, card) = looks_at(&desktop, request, expected.codes);
    let broken = now();
    session.restart_pipewire().expect("restarts");
    let mut ended = None;
    wait_for("the verdict", VERDICT, || {
        ended = stream.ending();
        (ended.is_some() || lab.log().contains("the output is back")).then_some(())
    });
    let waited = now() - broken;
    println!("{}, PipeWire restarted: the client got {ended:?} within {waited:?}", expected.backend);
    drop(card);
    match ended {
        None => {
            let _card = card_on(&desktop);
            watch_again(&lab, &stream, request, (request.width, request.height), expected.codes, 0);
            stream.disconnect(patient(PATIENCE));
        }
        Some(ending) => assert_eq!(ending, Ending::HostError(HOST_FAILURE)),
    }
    let _ = client.cancel();
    // Mutter 50.5 crashes with PipeWire, whoever watches; somebody logs in again then.
    let desktop = match desktop.process().ended() {
        None => desktop,
        Some(status) => {
            println!("{} ended with PipeWire: {status}", expected.backend);
            drop(desktop);
            start(session)
        }
    };
    whole_session(&desktop, &lab, &client, request, expected);
}

/// `lumen m0` writes a file of an output that it makes in the desktop, and leaves nothing there.
pub fn records(desktop: &impl Desktop, source: &str, frames: u32) {
    let lab = Lab::start_in(desktop.env(), NO_LINGER);
    let before = trace(desktop);
    let file = lab.path("desktop.mkv");
    let (out, card) = (file.to_string_lossy().into_owned(), testcard().to_string_lossy().into_owned());
    let seconds = if lumen_lab::in_vm() { "6" } else { "1.5" };
    let recording = ["m0", "--source", source, "--mode", "640x360@60", "--seconds", seconds, "--out", &out];
    let recorded = lab.lumen(&[&recording[..], &["--", &card, "--style", "box"]].concat());
    assert!(recorded.status.success(), "{}", String::from_utf8_lossy(&recorded.stderr));
    let (width, count) = crate::tools::width_and_frames(&file);
    println!("m0 --source {source}: {count} pictures");
    assert_eq!(width, "640");
    assert!(count >= frames, "{count} pictures");
    assert_restored(desktop, &lab, &before);
}

/// Leaves and comes back: the time from `/resume` to the first frame.
pub fn resumes(lab: &Lab, client: &Client, request: &StreamRequest, what: &str) -> Stream {
    wait_for("the session to be paused", PATIENCE, || {
        (lab.session_state().as_deref() == Some("paused")).then_some(())
    });
    let stream = client.resume(request, &StreamOptions::default()).expect("resumed");
    stream.next_frame(patient(PATIENCE)).expect("a frame");
    let timings = stream.statistics().timings;
    let first = timings.first_frame.expect("a frame came").since(timings.launch_sent);
    println!("{what}: /resume at {}x{}: first frame after {first:?}", request.width, request.height);
    stream
}

/// Waits until a capture over PipeWire has let go of its producer, some seconds after the last client left.
pub fn falls_asleep(lab: &Lab) {
    wait_for("the capture to fall asleep", PATIENCE, || {
        (lab.status()["sessions"][0]["capture"]["asleep"] == true).then_some(())
    });
}

/// Leaves and comes back at the same size, at once and after a while, then at another; prints the times from `/resume`
/// to the first frame.
pub fn reconnects(
    desktop: &impl Desktop,
    lab: &Lab,
    client: &Client,
    request: &StreamRequest,
    other: &StreamRequest,
    expected: &Expected<'_>,
) {
    let before = trace(desktop);
    let stream = lab.launch(client, expected.app, request);
    watch(lab, &stream, request, expected.codes, 0);
    stream.disconnect(patient(PATIENCE));
    for round in ["same", "same after a while", "other"] {
        if round == "same after a while" && expected.capture == "pipewire" {
            falls_asleep(lab);
        }
        let request = if round == "other" { other } else { request };
        let what = format!("{} {}, {round} mode", expected.backend, expected.capture);
        let stream = resumes(lab, client, request, &what);
        // Mutter 50 leaves a full-screen window displaced if its app draws the new size late, as on a busy machine.
        if round != "other" || expected.backend != "mutter" {
            watch(lab, &stream, request, expected.codes, 0);
        }
        if expected.monitor.is_some() {
            let monitor = Monitor::of(request);
            wait_for("the one output of the client's mode", PATIENCE, || {
                let shown = monitors(desktop);
                let ours = shown.values().filter(|(shown, _)| monitor.is(shown)).count();
                (ours == 1 && shown.len() == before.monitors.len() + 1).then_some(())
            });
        }
        stream.disconnect(patient(PATIENCE));
    }
    client.cancel().expect("cancelled");
    assert_restored(desktop, lab, &before);
}

#[test]
fn monitors_are_read_from_what_wayland_info_prints() {
    let text = "interface: 'wl_output', version: 4, name: 7\n\tname: HEADLESS-1\n\tdescription: Headless output 1\n\
        \tx: 0, y: 0, scale: 1,\n\tphysical_width: 0 mm, physical_height: 0 mm,\n\tmode:\n\
        \t\twidth: 1280 px, height: 720 px, refresh: 59.940 Hz,\n\t\tflags: current\n";
    let found = parse_monitors(text);
    let (monitor, place) = &found["HEADLESS-1"];
    assert_eq!(*monitor, Monitor { width: 1280, height: 720, refresh: "59.940".into(), by_formula: false });
    assert!(place.starts_with("x: 0, y: 0"));
}
