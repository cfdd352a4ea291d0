//! What is offered to a producer, what was agreed on, and what buffers are asked for: from values to parameters and
//! back, without a daemon.

use super::format::VideoFormat;
use super::pod::{Object, Property, Scalar, Value, flag};
use libspa::sys;
use lumen_media::{Mode, RateRequest};

/// DRM's modifier for rows one after another.
pub(crate) const LINEAR: u64 = 0;
/// DRM's modifier for "whatever the driver agreed on with itself".
pub(crate) const INVALID: u64 = 0x00ff_ffff_ffff_ffff;

/// Largest side of a picture that is taken, in pixels.
const SIDE_MAX: u32 = 16_384;
/// Buffers asked for: preferred and most. More than two, so that the producer draws while one is being converted.
const BUFFERS: (i32, i32) = (8, 16);
/// The fewest, best first. Of two ranges the producer's own number comes out, and the portal of wlroots stays at two, of
/// which it loses one now and then and stops; others have no more than two.
const FEWEST_BUFFERS: [i32; 2] = [4, 2];
/// Bytes of a cursor's metadata before its pixels: `spa_meta_cursor` and `spa_meta_bitmap`.
pub(crate) const CURSOR_HEAD: usize = 28 + 20;
/// Largest side of a cursor's picture.
const CURSOR_SIDE: (i32, i32, i32) = (64, 1, 1024);

/// Formats and modifiers of graphics memory that can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FormatSet(pub(crate) Vec<(VideoFormat, Vec<u64>)>);

impl FormatSet {
    /// What the processor can read by mapping: linear rows. What has no modifier may be tiled in a way that only the driver
    /// knows.
    pub(crate) fn mappable() -> Self {
        Self(VideoFormat::all().map(|format| (format, vec![LINEAR])).collect())
    }

    /// Modifiers of one format in the order in which they are offered: tiled ones as they came, since producers
    /// take the first they know and tiled memory is what graphics cards are fast with; then linear, then none.
    fn ordered(modifiers: &[u64]) -> Vec<u64> {
        let mut ordered = Vec::with_capacity(modifiers.len());
        for modifier in modifiers {
            if !ordered.contains(modifier) {
                ordered.push(*modifier);
            }
        }
        ordered.sort_by_key(|modifier| match *modifier {
            LINEAR => 1,
            INVALID => 2,
            _ => 0,
        });
        ordered
    }
}

/// What we ask a producer for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Graphics memory, empty for shared memory only.
    pub(crate) graphics: FormatSet,
    /// Preferred size in pixels.
    pub(crate) size: (u32, u32),
    /// What to ask about the rate.
    pub(crate) rate: RateRequest,
    /// Exactly one format and one size, to find out what a producer does not like.
    pub(crate) fixed: bool,
}

impl Offer {
    /// The offered formats, preferred ones first.
    pub(crate) fn objects(&self) -> Vec<Object> {
        if self.fixed {
            let format = Value::One(Scalar::Id(VideoFormat::BGRX.spa()));
            return vec![self.finish(start(format))];
        }
        let graphics = self.graphics.0.iter().filter(|(_, modifiers)| !modifiers.is_empty());
        let mut offered: Vec<_> = graphics
            .map(|(format, modifiers)| {
                let modifiers = FormatSet::ordered(modifiers);
                let choices = modifiers.iter().map(|modifier| Scalar::Long(modifier.cast_signed())).collect();
                let object = start(Value::One(Scalar::Id(format.spa()))).with_flags(
                    sys::SPA_FORMAT_VIDEO_modifier,
                    flag::MANDATORY | flag::DONT_FIXATE,
                    Value::Enum(choices),
                );
                self.finish(object)
            })
            .collect();
        let formats = VideoFormat::all().map(|format| Scalar::Id(format.spa())).collect();
        offered.push(self.finish(start(Value::Enum(formats))));
        offered
    }

    fn finish(&self, object: Object) -> Object {
        let (width, height) = self.size;
        let size = Scalar::Rectangle(width, height);
        let size = if self.fixed {
            Value::One(size)
        } else {
            Value::Range(size, Scalar::Rectangle(1, 1), Scalar::Rectangle(SIDE_MAX, SIDE_MAX))
        };
        // Screen casts have no rate of their own: they draw when something changes.
        let object = object
            .with(sys::SPA_FORMAT_VIDEO_size, size)
            .with(sys::SPA_FORMAT_VIDEO_framerate, Value::One(Scalar::Fraction(0, 1)));
        match self.rate {
            RateRequest::DontAsk => object,
            RateRequest::UpTo(mode) => {
                let rate = rate(mode);
                let most = if self.fixed {
                    Value::One(rate)
                } else {
                    Value::Range(rate, Scalar::Fraction(0, 1), rate)
                };
                object.with(sys::SPA_FORMAT_VIDEO_maxFramerate, most)
            }
        }
    }

