//! Names of the things the books are kept for.

/// Who can be charged: an index below [`Config::consumers`](crate::Config::consumers). Idle is no consumer
/// here: its time is nobody's and its energy has its own line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub usize);

/// One physical energy counter: an index into [`Config::domains`](crate::Config::domains).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainId(pub usize);

/// A request. Any number will do, as long as no two requests that are resident at once share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);
