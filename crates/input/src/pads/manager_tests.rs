use super::*;
use lumen_gamestream::input::{BatteryState, Buttons};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// Devices that remember what happened to them, and complain about what must not.
#[derive(Default)]
struct Shelf {
    devices: BTreeMap<u8, (PadKind, PadReport)>,
    /// Attempts.
    plugged: usize,
    out_of_order: bool,
    /// Nothing can be plugged in.
    broken: bool,
    /// Only `/dev/uinput` is there.
    plain: bool,
}

impl Devices for Shelf {
    fn plug(&mut self, number: u8, requested: PadKind) -> Result<Plugged, PlugError> {
        let kind = if self.plain { requested.without_hid() } else { requested };
        self.plugged += 1;
        if self.broken {
            return Err(PlugError::Input(io::ErrorKind::NotFound.into()));
        }
        assert!(self.devices.insert(number, (kind, PadReport::default())).is_none(), "{number} is in use");
        let fallback = (kind != requested).then(|| PlugError::Hid(io::ErrorKind::PermissionDenied.into()));
        Ok(Plugged { kind, fallback })
    }

    fn unplug(&mut self, number: u8) {
        assert!(self.devices.remove(&number).is_some(), "{number} is not there");
    }

    fn update(&mut self, number: u8, report: &PadReport) {
        match self.devices.get_mut(&number) {
            Some((_, shown)) => *shown = *report,
            None => self.out_of_order = true,
        }
    }
}

fn state(controller: u8, active_mask: u16, buttons: u32) -> PadPacket {
    PadPacket::State(ControllerState {
        controller,
        active_mask,
        buttons: Buttons::from_bits(buttons),
        left_trigger: 3,
        right_trigger: 4,
        left_stick: (5, 6),
        right_stick: (7, 8),
    })
}

fn arrival(controller: u8, kind: ControllerKind, capabilities: u16) -> PadPacket {
    PadPacket::Arrival(ControllerArrival {
        controller,
        kind,
        capabilities: PadCapabilities::from_bits(capabilities),
        buttons: Buttons::default(),
    })
}

fn touch(event: TouchEvent, pointer: u32, x: f32) -> PadPacket {
    PadPacket::Touch(ControllerTouch { controller: 0, event, touchpad: 0, pointer, x, y: 0.5, pressure: 1.0 })
}

struct Rig {
    now: Timestamp,
    manager: Manager,
    shelf: Shelf,
    sent: Vec<HostMessage>,
}

impl Rig {
    fn new() -> Self {
        Self {
            now: Timestamp::from_nanos(1_000_000_000_000),
            manager: Manager::new(PadChoice::Auto),
            shelf: Shelf::default(),
            sent: Vec::new(),
        }
    }

    fn handle(&mut self, packet: PadPacket) {
        self.manager.handle(&packet, self.now, &mut self.shelf, &mut |message| self.sent.push(message));
    }

    fn flush(&mut self) -> Vec<HostMessage> {
        // Longer than feedback waits.
        self.now = self.now + Duration::from_millis(50);
        self.manager.flush(self.now, &mut |message| self.sent.push(message));
        std::mem::take(&mut self.sent)
    }

    /// Lets time pass; what is due is tried again.
    fn wait(&mut self, milliseconds: u64) {
        self.now = self.now + Duration::from_millis(milliseconds);
        self.manager.retry(self.now, &mut self.shelf);
    }

    /// A device fails; says whether it is the first in a row, or `None` when there is none.
    fn lose(&mut self, number: u8) -> Option<bool> {
        self.shelf.devices.remove(&number)?;
        Some(self.manager.lost(number, PlugError::Failed(io::ErrorKind::BrokenPipe.into()), self.now))
    }

    fn kinds(&self) -> Vec<(u8, PadKind)> {
        self.shelf.devices.iter().map(|(number, (kind, _))| (*number, *kind)).collect()
    }
}

#[test]
fn pads_come_and_go_by_the_bit_in_their_own_packets() {
    let mut rig = Rig::new();
    rig.handle(state(1, 0b10, 0x1000));
    assert_eq!(rig.kinds(), [(1, PadKind::Xbox360)], "generic, since nothing introduced it");
    rig.handle(arrival(0, ControllerKind::Xbox, 0x03));
    rig.handle(state(0, 0b11, 0));
    assert_eq!(rig.kinds(), [(0, PadKind::XboxOne), (1, PadKind::Xbox360)]);
    // The mask of another one's packet says nothing.
    rig.handle(state(0, 0b01, 0));
    assert_eq!(rig.kinds().len(), 2);
    rig.handle(state(1, 0b01, 0));
    assert_eq!(rig.kinds(), [(0, PadKind::XboxOne)]);
    // Of one that is not there it says nothing either.
    rig.handle(state(9, 0, 0));
    assert_eq!(rig.manager.counts(), PadCounts { pads: 1, homeless: 0 });
    rig.handle(state(15, 0x8000, 0));
    assert_eq!(rig.kinds().len(), 2);
}

