//! Continues many sequences at once: what generates, evaluates and serves.
//!
//! An [`Engine`] works on a thread of its own and is asked while it runs;
//! [`BatchGenerator`](crate::BatchGenerator) and [`generate`](crate::generate()) give the same loop
//! their prompts and see it to its end.

mod adapter;
mod config;
mod error;
mod event;
mod here;
mod pass;
mod prefix;
mod request;
mod row;
mod scores;
mod shared;
mod stats;
mod step;
mod worker;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{CausalLm, TextTokenizer};
use moe_adapter::AdapterLayers;

pub use adapter::Adapter;
pub use config::EngineConfig;
pub use error::EngineError;
pub use event::{Event, LayerRouting, NewToken, TokenScore};
pub use request::Request;
pub use row::Sink;
pub use stats::{BUCKETS, Stats, Times};

pub(crate) use here::run_here;

use shared::{Pending, Shared};
use worker::Worker;

/// Continues many requests at once, over one copy of a base model and with any of its adapters.
///
/// Requests join and leave between steps. Rows of different adapters, and of none, are in one
/// batch: frozen linears are computed for all of them, and rows are grouped by adapter only for
/// what the adapters add. Long prompts are read in pieces between the steps of the running rows.
/// When the cache is full, the row that came last makes room and is read again later.
pub struct Engine {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    model: ModelFacts,
}

/// What requests are checked against.
#[derive(Debug, Clone)]
struct ModelFacts {
    vocab_size: usize,
    max_len: usize,
    eos: Vec<u32>,
}

