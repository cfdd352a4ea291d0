//! What keys type, by the keymap that the compositor gave.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use xkbcommon::xkb::{self, Keycode, Keymap, State};

/// XKB counts keys from 8 where evdev counts from 0.
const XKB_OFFSET: u32 = 8;

/// The keymap in force and its modifiers.
#[derive(Default)]
pub struct Typing(Option<State>);

impl Typing {
    /// Takes a keymap of `size` bytes; names its layouts.
    pub fn learn(&mut self, file: OwnedFd, size: u32) -> Vec<String> {
        let mut bytes = vec![0; size as usize];
        // The descriptor is shared with other programs, and its place in the file with it.
        let read = File::from(file).read_exact_at(&mut bytes, 0);
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        let text = String::from_utf8(bytes).ok().filter(|_| read.is_ok());
        let context = xkb::Context::new(xkb::CONTEXT_NO_FLAGS);
        let keymap = text.and_then(|text| {
            let format = xkb::KEYMAP_FORMAT_TEXT_V1;
            Keymap::new_from_string(&context, text, format, xkb::KEYMAP_COMPILE_NO_FLAGS)
        });
        let names = |keymap: &Keymap| {
            // Not by `layouts`, which follows the null pointer that stands for a layout without a name.
            (0..keymap.num_layouts()).map(|index| keymap.layout_get_name(index).to_owned()).collect()
        };
        let layouts = keymap.as_ref().map(names).unwrap_or_default();
        self.0 = keymap.map(|keymap| State::new(&keymap));
        layouts
    }

    /// Takes modifiers, as `wl_keyboard.modifiers` has them.
    pub fn modify(&mut self, depressed: u32, latched: u32, locked: u32, group: u32) {
        if let Some(state) = &mut self.0 {
            state.update_mask(depressed, latched, locked, 0, 0, group);
        }
    }

    /// What a press of the key with this evdev code types; empty when nothing.
    pub fn text(&self, code: u32) -> String {
        self.0.as_ref().map(|state| state.key_get_utf8(Keycode::new(code + XKB_OFFSET))).unwrap_or_default()
    }
}
