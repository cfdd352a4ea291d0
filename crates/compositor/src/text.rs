//! Keymaps that type a given text.
//!
//! A keyboard layout knows few characters. Each chunk of a text gets a keymap in which every distinct character has a
//! key of its own; the client sees an ordinary keyboard whose layout changes for a moment.

use std::fmt::Write;

/// XKB's number of a key is that of the kernel (`linux/input-event-codes.h`) and this.
const XKB_OFFSET: u32 = 8;
/// Keys of the kernel's that get characters, in this order: those without a meaning, then those of media and of the system.
/// Games go by a key's number, whatever the layout: the text must not be Escape to them. Beyond 247 X11 programs see none.
const KEYS: [std::ops::RangeInclusive<u32>; 4] = [195..=199, 240..=247, 84..=84, 200..=239];
/// Distinct characters of a chunk.
const MAX_KEYS: usize = 54;
/// Characters of one event; clipboards travel by other ways.
const MAX_CHARACTERS: usize = 4096;

/// A piece of text that one keymap can type.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Distinct characters, in the order of [`KEYS`].
    keys: Vec<char>,
    /// Indices into `keys`.
    presses: Vec<usize>,
}

/// Splits `text`. Characters that no key can have are left out, as is what exceeds the limit.
pub(crate) fn chunks(text: &str) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for character in text.chars().filter(|character| keysym(*character).is_some()).take(MAX_CHARACTERS) {
        let full = chunks
            .last()
            .is_none_or(|chunk: &Chunk| chunk.keys.len() == MAX_KEYS && !chunk.keys.contains(&character));
        if full {
            chunks.push(Chunk::default());
        }
        if let Some(chunk) = chunks.last_mut() {
            let index = chunk.keys.iter().position(|key| *key == character).unwrap_or_else(|| {
                chunk.keys.push(character);
                chunk.keys.len() - 1
            });
            chunk.presses.push(index);
        }
    }
    chunks
}

impl Chunk {
    /// XKB keycodes to press and release in turn.
    pub(crate) fn keycodes(&self) -> impl Iterator<Item = u32> + '_ {
        self.presses.iter().filter_map(|index| keycodes().nth(*index))
    }

    /// The keymap, in XKB's text format.
    pub(crate) fn keymap(&self) -> String {
        let mut codes = String::new();
        let mut symbols = String::new();
        for (code, character) in keycodes().zip(&self.keys) {
            let symbol = keysym(*character).unwrap_or_default();
            // Writing into a String cannot fail.
            let _ = writeln!(codes, "<T{code}> = {code};");
            let _ = writeln!(symbols, "key <T{code}> {{ [ {symbol} ] }};");
        }
        format!(
            "xkb_keymap {{\n\
             xkb_keycodes \"text\" {{ minimum = 8; maximum = 255;\n{codes}}};\n\
             xkb_types \"text\" {{ include \"complete\" }};\n\
             xkb_compatibility \"text\" {{ include \"complete\" }};\n\
             xkb_symbols \"text\" {{\nname[Group1] = \"Text\";\n{symbols}}};\n\
             }};\n"
        )
    }
}

/// XKB's numbers of [`KEYS`].
fn keycodes() -> impl Iterator<Item = u32> {
    KEYS.into_iter().flatten().map(|code| code + XKB_OFFSET)
}

/// XKB's name of the symbol that makes `character`.
fn keysym(character: char) -> Option<String> {
    match character {
        '\n' | '\r' => Some("Return".to_owned()),
        '\t' => Some("Tab".to_owned()),
        '\u{8}' => Some("BackSpace".to_owned()),
        control if control.is_control() => None,
        other => Some(format!("U{:04X}", u32::from(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smithay::input::keyboard::xkb;

    #[test]
    fn every_character_comes_out_of_its_keymap() {
        let text = "Grüße, 東京 🎉\n~x~";
        let chunks = chunks(text);
        assert_eq!(chunks.len(), 1);
        let context = xkb::Context::new(xkb::CONTEXT_NO_FLAGS);
        let keymap = xkb::Keymap::new_from_string(
            &context,
            chunks[0].keymap(),
            xkb::KEYMAP_FORMAT_TEXT_V1,
            xkb::KEYMAP_COMPILE_NO_FLAGS,
        )
        .expect("a valid keymap");
        // There are programs that crash over a layout without a name.
        assert_eq!(keymap.layout_get_name(0), "Text");
        let state = xkb::State::new(&keymap);
        let typed: String =
            chunks[0].keycodes().map(|code| state.key_get_utf8(xkb::Keycode::new(code))).collect();
        assert_eq!(typed.replace('\r', "\n"), text);
    }

    #[test]
    fn long_texts_are_split_and_limited() {
        let many: String = (0x4E00..0x4E00 + 10_000).filter_map(char::from_u32).collect();
        let chunks = chunks(&many);
        assert_eq!(chunks.iter().map(|chunk| chunk.presses.len()).sum::<usize>(), MAX_CHARACTERS);
        assert!(chunks.iter().all(|chunk| chunk.keys.len() <= MAX_KEYS));
        assert_eq!(chunks.iter().map(|chunk| chunk.keycodes().count()).sum::<usize>(), MAX_CHARACTERS);
        assert_eq!(keycodes().count(), MAX_KEYS);
        // Neither a key that games know nor one that X11 programs do not see.
        let harmless = |code| (84 + 8..=84 + 8).contains(&code) || (195 + 8..=255).contains(&code);
        assert!(chunks.iter().flat_map(Chunk::keycodes).all(harmless));
        assert!(super::chunks("\u{0}\u{1b}").is_empty());
    }
}
