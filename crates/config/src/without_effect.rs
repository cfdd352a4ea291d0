//! Settings that are understood but not acted on by this version.

use crate::settings::Config;

impl Config {
    /// One sentence per setting that differs from its default and has no effect in this version, whether it came from
    /// the file or from the environment. For the log at the start and the status: what is set is never silently ignored.
    pub fn without_effect(&self) -> Vec<&'static str> {
        let default = Self::default();
        let checks = [(
            self.capture.zero_copy != default.capture.zero_copy,
            "capture.zero_copy (LUMEN_ZEROCOPY) has no effect in this version: it encodes in software only",
        )];
        checks.into_iter().filter(|(set, _)| *set).map(|(_, sentence)| sentence).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Config, DEFAULT_FILE, Environment, Overrides};
    use std::path::Path;

    const INERT: [(&str, &str, &str); 1] = [("capture", "zero_copy", "true")];

    fn sentences(text: &str) -> Vec<&'static str> {
        Config::parse(text, Path::new("lumen.toml")).expect("valid").without_effect()
    }

    #[test]
    fn every_inert_key_is_named_by_itself() {
        for (section, key, value) in INERT {
            let found = sentences(&format!("[{section}]\n{key} = {value}\n"));
            let [sentence] = found[..] else { panic!("{section}.{key}: {found:?}") };
            assert!(sentence.starts_with(&format!("{section}.{key}")), "{sentence}");
            assert!(sentence.contains("has no effect in this version"), "{sentence}");
        }
    }

    #[test]
    fn defaults_and_keys_that_work_are_not_named() {
        assert!(sentences("").is_empty());
        assert!(sentences(DEFAULT_FILE).is_empty());
        assert!(
            sentences("[video]\npreset = \"better\"\n[input]\ntouch = false\n[audio]\ngain = 0.5\n")
                .is_empty()
        );
        let working = "[display]\ntopology = \"mirror\"\nsource = \"portal\"\n[capture]\nfixed_pod = true\n";
        assert!(sentences(working).is_empty());
    }

    #[test]
    fn overrides_count_like_the_file() {
        let mut config = Config::default();
        let overrides = Overrides {
            video_source: Some("portal".into()),
            zero_copy: Some("1".into()),
            gamescope_node: Some("7".into()),
            fixed_pod: Some("1".into()),
            audio_gain: Some("2".into()),
            ..Environment::default().overrides
        };
        config.apply(&overrides).expect("valid");
        assert_eq!(config.without_effect().len(), 1);
    }

    #[test]
    fn the_default_file_says_so_too() {
        for (section, key, value) in INERT {
            let (_, rest) = DEFAULT_FILE.split_once(&format!("[{section}]")).expect("there");
            let shown = |line: &&str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
            let at = rest.lines().position(|line| shown(&line)).expect("every key is shown");
            let lines: Vec<&str> = rest.lines().take(at).collect();
            let comment: Vec<&str> =
                lines.into_iter().rev().take_while(|line| line.starts_with('#')).collect();
            assert!(comment.iter().any(|line| line.contains("no effect yet")), "{section}.{key} = {value}");
        }
    }
}
