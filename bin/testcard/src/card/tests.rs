use super::*;
use crate::bars::Plane;

const SIZES: [(u32, u32); 5] = [(320, 180), (321, 181), (1112, 834), (1364, 768), (1920, 1080)];
const STYLES: [Style; 3] = [Style::Scroll, Style::Box, Style::Static];

fn scene(frame: u32) -> Scene {
    Scene {
        code: Code { frame, time_ns: u64::from(frame) * 16_666_667 },
        pointer: Some((frame * 7 % 2000, frame * 3)),
    }
}

fn code_of(card: &Card, pixels: &[u8]) -> Option<Code> {
    let luma: Vec<u8> = pixels.iter().step_by(4).copied().collect();
    code::decode_luma(&luma, card.width() as usize, card.width(), card.height())
}

/// A frame drawn over an older one must equal the same frame drawn into a fresh buffer.
#[test]
fn repairing_a_buffer_equals_drawing_it_anew() {
    for (width, height) in SIZES {
        for style in STYLES {
            let card = Card::new(width, height, style).expect("large enough");
            let mut reused = vec![0; card.bytes()];
            let mut painted = Painted::default();
            for frame in [0, 1, 3, 500] {
                card.draw(&scene(frame), &mut reused, &mut painted);
                let mut fresh = vec![0; card.bytes()];
                card.draw(&scene(frame), &mut fresh, &mut Painted::default());
                assert!(reused == fresh, "{style:?} {width}x{height}, frame {frame}");
            }
        }
    }
}

/// Two successive frames differ only inside the parts that were declared for either.
#[test]
fn damage_covers_every_change() {
    for style in STYLES {
        let card = Card::new(640, 360, style).expect("large enough");
        let mut frames = [vec![0; card.bytes()], vec![0; card.bytes()]];
        let mut damage = Vec::new();
        for (number, pixels) in (40..).zip(&mut frames) {
            damage.extend(card.draw(&scene(number), pixels, &mut Painted::default()));
        }
        let [before, after] = &frames;
        let mut changed = 0;
        for (index, (old, new)) in before.as_chunks::<4>().0.iter().zip(after.as_chunks::<4>().0).enumerate()
        {
            let (x, y) = (index as u32 % 640, index as u32 / 640);
            let covered = damage.iter().any(|rect| {
                (rect.x..rect.x + rect.width).contains(&x) && (rect.y..rect.y + rect.height).contains(&y)
            });
            assert!(old == new || covered, "{style:?}: change at {x},{y} outside of the damage");
            changed += u32::from(old != new);
        }
        assert!(changed > 0, "{style:?}: the time code at least changes");
    }
}

#[test]
fn scroll_changes_most_rows_and_keeps_code_and_bars() {
    let card = Card::new(1280, 720, Style::Scroll).expect("large enough");
    let (mut first, mut second) = (vec![0; card.bytes()], vec![0; card.bytes()]);
    card.draw(&scene(10), &mut first, &mut Painted::default());
    card.draw(&scene(11), &mut second, &mut Painted::default());
    let stride = card.stride();
    let moved = first.chunks(stride).zip(second.chunks(stride)).filter(|(old, new)| old != new).count();
    assert!(moved > 600, "{moved} rows moved");
    assert_eq!(code_of(&card, &second), Some(scene(11).code));
    let channels = [2, 1, 0].map(|offset| Plane { data: &second[offset..], stride, step: 4 });
    assert_eq!(bars::worst(&bars::check_rgb(1280, 720, channels).expect("bars")), 0.0);
}

#[test]
fn everything_drawn_stays_in_the_picture_for_any_pointer_and_frame() {
    for (width, height) in SIZES {
        let card = Card::new(width, height, Style::Box).expect("large enough");
        let (mut pixels, mut painted) = (vec![0; card.bytes()], Painted::default());
        for (frame, pointer) in [
            (0, (0, 0)),
            (12_345, (width, height)),
            (u32::MAX, (u32::MAX, u32::MAX)),
            (u32::MAX / 2, (0, height)),
        ] {
            let code = Code { frame, time_ns: 1 };
            for rect in card.draw(&Scene { code, pointer: Some(pointer) }, &mut pixels, &mut painted) {
                assert!(rect.x + rect.width <= width && rect.y + rect.height <= height, "{rect:?}");
            }
            assert_eq!(code_of(&card, &pixels), Some(code));
        }
    }
}

#[test]
fn a_size_without_room_is_refused() {
    let refused = Card::new(319, 240, Style::Box).expect_err("too narrow");
    assert_eq!(refused.to_string(), "319x240 is too small for the test card; it needs at least 320x180");
}
