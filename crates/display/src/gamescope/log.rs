//! What gamescope says about itself in its log.

/// What is worth knowing of its lines so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Id of its video node.
    pub node: Option<u32>,
    /// Name of its Wayland socket (`gamescope-0`).
    pub socket: Option<String>,
    /// Number of its first X display.
    pub display: Option<u32>,
}

impl Said {
    /// Takes one line, colours and all; tells whether it was news.
    pub fn take(&mut self, line: &str) -> bool {
        let line = without_colours(line);
        if let Some(node) = number_after(&line, "stream available on node ID: ") {
            self.node = Some(node);
        } else if let Some(display) = number_after(&line, "Starting Xwayland on :") {
            // The first one is the app's; others are for Steam.
            self.display.get_or_insert(display);
        } else if let Some((_, rest)) = line.split_once("Running compositor on wayland display '") {
            self.socket = rest.split_once('\'').map(|(name, _)| name.to_owned());
        } else {
            return false;
        }
        true
    }
}

fn number_after(line: &str, words: &str) -> Option<u32> {
    let (_, rest) = line.split_once(words)?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

/// The line without the sequences that colour it (ESC `[` … letter).
pub(super) fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter != '\u{1b}' {
            plain.push(letter);
            continue;
        }
        if letters.next() == Some('[') {
            // Parameters run up to a letter or one of `@[\]^_`{|}~`.
            letters.by_ref().find(|letter| ('@'..='~').contains(letter));
        }
    }
    plain
}
