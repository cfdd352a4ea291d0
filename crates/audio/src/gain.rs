//! Loudness.

/// Multiplies every sample by a linear factor. What then lies outside of full scale is cut off: clients do the same later,
/// but with a filter's overshoot around it.
pub fn apply(samples: &mut [f32], gain: f32) {
    if gain == 1.0 {
        return;
    }
    for sample in samples {
        *sample = (*sample * gain).clamp(-1.0, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::apply;

    #[test]
    fn scales_and_cuts_off() {
        let mut samples = [0.25, -0.25, 0.75, -0.75, 1.5];
        apply(&mut samples, 1.0);
        assert_eq!(samples, [0.25, -0.25, 0.75, -0.75, 1.5]);
        apply(&mut samples, 2.0);
        assert_eq!(samples, [0.5, -0.5, 1.0, -1.0, 1.0]);
        apply(&mut samples, 0.5);
        assert_eq!(samples, [0.25, -0.25, 0.5, -0.5, 0.5]);
        apply(&mut samples, 0.0);
        assert!(samples.iter().all(|sample| *sample == 0.0));
    }
}
