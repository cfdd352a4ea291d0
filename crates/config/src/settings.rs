//! The settings as types. What a key means to its user stands in `default.toml`; here stand units and limits.

use crate::apps::App;
use crate::reader::Choice;
use std::path::PathBuf;

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[display]`
    pub display: Display,
    /// `[capture]`
    pub capture: Capture,
    /// `[video]`
    pub video: Video,
    /// `[audio]`
    pub audio: Audio,
    /// `[input]`
    pub input: Input,
    /// `[[apps]]`: never empty, the desktop stands first.
    pub apps: Vec<App>,
    /// `[debug]`
    pub debug: Debug,
}

/// `[server]`: name, ports, discovery, identity on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Name that clients show; the machine's host name when absent.
    pub name: Option<String>,
    /// All ports follow from one.
    pub ports: Ports,
    /// Announce the host by mDNS.
    pub mdns: bool,
    /// Overrides [`Paths::state_dir`](crate::Paths).
    pub state_dir: Option<PathBuf>,
}

/// The port map, protocol text §1.1: every port is the base (plain HTTP) port plus a fixed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    base: u16,
}

impl Ports {
    /// The protocol's own base port.
    pub const DEFAULT_BASE: u16 = 47989;
    /// Base ports whose derived ports (−5 to +21) are all valid.
    pub const VALID_BASES: std::ops::RangeInclusive<u16> = 6..=u16::MAX - 21;

    /// The map for a base port; `None` when a derived port would not be a valid port number.
    pub fn new(base: u16) -> Option<Self> {
        Self::VALID_BASES.contains(&base).then_some(Self { base })
    }

    /// Plain HTTP, TCP; the base port.
    pub fn http(self) -> u16 {
        self.base
    }

    /// HTTPS, TCP.
    pub fn https(self) -> u16 {
        self.base - 5
    }

    /// Video, UDP.
    pub fn video(self) -> u16 {
        self.base + 9
    }

    /// Control (ENet), UDP.
    pub fn control(self) -> u16 {
        self.base + 10
    }

    /// Audio, UDP.
    pub fn audio(self) -> u16 {
        self.base + 11
    }

    /// RTSP, TCP.
    pub fn rtsp(self) -> u16 {
        self.base + 21
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self { base: Self::DEFAULT_BASE }
    }
}

/// `[display]`: where outputs are made and how long they live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Display {
    /// Which compositor makes the outputs.
    pub compositor: CompositorChoice,
    /// Place of the client's output among the monitors.
    pub topology: Topology,
    /// How long an output stays after its session ended, in seconds.
    pub linger_seconds: u32,
    /// What is streamed.
    pub source: VideoSource,
}

/// Which compositor makes the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompositorChoice {
    /// The one that is found running, else the built-in one.
    Auto,
    /// Lumen's own headless compositor.
    BuiltIn,
    /// KDE Plasma.
    Kwin,
    /// GNOME.
    Mutter,
    /// sway and its kin.
    Wlroots,
    /// Hyprland.
    Hyprland,
    /// gamescope.
    Gamescope,
}

/// Place of the client's output among the monitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topology {
    /// New windows open on the client's output.
    Primary,
    /// The output is one more monitor.
    Extend,
    /// The other monitors are off while the stream lasts.
    Exclusive,
    /// No output is made: an existing monitor is shown.
    Mirror,
}

/// What is streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VideoSource {
    /// An output made for the client.
    Virtual,
    /// A monitor that exists, by the desktop portal.
    Portal,
    /// A moving pattern; needs no compositor.
    TestPattern,
}

/// `[capture]`: how pictures are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Keep frames on the GPU where the hardware allows.
    pub zero_copy: bool,
    /// Take linear dmabufs where the producer has them and read them by mapping.
    pub dmabuf: bool,
    /// Attach to a running gamescope by its PipeWire node.
    pub gamescope_node: Option<u32>,
    /// Offer one fixed format in the PipeWire negotiation, to find what a producer chokes on.
    pub fixed_pod: bool,
    /// Seconds for which a desktop without new pictures may leave a question open before it counts as hung.
    pub answer_seconds: u32,
}

impl Capture {
    /// Longest time for an answer, in seconds.
    pub const MAX_ANSWER_SECONDS: u32 = 60;
}

/// A codec's name in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// `"h264"`
    H264,
    /// `"hevc"`
    Hevc,
    /// `"av1"`
    Av1,
}

/// Which codecs are offered to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Codecs {
    /// Those that the probe at the start found sustainable.
    Auto,
    /// These, whatever the probe says. Not empty, no codec twice.
    Forced(Vec<Codec>),
}

/// Whether the video stream is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encryption {
    /// Never.
    Off,
    /// When the client asks.
    Supported,
    /// Clients that cannot are refused.
    Required,
}

/// How much work the software encoder puts into a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Preset {
    /// [`Preset::Better`] where the measured headroom allows it, else [`Preset::Fast`].
    Auto,
    /// The least work.
    Fast,
    /// More picture per bit for half as much work again.
    Better,
}

/// `[video]`: encoding and sending of the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Video {
    /// Which codecs are offered.
    pub codecs: Codecs,
    /// Repeats per second while nothing moves, 1 to [`Video::MAX_IDLE_FPS`].
    pub idle_fps: u32,
    /// Parity per data in percent, 0 to [`Video::MAX_FEC_PERCENT`].
    pub fec_percent: u32,
    /// Encryption of the video stream.
    pub encryption: Encryption,
    /// Quantiser below which the encoder does not go, 0 to [`Video::MAX_QP`] in H.264's scale.
    pub qp_floor: u8,
    /// How much work the software encoder puts into a bit.
    pub preset: Preset,
    /// Encoder threads, which are also slices; all cores when absent.
    pub threads: Option<u32>,
}

impl Video {
    /// Largest [`Video::idle_fps`].
    pub const MAX_IDLE_FPS: u32 = 60;
    /// Largest [`Video::fec_percent`]: as much parity as data.
    pub const MAX_FEC_PERCENT: u32 = 100;
    /// Largest quantiser of H.264.
    pub const MAX_QP: u8 = 51;
    /// Largest [`Video::threads`].
    pub const MAX_THREADS: u32 = 64;
}

/// `[audio]`: sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    /// Linear factor on every sample, 0 to [`Audio::MAX_GAIN`].
    pub gain: f32,
}

impl Audio {
    /// Largest [`Audio::gain`]: +24 dB.
    pub const MAX_GAIN: f32 = 16.0;
}

/// `[input]`: what of the client's input reaches the desktop, and by which keyboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Keys and text.
    pub keyboard: bool,
    /// Motion, buttons and wheel.
    pub pointer: bool,
    /// Touch and pen.
    pub touch: bool,
    /// What the client's gamepads become.
    pub gamepads: Gamepads,
    /// XKB layouts, comma-separated: letters, digits and `_,()-` only. [`Config::load`] takes it from
    /// `XKB_DEFAULT_LAYOUT` when the file names none; `None` is the desktop's own where it has one, else
    /// the American one.
    pub keyboard_layout: Option<String>,
    /// XKB variants of the layouts, written like them. That of the environment counts with its layout only.
    pub keyboard_variant: Option<String>,
}

/// What games see of the client's gamepads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gamepads {
    /// Each what comes closest to the client's own.
    Auto,
    /// None.
    Off,
    /// All are Xbox 360 ones.
    Xbox360,
    /// All are Xbox One ones.
    XboxOne,
    /// All are PlayStation 5 ones.
    DualSense,
    /// All are PlayStation 4 ones.
    DualShock4,
    /// All are Nintendo Switch Pro ones.
    SwitchPro,
}

/// `[debug]`: switches that help to find faults; outside any promise of stability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debug {
    /// Raise FFmpeg's log level.
    pub ffmpeg: bool,
}

/// Gives an enum the words by which the file and the environment know it.
macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl Choice for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $name::$variant)),+];
        }

        impl $name {
            /// The word that stands for it in the file.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(CompositorChoice {
    Auto = "auto",
    BuiltIn = "built-in",
    Kwin = "kwin",
    Mutter = "mutter",
    Wlroots = "wlroots",
    Hyprland = "hyprland",
    Gamescope = "gamescope",
});
words!(Topology { Primary = "primary", Extend = "extend", Exclusive = "exclusive", Mirror = "mirror" });
words!(VideoSource { Virtual = "virtual", Portal = "portal", TestPattern = "test-pattern" });
words!(Gamepads {
    Auto = "auto",
    Off = "off",
    Xbox360 = "xbox-360",
    XboxOne = "xbox-one",
    DualSense = "dualsense",
    DualShock4 = "dualshock-4",
    SwitchPro = "switch-pro",
});
words!(Codec { H264 = "h264", Hevc = "hevc", Av1 = "av1" });
words!(Encryption { Off = "off", Supported = "supported", Required = "required" });
words!(Preset { Auto = "auto", Fast = "fast", Better = "better" });
