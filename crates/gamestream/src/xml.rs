//! The one place where XML leaves the host: a writer that escapes, and never adds white space (protocol text §2.1: a
//! text node in front of the first `App` crashes a client).

const HEAD: &str = r#"<?xml version="1.0" encoding="utf-8"?>"#;

/// A `<root status_code=…>` document under construction.
pub(crate) struct Document {
    text: String,
}

impl Document {
    /// A document that reports success.
    pub(crate) fn ok() -> Self {
        Self { text: format!(r#"{HEAD}<root status_code="200">"#) }
    }

    /// A document that reports `status` with a message for the user.
    pub(crate) fn failed(status: i32, message: &str) -> Self {
        let mut document = Self { text: format!(r#"{HEAD}<root status_code="{status}" status_message=""#) };
        escape_into(&mut document.text, message);
        document.text.push_str("\">");
        document
    }

    /// Adds `<name>value</name>`. `name` is one of our own constants.
    pub(crate) fn element(mut self, name: &'static str, value: &str) -> Self {
        self.open(name);
        escape_into(&mut self.text, value);
        self.close(name);
        self
    }

    /// Adds `<name>…</name>` with what `children` writes in between.
    pub(crate) fn nested(mut self, name: &'static str, children: impl FnOnce(Self) -> Self) -> Self {
        self.open(name);
        let mut inner = children(self);
        inner.close(name);
        inner
    }

    /// The finished document.
    pub(crate) fn finish(mut self) -> String {
        self.close("root");
        self.text
    }

    fn open(&mut self, name: &str) {
        self.text.push('<');
        self.text.push_str(name);
        self.text.push('>');
    }

    fn close(&mut self, name: &str) {
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push('>');
    }
}

fn escape_into(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&apos;"),
            '\t' | '\n' | '\r' => text.push(' '),
            // XML 1.0 cannot express these, not even escaped; one of them would void the whole document.
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => text.push('\u{fffd}'),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_could_break_out_is_escaped() {
        let xml = Document::failed(400, "a\"><x>").element("title", "R&D \u{1}<'\"\n>").finish();
        assert_eq!(
            xml,
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><root status_code=\"400\" \
             status_message=\"a&quot;&gt;&lt;x&gt;\"><title>R&amp;D \u{fffd}&lt;&apos;&quot; &gt;</title></root>"
        );
    }

    #[test]
    fn nesting_adds_no_white_space() {
        let xml = Document::ok().nested("App", |app| app.element("ID", "1")).finish();
        assert!(xml.ends_with("<root status_code=\"200\"><App><ID>1</ID></App></root>"), "{xml}");
    }
}
