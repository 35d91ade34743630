//! What one client did and heard.

use std::ops::Range;
use std::time::Duration;

use serde_json::Value;

use super::Work;
use super::pool::{Heard, Told};

/// What one client did and heard, and what others heard that came with its key.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// How many requests were sent.
    pub(super) attempts: u32,
    /// How long each of them took that was answered, from when a process had it.
    pub(super) requests: Vec<Duration>,
    /// Every final answer that was heard, each once.
    pub(super) finals: Vec<FinalAnswer>,
    /// Answers that no honest repetition may get.
    pub(super) surprises: Vec<Told>,
    /// How processes failed by themselves that had its requests.
    pub(super) failures: Vec<String>,
    /// What happened when, for people; times are from the beginning of the hunt.
    pub(super) lines: Vec<(Duration, String)>,
    /// When it first asked, or came back after it had gone away.
    pub(super) began: Option<Duration>,
    /// When it was first told for good.
    pub(super) answered_at: Option<Duration>,
    /// Whether the key was used for another request too, which may have started it.
    pub(super) is_reused: bool,
}

/// A final answer, and to which requests it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FinalAnswer {
    pub(super) told: Told,
    pub(super) hearings: Vec<Hearing>,
}

/// One request that was answered; times are from the beginning of the hunt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hearing {
    /// When a process had the request.
    pub(super) sent: Duration,
    /// When the client heard the answer.
    pub(super) heard: Duration,
}

/// A request, as far as its answer is judged by it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) work: Work,
    pub(super) amount: u32,
    /// When a process had it.
    pub(super) sent: Duration,
}

/// How many lines a client may write. Beyond that, some are left out that are neither its first nor its last.
const MOST_LINES: usize = 120;
const LEFT_OUT: Range<usize> = 30..60;

impl Story {
    /// From the client's first request to its first final answer.
    pub(super) fn took(&self) -> Option<Duration> {
        Some(self.answered_at?.saturating_sub(self.began?))
    }

    /// Notes what was heard of a request at `at`.
    pub(super) fn hear(&mut self, question: Question, heard: Heard, at: Duration) {
        let told = match heard {
            Heard::Told(told) => told,
            Heard::Nothing => return self.write(at, "its process is gone".to_owned()),
            Heard::Failure(reason) => {
                self.write(at, format!("its process failed: {reason}"));
                self.failures.push(reason);
                return;
            }
        };
        let summary: String = told.body.chars().take(300).collect();
        let sent = question.sent.as_millis();
        self.write(
            at,
            format!(
                "the client is told {} for {}, sent at {sent} ms: {summary}",
                told.status, question.amount
            ),
        );
        self.requests.push(at.saturating_sub(question.sent));
        match told.status {
            _ if told.is_final() => {
                self.answered_at.get_or_insert(at);
                if is_of_another(question, &told) {
                    self.surprises.push(told.clone());
                }
                let hearing = Hearing {
                    sent: question.sent,
                    heard: at,
                };
                self.add_final(told, hearing);
            }
            // They say to come again.
            202 | 409 | 503 => {}
            422 if self.is_reused => {}
            _ => self.surprises.push(told),
        }
    }

    fn add_final(&mut self, told: Told, hearing: Hearing) {
        let known = self.finals.iter_mut().find(|known| known.told == told);
        match known {
            Some(known) => known.hearings.push(hearing),
            None => self.finals.push(FinalAnswer {
                told,
                hearings: vec![hearing],
            }),
        }
    }

    pub(super) fn write(&mut self, at: Duration, line: String) {
        self.lines.push((at, line));
        if self.lines.len() > MOST_LINES {
            let (from, _) = self.lines[LEFT_OUT.start];
            let mark = (from, "… lines left out".to_owned());
            self.lines.splice(LEFT_OUT, [mark]);
        }
    }
}

impl FinalAnswer {
    /// When it was first heard.
    pub(super) fn heard_first(&self) -> Duration {
        let heard = self.hearings.iter().map(|hearing| hearing.heard);
        heard.min().unwrap_or_default()
    }

    /// When the last request was sent that it was given to.
    pub(super) fn sent_last(&self) -> Duration {
        let sent = self.hearings.iter().map(|hearing| hearing.sent);
        sent.max().unwrap_or_default()
    }

    /// The id of the run whose result it is; `None`: it names none.
    pub(super) fn result(&self) -> Option<String> {
        let body: Value = serde_json::from_str(&self.told.body).ok()?;
        body["id"].as_str().map(str::to_owned)
    }
}

/// Whether the answer is the result of another request. Only what the function `charges` answers names the amount.
fn is_of_another(question: Question, told: &Told) -> bool {
    let body: Value = serde_json::from_str(&told.body).unwrap_or_default();
    question.work != Work::Payments && body["amount"] != question.amount
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, amount: u32) -> Heard {
        Heard::Told(Told {
            status,
            body: format!(r#"{{"id":"ch_1","amount":{amount}}}"#),
        })
    }

    fn question(sent_ms: u64) -> Question {
        Question {
            work: Work::Once,
            amount: 7,
            sent: Duration::from_millis(sent_ms),
        }
    }

    #[test]
    fn an_answer_is_kept_once_with_all_that_heard_it() {
        let mut story = Story::default();
        for (sent, heard) in [(30, 40), (10, 50), (60, 70)] {
            story.hear(question(sent), answer(201, 7), Duration::from_millis(heard));
        }
        let [kept] = &story.finals[..] else {
            panic!("{:?}", story.finals);
        };
        assert_eq!(kept.hearings.len(), 3);
        assert_eq!(kept.heard_first(), Duration::from_millis(40));
        assert_eq!(kept.sent_last(), Duration::from_millis(60));
        assert_eq!(kept.result().as_deref(), Some("ch_1"));
        assert_eq!(story.surprises, []);
    }

    #[test]
    fn the_result_of_another_request_is_a_surprise() {
        let mut story = Story::default();
        story.hear(question(0), answer(201, 8), Duration::ZERO);
        assert_eq!(story.surprises.len(), 1);
    }

    #[test]
    fn a_mismatch_is_a_surprise_where_the_key_had_one_request() {
        for (is_reused, surprises) in [(false, 1), (true, 0)] {
            let mut story = Story {
                is_reused,
                ..Story::default()
            };
            story.hear(question(0), answer(422, 7), Duration::ZERO);
            assert_eq!(story.surprises.len(), surprises, "{is_reused}");
        }
    }
}
