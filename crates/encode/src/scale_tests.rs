use super::*;
use lumen_media::Timestamp;
use proptest::prelude::*;

fn area(x: u32, y: u32, width: u32, height: u32) -> Area {
    Area { x, y, width, height }
}

fn frame(size: (u32, u32), padding: usize, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Frame {
    let stride = size.0 as usize * 4 + padding;
    let mut bytes = vec![0xee; stride * size.1 as usize];
    for y in 0..size.1 {
        for x in 0..size.0 {
            let [red, green, blue] = pixel(x, y);
            let at = y as usize * stride + x as usize * 4;
            bytes[at..at + 4].copy_from_slice(&[blue, green, red, 0]);
        }
    }
    Frame {
        width: size.0,
        height: size.1,
        stride,
        format: PixelFormat::Bgrx,
        captured: Timestamp::from_nanos(7),
        sequence: 3,
        pixels: Arc::new(bytes),
    }
}

fn pixel(frame: &Frame, x: u32, y: u32) -> [u8; 3] {
    let at = y as usize * frame.stride + x as usize * 4;
    let bytes = frame.pixels.bytes();
    [bytes[at + 2], bytes[at + 1], bytes[at]]
}

#[test]
fn where_pictures_go() {
    let cases = [
        // The same shape fills.
        ((1920, 1080), (1280, 720), area(0, 0, 1280, 720)),
        ((1280, 720), (1920, 1080), area(0, 0, 1920, 1080)),
        // 4:3 in 16:9 and the other way round.
        ((1024, 768), (1280, 720), area(160, 0, 960, 720)),
        ((1280, 720), (1024, 768), area(0, 96, 1024, 576)),
        // 1366 is no multiple of 16:9; a bar of less than a pair of pixels is none.
        ((1920, 1080), (1366, 768), area(0, 0, 1366, 768)),
        // Upright on a wide screen.
        ((1080, 1920), (1920, 1080), area(656, 0, 608, 1080)),
    ];
    for (from, to, expected) in cases {
        let placement = Placement::new(from, to).expect("not empty");
        assert_eq!(placement.to, expected, "{from:?} in {to:?}");
        assert_eq!(placement.from, area(0, 0, from.0, from.1));
    }
    assert_eq!(Placement::new((0, 5), (5, 5)), None);
}

#[test]
fn what_a_compositor_rounded_is_not_scaled() {
    // CVT cells, even sizes: framed where smaller, cropped where larger.
    let cvt = Placement::new((1360, 768), (1364, 768)).expect("not empty");
    assert_eq!((cvt.from, cvt.to), (area(0, 0, 1360, 768), area(2, 0, 1360, 768)));
    let even = Placement::new((1112, 668), (1111, 667)).expect("not empty");
    assert_eq!((even.from, even.to), (area(0, 0, 1111, 667), area(0, 0, 1111, 667)));
    let mixed = Placement::new((646, 356), (640, 360)).expect("not empty");
    assert_eq!((mixed.from, mixed.to), (area(3, 0, 640, 356), area(0, 2, 640, 356)));
    assert!(cvt.is_copy() && even.is_copy() && mixed.is_copy());
}

proptest! {
    #[test]
    fn placements_lie_inside_keep_the_shape_and_are_centred(
        from in (1u32..9000, 1u32..5000), to in (320u32..=7680, 180u32..=4320)
    ) {
        let Placement { from: part, to: place } = Placement::new(from, to).expect("not empty");
        prop_assert!(part.x + part.width <= from.0 && part.y + part.height <= from.1);
        prop_assert!(place.x + place.width <= to.0 && place.y + place.height <= to.1);
        prop_assert!(place.width > 0 && place.height > 0 && part.width > 0 && part.height > 0);
        prop_assert!(place.x % 2 == 0 && place.y % 2 == 0);
        let bars = (to.0 - place.width, to.1 - place.height);
        prop_assert!(bars.0.abs_diff(2 * place.x) <= 3 && bars.1.abs_diff(2 * place.y) <= 3);
        if (part.width, part.height) == (place.width, place.height) {
            return Ok(());
        }
        prop_assert!(bars.0 == 0 || bars.1 == 0, "one side is always full");
        prop_assert_eq!((part.width, part.height), from);
        // Off by rounding only: less than two pixels on the side that is not full, unless it would vanish.
        let exact = f64::min(f64::from(to.0) / f64::from(from.0), f64::from(to.1) / f64::from(from.1));
        let off = |side: u32, from: u32| (f64::from(side) - f64::from(from) * exact).abs();
        prop_assert!(off(place.width, from.0) <= 2.0 && off(place.height, from.1) <= 2.0);
    }

    #[test]
    fn every_size_and_stride_comes_out_in_the_streams_size(
        from in (1u32..200, 1u32..200), to in (1u32..200, 1u32..200), padding in 0usize..9, cut in any::<bool>()
    ) {
        let mut picture = frame(from, padding, |_, _| [200, 100, 50]);
        if cut {
            let short = picture.pixels.bytes().len() - padding;
            picture.pixels = Arc::new(picture.pixels.bytes()[..short].to_vec());
        }
        let fitted = Scaler::new(to.0, to.1).fit(&picture).expect("fits");
        prop_assert_eq!((fitted.width, fitted.height), to);
        let place = Placement::new(from, to).expect("not empty").to;
        for y in 0..to.1 {
            for x in 0..to.0 {
                let inside = (place.x..place.x + place.width).contains(&x) && (place.y..place.y + place.height).contains(&y);
                prop_assert_eq!(pixel(&fitted, x, y), if inside { [200, 100, 50] } else { [0; 3] });
            }
        }
    }
}

#[test]
fn halves_stay_where_they_are_and_bars_are_black() {
    // Left half red, right half green, 4:3; scaled up into 16:9.
    let halves = frame((160, 120), 12, |x, _| if x < 80 { [255, 0, 0] } else { [0, 255, 0] });
    let fitted = Scaler::new(640, 360).fit(&halves).expect("fits");
    assert_eq!((fitted.captured, fitted.sequence), (halves.captured, halves.sequence));
    for y in [0, 180, 359] {
        assert_eq!(pixel(&fitted, 79, y), [0; 3]);
        assert_eq!(pixel(&fitted, 80, y), [255, 0, 0]);
        assert_eq!(pixel(&fitted, 310, y), [255, 0, 0]);
        assert_eq!(pixel(&fitted, 330, y), [0, 255, 0]);
        assert_eq!(pixel(&fitted, 559, y), [0, 255, 0]);
        assert_eq!(pixel(&fitted, 560, y), [0; 3]);
    }
}

#[test]
fn a_rounded_picture_keeps_every_pixel() {
    let grid = frame((1360, 24), 4, |x, y| [x as u8, y as u8, (x ^ y) as u8]);
    let fitted = Scaler::new(1364, 24).fit(&grid).expect("fits");
    for (x, y) in [(0, 0), (1, 3), (1359, 23), (700, 11)] {
        assert_eq!(pixel(&fitted, x + 2, y), pixel(&grid, x, y));
    }
    assert_eq!(pixel(&fitted, 1, 5), [0; 3]);
    assert_eq!(pixel(&fitted, 1362, 5), [0; 3]);
}

#[test]
fn bars_are_cleared_when_the_shape_changes_and_memory_is_used_again() {
    let mut scaler = Scaler::new(64, 64);
    let wide = frame((64, 16), 0, |_, _| [255; 3]);
    let upright = frame((16, 64), 0, |_, _| [255; 3]);
    let first = scaler.fit(&wide).expect("fits");
    let memory = first.pixels.bytes().as_ptr();
    assert_eq!(pixel(&first, 0, 32), [255; 3]);
    drop(first);
    let second = scaler.fit(&upright).expect("fits");
    assert_eq!(second.pixels.bytes().as_ptr(), memory);
    assert_eq!(pixel(&second, 0, 32), [0; 3]);
    assert_eq!(pixel(&second, 32, 0), [255; 3]);
    // Still held: another canvas.
    let third = scaler.fit(&wide).expect("fits");
    assert_ne!(third.pixels.bytes().as_ptr(), second.pixels.bytes().as_ptr());
    assert_eq!(pixel(&third, 32, 0), [0; 3]);
    assert_eq!(pixel(&second, 32, 0), [255; 3]);
}

#[test]
fn what_cannot_be_scaled_is_refused() {
    let mut scaler = Scaler::new(64, 64);
    let good = frame((32, 32), 0, |_, _| [0; 3]);
    assert!(matches!(scaler.fit(&Frame { width: 0, ..good.clone() }), Err(ScaleError::Empty(0, 32))));
    for stride in [0, 124, 132, usize::MAX] {
        let short = Frame { stride, ..good.clone() };
        assert!(matches!(scaler.fit(&short), Err(ScaleError::ShortBuffer { .. })), "{stride}");
    }
}
