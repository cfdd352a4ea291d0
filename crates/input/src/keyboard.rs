//! A keyboard as XKB has it: which modifiers are in force, which key types a character, and keys for characters that the
//! layout lacks.

use crate::keymap::{KEY_LEFTSHIFT, KEY_RIGHTALT};
use std::collections::HashMap;
use std::fmt::Write;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use xkbcommon::xkb::{self, KeyDirection, Keycode, Keymap, Keysym, STATE_LAYOUT_EFFECTIVE, State};

/// XKB counts keys from 8 where evdev counts from 0.
const XKB_OFFSET: u32 = 8;
/// Keymaps larger than this are no keymaps.
const MAX_KEYMAP: u32 = 4 << 20;
/// The highest code that X11 programs see.
const X11_LAST: u32 = 255;
/// Characters beyond the layout that have a key at a time.
const MAX_SPARE: usize = 64;
/// evdev codes of keys that stand for control characters.
const CONTROL: [(char, u16); 4] = [('\n', 28), ('\r', 28), ('\t', 15), ('\u{8}', 14)];

/// Modifiers in force, as `wl_keyboard.modifiers` has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Modifiers {
    pub depressed: u32,
    pub latched: u32,
    pub locked: u32,
    pub group: u32,
}

/// How a character is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stroke {
    /// evdev code.
    pub code: u16,
    /// Real modifiers that must be in force, and no others.
    pub mask: u32,
}

/// What typing takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typing {
    /// The keymap has it.
    Now(Stroke),
    /// [`Keyboard::text`] has it now; it must be sent first.
    NewKeymap(Stroke),
    /// No key can have it.
    Impossible,
}

/// A keymap and its state.
pub(crate) struct Keyboard {
    keymap: Keymap,
    state: State,
    /// The keymap in XKB's text format.
    base: String,
    /// Where in it more symbols go.
    symbols_end: usize,
    /// Keys without a symbol: evdev code and XKB name.
    spare: Vec<(u16, String)>,
    /// Characters that got a spare key, in the order of `spare`.
    typed: Vec<char>,
    /// The spare key that the next new character takes when all are in use.
    next: usize,
    /// By group, what the layout itself types.
    strokes: HashMap<(u32, char), Stroke>,
}

impl Keyboard {
    /// By XKB's names: comma-separated layouts and their variants.
    pub fn of_layout(layout: &str, variant: &str) -> Option<Self> {
        let keymap = Keymap::new_from_names(
            &context(),
            "evdev",
            "pc105",
            layout,
            variant,
            None,
            xkb::KEYMAP_COMPILE_NO_FLAGS,
        )?;
        Some(Self::new(keymap))
    }

    /// From XKB's text format.
    pub fn of_text(text: String) -> Option<Self> {
        let format = xkb::KEYMAP_FORMAT_TEXT_V1;
        Keymap::new_from_string(&context(), text, format, xkb::KEYMAP_COMPILE_NO_FLAGS).map(Self::new)
    }

    fn new(keymap: Keymap) -> Self {
        let base = keymap.get_as_string(xkb::KEYMAP_FORMAT_TEXT_V1);
        // The symbols are the last section: before its end and that of the keymap.
        let symbols_end = base.rfind("};").and_then(|end| base[..end].rfind("};")).unwrap_or(0);
        let spare = spare_keys(&keymap);
        let strokes = strokes(&keymap);
        Self {
            state: State::new(&keymap),
            keymap,
            base,
            symbols_end,
            spare,
            typed: Vec::new(),
            next: 0,
            strokes,
        }
    }

    /// A key went down or up: the modifiers in force, if they changed.
    pub fn key(&mut self, code: u16, pressed: bool) -> Option<Modifiers> {
        let before = self.modifiers();
        let direction = if pressed { KeyDirection::Down } else { KeyDirection::Up };
        self.state.update_key(keycode(code), direction);
        let after = self.modifiers();
        (after != before).then_some(after)
    }

