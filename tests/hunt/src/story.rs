//! The history of one client: its requests and the responses.

use std::ops::Range;
use std::time::Duration;

use serde_json::Value;

use super::Work;
use super::pool::{ClientResponse, RequestOutcome};

/// The history of one client, including the requests of other callers with the same key.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// The number of requests.
    pub(super) attempts: u32,
    /// The duration of each answered request, from its arrival in a process to the response.
    pub(super) requests: Vec<Duration>,
    /// The different final responses, each with the requests that got it.
    pub(super) finals: Vec<FinalAnswer>,
    /// The responses that are never allowed.
    pub(super) invalid_responses: Vec<ClientResponse>,
    /// The failures of processes while they handled the client's requests.
    pub(super) failures: Vec<String>,
    /// The lines of the report about this payment, each with the time since the start of the hunt.
    pub(super) lines: Vec<(Duration, String)>,
    /// The time of the client's first request. If the client sends one request and leaves, this is the time of its first
    /// request after all faults have ended.
    pub(super) began: Option<Duration>,
    /// The time at which the client got its first final response.
    pub(super) answered_at: Option<Duration>,
    /// Whether a different request was sent with the same key. It is possible that this request started the work.
    pub(super) is_reused: bool,
}

/// A final response and the requests that got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FinalAnswer {
    pub(super) response: ClientResponse,
    pub(super) receipts: Vec<Receipt>,
}

/// One answered request. Times are measured from the start of the hunt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    /// The time at which a process got the request.
    pub(super) sent: Duration,
    /// The time at which the client got the response.
    pub(super) received: Duration,
}

/// The parts of a request that are needed to check its response.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentRequest {
    pub(super) work: Work,
    pub(super) amount: u32,
    /// The time at which a process got the request.
    pub(super) sent: Duration,
}

/// The maximum number of lines per client. If there are more lines, some lines in the middle are left out.
const MAX_LINES: usize = 120;
/// The lines that are left out if there are more than [`MAX_LINES`].
const LEFT_OUT: Range<usize> = 30..60;

impl Story {
    /// The time from the first request to the first final response.
    pub(super) fn took(&self) -> Option<Duration> {
        Some(self.answered_at?.saturating_sub(self.began?))
    }

    /// Records the outcome of a request at the time `at`.
    pub(super) fn record(&mut self, request: SentRequest, outcome: RequestOutcome, at: Duration) {
        let response = match outcome {
            RequestOutcome::Answered(response) => response,
            RequestOutcome::NoResponse => {
                return self.write(at, "no response: the process is gone".to_owned());
            }
            RequestOutcome::Failure(reason) => {
                self.write(at, format!("the process failed: {reason}"));
                self.failures.push(reason);
                return;
            }
        };
        let summary: String = response.body.chars().take(300).collect();
        let sent = request.sent.as_millis();
        self.write(
            at,
            format!(
                "response {} for {}, sent at {sent} ms: {summary}",
                response.status, request.amount
            ),
        );
        self.requests.push(at.saturating_sub(request.sent));
        match response.status {
            _ if response.is_final() => {
                self.answered_at.get_or_insert(at);
                if is_of_another(request, &response) {
                    self.invalid_responses.push(response.clone());
                }
                let receipt = Receipt {
                    sent: request.sent,
                    received: at,
                };
                self.add_final(response, receipt);
            }
            // After these statuses, the client retries.
            202 | 409 | 503 => {}
            422 if self.is_reused => {}
            _ => self.invalid_responses.push(response),
        }
    }

    fn add_final(&mut self, response: ClientResponse, receipt: Receipt) {
        let known = self
            .finals
            .iter_mut()
            .find(|known| known.response == response);
        match known {
            Some(known) => known.receipts.push(receipt),
            None => self.finals.push(FinalAnswer {
                response,
                receipts: vec![receipt],
            }),
        }
    }

    pub(super) fn write(&mut self, at: Duration, line: String) {
        self.lines.push((at, line));
        if self.lines.len() > MAX_LINES {
            let (from, _) = self.lines[LEFT_OUT.start];
            let mark = (from, "… lines left out".to_owned());
            self.lines.splice(LEFT_OUT, [mark]);
        }
    }
}

impl FinalAnswer {
    /// The time at which a client first got this response.
    pub(super) fn first_received(&self) -> Duration {
        let received = self.receipts.iter().map(|receipt| receipt.received);
        received.min().unwrap_or_default()
    }

    /// The time of the last request that got this response.
    pub(super) fn last_sent(&self) -> Duration {
        let sent = self.receipts.iter().map(|receipt| receipt.sent);
        sent.max().unwrap_or_default()
    }

    /// The id of the run that produced this response, if the response has such an id.
    pub(super) fn result(&self) -> Option<String> {
        let body: Value = serde_json::from_str(&self.response.body).ok()?;
        body["id"].as_str().map(str::to_owned)
    }
}

/// Whether the response belongs to a request with another amount. Only the function `charges` has the amount in its response.
fn is_of_another(request: SentRequest, response: &ClientResponse) -> bool {
    let body: Value = serde_json::from_str(&response.body).unwrap_or_default();
    request.work != Work::Payments && body["amount"] != request.amount
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, amount: u32) -> RequestOutcome {
        RequestOutcome::Answered(ClientResponse {
            status,
            body: format!(r#"{{"id":"ch_1","amount":{amount}}}"#),
        })
    }

    fn request(sent_ms: u64) -> SentRequest {
        SentRequest {
            work: Work::Once,
            amount: 7,
            sent: Duration::from_millis(sent_ms),
        }
    }

    #[test]
    fn a_repeated_final_response_is_recorded_once_with_all_its_requests() {
        let mut story = Story::default();
        for (sent, received) in [(30, 40), (10, 50), (60, 70)] {
            story.record(
                request(sent),
                answer(201, 7),
                Duration::from_millis(received),
            );
        }
        let [kept] = &story.finals[..] else {
            panic!("{:?}", story.finals);
        };
        assert_eq!(kept.receipts.len(), 3);
        assert_eq!(kept.first_received(), Duration::from_millis(40));
        assert_eq!(kept.last_sent(), Duration::from_millis(60));
        assert_eq!(kept.result().as_deref(), Some("ch_1"));
        assert_eq!(story.invalid_responses, []);
    }

    #[test]
    fn the_result_of_another_request_is_invalid() {
        let mut story = Story::default();
        story.record(request(0), answer(201, 8), Duration::ZERO);
        assert_eq!(story.invalid_responses.len(), 1);
    }

    #[test]
    fn a_mismatch_is_invalid_if_the_key_had_one_request() {
        for (is_reused, invalid_responses) in [(false, 1), (true, 0)] {
            let mut story = Story {
                is_reused,
                ..Story::default()
            };
            story.record(request(0), answer(422, 7), Duration::ZERO);
            assert_eq!(
                story.invalid_responses.len(),
                invalid_responses,
                "{is_reused}"
            );
        }
    }
}