#[test]
fn a_state_is_shown_whole() {
    let mut rig = Rig::new();
    rig.handle(state(0, 1, 0x1001));
    let (_, report) = rig.shelf.devices[&0];
    assert_eq!(report.buttons, Buttons::A | Buttons::UP);
    assert_eq!((report.triggers, report.left_stick, report.right_stick), ((3, 4), (5, 6), (7, 8)));
    rig.manager.release_all(&mut rig.shelf);
    assert_eq!(rig.shelf.devices[&0].1, PadReport::default());
}

#[test]
fn a_second_introduction_keeps_the_device_unless_it_must_be_another() {
    let mut rig = Rig::new();
    rig.handle(arrival(0, ControllerKind::PlayStation, 0xff));
    rig.handle(state(0, 1, 0x1000));
    let asked = rig.flush();
    assert_eq!(asked.len(), 2, "both sensors: {asked:?}");
    rig.handle(arrival(0, ControllerKind::PlayStation, 0xff));
    assert_eq!(rig.shelf.plugged, 1);
    assert_eq!(rig.flush(), asked, "the client may have forgotten");
    rig.handle(arrival(0, ControllerKind::Xbox, 0x03));
    assert_eq!((rig.kinds(), rig.shelf.plugged), (vec![(0, PadKind::XboxOne)], 2));
    assert_eq!(rig.flush(), []);
}

#[test]
fn what_cannot_be_had_is_not_tried_with_every_packet_but_when_it_arrives_again() {
    let mut rig = Rig::new();
    rig.shelf.broken = true;
    for _ in 0..5 {
        rig.handle(state(0, 1, 0));
    }
    assert_eq!(rig.shelf.plugged, 1);
    assert_eq!(rig.manager.counts(), PadCounts { pads: 0, homeless: 5 });
    rig.shelf.broken = false;
    rig.handle(arrival(0, ControllerKind::Unknown, 0x03));
    rig.handle(state(0, 1, 0x2000));
    assert_eq!(rig.kinds(), [(0, PadKind::Xbox360)]);
    assert_eq!(rig.shelf.devices[&0].1.buttons, Buttons::B);
    assert_eq!(rig.manager.due(), None);
}

#[test]
fn what_cannot_be_had_is_tried_after_longer_and_longer_pauses() {
    let mut rig = Rig::new();
    rig.shelf.broken = true;
    rig.handle(arrival(0, ControllerKind::PlayStation, 0xff));
    for (attempts, pause) in (1..).zip([1000, 2000, 5000, 30_000, 30_000]) {
        assert_eq!(rig.manager.due(), Some(rig.now + Duration::from_millis(pause)));
        rig.wait(pause - 1);
        assert_eq!(rig.shelf.plugged, attempts);
        rig.wait(1);
        assert_eq!(rig.shelf.plugged, attempts + 1);
    }
    assert_eq!(rig.flush(), [], "nothing is asked for a gamepad that is not there");
    rig.handle(state(0, 1, 0x1000));
    let battery = Battery { controller: 0, state: BatteryState::Charging, percent: Some(80) };
    rig.handle(PadPacket::Battery(battery));
    rig.shelf.broken = false;
    rig.wait(30_000);
    let (kind, report) = rig.shelf.devices[&0];
    assert_eq!((kind, report.buttons, report.battery.1), (PadKind::DualSense, Buttons::A, Some(80)));
    assert_eq!(rig.flush().len(), 2, "both sensors");
    assert_eq!(rig.manager.counts(), PadCounts { pads: 1, homeless: 2 });
    assert_eq!(rig.manager.due(), None);
}

#[test]
fn what_was_let_go_meanwhile_is_not_held_when_it_is_there() {
    let mut rig = Rig::new();
    rig.shelf.broken = true;
    rig.handle(state(0, 1, 0x1000));
    rig.handle(touch(TouchEvent::Down, 70, 0.1));
    rig.manager.release_all(&mut rig.shelf);
    assert_eq!(rig.manager.counts().homeless, 2, "letting go is no packet");
    rig.shelf.broken = false;
    rig.wait(1000);
    assert_eq!(rig.shelf.devices[&0].1, PadReport::default());
    // One that goes before it came is forgotten.
    rig.shelf.broken = true;
    rig.handle(state(1, 2, 0));
    rig.handle(state(1, 0, 0));
    assert_eq!(rig.manager.due(), None);
}