    /// Locks NumLock, as desktops do at their start: the keys of a number pad are told as such, whatever the client's
    /// NumLock says.
    pub fn lock_numbers(&mut self) {
        let Modifiers { depressed, latched, locked, group } = self.modifiers();
        let numbers = 1_u32.checked_shl(self.keymap.mod_get_index(xkb::MOD_NAME_NUM)).unwrap_or(0);
        self.told(depressed, latched, locked | numbers, group);
    }

    /// The desktop says what is in force.
    pub fn told(&mut self, depressed: u32, latched: u32, locked: u32, group: u32) {
        self.state.update_mask(depressed, latched, locked, 0, 0, group);
    }

    /// The modifiers in force.
    pub fn modifiers(&self) -> Modifiers {
        let state = &self.state;
        Modifiers {
            depressed: state.serialize_mods(xkb::STATE_MODS_DEPRESSED),
            latched: state.serialize_mods(xkb::STATE_MODS_LATCHED),
            locked: state.serialize_mods(xkb::STATE_MODS_LOCKED),
            group: state.serialize_layout(STATE_LAYOUT_EFFECTIVE),
        }
    }

    /// How the layout itself types `character`.
    pub fn stroke(&self, character: char) -> Option<Stroke> {
        if let Some((_, code)) = CONTROL.iter().find(|(control, _)| *control == character) {
            return Some(Stroke { code: *code, mask: 0 });
        }
        let group = self.state.serialize_layout(STATE_LAYOUT_EFFECTIVE);
        self.strokes.get(&(group, character)).copied()
    }

    /// How the layout types `character` by keys alone, where the locks that are in force stay so: with CapsLock a small
    /// letter takes Shift.
    pub fn stroke_under_locks(&self, character: char) -> Option<Stroke> {
        let stroke = self.stroke(character)?;
        let Modifiers { locked, group, .. } = self.modifiers();
        let shift = 1_u32.checked_shl(self.keymap.mod_get_index("Shift")).unwrap_or(0);
        let mut state = State::new(&self.keymap);
        let mut types = |mask: u32| {
            state.update_mask(mask, 0, locked, 0, 0, group);
            char::from_u32(xkb::keysym_to_utf32(state.key_get_one_sym(keycode(stroke.code))))
                == Some(character)
        };
        let mask = [stroke.mask, stroke.mask ^ shift].into_iter().find(|mask| types(*mask));
        Some(Stroke { mask: mask.unwrap_or(stroke.mask), ..stroke })
    }

    /// How `character` is typed; gives it a spare key if the layout does not have it.
    pub fn typing(&mut self, character: char) -> Typing {
        if let Some(stroke) = self.stroke(character) {
            return Typing::Now(stroke);
        }
        if character.is_control() || self.spare.is_empty() {
            return Typing::Impossible;
        }
        let stroke = |keyboard: &Self, index: usize| Stroke { code: keyboard.spare[index].0, mask: 0 };
        if let Some(index) = self.typed.iter().position(|typed| *typed == character) {
            return Typing::Now(stroke(self, index));
        }
        let index = if self.typed.len() < self.spare.len() {
            self.typed.push(character);
            self.typed.len() - 1
        } else {
            let index = self.next;
            self.next = (index + 1) % self.spare.len();
            self.typed[index] = character;
            index
        };
        Typing::NewKeymap(stroke(self, index))
    }

    /// The keymap with all that was typed, in XKB's text format.
    pub fn text(&self) -> String {
        let mut more = String::new();
        for (character, (_, name)) in self.typed.iter().zip(&self.spare) {
            let symbol = xkb::keysym_get_name(xkb::utf32_to_keysym(u32::from(*character)));
            // Writing into a string cannot fail.
            let _ = writeln!(more, "\tkey <{name}> {{ [ {symbol} ] }};");
        }
        let mut text = String::with_capacity(self.base.len() + more.len());
        text.push_str(&self.base[..self.symbols_end]);
        text.push_str(&more);
        text.push_str(&self.base[self.symbols_end..]);
        text
    }

