use super::*;

const ALL: Abilities =
    Abilities { rumble: true, led: true, triggers: true, accelerometer: true, gyroscope: true };

fn at(milliseconds: u64) -> Timestamp {
    Timestamp::from_nanos((1_000 + milliseconds) * 1_000_000)
}

fn flush(feedback: &mut Feedback, milliseconds: u64) -> Vec<HostMessage> {
    let mut sent = Vec::new();
    feedback.flush(3, at(milliseconds), &mut |message| sent.push(message));
    sent
}

fn rumble(low_frequency: u16, high_frequency: u16) -> DeviceFeedback {
    DeviceFeedback::Rumble { low_frequency, high_frequency }
}

fn rumbled(low_frequency: u16, high_frequency: u16) -> HostMessage {
    HostMessage::Rumble { controller: 3, low_frequency, high_frequency }
}

fn without_motion() -> Abilities {
    Abilities { accelerometer: false, gyroscope: false, ..ALL }
}

#[test]
fn sensors_are_asked_for_once_and_again_by_a_new_client() {
    let mut feedback = Feedback::new(ALL);
    let asked = [MotionSensor::Accelerometer, MotionSensor::Gyroscope]
        .map(|sensor| HostMessage::MotionRequest { controller: 3, rate_hz: MOTION_RATE_HZ, sensor });
    assert_eq!(flush(&mut feedback, 0), asked);
    assert_eq!(flush(&mut feedback, 100), []);
    assert_eq!(feedback.due(), None);
    feedback.forget_sent();
    assert_eq!(flush(&mut feedback, 200), asked);
}

#[test]
fn a_stop_that_the_client_missed_is_sent_when_it_is_back() {
    let mut feedback = Feedback::new(without_motion());
    feedback.want(rumble(1, 2));
    assert_eq!(flush(&mut feedback, 0), [rumbled(1, 2)]);
    feedback.want(rumble(0, 0));
    // It went to a client that was gone already.
    assert_eq!(flush(&mut feedback, 100), [rumbled(0, 0)]);
    feedback.forget_sent();
    assert_eq!(flush(&mut feedback, 200), [rumbled(0, 0)]);
}

#[test]
fn only_changes_are_sent_and_the_last_of_a_burst_is_never_lost() {
    let mut feedback = Feedback::new(without_motion());
    feedback.want(rumble(0, 0));
    assert_eq!(feedback.due(), None, "the motors stand still already");
    feedback.want(rumble(1, 2));
    assert_eq!(flush(&mut feedback, 0), [rumbled(1, 2)]);
    for strength in 10..20 {
        feedback.want(rumble(strength, 0));
        assert_eq!(flush(&mut feedback, 1), []);
    }
    feedback.want(rumble(0, 0));
    assert_eq!(feedback.due(), Some(at(10)));
    assert_eq!(flush(&mut feedback, 10), [rumbled(0, 0)]);
    assert_eq!(flush(&mut feedback, 100), []);
}

#[test]
fn a_rumble_that_lasts_is_sent_again() {
    let mut feedback = Feedback::new(without_motion());
    feedback.want(rumble(1, 2));
    feedback.want(DeviceFeedback::Led([1, 2, 3]));
    assert_eq!(flush(&mut feedback, 0).len(), 2);
    for due in [10_000, 20_000, 30_000] {
        assert_eq!(feedback.due(), Some(at(due)));
        assert_eq!(flush(&mut feedback, due - 1), []);
        assert_eq!(flush(&mut feedback, due), [rumbled(1, 2)], "and nothing else");
    }
    // Counted from the newest.
    feedback.want(rumble(3, 0));
    assert_eq!(flush(&mut feedback, 35_000), [rumbled(3, 0)]);
    assert_eq!(feedback.due(), Some(at(45_000)));
    feedback.want(rumble(0, 0));
    assert_eq!(flush(&mut feedback, 45_000), [rumbled(0, 0)]);
    assert_eq!(feedback.due(), None, "standing still needs no reminder");
    // A gamepad without motors is not reminded of them.
    feedback.want(rumble(1, 2));
    flush(&mut feedback, 50_000);
    feedback.can(Abilities::default());
    assert_eq!(feedback.due(), None);
    assert_eq!(flush(&mut feedback, 70_000), []);
}

#[test]
fn what_games_wanted_of_a_device_ends_with_it() {
    let mut feedback = Feedback::new(without_motion());
    feedback.rest();
    assert_eq!(feedback.due(), None, "nothing moved");
    feedback.want(rumble(1, 0));
    feedback.want(DeviceFeedback::Led([1, 2, 3]));
    feedback.want(DeviceFeedback::Triggers(TriggerEffects { left: Some((1, [1; 10])), right: None }));
    assert_eq!(flush(&mut feedback, 0).len(), 3);
    feedback.rest();
    let effects = TriggerEffects { left: Some(RELAXED), right: None };
    let freed = HostMessage::AdaptiveTriggers { controller: 3, effects };
    assert_eq!(flush(&mut feedback, 10), [rumbled(0, 0), freed]);
    assert_eq!(feedback.due(), None);
}

#[test]
fn what_the_client_s_gamepad_lacks_is_not_sent() {
    let mut feedback = Feedback::new(Abilities::UNANNOUNCED);
    feedback.want(DeviceFeedback::Led([1, 2, 3]));
    let effects = TriggerEffects { left: Some((1, [2; 10])), right: None };
    feedback.want(DeviceFeedback::Triggers(effects));
    feedback.want(rumble(7, 8));
    assert_eq!(flush(&mut feedback, 0), [rumbled(7, 8)]);
    let mut feedback = Feedback::new(Abilities::default());
    feedback.want(rumble(7, 8));
    assert_eq!(flush(&mut feedback, 0), []);
}

#[test]
fn each_trigger_keeps_its_own_effect() {
    let mut feedback = Feedback::new(without_motion());
    let effect = |kind| Some((kind, [kind; 10]));
    feedback.want(DeviceFeedback::Triggers(TriggerEffects { left: effect(1), right: None }));
    feedback.want(DeviceFeedback::Triggers(TriggerEffects { left: None, right: effect(2) }));
    let both = TriggerEffects { left: effect(1), right: effect(2) };
    assert_eq!(flush(&mut feedback, 0), [HostMessage::AdaptiveTriggers { controller: 3, effects: both }]);
    feedback.want(DeviceFeedback::Triggers(TriggerEffects { left: effect(3), right: effect(2) }));
    let changed = TriggerEffects { left: effect(3), right: None };
    assert_eq!(flush(&mut feedback, 10), [HostMessage::AdaptiveTriggers { controller: 3, effects: changed }]);
}

#[test]
fn the_end_stops_what_moves() {
    let mut sent = Vec::new();
    let mut feedback = Feedback::new(without_motion());
    feedback.want(rumble(1, 0));
    feedback.want(DeviceFeedback::Triggers(TriggerEffects { left: Some((1, [1; 10])), right: None }));
    flush(&mut feedback, 0);
    feedback.stop(3, &mut |message| sent.push(message));
    let effects = TriggerEffects { left: Some(RELAXED), right: None };
    assert_eq!(sent, [rumbled(0, 0), HostMessage::AdaptiveTriggers { controller: 3, effects }]);
    sent.clear();
    Feedback::new(ALL).stop(3, &mut |message| sent.push(message));
    assert_eq!(sent, []);
}
