//! The query string of a GameStream request: `key=value` pairs, percent-encoded, in any order (protocol text §2.1).

use crate::api::ApiError;
use std::str::FromStr;

/// Longest query accepted, in bytes. The longest real one carries a certificate in hex: about 2.5 kB.
pub const MAX_LEN: usize = 16 * 1024;
/// Most pairs accepted. Real requests have up to about 25.
pub const MAX_PAIRS: usize = 64;

/// A parsed query string. Keys are case sensitive; of a repeated key the first value counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

/// Why a query string was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Longer than [`MAX_LEN`].
    #[error("the query is longer than {MAX_LEN} bytes")]
    TooLong,
    /// More than [`MAX_PAIRS`] pairs.
    #[error("the query has more than {MAX_PAIRS} parameters")]
    TooManyPairs,
    /// A `%` that two hex digits do not follow.
    #[error("the query has a broken percent escape")]
    BadEscape,
    /// The decoded bytes are not UTF-8.
    #[error("the query is not UTF-8")]
    NotUtf8,
}

impl Query {
    /// Parses what follows the `?` of a request target; an empty query is fine.
    ///
    /// # Errors
    /// [`QueryError`] when a limit is exceeded or the encoding is broken.
    pub fn parse(raw: impl AsRef<[u8]>) -> Result<Self, QueryError> {
        let raw = raw.as_ref();
        if raw.len() > MAX_LEN {
            return Err(QueryError::TooLong);
        }
        let mut query = Self::default();
        for (index, pair) in raw.split(|&b| b == b'&').filter(|pair| !pair.is_empty()).enumerate() {
            if index == MAX_PAIRS {
                return Err(QueryError::TooManyPairs);
            }
            let mut halves = pair.splitn(2, |&b| b == b'=');
            let key = decode(halves.next().unwrap_or_default())?;
            let value = decode(halves.next().unwrap_or_default())?;
            if query.value(&key).is_none() {
                query.pairs.push((key, value));
            }
        }
        Ok(query)
    }

    /// The value of `key`, if it was sent. A key without `=` has an empty value.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// Status 400 when it was not sent.
    pub fn require(&self, key: &str) -> Result<&str, ApiError> {
        self.value(key).ok_or_else(|| ApiError::bad_request(format!("The parameter {key} is missing")))
    }

    /// The number under `key`, if it was sent.
    ///
    /// # Errors
    /// Status 400 when it is not a number of that type.
    pub fn number<T: FromStr>(&self, key: &str) -> Result<Option<T>, ApiError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value
            .parse()
            .map(Some)
            .map_err(|_| ApiError::bad_request(format!("The parameter {key} is not a valid number")))
    }

    /// The hex digits under `key` (either case) as bytes, if it was sent.
    ///
    /// # Errors
    /// Status 400 when it is not hex.
    pub fn bytes(&self, key: &str) -> Result<Option<Vec<u8>>, ApiError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        hex::decode(value)
            .map(Some)
            .map_err(|_| ApiError::bad_request(format!("The parameter {key} is not hexadecimal")))
    }
}

fn decode(raw: &[u8]) -> Result<String, QueryError> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let digits = tail.get(..2).ok_or(QueryError::BadEscape)?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).map_err(|_| QueryError::BadEscape)?;
        bytes.push(byte[0]);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| QueryError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_of_a_repeated_key_counts_and_case_matters() {
        let query = Query::parse("uniqueid=a&Uniqueid=b&uniqueid=c&&flag").unwrap();
        assert_eq!(query.value("uniqueid"), Some("a"));
        assert_eq!(query.value("Uniqueid"), Some("b"));
        assert_eq!(query.value("flag"), Some(""));
        assert_eq!(query.value("absent"), None);
    }

    #[test]
    fn escapes_decode_and_a_plus_stays_a_plus() {
        let query = Query::parse("devicename=My%20Caf%c3%A9+TV&x=1=2").unwrap();
        assert_eq!(query.value("devicename"), Some("My Café+TV"));
        assert_eq!(query.value("x"), Some("1=2"));
    }

    #[test]
    fn broken_input_is_named() {
        assert_eq!(Query::parse("a=%4"), Err(QueryError::BadEscape));
        assert_eq!(Query::parse("a=%zz"), Err(QueryError::BadEscape));
        assert_eq!(Query::parse("a=%ff"), Err(QueryError::NotUtf8));
        assert_eq!(Query::parse(vec![b'a'; MAX_LEN + 1]), Err(QueryError::TooLong));
        let many = "a=1&".repeat(MAX_PAIRS);
        assert!(Query::parse(&many).is_ok());
        assert_eq!(Query::parse(many + "b=2"), Err(QueryError::TooManyPairs));
    }

    #[test]
    fn hex_of_both_cases_and_numbers() {
        let query = Query::parse("salt=0aFF&n=-7&bad=xyz").unwrap();
        assert_eq!(query.bytes("salt").unwrap(), Some(vec![0x0a, 0xff]));
        assert_eq!(query.number::<i32>("n").unwrap(), Some(-7));
        assert_eq!(query.number::<u32>("absent").unwrap(), None);
        assert_eq!(query.bytes("bad").unwrap_err().status, 400);
        assert_eq!(query.number::<u32>("n").unwrap_err().status, 400);
        assert!(query.require("nothing").unwrap_err().message.contains("nothing"));
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(key in "[a-z]{1,8}", value in "\\PC{0,40}") {
            let encoded: String = value.bytes().map(|b| format!("%{b:02X}")).collect();
            let query = Query::parse(format!("{key}={encoded}")).unwrap();
            prop_assert_eq!(query.value(&key), Some(value.as_str()));
        }
    }
}
