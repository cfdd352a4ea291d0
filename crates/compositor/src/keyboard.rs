//! Which keyboard programs see.

use lumen_media::DisplayError;
use smithay::input::keyboard::{XkbConfig, xkb};

/// XKB's names of a layout; known to compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    layout: String,
    variant: String,
}

/// A layout that XKB does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot compile the keyboard layout `{layout}`{}: XKB does not know it. Set input.keyboard_layout and \
     input.keyboard_variant (or XKB_DEFAULT_LAYOUT and XKB_DEFAULT_VARIANT) to a layout of this machine, or install xkb-data",
    with_variant(.variant)
)]
pub(crate) struct UnknownLayout {
    layout: String,
    variant: String,
}

fn with_variant(variant: &str) -> String {
    match variant {
        "" => String::new(),
        variant => format!(" with the variant `{variant}`"),
    }
}

impl From<UnknownLayout> for DisplayError {
    fn from(error: UnknownLayout) -> Self {
        DisplayError::Other(error.to_string())
    }
}

impl Layout {
    /// Compiles the keymap once, so that what is wrong with it shows before anybody connects.
    pub(crate) fn new(layout: &str, variant: Option<&str>) -> Result<Self, UnknownLayout> {
        let names = Self { layout: layout.to_owned(), variant: variant.unwrap_or_default().to_owned() };
        // XKB would take no name as its own default, and cannot be given a zero byte.
        if layout.is_empty() || [&names.layout, &names.variant].iter().any(|name| name.contains('\0')) {
            return Err(names.unknown());
        }
        let context = xkb::Context::new(xkb::CONTEXT_NO_FLAGS);
        let XkbConfig { rules, model, layout, variant, options } = names.config();
        let flags = xkb::KEYMAP_COMPILE_NO_FLAGS;
        match xkb::Keymap::new_from_names(&context, rules, model, layout, variant, options, flags) {
            Some(_) => Ok(names),
            None => Err(names.unknown()),
        }
    }

    pub(crate) fn unknown(&self) -> UnknownLayout {
        UnknownLayout {
            layout: self.layout.escape_default().to_string(),
            variant: self.variant.escape_default().to_string(),
        }
    }

    pub(crate) fn config(&self) -> XkbConfig<'_> {
        XkbConfig { layout: &self.layout, variant: &self.variant, ..XkbConfig::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_layouts_pass_and_others_are_named_with_the_remedy() {
        for (layout, variant) in [("us", None), ("de", Some("nodeadkeys")), ("de,us", Some("neo,"))] {
            Layout::new(layout, variant).expect("known");
        }
        for (layout, variant) in
            [("nowhere", None), ("de", Some("nowhere")), ("", None), ("d\0e", None), ("de", Some("\0"))]
        {
            let text = Layout::new(layout, variant).expect_err("unknown").to_string();
            assert!(text.contains(&format!("`{}`", layout.escape_default())), "{text}");
            assert!(text.contains("Set input.keyboard_layout"), "{text}");
            assert!(!text.contains('\0'), "{text}");
        }
    }
}
