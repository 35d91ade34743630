//! Tests that the search finds each planted bug.

use super::bug::Bug;
use super::protocol::{Layout, Protocol};

#[test]
fn each_planted_bug_is_found() {
    let (tiered, alone, notes) = (Protocol::TIERED, Protocol::REDIS_ALONE, Protocol::NOTES);
    let (renewals, resolving) = (Protocol::RENEWALS, Protocol::RESOLVING);
    let two_requests = Protocol {
        clients: 2,
        ..Protocol::TWO_REQUESTS
    };
    let (retention, from_nothing) = (Protocol::RETENTION, Protocol::RETENTION_FROM_NOTHING);
    let three_from_nothing = Protocol {
        clients: 3,
        doubts: false,
        resolutions: 0,
        ..from_nothing
    };
    let failover = Protocol::FAILOVER;
    let planted = [
        (tiered, Bug::WorkOnAnAbsentRecord),
        (tiered.rerun(), Bug::UnfencedComplete),
        (tiered.rerun(), Bug::BlindTakeover),
        (tiered.rerun(), Bug::CompleteToBothAtOnce),
        (tiered.rerun(), Bug::FinalWithoutAcknowledgement),
        (tiered, Bug::ReleaseDeletes),
        (tiered, Bug::UnfinishedReplacesAResult),
        (tiered, Bug::LoserRewritesRedis),
        (two_requests, Bug::MismatchFromAClaim),
        (two_requests, Bug::AnswerAnyRequest),
        (
            Protocol {
                requests: 2,
                doubts: true,
                ..three_from_nothing
            }
            .rerun(),
            Bug::ReleaseForTheAttemptBefore,
        ),
        (retention, Bug::ClaimByRevAlone),
        (retention, Bug::ClaimByAttempt),
        (three_from_nothing, Bug::KeepFinishedAt),
        (Protocol::RETENTION_IN_FRONT, Bug::ResultOutlivesRetention),
        (Protocol::REDIS_FAR_BEHIND, Bug::OlderResultReplaces),
        (alone, Bug::RecordExpiresWithItsLease),
        (notes, Bug::NoteOverALaterOne),
        (
            Protocol {
                layout: Layout::RedisAlone,
                ..notes
            },
            Bug::NoteOverALaterOne,
        ),
        (renewals, Bug::KeepTheRevision),
        (from_nothing, Bug::ResolveKeepsTheOwner),
        (from_nothing, Bug::ReleasedForALiveOwner),
        (resolving, Bug::ResolveWithoutOwner),
        (resolving, Bug::ResolveWithoutRev),
        (
            Protocol {
                requests: 2,
                ..from_nothing
            }
            .rerun(),
            Bug::ReopenedWithoutTakeover,
        ),
        (failover, Bug::ReadConcernLocal),
        (failover, Bug::WriteConcernOne),
    ];
    for (protocol, bug) in planted {
        let broken = protocol.with(bug).broken();
        assert!(!broken.is_empty(), "{bug:?} was not found");
    }
}
