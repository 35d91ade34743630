//! What the protocol forbids.

/// One deviation from the protocol, planted to see that the search finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    // Claims
    WorkOnAnAbsentRecord,
    /// A takeover replaces whatever record it finds.
    BlindTakeover,
    /// A claim's compare-and-set names `rev` alone.
    ClaimByRevAlone,
    /// A claim's compare-and-set names `attempt` instead of owner and `rev`.
    ClaimByAttempt,
    /// A claim over a released record keeps its `finished_at`, so that MongoDB's TTL index deletes the running one.
    KeepFinishedAt,
    /// A claim is answered whatever its fingerprint is.
    AnswerAnyRequest,
    // Changes
    UnfencedComplete,
    FinalWithoutAcknowledgement,
    ReleaseDeletes,
    /// A release after a takeover leaves `released`.
    ReleaseForTheAttemptBefore,
    NoteOverALaterOne,
    // Renewals
    /// A holder keeps its revision after a write that was not acknowledged, and a renewal takes the write after that for itself.
    KeepTheRevision,
    // Settling
    SettleKeepsTheOwner,
    ReleasedForALiveOwner,
    /// A settlement's compare-and-set names `rev` alone.
    SettleWithoutOwner,
    /// A settlement's compare-and-set names the owner alone.
    SettleWithoutRev,
    /// Another request takes a reopened key for a released one.
    ReopenedWithoutTakeover,
    // Redis in front
    CompleteToBothAtOnce,
    UnfinishedReplacesAResult,
    LoserRewritesRedis,
    /// An older result replaces a newer one.
    OlderResultReplaces,
    /// Redis answers a result for longer than MongoDB's retention.
    ResultOutlivesRetention,
    /// Redis answers a mismatch from a claim.
    MismatchFromAClaim,
    // Redis alone
    RecordExpiresWithItsLease,
    // MongoDB
    ReadConcernLocal,
    WriteConcernOne,
}
