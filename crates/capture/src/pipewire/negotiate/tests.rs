//! Offers against what producers really offered, and the order of what is offered.

use super::*;

/// What examples/offers recorded.
fn recorded(text: &str) -> Vec<Object> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let bytes = lines.map(|line| {
        let digits: Vec<u8> =
            line.chars().map(|digit| digit.to_digit(16).expect("hexadecimal") as u8).collect();
        digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<_>>()
    });
    bytes.map(|bytes| Object::from_bytes(&bytes).expect("a whole parameter")).collect()
}

fn mutter() -> Vec<Object> {
    recorded(include_str!("../offers/mutter-50-modes.hex"))
}

fn desktops() -> Vec<(&'static str, Vec<Object>)> {
    vec![
        ("Mutter", mutter()),
        ("Mutter without modes", recorded(include_str!("../offers/mutter-50-free.hex"))),
        ("weston", recorded(include_str!("../offers/weston-16.hex"))),
        ("KWin", recorded(include_str!("../offers/kwin-6.7-shared.hex"))),
        ("gamescope", gamescope()),
        ("sway's portal", recorded(include_str!("../offers/sway-portal-0.8.4.hex"))),
    ]
}

fn mode(width: u32, height: u32, millihertz: u32) -> Mode {
    Mode::new(width, height, millihertz).expect("valid")
}

fn offer() -> Offer {
    Offer { graphics: FormatSet::default(), size: (1264, 720), rate: RateRequest::DontAsk, fixed: false }
}

#[test]
fn every_recorded_desktop_meets_every_offer_of_ours() {
    let rates = [
        RateRequest::DontAsk,
        RateRequest::UpTo(mode(1264, 720, 60_000)),
        RateRequest::UpTo(mode(1264, 720, 119_880)),
    ];
    for (name, produced) in desktops() {
        assert!(!produced.is_empty(), "{name}");
        for rate in rates {
            for graphics in [FormatSet::default(), FormatSet::mappable()] {
                let ours = Offer { rate, graphics, ..offer() };
                assert!(produced.iter().any(|theirs| ours.accepts(theirs)), "{name}, {rate:?}");
            }
        }
    }
}

#[test]
fn the_fixed_offer_meets_its_size_only() {
    for (name, produced) in desktops() {
        let fixed = |size| Offer { fixed: true, size, ..offer() };
        let size = match name {
            "KWin" => (640, 360),
            "gamescope" => (320, 180),
            _ => (1264, 720),
        };
        assert!(produced.iter().any(|theirs| fixed(size).accepts(theirs)), "{name}");
        if name != "Mutter without modes" {
            assert!(!produced.iter().any(|theirs| fixed((1266, 720)).accepts(theirs)), "{name}");
        }
    }
    let offered = Offer { fixed: true, graphics: FormatSet::mappable(), ..offer() }.objects();
    let [only] = &offered[..] else { panic!("one format") };
    assert!(only.properties.iter().all(|property| matches!(property.value, Value::One(_))), "{only:?}");
    assert!(only.value(sys::SPA_FORMAT_VIDEO_modifier).is_none());
}

#[test]
fn tiled_modifiers_come_before_linear_and_none_at_the_end() {
    let (tiled, other) = (0x0300_0000_0060_6014, 0x0100_0000_0000_0002);
    let graphics = FormatSet(vec![(VideoFormat::BGRX, vec![INVALID, LINEAR, tiled, other, tiled])]);
    let offered = Offer { graphics, ..offer() }.objects();
    assert_eq!(offered.len(), 2, "graphics memory, then shared memory");
    let modifier = offered[0].property(sys::SPA_FORMAT_VIDEO_modifier).expect("modifiers");
    assert_eq!(modifier.flags, flag::MANDATORY | flag::DONT_FIXATE);
    let expected = [tiled, other, LINEAR, INVALID].map(|modifier: u64| Scalar::Long(modifier.cast_signed()));
    assert_eq!(modifier.value, Value::Enum(expected.to_vec()));
    assert_eq!(modifier.value.preferred(), Some(Scalar::Long(tiled.cast_signed())));
    assert!(offered[1].property(sys::SPA_FORMAT_VIDEO_modifier).is_none());
}

