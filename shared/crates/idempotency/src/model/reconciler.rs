//! A reconciler. It reads the record, asks the provider, and sends its finding to the store.

use super::answer::{Answer, RECONCILER};
use super::bug::Bug;
use super::identity::{claim, owner};
use super::message::{Finding, Judged, Message, Swap};
use super::protocol::{Layout, Protocol};
use super::seen::Seen;
use super::world::World;
use crate::decision::Resolution;

impl World {
    /// The reconciler reads an abandoned record.
    pub(super) fn look(&mut self, protocol: &Protocol) {
        let stored = self.read(protocol);
        let Some(record) = &stored.record else {
            return;
        };
        let is_first = record.fingerprint == claim(protocol, 0).fingerprint;
        let seen = Seen {
            version: record.version(),
            attempt: record.attempt,
            generation: stored.generation,
            request: u8::from(!is_first),
        };
        self.reconciler.looks_left -= 1;
        self.reconciler.seen = Some(seen);
    }

    /// The reconciler asks the provider. The provider reports the effect, or refuses every later request of the
    /// attempt. Then the reconciler sends its finding, which may arrive late or never.
    pub(super) fn conclude(&mut self, protocol: &Protocol) {
        let Some(seen) = self.reconciler.seen.take() else {
            return;
        };
        let resolution = if self.was_executed(seen.generation) {
            let answer = Answer {
                generation: seen.generation,
                by: self.resolver(),
                request: seen.request,
            };
            Resolution::Completed(answer.response())
        } else {
            if protocol.bug != Some(Bug::ReleasedForALiveOwner) {
                self.fence = self.fence.max((seen.generation, seen.attempt));
            }
            Resolution::Released
        };
        self.send_finding(protocol, &seen, resolution);
    }

    /// The reconciler allows another attempt, and sends no request to the provider.
    pub(super) fn reopen(&mut self, protocol: &Protocol) {
        if let Some(seen) = self.reconciler.seen.take() {
            self.send_finding(protocol, &seen, Resolution::Reopened);
        }
    }

    fn resolver(&self) -> u8 {
        RECONCILER + self.reconciler.looks_left
    }

    fn send_finding(&mut self, protocol: &Protocol, seen: &Seen, resolution: Resolution) {
        let finding = Finding {
            owner: owner(self.resolver()),
            resolution,
            generation: seen.generation,
        };
        match protocol.layout {
            Layout::RedisAlone => self.in_flight.push(Message::Resolve {
                seen: seen.version,
                finding: Box::new(finding),
            }),
            Layout::Tiered | Layout::MongoDb => {
                let record = self.read(protocol).record.as_ref();
                if record.is_some_and(|record| {
                    self.may_resolve(protocol, record, seen.version, &finding)
                }) {
                    self.in_flight.push(Message::Swap {
                        judged: Judged {
                            version: seen.version,
                            attempt: seen.attempt,
                        },
                        write: Box::new(Swap::Resolve(finding)),
                    });
                }
            }
        }
    }
}
