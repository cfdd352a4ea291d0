//! Requests and responses as text.

use super::{MAX_HEADERS, MAX_MESSAGE, RtspError};

/// A parsed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `OPTIONS`, `SETUP`, …
    pub method: String,
    /// What follows the method.
    pub target: String,
    /// Headers in order, names as sent.
    pub headers: Vec<(String, String)>,
    /// What follows the blank line.
    pub body: Vec<u8>,
}

impl Request {
    /// Parses a whole message.
    ///
    /// # Errors
    /// [`RtspError`] when a limit is exceeded or it is not a request.
    pub fn parse(message: &[u8]) -> Result<Self, RtspError> {
        if message.len() > MAX_MESSAGE {
            return Err(RtspError::TooLong);
        }
        let head_end = head_end(message).ok_or(RtspError::Malformed)?;
        let head = std::str::from_utf8(&message[..head_end]).map_err(|_| RtspError::Malformed)?;
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");

        let mut parts = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some("RTSP/1.0"), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(RtspError::Malformed);
        };
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase()) || target.is_empty() {
            return Err(RtspError::Malformed);
        }
        let mut headers = Vec::new();
        for line in lines {
            if headers.len() == MAX_HEADERS {
                return Err(RtspError::TooManyHeaders);
            }
            let (name, value) = line.split_once(':').ok_or(RtspError::Malformed)?;
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        let body = message[head_end..].to_vec();
        Ok(Self { method: method.to_owned(), target: target.to_owned(), headers, body })
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The sequence number to echo.
    pub(super) fn cseq(&self) -> u32 {
        self.header("CSeq").and_then(|value| value.parse().ok()).unwrap_or(0)
    }
}

/// The length of the head with its blank line, once it is complete.
pub(super) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// A response. Always has its `CSeq`: a response without a header is malformed to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    reason: String,
    cseq: u32,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Response {
    pub(super) fn ok(cseq: u32) -> Self {
        Self { status: 200, reason: "OK".to_owned(), cseq, headers: Vec::new(), body: String::new() }
    }

    /// Turns it into a refusal of the same request; the client shows the status to its user. A reason that would break
    /// the line is mended.
    pub fn refused(self, status: u16, reason: &str) -> Self {
        let clean: String = reason.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
        let reason = if clean.trim().is_empty() { "Refused".to_owned() } else { clean.trim().to_owned() };
        Self { status, reason, cseq: self.cseq, headers: Vec::new(), body: String::new() }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, body: String) -> Self {
        self.body = body;
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The bytes before sealing. Exactly one space follows each colon: clients drop one character without looking.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("RTSP/1.0 {} {}\r\nCSeq: {}\r\n", self.status, self.reason, self.cseq);
        for (name, value) in &self.headers {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.push_str(&self.body);
        text.into_bytes()
    }
}
