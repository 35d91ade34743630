//! The response that every retry receives.
//!
//! A response is saved with its status, its headers and every byte of its body. If the body is too large, its length
//! and digest are saved instead. A retry then receives the length and the digest, and nothing runs again.

use std::fmt;

use bytes::{BufMut, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::response_mac::ResponseMac;

/// A saved response.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SavedResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers, in order.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: SavedBody,
    /// The MAC, if the program that saved the response signed it.
    pub(super) mac: Option<ResponseMac>,
}

/// The body, or its summary.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum SavedBody {
    /// The whole body.
    Whole(Bytes),
    /// The summary of a body above the size limit.
    Summary {
        /// Length in bytes.
        length: u64,
        /// SHA-256 of the body.
        sha256: [u8; 32],
    },
}

/// The headers that are not saved, because they belong to one connection or one client.
const NEVER_SAVED: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The first line of a saved response; the body follows unchanged.
#[derive(Serialize, Deserialize)]
struct Head {
    status: u16,
    /// Names and values. Each byte of a value is stored as one of the first 256 characters of Unicode, because JSON
    /// cannot contain every byte.
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Summary {
    length: u64,
    sha256: String,
}

impl SavedResponse {
    /// Returns a response without headers.
    pub fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: SavedBody::Whole(body.into()),
            mac: None,
        }
    }

    /// Returns a response whose body is this JSON text, unchanged. `invoke` stores such responses.
    pub fn of_json(text: &str) -> Self {
        Self::new(StatusCode::OK, text.to_owned())
    }

    /// Returns a response with `value` as its JSON body.
    ///
    /// # Errors
    ///
    /// Returns the error if `value` cannot be serialized.
    pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Self, serde_json::Error> {
        let mut response = Self::new(status, serde_json::to_vec(value)?);
        response.headers.push((
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ));
        Ok(response)
    }

    /// Returns an HTTP response in the form that may be saved: without cookies and without the headers of the
    /// connection.
    pub fn of(response: &http::Response<Bytes>) -> Self {
        Self {
            status: response.status(),
            headers: lasting(response.headers()),
            body: SavedBody::Whole(response.body().clone()),
            mac: None,
        }
    }

    /// The body, if it was saved whole.
    pub fn whole_body(&self) -> Option<&Bytes> {
        match &self.body {
            SavedBody::Whole(body) => Some(body),
            SavedBody::Summary { .. } => None,
        }
    }

    /// Returns the approximate size of the response in memory, in bytes.
    #[cfg(feature = "memory")]
    pub(super) fn size(&self) -> usize {
        let headers = self.headers.iter();
        let of_headers: usize = headers
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        of_headers + self.whole_body().map_or(0, Bytes::len)
    }

    /// Returns the response unchanged if the body has at most `limit` bytes. A longer body is replaced by its summary.
    #[must_use]
    pub(super) fn limited_to(&self, limit: usize) -> Self {
        match &self.body {
            SavedBody::Whole(body) if body.len() > limit => Self {
                body: SavedBody::summary_of(body),
                ..self.clone()
            },
            _ => self.clone(),
        }
    }

    /// Returns the response without a MAC.
    #[must_use]
    pub(super) fn unsigned(&self) -> Self {
        Self {
            mac: None,
            ..self.clone()
        }
    }

    /// Returns the response in the form in which stores keep it.
    pub(super) fn to_bytes(&self) -> Bytes {
        let (body, summary) = match &self.body {
            SavedBody::Whole(body) => (body.clone(), None),
            SavedBody::Summary { length, sha256 } => {
                let summary = Summary {
                    length: *length,
                    sha256: hex::encode(sha256),
                };
                (Bytes::new(), Some(summary))
            }
        };
        let head = Head {
            status: self.status.as_u16(),
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), to_text(value)))
                .collect(),
            summary,
            mac: self.mac.map(|mac| mac.to_string()),
        };
        let mut line = serde_json::to_vec(&head).unwrap_or_default();
        line.reserve_exact(1 + body.len());
        line.put_u8(b'\n');
        line.extend_from_slice(&body);
        line.into()
    }

    /// Parses a saved response without copying its body; `None`: `bytes` are not a saved response.
    pub(super) fn from_bytes(bytes: &Bytes) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(&bytes[..end]).ok()?;
        let rest = bytes.slice(end + 1..);
        let headers = head.headers.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, from_text(value)?))
        });
        Some(Self {
            status: StatusCode::from_u16(head.status).ok()?,
            headers: headers.collect::<Option<_>>()?,
            body: match head.summary {
                None => SavedBody::Whole(rest),
                Some(summary) if rest.is_empty() => SavedBody::Summary {
                    length: summary.length,
                    sha256: digest(&summary.sha256)?,
                },
                Some(_) => return None,
            },
            mac: match head.mac {
                None => None,
                Some(digits) => Some(ResponseMac::from_hex(&digits)?),
            },
        })
    }
}

/// Headers and body must not be logged.
impl fmt::Debug for SavedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedResponse")
            .field("status", &self.status.as_u16())
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SavedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(body) => write!(f, "{} bytes", body.len()),
            Self::Summary { length, .. } => write!(f, "a summary of {length} bytes"),
        }
    }
}

impl SavedBody {
    fn summary_of(body: &Bytes) -> Self {
        Self::Summary {
            length: u64::try_from(body.len()).unwrap_or(u64::MAX),
            sha256: Sha256::digest(body).into(),
        }
    }
}

fn lasting(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    headers
        .iter()
        .filter(|(name, _)| !NEVER_SAVED.contains(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn to_text(value: &HeaderValue) -> String {
    value.as_bytes().iter().copied().map(char::from).collect()
}

fn from_text(text: &str) -> Option<HeaderValue> {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    HeaderValue::from_bytes(&bytes?).ok()
}

fn digest(digits: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(digits, &mut digest).ok()?;
    Some(digest)
}
