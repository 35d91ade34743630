//! Checks the size and the media type of a body before it is parsed.

use http::StatusCode;
use shared::web::{self, Problem, Request};

/// The longest body, in bytes.
const LONGEST: usize = 64 * 1024;

const TOO_LARGE: Problem = Problem {
    status: StatusCode::PAYLOAD_TOO_LARGE,
    slug: "body-too-large",
    title: "The body is too large",
    detail: "Send a body of at most 64 KiB.",
};

const UNSUPPORTED_TYPE: Problem = Problem {
    status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
    slug: "unsupported-media-type",
    title: "The body is not JSON",
    detail: "Send the body as `Content-Type: application/json`.",
};

/// Checks the size and the media type.
///
/// # Errors
///
/// The problem to respond with: 413 or 415.
pub(crate) fn check(request: &Request) -> Result<(), Problem> {
    if request.body().len() > LONGEST {
        Err(TOO_LARGE)
    } else if !web::is_json(request.headers()) {
        Err(UNSUPPORTED_TYPE)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;

    #[test]
    fn a_body_is_json_of_at_most_64_kib() {
        let json = Some("application/json; charset=utf-8");
        let cases = [
            (LONGEST, json, Ok(())),
            (LONGEST + 1, json, Err(TOO_LARGE)),
            // The body is too long and has no content type. The length is checked first.
            (LONGEST + 1, None, Err(TOO_LARGE)),
            (LONGEST, None, Err(UNSUPPORTED_TYPE)),
            (2, Some("text/plain"), Err(UNSUPPORTED_TYPE)),
        ];
        for (length, kind, expected) in cases {
            let mut request = Request::new(vec![b' '; length].into());
            if let Some(kind) = kind {
                let kind = kind.parse().expect("a type");
                request.headers_mut().insert(CONTENT_TYPE, kind);
            }
            assert_eq!(check(&request), expected, "{length} {kind:?}");
        }
    }
}
