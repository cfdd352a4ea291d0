//! Reads typed values out of a parsed file and says exactly where one is wrong.
//!
//! A section learns its valid keys from what is asked of it, so the list in an error message cannot differ from what
//! is understood.

use crate::error::{ConfigError, Place};
use std::ops::RangeInclusive;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A setting that is one of a few words.
pub(crate) trait Choice: Copy + 'static {
    /// The words and what they mean, in the order in which messages list them.
    const WORDS: &'static [(&'static str, Self)];

    /// What a word means.
    fn of_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
    }

    /// For messages: `one of "a", "b"`.
    fn expected() -> String {
        let words: Vec<String> = Self::WORDS.iter().map(|(name, _)| format!("{name:?}")).collect();
        format!("one of {}", words.join(", "))
    }
}

/// The text of a file and its name.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub file: &'a Path,
    pub text: &'a str,
}

impl<'a> Source<'a> {
    /// Line and column of a byte offset.
    pub fn place(self, offset: usize) -> Place {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        Place {
            file: self.file.to_path_buf(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            // Continuation bytes of UTF-8 are no characters of their own.
            column: 1 + before[line_start..].iter().filter(|byte| **byte & 0xc0 != 0x80).count(),
        }
    }

    /// Parses the text as TOML.
    pub fn parse(self) -> Result<Spanned<DeTable<'a>>, ConfigError> {
        DeTable::parse(self.text).map_err(|error| ConfigError::Syntax {
            place: self.place(error.span().map_or(0, |span| span.start)),
            message: error.message().lines().collect::<Vec<_>>().join(", "),
        })
    }
}