#[test]
fn graphics_memory_is_offered_a_format_at_a_time_before_shared_memory() {
    let offered = Offer { graphics: FormatSet::mappable(), ..offer() }.objects();
    assert_eq!(offered.len(), VideoFormat::all().count() + 1);
    let (shared, graphics) = offered.split_last().expect("not empty");
    for (object, format) in graphics.iter().zip(VideoFormat::all()) {
        assert_eq!(object.value(sys::SPA_FORMAT_VIDEO_format), Some(&Value::One(Scalar::Id(format.spa()))));
        assert!(object.value(sys::SPA_FORMAT_VIDEO_modifier).is_some());
    }
    let Some(Value::Enum(formats)) = shared.value(sys::SPA_FORMAT_VIDEO_format) else { panic!("formats") };
    assert_eq!(formats.len(), VideoFormat::all().count());
    // A set without modifiers is no graphics memory.
    let none = Offer { graphics: FormatSet(vec![(VideoFormat::BGRX, Vec::new())]), ..offer() };
    assert_eq!(none.objects(), offer().objects());
}

#[test]
fn the_rate_is_asked_as_told() {
    for object in offer().objects() {
        assert_eq!(object.value(sys::SPA_FORMAT_VIDEO_framerate), Some(&Value::One(Scalar::Fraction(0, 1))));
        assert_eq!(object.value(sys::SPA_FORMAT_VIDEO_maxFramerate), None);
    }
    for (millihertz, above, below) in [(60_000, 60, 1), (59_940, 59_940, 1000), (120_000, 120, 1)] {
        let rate = RateRequest::UpTo(mode(640, 360, millihertz));
        for object in (Offer { rate, ..offer() }).objects() {
            let asked = object.value(sys::SPA_FORMAT_VIDEO_maxFramerate).expect("a maximum");
            let most = Scalar::Fraction(above, below);
            assert_eq!(*asked, Value::Range(most, Scalar::Fraction(0, 1), most));
        }
    }
}

/// Linear graphics memory, the same without, and NV12 that nobody here reads.
fn gamescope() -> Vec<Object> {
    recorded(include_str!("../offers/gamescope-3.16.24.hex"))
}

#[test]
fn a_mandatory_modifier_needs_both_sides() {
    let accepted = |ours: &Offer| gamescope().iter().map(|theirs| ours.accepts(theirs)).collect::<Vec<_>>();
    assert_eq!(accepted(&offer()), [false, true, false, false]);
    let graphics = Offer { graphics: FormatSet::mappable(), ..offer() };
    assert_eq!(accepted(&graphics), [true, true, false, false]);
    let tiled = FormatSet(vec![(VideoFormat::BGRX, vec![0x0300_0000_0060_6014])]);
    assert_eq!(accepted(&Offer { graphics: tiled, ..offer() }), [false, true, false, false]);
}

#[test]
fn rates_and_sizes_must_overlap() {
    let theirs = &mutter()[0];
    let slow = Offer { rate: RateRequest::UpTo(mode(1264, 720, 30_000)), ..offer() };
    assert!(slow.accepts(theirs), "a range that begins below");
    let produced = |width| {
        start(Value::One(Scalar::Id(VideoFormat::BGRX.spa())))
            .with(sys::SPA_FORMAT_VIDEO_size, Value::One(Scalar::Rectangle(width, 2)))
    };
    assert!(offer().accepts(&produced(16_384)));
    assert!(!offer().accepts(&produced(16_385)));
    let fast = produced(64).with(sys::SPA_FORMAT_VIDEO_framerate, Value::One(Scalar::Fraction(25, 1)));
    assert!(!offer().accepts(&fast), "a camera's fixed rate");
}

