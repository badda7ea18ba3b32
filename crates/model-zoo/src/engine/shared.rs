use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::row::Sink;
use super::{Adapter, EngineConfig, Request, Stats};

/// What the engine's thread and those that ask have in common.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) config: EngineConfig,
    pub(super) state: Mutex<State>,
    pub(super) wake: Condvar,
    pub(super) stats: Stats,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) queue: VecDeque<Pending>,
    pub(super) cancelled: BTreeSet<u64>,
    pub(super) adapters: BTreeMap<String, Arc<Adapter>>,
    /// Whether an adapter went since the engine last looked.
    pub(super) unloaded: bool,
    /// The number of the next request, and of the next adapter.
    pub(super) next: u64,
    /// Until when what runs may run, once nothing is taken in any longer.
    pub(super) closing: Option<Instant>,
}

/// A request that waits.
pub(super) struct Pending {
    pub(super) id: u64,
    pub(super) request: Request,
    pub(super) adapter: Option<Arc<Adapter>>,
    /// Taken when the request is over.
    pub(super) sink: Option<Sink>,
    pub(super) arrived: Instant,
}