/// A table that is being read.
pub(crate) struct Section<'a> {
    source: Source<'a>,
    path: String,
    table: Option<&'a DeTable<'a>>,
    valid: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub fn root(source: Source<'a>, table: &'a DeTable<'a>) -> Self {
        Self { source, path: String::new(), table: Some(table), valid: Vec::new() }
    }

    /// The value of `key`, which is valid here.
    pub fn field(&mut self, key: &'static str) -> Option<Field<'a>> {
        self.valid.push(key);
        let (_, value) = self.table?.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(Field { source: self.source, key: self.key(key), value })
    }

    /// The section of that name; an empty one when the file has none.
    pub fn section(&mut self, key: &'static str) -> Result<Section<'a>, ConfigError> {
        let path = self.key(key);
        match self.field(key) {
            Some(field) => field.section(),
            None => Ok(Section { source: self.source, path, table: None, valid: Vec::new() }),
        }
    }

    /// Replaces `target` when the file has the key.
    pub fn read<T>(
        &mut self,
        key: &'static str,
        target: &mut T,
        convert: impl FnOnce(Field<'a>) -> Result<T, ConfigError>,
    ) -> Result<(), ConfigError> {
        if let Some(field) = self.field(key) {
            *target = convert(field)?;
        }
        Ok(())
    }

    /// Ends the reading: what was not asked for is not valid here.
    pub fn finish(self) -> Result<(), ConfigError> {
        let unknown = self
            .table
            .into_iter()
            .flat_map(|table| table.keys())
            .filter(|name| !self.valid.contains(&name.get_ref().as_ref()))
            .min_by_key(|name| name.span().start);
        match unknown {
            None => Ok(()),
            Some(name) => Err(ConfigError::UnknownKey {
                place: self.source.place(name.span().start),
                key: self.key(name.get_ref()),
                nearest: nearest(name.get_ref(), &self.valid).map(|nearest| self.key(nearest)),
                valid: self.valid,
            }),
        }
    }

    fn key(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }
}

/// A value that is being read.
pub(crate) struct Field<'a> {
    source: Source<'a>,
    key: String,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Field<'a> {
    pub fn boolean(self) -> Result<bool, ConfigError> {
        self.value.get_ref().as_bool().ok_or_else(|| self.refuse("true or false"))
    }

    pub fn text(self) -> Result<String, ConfigError> {
        match self.value.get_ref().as_str() {
            Some(text) if is_plain(text) => Ok(text.to_owned()),
            _ => Err(self.refuse("a text that is not empty and has no control characters")),
        }
    }

    pub fn choice<T: Choice>(self) -> Result<T, ConfigError> {
        self.as_choice().ok_or_else(|| self.refuse(T::expected()))
    }

    pub fn as_choice<T: Choice>(&self) -> Option<T> {
        T::of_word(self.value.get_ref().as_str()?)
    }

    pub fn is(&self, word: &str) -> bool {
        self.value.get_ref().as_str() == Some(word)
    }

    pub fn integer(self, range: RangeInclusive<u32>) -> Result<u32, ConfigError> {
        self.as_integer()
            .filter(|value| range.contains(value))
            .ok_or_else(|| self.refuse(format!("a whole number from {} to {}", range.start(), range.end())))
    }

    pub fn as_integer(&self) -> Option<u32> {
        let integer = self.value.get_ref().as_integer()?;
        u32::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    pub fn float(self, range: RangeInclusive<f32>) -> Result<f32, ConfigError> {
        let text = match self.value.get_ref() {
            DeValue::Float(float) => float.as_str(),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
            _ => "",
        };
        text.parse()
            .ok()
            .filter(|value| range.contains(value))
            .ok_or_else(|| self.refuse(format!("a number from {} to {}", range.start(), range.end())))
    }

    /// The values of an array.
    pub fn list(&self) -> Option<Vec<Field<'a>>> {
        let values = self.value.get_ref().as_array()?;
        let field =
            |(index, value)| Field { source: self.source, key: format!("{}[{index}]", self.key), value };
        Some(values.iter().enumerate().map(field).collect())
    }

    pub fn section(self) -> Result<Section<'a>, ConfigError> {
        match self.value.get_ref().as_table() {
            Some(table) => {
                Ok(Section { source: self.source, path: self.key, table: Some(table), valid: Vec::new() })
            }
            None => Err(self.refuse(format!("a section: [{}]", self.key))),
        }
    }

    /// Names and values of a table whose keys are free.
    pub fn pairs(self) -> Result<Vec<(String, Field<'a>)>, ConfigError> {
        let Some(table) = self.value.get_ref().as_table() else {
            return Err(self.refuse("a table: { NAME = \"value\" }"));
        };
        let field = |(name, value): (&'a Spanned<_>, &'a Spanned<_>)| {
            let name: &str = AsRef::<str>::as_ref(name.get_ref() as &std::borrow::Cow<'a, str>);
            let key = format!("{}.{name}", self.key);
            (name.to_owned(), Field { source: self.source, key, value })
        };
        Ok(table.iter().map(field).collect())
    }

    /// The bare text, also an empty one.
    pub fn as_text(&self) -> Option<&'a str> {
        self.value.get_ref().as_str()
    }

    /// The error that this value is not what it must be.
    pub fn refuse(&self, expected: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            place: self.source.place(self.value.span().start),
            key: self.key.clone(),
            expected: expected.into(),
        }
    }
}

/// Whether a text can be shown and passed on: not empty, no control characters.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}

/// The word that `word` was probably meant to be.
pub(crate) fn nearest<'a>(word: &str, valid: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    valid
        .iter()
        .map(|candidate| (distance(&word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 3 || candidate.starts_with(&word))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, removed or replaced to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
    }

    #[test]
    fn the_nearest_word_is_offered_only_when_it_is_near() {
        let valid = ["codecs", "idle_fps", "fec_percent"];
        assert_eq!(nearest("codec", &valid), Some("codecs"));
        assert_eq!(nearest("Idle-FPS", &valid), Some("idle_fps"));
        assert_eq!(nearest("fec", &valid), Some("fec_percent"));
        assert_eq!(nearest("bitrate", &valid), None);
    }

    #[test]
    fn places_count_characters() {
        let source = Source { file: Path::new("f"), text: "a = 1\nä = 2\n" };
        let place = source.place(source.text.find('2').expect("there"));
        assert_eq!((place.line, place.column), (2, 5));
        assert_eq!(source.place(usize::MAX).line, 3);
    }
}