    /// Whether a producer's format and one of ours have something in common.
    pub(crate) fn accepts(&self, produced: &Object) -> bool {
        self.objects().iter().any(|ours| compatible(ours, produced))
    }
}

fn start(format: Value) -> Object {
    Object::new(sys::SPA_TYPE_OBJECT_Format, sys::SPA_PARAM_EnumFormat)
        .with(sys::SPA_FORMAT_mediaType, Value::One(Scalar::Id(sys::SPA_MEDIA_TYPE_video)))
        .with(sys::SPA_FORMAT_mediaSubtype, Value::One(Scalar::Id(sys::SPA_MEDIA_SUBTYPE_raw)))
        .with(sys::SPA_FORMAT_VIDEO_format, format)
}

fn rate(mode: Mode) -> Scalar {
    let millihertz = mode.refresh_mhz();
    if millihertz.is_multiple_of(1000) {
        Scalar::Fraction(millihertz / 1000, 1)
    } else {
        Scalar::Fraction(millihertz, 1000)
    }
}

/// Whether two offers have something in common, by PipeWire's rule: each shared property must overlap, and a mandatory
/// one must be there on both sides.
fn compatible(ours: &Object, theirs: &Object) -> bool {
    let meets = |property: &Property, other: &Object| match other.property(property.key) {
        Some(counterpart) => overlap(&property.value, &counterpart.value),
        None => property.flags & flag::MANDATORY == 0,
    };
    ours.properties.iter().all(|property| meets(property, theirs))
        && theirs.properties.iter().all(|property| meets(property, ours))
}

fn overlap(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Range(_, least, most), Value::Range(_, other_least, other_most)) => {
            within(*least, *other_least, *other_most)
                || within(*most, *other_least, *other_most)
                || within(*other_least, *least, *most)
        }
        (Value::Range(_, least, most), listed) | (listed, Value::Range(_, least, most)) => {
            listed_values(listed).iter().any(|value| within(*value, *least, *most))
        }
        _ => listed_values(one).iter().any(|value| listed_values(other).contains(value)),
    }
}

fn listed_values(value: &Value) -> Vec<Scalar> {
    match value {
        Value::One(value) | Value::Flags(value) => vec![*value],
        Value::Enum(values) => values.clone(),
        Value::Range(..) => Vec::new(),
    }
}

fn within(value: Scalar, least: Scalar, most: Scalar) -> bool {
    use Scalar::{Fraction, Id, Int, Long, Rectangle};
    match (value, least, most) {
        (Id(value), Id(least), Id(most)) => (least..=most).contains(&value),
        (Int(value), Int(least), Int(most)) => (least..=most).contains(&value),
        (Long(value), Long(least), Long(most)) => (least..=most).contains(&value),
        (Rectangle(w, h), Rectangle(w0, h0), Rectangle(w1, h1)) => {
            (w0..=w1).contains(&w) && (h0..=h1).contains(&h)
        }
        (Fraction(n, d), Fraction(n0, d0), Fraction(n1, d1)) => {
            let (n, d, n0, d0, n1, d1) =
                (u64::from(n), u64::from(d), u64::from(n0), u64::from(d0), u64::from(n1), u64::from(d1));
            n * d0 >= n0 * d && n * d1 <= n1 * d
        }
        _ => false,
    }
}

/// A format that is not one of ours, by the name or else the number of `spa/param/video/raw.h`.
fn foreign_name(id: u32) -> String {
    let text = format!("{:?}", libspa::param::video::VideoFormat::from_raw(id));
    match text
        .strip_prefix("VideoFormat::")
        .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    {
        Some(name) => name.to_owned(),
        None => format!("format {id}"),
    }
}