impl Engine {
    /// Starts an engine over a model without adapters, outside of autodiff.
    ///
    /// # Errors
    ///
    /// [`EngineError`] when the thread cannot be started.
    pub fn start<M>(
        model: M,
        tokenizer: Arc<TextTokenizer>,
        config: EngineConfig,
    ) -> Result<Self, EngineError>
    where
        M: CausalLm + Sync + 'static,
    {
        let trained = model.max_positions();
        let max_len = config.max_len.unwrap_or(trained).min(config.cache_tokens);
        let eos = model.eos_token_ids().to_vec();
        let facts = ModelFacts { vocab_size: model.vocab_size(), max_len, eos };
        let shared = Arc::new(Shared { config, ..Shared::default() });
        let own = Arc::clone(&shared);
        let work = move || Worker::new(&model, Some(&tokenizer), &own).run();
        let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(work);
        let thread = thread.map_err(|error| EngineError::Model(error.to_string()))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)), model: facts })
    }

    /// The longest sequence, prompt and answer.
    pub fn max_len(&self) -> usize {
        self.model.max_len
    }

    /// The model's tokens that end a sequence.
    pub fn eos_token_ids(&self) -> &[u32] {
        &self.model.eos
    }

    /// The limits.
    pub fn config(&self) -> &EngineConfig {
        &self.shared.config
    }

    /// What was counted so far.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Takes requests in, all of them or none, and returns their numbers; each sink is given what
    /// becomes of its request, on the engine's thread.
    ///
    /// # Errors
    ///
    /// [`EngineError`] when a request cannot work, the queue is full, or the engine is ending.
    pub fn submit(&self, requests: Vec<(Request, Sink)>) -> Result<Vec<u64>, EngineError> {
        for (request, _) in &requests {
            self.check(request)?;
        }
        let mut state = lock(&self.shared.state);
        if state.closing.is_some() {
            return Err(EngineError::Closing);
        }
        let waiting = state.queue.len();
        // More requests at once than may wait are let in when nothing waits.
        if waiting > 0 && waiting + requests.len() > self.shared.config.max_queue {
            Stats::add(&self.shared.stats.refused, requests.len());
            return Err(EngineError::QueueFull { waiting });
        }
        let mut pending = Vec::with_capacity(requests.len());
        for (request, sink) in requests {
            let adapter = match &request.adapter {
                None => None,
                Some(name) => match state.adapters.get(name) {
                    Some(adapter) => Some(Arc::clone(adapter)),
                    None => {
                        let known: Vec<_> = state.adapters.keys().cloned().collect();
                        let (name, known) = (name.clone(), known.join(", "));
                        return Err(EngineError::UnknownAdapter { name, known });
                    }
                },
            };
            state.next += 1;
            let (id, sink, arrived) = (state.next, Some(sink), Instant::now());
            pending.push(Pending { id, request, adapter, sink, arrived });
        }
        let ids = pending.iter().map(|pending| pending.id).collect();
        state.queue.extend(pending);
        Stats::set(&self.shared.stats.waiting, state.queue.len());
        drop(state);
        self.shared.wake.notify_all();
        Ok(ids)
    }

    fn check(&self, request: &Request) -> Result<(), EngineError> {
        let invalid = |message: String| Err(EngineError::Invalid(message));
        let ModelFacts { vocab_size, max_len, .. } = self.model;
        let mut generation = request.generation.clone();
        generation.max_new_tokens = generation.max_new_tokens.max(1);
        if let Err(error) = generation.check() {
            return invalid(error.to_string());
        }
        let prompt = request.prompt.len();
        if prompt == 0 {
            return invalid("the prompt has no tokens".to_owned());
        }
        if let Some(token) = request.prompt.iter().find(|token| **token as usize >= vocab_size) {
            return invalid(format!(
                "the prompt has the token {token}, but the model knows only {vocab_size}"
            ));
        }
        let new = request.generation.max_new_tokens;
        if prompt.saturating_add(new) > max_len {
            return Err(EngineError::TooLong { prompt, new, most: max_len });
        }
        Ok(())
    }

    /// Ends a request whose client has left. Its sink is given nothing more.
    pub fn cancel(&self, id: u64) {
        lock(&self.shared.state).cancelled.insert(id);
        self.shared.wake.notify_all();
    }

    /// Lets requests name an adapter from now on.
    ///
    /// # Errors
    ///
    /// [`EngineError::KnownAdapter`] when there is one of this name.
    pub fn add_adapter(
        &self,
        name: &str,
        path: Option<PathBuf>,
        layers: AdapterLayers,
    ) -> Result<(), EngineError> {
        let mut state = lock(&self.shared.state);
        if state.adapters.contains_key(name) {
            return Err(EngineError::KnownAdapter { name: name.to_owned() });
        }
        state.next += 1;
        let (number, layers) = (state.next, Arc::new(layers));
        let adapter = Adapter { name: name.to_owned(), path, number, layers };
        state.adapters.insert(name.to_owned(), Arc::new(adapter));
        Ok(())
    }

    /// Forgets an adapter; requests that named it before are continued with it.
    ///
    /// # Errors
    ///
    /// [`EngineError::UnknownAdapter`] when there is none of this name.
    pub fn remove_adapter(&self, name: &str) -> Result<(), EngineError> {
        let mut state = lock(&self.shared.state);
        if state.adapters.remove(name).is_none() {
            let known: Vec<_> = state.adapters.keys().cloned().collect();
            let (name, known) = (name.to_owned(), known.join(", "));
            return Err(EngineError::UnknownAdapter { name, known });
        }
        state.unloaded = true;
        Ok(())
    }

    /// The adapters that there are.
    pub fn adapters(&self) -> Vec<Arc<Adapter>> {
        lock(&self.shared.state).adapters.values().cloned().collect()
    }

    /// Takes nothing in any longer; what is there may run for `limit`, and fails then.
    pub fn close(&self, limit: Duration) {
        let mut state = lock(&self.shared.state);
        state.closing.get_or_insert_with(|| Instant::now() + limit);
        drop(state);
        self.shared.wake.notify_all();
    }

    /// Whether the engine takes requests.
    pub fn is_open(&self) -> bool {
        let running = lock(&self.thread).as_ref().is_some_and(|thread| !thread.is_finished());
        running && lock(&self.shared.state).closing.is_none()
    }

    /// Whether everything that was taken in has ended, after [`close`](Self::close).
    pub fn is_done(&self) -> bool {
        lock(&self.thread).as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close(Duration::ZERO);
        if let Some(thread) = lock(&self.thread).take() {
            // One that panicked has nothing to say that was not said.
            drop(thread.join());
        }
    }
}

/// What a mutex holds; nothing here is left half-changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