#[test]
fn a_device_that_fails_comes_back_as_it_is_by_then() {
    let mut rig = Rig::new();
    rig.handle(arrival(0, ControllerKind::PlayStation, 0xff));
    rig.handle(state(0, 1, 0x1000));
    let asked = rig.flush();
    let rumble =
        |low_frequency, high_frequency| HostMessage::Rumble { controller: 0, low_frequency, high_frequency };
    rig.manager.feedback(0, DeviceFeedback::Rumble { low_frequency: 1, high_frequency: 2 });
    assert_eq!(rig.flush(), [rumble(1, 2)]);
    assert_eq!(rig.lose(0), Some(true));
    assert_eq!(rig.manager.counts().pads, 0);
    assert_eq!(rig.flush(), [rumble(0, 0)], "no game is there to stop it");
    rig.handle(state(0, 1, 0x2000));
    rig.wait(1000);
    assert_eq!(rig.shelf.devices[&0].1.buttons, Buttons::B);
    let again = rig.flush();
    assert!(asked.iter().all(|message| again.contains(message)), "{again:?}");
    // It goes while it is not there.
    assert_eq!(rig.lose(0), Some(false));
    rig.handle(state(0, 0, 0));
    assert_eq!(rig.manager.due(), None);
    assert_eq!(rig.manager.news(), Some(vec![]));
    // Nobody knows it any longer.
    assert!(!rig.manager.lost(0, PlugError::Failed(io::ErrorKind::BrokenPipe.into()), rig.now));
}

#[test]
fn one_that_fails_as_soon_as_it_is_there_is_tried_less_and_less() {
    let mut rig = Rig::new();
    rig.handle(state(0, 1, 0));
    for (attempts, pause) in (1..).zip([1000, 2000, 5000, 30_000, 30_000]) {
        assert_eq!(rig.lose(0), Some(attempts == 1));
        rig.wait(pause - 1);
        assert_eq!(rig.shelf.plugged, attempts);
        rig.wait(1);
        assert_eq!(rig.shelf.plugged, attempts + 1);
    }
    // That it lasted ends the row.
    rig.wait(30_000);
    assert_eq!(rig.lose(0), Some(true));
    rig.wait(1000);
    assert_eq!(rig.kinds(), [(0, PadKind::Xbox360)]);
}

#[test]
fn the_status_hears_what_became_of_what_was_asked_for() {
    let mut rig = Rig::new();
    assert_eq!(rig.manager.news(), None);
    rig.handle(arrival(0, ControllerKind::PlayStation, 0xff));
    rig.shelf.plain = true;
    rig.handle(arrival(1, ControllerKind::PlayStation, 0xff));
    rig.shelf.broken = true;
    rig.handle(state(2, 0b111, 0));
    let view = rig.manager.news().expect("it changed");
    let kinds: Vec<_> = view.iter().map(|pad| (pad.number, pad.requested, pad.effective)).collect();
    let (dualsense, xbox) = (PadKind::DualSense, PadKind::XboxOne);
    let expected = [(0, dualsense, Some(dualsense)), (1, dualsense, Some(xbox)), (2, PadKind::Xbox360, None)];
    assert_eq!(kinds, expected);
    let reason = |view: &[PadView], at: usize| view[at].reason.clone().unwrap_or_default();
    assert_eq!(view[0].reason, None);
    assert!(reason(&view, 1).starts_with("/dev/uhid"), "{view:?}");
    assert!(reason(&view, 2).starts_with("/dev/uinput"), "{view:?}");
    rig.handle(state(0, 0b111, 1));
    assert_eq!(rig.manager.news(), None, "nothing changed");
    rig.lose(0);
    let view = rig.manager.news().expect("it changed");
    assert_eq!(view[0].effective, None);
    assert!(reason(&view, 0).starts_with("its device failed"), "{view:?}");
    rig.shelf.broken = false;
    rig.wait(1000);
    let view = rig.manager.news().expect("it changed");
    assert_eq!((view[2].effective, &view[2].reason), (Some(PadKind::Xbox360), &None));
}

#[test]
fn a_stand_in_without_sensors_is_not_asked_for_motion_or_triggers() {
    let mut rig = Rig::new();
    rig.shelf.plain = true;
    rig.handle(arrival(0, ControllerKind::PlayStation, 0xff));
    assert_eq!(rig.kinds(), [(0, PadKind::XboxOne)]);
    assert_eq!(rig.flush(), []);
    rig.handle(arrival(0, ControllerKind::PlayStation, 0xff));
    assert_eq!(rig.shelf.plugged, 1);
}

