//! What a client would see: pictures of an output, read by the test card's marks; and what programs on the desktop are
//! told of its monitors.

use lumen_media::slot::Wait;
use lumen_media::{Frame, FrameSource, Mode, OutputSource, PixelFormat, clock};
use lumen_testcard::bars::{self, Plane};
use lumen_testcard::code::{Code, Layout, decode_luma};
use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wayland_client::protocol::{wl_output, wl_registry};
use wayland_client::{Connection, Dispatch, QueueHandle, WEnum};

/// Largest difference of a bar's colour from what was drawn, in steps of 255: nothing is lost on the way.
const SAME_COLOUR: f32 = 1.0;

/// The test card's program, beside this one.
pub fn testcard() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this program");
    let path = own.parent().and_then(Path::parent).expect("a target folder").join("testcard");
    assert!(path.exists(), "{} is missing: run cargo build -p lumen-testcard (./check does)", path.display());
    path
}

/// Opens the pictures of an output in the session whose runtime directory is `runtime_dir`.
pub fn open(source: OutputSource, mode: Mode, runtime_dir: &Path) -> Box<dyn FrameSource> {
    let config = lumen_capture::CaptureConfig {
        runtime_dir: Some(runtime_dir.to_owned()),
        ..lumen_capture::CaptureConfig::default()
    };
    let mut frames = lumen_capture::open(source, mode, &config).expect("the output's pictures");
    frames.set_active(true);
    frames
}

/// What was seen in a series of pictures.
#[derive(Debug, Default)]
pub struct Seen {
    /// Test cards by their frame counter, with the milliseconds from drawing to arrival here.
    pub cards: BTreeMap<u32, f64>,
    /// The source's counts of the first and the last card: what nobody took, since this machine was busy, counts too.
    sequences: Option<(u64, u64)>,
    /// Sizes of the pictures.
    pub sizes: Vec<(u32, u32)>,
    /// Largest error of the bars' colours, in each eighth card.
    pub worst_colour: f32,
    /// Seconds from the first card to the last.
    pub seconds: f64,
}

impl Seen {
    /// Cards that were drawn between the first and the last that arrived.
    pub fn drawn(&self) -> usize {
        match (self.cards.keys().next(), self.cards.keys().next_back()) {
            (Some(first), Some(last)) => (last - first + 1) as usize,
            _ => 0,
        }
    }

    /// Pictures that the compositor delivered meanwhile, taken or not.
    pub fn delivered(&self) -> u64 {
        self.sequences.map_or(0, |(first, last)| last - first + 1)
    }

    /// Share of the drawn cards that were delivered. As the card draws one for each of the compositor's own pictures,
    /// that is the share of those.
    pub fn share(&self) -> f64 {
        (self.delivered() as f64 / self.drawn().max(1) as f64).min(1.0)
    }

    /// Milliseconds from drawing to arrival: median and the slowest of twenty.
    pub fn latency(&self) -> (f64, f64) {
        let mut all: Vec<_> = self.cards.values().copied().collect();
        all.sort_by(f64::total_cmp);
        let at = |share: f64| all.get(((all.len() as f64 - 1.0) * share) as usize).copied().unwrap_or(0.0);
        (at(0.5), at(0.95))
    }

    /// One line of figures for the log.
    pub fn print(&self, what: &str) {
        let (median, slow) = self.latency();
        println!(
            "{what}: {} of {} drawn cards delivered ({:.1} %), {} looked at, {:.1} fps, \
             {median:.1} ms from drawing to here (95 %: {slow:.1} ms)",
            self.delivered(),
            self.drawn(),
            self.share() * 100.0,
            self.cards.len(),
            self.drawn() as f64 / self.seconds.max(1e-9),
        );
    }

    /// Whether the colours were right.
    pub fn colours_are_right(&self) -> bool {
        self.worst_colour <= SAME_COLOUR
    }

    fn take(&mut self, frame: &Frame) {
        let size = (frame.width, frame.height);
        if self.sizes.last() != Some(&size) {
            self.sizes.push(size);
        }
        let Some(code) = code_of(frame) else { return };
        let late = clock::now().as_nanos().saturating_sub(code.time_ns);
        self.cards.insert(code.frame, late as f64 / 1e6);
        let (first, _) = *self.sequences.get_or_insert((frame.sequence, frame.sequence));
        self.sequences = Some((first, frame.sequence));
        if self.cards.len() % 8 != 1 {
            return;
        }
        self.worst_colour = self.worst_colour.max(colour_error(frame));
    }
}