#[test]
fn an_agreement_is_read_from_its_parameter() {
    let format = |id, value| start(id).with(sys::SPA_FORMAT_VIDEO_size, Value::One(value));
    let bgrx = || Value::One(Scalar::Id(VideoFormat::BGRX.spa()));
    let plain = format(bgrx(), Scalar::Rectangle(640, 360));
    let read = Agreement::read(&plain.to_bytes()).expect("agreed");
    assert_eq!((read.width, read.height, read.modifier), (640, 360, None));
    assert_eq!(read.to_string(), "BGRx 640x360");
    let linear = plain.clone().with_flags(
        sys::SPA_FORMAT_VIDEO_modifier,
        flag::MANDATORY | flag::DONT_FIXATE,
        Value::Enum(vec![Scalar::Long(0), Scalar::Long(7)]),
    );
    let read = Agreement::read(&linear.to_bytes()).expect("agreed");
    assert_eq!((read.modifier, read.to_string().as_str()), (Some(0), "BGRx 640x360 modifier 0x0"));
    for (wrong, cause) in [
        (format(Value::One(Scalar::Id(sys::SPA_VIDEO_FORMAT_NV12)), Scalar::Rectangle(6, 3)), "not offered"),
        (format(bgrx(), Scalar::Rectangle(0, 360)), "a size"),
        (format(bgrx(), Scalar::Rectangle(640, 20_000)), "a size"),
        (start(bgrx()), "no size"),
        (Object::new(sys::SPA_TYPE_OBJECT_Format, sys::SPA_PARAM_Format), "no pixel format"),
    ] {
        let error = Agreement::read(&wrong.to_bytes()).expect_err("nothing to agree on");
        assert!(error.contains(cause), "{error}");
    }
    assert!(Agreement::read(&plain.to_bytes()[..30]).is_err());
}

#[test]
fn buffers_are_asked_for_by_kind_of_memory_and_pointer() {
    let agreement = |modifier| Agreement { format: VideoFormat::BGRX, width: 4, height: 4, modifier };
    let kinds =
        |modifier| agreement(modifier).buffers(false)[0].value(sys::SPA_PARAM_BUFFERS_dataType).cloned();
    let shared = (1 << sys::SPA_DATA_MemFd) | (1 << sys::SPA_DATA_MemPtr);
    assert_eq!(kinds(None), Some(Value::Flags(Scalar::Int(shared))));
    assert_eq!(kinds(Some(LINEAR)), Some(Value::Flags(Scalar::Int(1 << sys::SPA_DATA_DmaBuf))));
    let fewest: Vec<_> = agreement(None).buffers(false)[..2]
        .iter()
        .filter_map(|object| object.value(sys::SPA_PARAM_BUFFERS_buffers).cloned())
        .collect();
    let range = |least| Value::Range(Scalar::Int(8), Scalar::Int(least), Scalar::Int(16));
    assert_eq!(fewest, [range(4), range(2)]);
    let pointers = |cursor| {
        let asked = agreement(None).buffers(cursor);
        let kind = Value::One(Scalar::Id(sys::SPA_META_Cursor));
        asked.into_iter().find(|object| object.value(sys::SPA_PARAM_META_type) == Some(&kind))
    };
    assert_eq!(pointers(false), None);
    let size = pointers(true).and_then(|object| object.value(sys::SPA_PARAM_META_size).cloned());
    let bytes = |side: i32| Scalar::Int(48 + side * side * 4);
    assert_eq!(size, Some(Value::Range(bytes(64), bytes(1), bytes(1024))));
}

#[test]
fn a_description_names_what_an_error_needs() {
    assert_eq!(describe(&mutter()[0]), "BGRx, 1264x720 to 1264x720, rate 0/1, rate up to 0/1 to 120/1");
    assert_eq!(describe(&gamescope()[2]), "NV12, 320x180, rate 0/1, modifier 0x0");
}