    /// evdev codes of the keys that must be held for `mask`, where keys for it exist.
    pub fn keys_for(&self, mask: u32) -> Vec<u16> {
        // Where keyboards have them, then wherever else the layout puts them.
        let held = [
            ("Shift", KEY_LEFTSHIFT, [Keysym::Shift_L, Keysym::Shift_R]),
            ("Mod5", KEY_RIGHTALT, [Keysym::ISO_Level3_Shift, Keysym::Mode_switch]),
        ];
        let mut codes = Vec::new();
        for (name, usual, symbols) in held {
            let index = self.keymap.mod_get_index(name);
            if index < 32 && mask & 1 << index != 0 {
                let has = |code: u32, symbol: &Keysym| {
                    self.keymap.key_get_syms_by_level(Keycode::new(code), 0, 0).contains(symbol)
                };
                let usual = u32::from(usual) + XKB_OFFSET;
                let all = self.keymap.min_keycode().raw()..=self.keymap.max_keycode().raw();
                let found = symbols.iter().find_map(|symbol| {
                    std::iter::once(usual).chain(all.clone()).find(|code| has(*code, symbol))
                });
                codes.extend(found.and_then(evdev));
            }
        }
        codes
    }
}

/// The keymap in a file that somebody else sent, with a NUL at the end; `None` when it is none.
pub(crate) fn keymap_text(fd: OwnedFd, size: u32) -> Option<String> {
    let mut bytes = vec![0; size.min(MAX_KEYMAP) as usize];
    File::from(fd).read_exact_at(&mut bytes, 0).ok()?;
    bytes.retain(|byte| *byte != 0);
    String::from_utf8(bytes).ok()
}

fn context() -> xkb::Context {
    xkb::Context::new(xkb::CONTEXT_NO_FLAGS)
}

fn keycode(code: u16) -> Keycode {
    Keycode::new(u32::from(code) + XKB_OFFSET)
}

fn evdev(keycode: u32) -> Option<u16> {
    u16::try_from(keycode.checked_sub(XKB_OFFSET)?).ok()
}

/// Keys that have a name and no symbol, those that X11 programs see first.
fn spare_keys(keymap: &Keymap) -> Vec<(u16, String)> {
    let codes = keymap.min_keycode().raw().max(XKB_OFFSET + 1)..=keymap.max_keycode().raw();
    let mut found: Vec<(u16, String)> = codes
        .filter(|code| keymap.num_layouts_for_key(Keycode::new(*code)) == 0)
        .filter_map(|code| Some((evdev(code)?, keymap.key_get_name(Keycode::new(code))?.to_owned())))
        .collect();
    let hidden = |(code, _): &(u16, String)| u32::from(*code) + XKB_OFFSET > X11_LAST;
    // From the end of what X11 sees: low codes are more likely to mean something to somebody.
    found.sort_by_key(|key| (hidden(key), std::cmp::Reverse(key.0)));
    found.truncate(MAX_SPARE);
    found
}

/// What each group of the layout types, with as few modifiers as possible.
fn strokes(keymap: &Keymap) -> HashMap<(u32, char), Stroke> {
    let bit = |name: &str| {
        let index = keymap.mod_get_index(name);
        if index < 32 { 1_u32 << index } else { 0 }
    };
    let (shift, level3) = (bit("Shift"), bit("Mod5"));
    let mut state = State::new(keymap);
    let mut found = HashMap::new();
    for group in 0..keymap.num_layouts() {
        for mask in [0, shift, level3, shift | level3] {
            state.update_mask(mask, 0, 0, 0, 0, group);
            // Beyond are keys such as KEY_EURO, which few programs know.
            for code in keymap.min_keycode().raw()..=keymap.max_keycode().raw().min(X11_LAST) {
                let symbol = state.key_get_one_sym(Keycode::new(code));
                let character = char::from_u32(xkb::keysym_to_utf32(symbol));
                let Some(character) = character.filter(|character| !character.is_control()) else { continue };
                let Some(code) = evdev(code) else { continue };
                // Keys of the keypad type digits only while NumLock is on.
                if !is_keypad(symbol) {
                    found.entry((group, character)).or_insert(Stroke { code, mask });
                }
            }
        }
    }
    found
}

