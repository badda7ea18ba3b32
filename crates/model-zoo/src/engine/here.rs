use std::sync::mpsc;
use std::time::Instant;

use super::shared::{Pending, Shared};
use super::worker::Worker;
use super::{EngineConfig, Event, Request, lock};
use crate::{CausalLm, TextTokenizer};

/// Continues requests on this thread, until all have ended; `on_event` is told what becomes of each,
/// by its place, after every step. Without a tokenizer they have no text.
pub(crate) fn run_here<M: CausalLm, E>(
    model: &M,
    tokenizer: Option<&TextTokenizer>,
    config: EngineConfig,
    requests: Vec<Request>,
    on_event: &mut dyn FnMut(usize, Event) -> Result<(), E>,
) -> Result<(), E> {
    let shared = Shared { config, ..Shared::default() };
    let (sender, events) = mpsc::channel();
    let arrived = Instant::now();
    let pending = requests.into_iter().enumerate().map(|(place, request)| {
        let sender = sender.clone();
        let sink: super::Sink = Box::new(move |event| sender.send((place, event)).is_ok());
        Pending { id: place as u64, request, adapter: None, sink: Some(sink), arrived }
    });
    lock(&shared.state).queue.extend(pending);
    let mut worker = Worker::new(model, tokenizer, &shared);
    loop {
        let state = lock(&shared.state);
        if worker.is_idle() && state.queue.is_empty() {
            return Ok(());
        }
        worker.admit(state);
        worker.step();
        events.try_iter().try_for_each(|(place, event)| on_event(place, event))?;
    }
}