/// A producer's format in words, for errors: formats by name, size, modifiers.
pub(crate) fn describe(produced: &Object) -> String {
    let words = |value: &Value| {
        let word = |scalar: &Scalar| match scalar {
            Scalar::Id(id) => {
                VideoFormat::from_spa(*id).map_or_else(|| foreign_name(*id), |format| format.name().into())
            }
            Scalar::Int(value) => value.to_string(),
            Scalar::Long(value) => format!("{value:#x}"),
            Scalar::Rectangle(width, height) => format!("{width}x{height}"),
            Scalar::Fraction(above, below) => format!("{above}/{below}"),
        };
        match value {
            Value::Range(_, least, most) => format!("{} to {}", word(least), word(most)),
            listed => listed_values(listed).iter().map(word).collect::<Vec<_>>().join(" or "),
        }
    };
    let named = [
        (sys::SPA_FORMAT_VIDEO_format, ""),
        (sys::SPA_FORMAT_VIDEO_size, ""),
        (sys::SPA_FORMAT_VIDEO_framerate, "rate "),
        (sys::SPA_FORMAT_VIDEO_maxFramerate, "rate up to "),
        (sys::SPA_FORMAT_VIDEO_modifier, "modifier "),
    ];
    let parts =
        named.iter().filter_map(|(key, name)| Some(format!("{name}{}", words(produced.value(*key)?))));
    parts.collect::<Vec<_>>().join(", ")
}

/// What producer and we agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// Order of the bytes.
    pub(crate) format: VideoFormat,
    /// Width in pixels.
    pub(crate) width: u32,
    /// Height in pixels.
    pub(crate) height: u32,
    /// Modifier of graphics memory; `None` is shared memory.
    pub(crate) modifier: Option<u64>,
}

impl Agreement {
    /// From a `Format` parameter.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let object = Object::from_bytes(bytes).ok_or("a format that is no object")?;
        let one = |key| object.value(key).and_then(Value::preferred);
        let Some(Scalar::Id(id)) = one(sys::SPA_FORMAT_VIDEO_format) else { return Err("no pixel format") };
        let format = VideoFormat::from_spa(id).ok_or("a pixel format that was not offered")?;
        let Some(Scalar::Rectangle(width, height)) = one(sys::SPA_FORMAT_VIDEO_size) else {
            return Err("no size");
        };
        if width == 0 || height == 0 || width > SIDE_MAX || height > SIDE_MAX {
            return Err("a size that was not offered");
        }
        let modifier = match one(sys::SPA_FORMAT_VIDEO_modifier) {
            Some(Scalar::Long(modifier)) => Some(modifier.cast_unsigned()),
            _ => None,
        };
        Ok(Self { format, width, height, modifier })
    }

    /// Parameters that ask for fitting buffers and their metadata.
    pub(crate) fn buffers(&self, cursor: bool) -> Vec<Object> {
        let memory = if self.modifier.is_some() {
            1 << sys::SPA_DATA_DmaBuf
        } else {
            (1 << sys::SPA_DATA_MemFd) | (1 << sys::SPA_DATA_MemPtr)
        };
        let (preferred, most) = BUFFERS;
        let buffers = |least| {
            let count = Value::Range(Scalar::Int(preferred), Scalar::Int(least), Scalar::Int(most));
            Object::new(sys::SPA_TYPE_OBJECT_ParamBuffers, sys::SPA_PARAM_Buffers)
                .with(sys::SPA_PARAM_BUFFERS_buffers, count)
                .with(sys::SPA_PARAM_BUFFERS_dataType, Value::Flags(Scalar::Int(memory)))
        };
        let meta = |kind, size| {
            Object::new(sys::SPA_TYPE_OBJECT_ParamMeta, sys::SPA_PARAM_Meta)
                .with(sys::SPA_PARAM_META_type, Value::One(Scalar::Id(kind)))
                .with(sys::SPA_PARAM_META_size, size)
        };
        let sized = |bytes: usize| Value::One(Scalar::Int(bytes as i32));
        // The first that the producer can meet counts.
        let mut asked: Vec<_> = FEWEST_BUFFERS.map(buffers).into();
        asked.extend([
            meta(sys::SPA_META_Header, sized(size_of::<sys::spa_meta_header>())),
            meta(sys::SPA_META_VideoCrop, sized(size_of::<sys::spa_meta_region>())),
            meta(sys::SPA_META_VideoTransform, sized(size_of::<sys::spa_meta_videotransform>())),
        ]);
        if cursor {
            let bytes = |side: i32| Scalar::Int(CURSOR_HEAD as i32 + side * side * 4);
            let (preferred, least, most) = CURSOR_SIDE;
            let size = Value::Range(bytes(preferred), bytes(least), bytes(most));
            asked.push(meta(sys::SPA_META_Cursor, size));
        }
        asked
    }
}

impl std::fmt::Display for Agreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}x{}", self.format.name(), self.width, self.height)?;
        match self.modifier {
            None => Ok(()),
            Some(modifier) => write!(f, " modifier {modifier:#x}"),
        }
    }
}

#[cfg(test)]
mod tests;