fn is_keypad(symbol: Keysym) -> bool {
    (Keysym::KP_Space.raw()..=Keysym::KP_9.raw()).contains(&symbol.raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(text: String, stroke: Stroke, group: u32) -> String {
        let keymap = Keymap::new_from_string(
            &context(),
            text,
            xkb::KEYMAP_FORMAT_TEXT_V1,
            xkb::KEYMAP_COMPILE_NO_FLAGS,
        )
        .expect("a valid keymap");
        let mut state = State::new(&keymap);
        state.update_mask(stroke.mask, 0, 0, 0, 0, group);
        state.key_get_utf8(keycode(stroke.code))
    }

    #[test]
    fn characters_of_the_layout_need_no_other_keymap() {
        let mut german = Keyboard::of_layout("de", "").expect("known");
        for (character, code, keys) in [
            ('a', 30, vec![]),
            ('Z', 21, vec![42]),
            ('ß', 12, vec![]),
            ('€', 18, vec![100]),
            ('\n', 28, vec![]),
        ] {
            let Typing::Now(stroke) = german.typing(character) else { panic!("{character}") };
            assert_eq!((stroke.code, german.keys_for(stroke.mask)), (code, keys), "{character}");
            if character != '\n' {
                assert_eq!(types(german.text(), stroke, 0), character.to_string());
            }
        }
    }

    #[test]
    fn other_characters_get_keys_of_their_own() {
        let mut keyboard = Keyboard::of_layout("us", "").expect("known");
        let before = keyboard.text();
        for character in ['ö', '東', '🎉', 'я'] {
            let Typing::NewKeymap(stroke) = keyboard.typing(character) else { panic!("{character}") };
            assert_eq!(types(keyboard.text(), stroke, 0), character.to_string());
            assert_eq!(keyboard.typing(character), Typing::Now(stroke), "a second time nothing changes");
        }
        // The rest of the keyboard stays what it was.
        let Typing::Now(stroke) = keyboard.typing('q') else { panic!("q") };
        assert_eq!((types(keyboard.text(), stroke, 0), types(before, stroke, 0)), ("q".into(), "q".into()));
        assert_eq!(keyboard.typing('\u{1b}'), Typing::Impossible);
    }

    #[test]
    fn more_characters_than_spare_keys_take_turns() {
        let mut keyboard = Keyboard::of_layout("us", "").expect("known");
        assert!(keyboard.spare.len() >= 16, "{} spare keys", keyboard.spare.len());
        let visible =
            keyboard.spare.iter().filter(|(code, _)| u32::from(*code) + XKB_OFFSET <= X11_LAST).count();
        println!("{} spare keys, {visible} of them for X11", keyboard.spare.len());
        for character in ('\u{4e00}'..'\u{4f00}').chain(['ö']) {
            let Typing::NewKeymap(stroke) = keyboard.typing(character) else { panic!("{character}") };
            if (character as u32).is_multiple_of(32) {
                assert_eq!(types(keyboard.text(), stroke, 0), character.to_string());
            }
        }
    }

    #[test]
    fn modifiers_follow_keys_and_locks() {
        let mut keyboard = Keyboard::of_layout("us,de", "").expect("known");
        assert_eq!(keyboard.key(42, true), Some(Modifiers { depressed: 1, ..Modifiers::default() }));
        assert_eq!(keyboard.key(30, true), None);
        assert_eq!(keyboard.key(42, false), Some(Modifiers::default()));
        keyboard.key(58, true);
        keyboard.key(58, false);
        assert_eq!(keyboard.modifiers(), Modifiers { locked: 2, ..Modifiers::default() });
        assert!(Keyboard::of_layout("no-such-layout", "").is_none());
    }

    #[test]
    fn with_caps_lock_small_letters_take_shift() {
        let mut keyboard = Keyboard::of_layout("us", "").expect("known");
        let masks = |keyboard: &Keyboard| {
            ['a', 'A', '1', '!', '\n']
                .map(|character| keyboard.stroke_under_locks(character).expect("a key").mask)
        };
        assert_eq!(masks(&keyboard), [0, 1, 0, 1, 0]);
        keyboard.key(58, true);
        keyboard.key(58, false);
        assert_eq!(masks(&keyboard), [1, 0, 0, 1, 0]);
    }
}