#[test]
fn fingers_have_two_places_and_a_number_of_their_own() {
    let mut rig = Rig::new();
    rig.handle(touch(TouchEvent::Down, 70, 0.1));
    assert_eq!(rig.manager.counts().homeless, 1);
    rig.handle(arrival(0, ControllerKind::PlayStation, 0x08));
    let fingers = |rig: &Rig| rig.shelf.devices[&0].1.fingers;
    let finger = |id, x| Some(Finger { id, x, y: 0.5 });
    rig.handle(touch(TouchEvent::Move, 70, 0.1));
    assert_eq!(fingers(&rig), [None, None], "a move before its down");
    rig.handle(touch(TouchEvent::Down, 70, 0.1));
    rig.handle(touch(TouchEvent::Down, 80, 2.0));
    rig.handle(touch(TouchEvent::Down, 90, 0.3));
    assert_eq!(fingers(&rig), [finger(0, 0.1), finger(1, 1.0)], "no third one; outside is the edge");
    rig.handle(touch(TouchEvent::Move, 70, 0.2));
    rig.handle(touch(TouchEvent::Up, 80, 0.0));
    assert_eq!(fingers(&rig), [finger(0, 0.2), None]);
    rig.handle(touch(TouchEvent::Down, 80, 0.5));
    assert_eq!(fingers(&rig)[1], finger(2, 0.5));
    rig.handle(touch(TouchEvent::CancelAll, 0, 0.0));
    assert_eq!(fingers(&rig), [None, None]);
    // Two touchpads lie side by side.
    rig.handle(arrival(0, ControllerKind::PlayStation, 0x108));
    let PadPacket::Touch(right) = touch(TouchEvent::Down, 1, 0.5) else { unreachable!() };
    rig.handle(PadPacket::Touch(ControllerTouch { touchpad: 1, ..right }));
    assert_eq!(fingers(&rig)[0].map(|finger| finger.x), Some(0.75));
}

#[test]
fn feedback_goes_back_under_the_pad_s_number_and_ends_with_it() {
    let mut rig = Rig::new();
    rig.handle(arrival(2, ControllerKind::PlayStation, 0x82));
    rig.manager.feedback(2, DeviceFeedback::Rumble { low_frequency: 1, high_frequency: 2 });
    rig.manager.feedback(2, DeviceFeedback::Led([1, 2, 3]));
    rig.manager.feedback(7, DeviceFeedback::Led([1, 2, 3]));
    let rumble =
        |low_frequency, high_frequency| HostMessage::Rumble { controller: 2, low_frequency, high_frequency };
    let led = HostMessage::Led { controller: 2, rgb: [1, 2, 3] };
    assert_eq!(rig.flush(), [rumble(1, 2), led]);
    assert_eq!(rig.manager.due(), Some(rig.now + Duration::from_secs(10)), "the rumble again");
    rig.manager.reconnected();
    assert_eq!(rig.flush(), [rumble(1, 2), led], "another connection knows nothing");
    rig.handle(state(2, 0, 0));
    assert_eq!(std::mem::take(&mut rig.sent), [rumble(0, 0)]);
}

#[test]
fn samples_and_batteries_are_shown() {
    let mut rig = Rig::new();
    rig.handle(arrival(0, ControllerKind::PlayStation, 0x70));
    let motion = |sensor, x| PadPacket::Motion(Motion { controller: 0, sensor, x, y: 2.0, z: 3.0 });
    rig.handle(motion(MotionSensor::Gyroscope, 1.0));
    rig.handle(motion(MotionSensor::Accelerometer, 4.0));
    rig.handle(motion(MotionSensor::Gyroscope, f32::NAN));
    let battery = Battery { controller: 0, state: BatteryState::Charging, percent: Some(80) };
    rig.handle(PadPacket::Battery(battery));
    let report = rig.shelf.devices[&0].1;
    assert_eq!((report.gyroscope, report.accelerometer), ([1.0, 2.0, 3.0], [4.0, 2.0, 3.0]));
    assert_eq!(report.battery, (BatteryState::Charging, Some(80)));
}

