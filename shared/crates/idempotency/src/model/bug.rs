//! Deviations that the protocol forbids.

/// One deviation from the protocol, planted to check that the search finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    // Claims
    WorkOnAnAbsentRecord,
    /// A takeover replaces any record that it finds.
    BlindTakeover,
    /// A claim's compare-and-set compares only `rev`.
    ClaimByRevAlone,
    /// A claim's compare-and-set compares `attempt` instead of the version.
    ClaimByAttempt,
    /// A claim that replaces a released record keeps the record's `finished_at`. So MongoDB's TTL index deletes the
    /// running record.
    KeepFinishedAt,
    /// A claim is answered regardless of its fingerprint.
    AnswerAnyRequest,
    // Changes
    UnfencedComplete,
    FinalWithoutAcknowledgement,
    ReleaseDeletes,
    /// A release after a takeover leaves the record in the state `released`.
    ReleaseForTheAttemptBefore,
    NoteOverALaterOne,
    // Renewals
    /// A holder keeps its revision after an unacknowledged write, so the holder mistakes a later write for its
    /// own renewal.
    KeepTheRevision,
    // Resolving
    ResolveKeepsTheOwner,
    ReleasedForALiveOwner,
    /// A resolution's compare-and-set compares `rev`, but not the owner.
    ResolveWithoutOwner,
    /// A resolution's compare-and-set compares the owner, but not `rev`.
    ResolveWithoutRev,
    /// Another request may claim a reopened key, as if the key were released.
    ReopenedWithoutTakeover,
    // Redis as a cache
    CompleteToBothAtOnce,
    UnfinishedReplacesAResult,
    LoserRewritesRedis,
    /// An older result replaces a newer result.
    OlderResultReplaces,
    /// Redis replays a result for longer than MongoDB's retention.
    ResultOutlivesRetention,
    /// Redis reports a mismatch even if the key has only a claim.
    MismatchFromAClaim,
    // Redis alone
    RecordExpiresWithItsLease,
    // MongoDB
    ReadConcernLocal,
    WriteConcernOne,
}