/// Waits until the pictures say that they have ended.
pub fn wait_for_the_end(frames: &mut dyn FrameSource, limit: Duration) {
    let deadline = clock::now() + lumen_lab::patient(limit);
    loop {
        match frames.wait_latest(Some(deadline)) {
            Wait::Closed => return assert!(frames.is_closed()),
            Wait::Deadline => panic!("the pictures do not end"),
            Wait::Value(_) | Wait::Nudged => {}
        }
    }
}

/// Looks at pictures until `cards` different test cards were seen, at most for `limit` times the lab's patience.
pub fn look(frames: &mut dyn FrameSource, cards: usize, limit: Duration) -> Seen {
    let mut seen = Seen::default();
    let deadline = clock::now() + lumen_lab::patient(limit);
    let mut first = None;
    while seen.cards.len() < cards {
        match frames.wait_latest(Some(deadline)) {
            Wait::Value(frame) => seen.take(&frame),
            Wait::Nudged => {}
            Wait::Deadline | Wait::Closed => break,
        }
        if !seen.cards.is_empty() {
            let now = clock::now();
            seen.seconds = now.since(*first.get_or_insert(now)).as_secs_f64();
        }
    }
    seen
}

fn code_of(frame: &Frame) -> Option<Code> {
    // The block alone: whoever looks for longer than a picture lasts misses the next.
    let block = Layout::for_size(frame.width, frame.height)?.panel();
    let width = frame.width as usize;
    let mut luma = vec![0; width * block.height as usize];
    for (row, line) in luma.chunks_exact_mut(width).enumerate() {
        let pixels = frame.pixels.bytes().get(row * frame.stride..)?.as_chunks::<{ PixelFormat::BYTES }>().0;
        for (luma, pixel) in line[..block.width as usize].iter_mut().zip(pixels) {
            // Black and white alone matter, and green is the second byte in either order.
            *luma = pixel[1];
        }
    }
    decode_luma(&luma, width, frame.width, frame.height)
}

fn colour_error(frame: &Frame) -> f32 {
    let offsets = match frame.format {
        PixelFormat::Bgrx => [2, 1, 0],
        PixelFormat::Rgbx => [0, 1, 2],
    };
    let bytes = frame.pixels.bytes();
    let channels =
        offsets.map(|at| Plane { data: &bytes[at..], stride: frame.stride, step: PixelFormat::BYTES });
    let bars = bars::check_rgb(frame.width, frame.height, channels).expect("room for bars");
    bars::worst(&bars)
}

/// A monitor as programs are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub name: String,
    pub width: i32,
    pub height: i32,
    /// Millihertz.
    pub refresh: i32,
}

/// What the compositor at `socket` tells programs of its monitors.
pub fn wl_outputs(socket: &Path) -> Vec<Told> {
    let stream = UnixStream::connect(socket).expect("the compositor listens");
    let connection = Connection::from_socket(stream).expect("a Wayland connection");
    let mut queue = connection.new_event_queue();
    connection.display().get_registry(&queue.handle(), ());
    let mut listener = Listener { outputs: Vec::new() };
    for _ in 0..2 {
        queue.roundtrip(&mut listener).expect("an answer");
    }
    listener.outputs
}

struct Listener {
    outputs: Vec<Told>,
}

impl Dispatch<wl_registry::WlRegistry, ()> for Listener {
    fn event(
        state: &mut Self,
        registry: &wl_registry::WlRegistry,
        event: wl_registry::Event,
        (): &(),
        _: &Connection,
        handle: &QueueHandle<Self>,
    ) {
        if let wl_registry::Event::Global { name, interface, .. } = event
            && interface == "wl_output"
        {
            registry.bind::<wl_output::WlOutput, _, _>(name, 4, handle, state.outputs.len());
            state.outputs.push(Told { name: String::new(), width: 0, height: 0, refresh: 0 });
        }
    }
}

impl Dispatch<wl_output::WlOutput, usize> for Listener {
    fn event(
        state: &mut Self,
        _: &wl_output::WlOutput,
        event: wl_output::Event,
        index: &usize,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let told = &mut state.outputs[*index];
        match event {
            wl_output::Event::Name { name } => told.name = name,
            wl_output::Event::Mode { flags: WEnum::Value(flags), width, height, refresh }
                if flags.contains(wl_output::Mode::Current) =>
            {
                (told.width, told.height, told.refresh) = (width, height, refresh);
            }
            _ => {}
        }
    }
}