fn any_packet() -> impl Strategy<Value = PadPacket> {
    let kind = prop::sample::select(vec![
        ControllerKind::Unknown,
        ControllerKind::Xbox,
        ControllerKind::PlayStation,
        ControllerKind::Nintendo,
        ControllerKind::Steam,
    ]);
    let event = prop::sample::select(vec![
        TouchEvent::Hover,
        TouchEvent::Down,
        TouchEvent::Up,
        TouchEvent::Move,
        TouchEvent::Cancel,
        TouchEvent::CancelAll,
    ]);
    let sensor = prop::sample::select(vec![MotionSensor::Accelerometer, MotionSensor::Gyroscope]);
    prop_oneof![
        4 => (0u8..18, any::<u16>(), any::<u32>()).prop_map(|(number, mask, buttons)| state(number, mask, buttons)),
        2 => (0u8..18, kind, any::<u16>(), any::<u32>()).prop_map(|(controller, kind, capabilities, buttons)| {
            PadPacket::Arrival(ControllerArrival {
                controller,
                kind,
                capabilities: PadCapabilities::from_bits(capabilities),
                buttons: Buttons::from_bits(buttons),
            })
        }),
        2 => (0u8..18, event, 0u8..3, 0u32..4, any::<f32>(), any::<f32>()).prop_map(
            |(controller, event, touchpad, pointer, x, y)| PadPacket::Touch(ControllerTouch {
                controller, event, touchpad, pointer, x, y, pressure: x,
            })
        ),
        1 => (0u8..18, sensor, any::<[f32; 3]>()).prop_map(|(controller, sensor, [x, y, z])| {
            PadPacket::Motion(Motion { controller, sensor, x, y, z })
        }),
    ]
}

#[derive(Clone, Debug)]
enum Op {
    Packet(PadPacket),
    Broken(bool),
    Lose(u8),
    Wait(u64),
    Release,
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => any_packet().prop_map(Op::Packet),
        1 => any::<bool>().prop_map(Op::Broken),
        1 => (0u8..16).prop_map(Op::Lose),
        1 => (0u64..40_000).prop_map(Op::Wait),
        1 => Just(Op::Release),
    ]
}

proptest! {
    /// Beside one whose devices come and fail, a twin with the same packets whose devices always work: when all is well
    /// again, games see the same.
    #[test]
    fn nothing_of_a_failure_lasts(ops in prop::collection::vec(any_op(), 0..120)) {
        let (mut rig, mut twin) = (Rig::new(), Rig::new());
        for op in ops {
            match op {
                Op::Packet(packet) => {
                    rig.handle(packet);
                    twin.handle(packet);
                }
                Op::Broken(broken) => rig.shelf.broken = broken,
                Op::Lose(number) => _ = rig.lose(number),
                Op::Wait(milliseconds) => rig.wait(milliseconds),
                Op::Release => {
                    rig.manager.release_all(&mut rig.shelf);
                    twin.manager.release_all(&mut twin.shelf);
                }
            }
            prop_assert_eq!(rig.manager.counts().pads, rig.shelf.devices.len());
            prop_assert!(rig.shelf.devices.iter().all(|(number, shown)| twin.shelf.devices.get(number) == Some(shown)));
        }
        rig.shelf.broken = false;
        rig.wait(30_000);
        prop_assert_eq!(&rig.shelf.devices, &twin.shelf.devices);
        prop_assert!(!rig.shelf.out_of_order);
    }

    /// A model of the lifecycle beside the manager: devices exist exactly for the numbers whose newest own packet had
    /// their bit, and everything shown is in range.
    #[test]
    fn devices_follow_the_packets(packets in prop::collection::vec(any_packet(), 0..120), plain: bool) {
        let mut rig = Rig::new();
        rig.shelf.plain = plain;
        let mut alive = std::collections::BTreeSet::new();
        for packet in packets {
            let number = packet.controller();
            match &packet {
                PadPacket::State(state) if number < 16 => {
                    if state.active_mask & (1 << number) != 0 { alive.insert(number); } else { alive.remove(&number); }
                }
                PadPacket::Arrival(_) if number < 16 => { alive.insert(number); }
                _ => {}
            }
            rig.handle(packet);
            let there: Vec<u8> = rig.shelf.devices.keys().copied().collect();
            prop_assert_eq!(&there, &alive.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(rig.manager.counts().pads, there.len());
            for (_, report) in rig.shelf.devices.values() {
                for finger in report.fingers.iter().flatten() {
                    prop_assert!(finger.id < 128 && (0.0..=1.0).contains(&finger.x) && (0.0..=1.0).contains(&finger.y));
                }
                prop_assert!(report.gyroscope.iter().chain(&report.accelerometer).all(|value| value.is_finite()));
            }
        }
        prop_assert!(!rig.shelf.out_of_order);
        rig.manager.clear(&mut rig.shelf, &mut |_| {});
        prop_assert!(rig.shelf.devices.is_empty());
        prop_assert_eq!(rig.manager.due(), None);
    }
}
