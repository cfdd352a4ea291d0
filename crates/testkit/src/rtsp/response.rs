//! Answers as the clients' parser reads them, quirks included (protocol text §5.3).

/// A parsed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub code: u16,
    /// Headers in order, names as sent.
    pub headers: Vec<(String, String)>,
    /// Everything behind the blank line.
    pub body: String,
}

impl Response {
    /// Parses a whole answer, or says which rule it breaks.
    pub fn parse(bytes: &[u8]) -> Result<Response, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "the answer is no text")?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or("no blank line behind the headers")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or("");
        let mut parts = status.splitn(3, ' ');
        let (version, code, reason) = (parts.next(), parts.next(), parts.next());
        if version != Some("RTSP/1.0") {
            return Err(format!("status line {status:?}"));
        }
        let code =
            code.and_then(|code| code.parse().ok()).ok_or_else(|| format!("status line {status:?}"))?;
        if reason.is_none_or(str::is_empty) {
            return Err("no reason phrase".to_owned());
        }
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("header line {line:?}"))?;
            // The client drops the first character behind the colon, whatever it is.
            let value = match value.strip_prefix(' ') {
                Some(value) if !value.is_empty() && !value.starts_with(' ') => value,
                _ => return Err(format!("header {line:?} has not exactly one space and a value")),
            };
            headers.push((name.to_owned(), value.to_owned()));
        }
        if headers.is_empty() {
            return Err("an answer without headers".to_owned());
        }
        Ok(Response { code, headers, body: body.to_owned() })
    }

    /// Header by its exact, case-sensitive name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A number by C's base-0 rules: decimal, 0x hex, 0 octal; trailing text ends it.
pub(super) fn number(text: &str) -> Option<u32> {
    let text = text.trim_start();
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(rest) => (rest, 16),
        None if text.starts_with('0') && text.len() > 1 => (&text[1..], 8),
        None => (text, 10),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    match u32::from_str_radix(&digits[..end], radix) {
        Ok(value) => Some(value),
        // "0" followed by something that is no octal digit is a zero.
        Err(_) if radix == 8 && end == 0 => Some(0),
        Err(_) => None,
    }
}
