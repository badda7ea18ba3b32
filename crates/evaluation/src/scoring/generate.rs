use model_zoo::{
    BatchGenerator, BatchPrompt, CausalLm, Generation, GenerationConfig, TextTokenizer,
};

use super::{ScoringError, ScoringOptions};

/// The prompts that are continued together: enough to fill batches until the last of them ends, and
/// few enough that an interruption does not cost much.
const TOGETHER: usize = 128;

/// A prompt to continue, with the index of its request.
pub(super) struct Prompt<'a> {
    pub(super) index: usize,
    pub(super) tokens: &'a [u32],
    pub(super) config: &'a GenerationConfig,
}

/// Continues prompts in an order of its own; `on_done` is told the place of each in `prompts`.
///
/// Prompts that begin alike are continued together, so that their beginning is computed once.
/// Those of requests that are all `known` are passed over.
pub(super) fn generate_all<M: CausalLm, E: From<ScoringError>>(
    model: &M,
    tokenizer: &TextTokenizer,
    options: &ScoringOptions,
    prompts: &[Prompt<'_>],
    known: &[bool],
    on_done: &mut dyn FnMut(usize, Generation) -> Result<(), E>,
) -> Result<(), E> {
    let generator = BatchGenerator {
        prompt_tokens: options.batch_tokens,
        cache_tokens: options.cache_tokens,
        ..BatchGenerator::new(model)
    };
    for family in together(prompts) {
        if family.iter().all(|place| known[prompts[*place].index]) {
            continue;
        }
        let batch: Vec<BatchPrompt<'_>> = family
            .iter()
            .map(|place| BatchPrompt {
                tokens: prompts[*place].tokens,
                config: prompts[*place].config,
            })
            .collect();
        let mut failed = None;
        let result = generator.run(tokenizer, &batch, &mut |place, generation| {
            on_done(family[place], generation).map_err(|error| {
                failed = Some(error);
                Interrupted(None)
            })
        });
        if let Err(Interrupted(error)) = result {
            return Err(match (failed, error) {
                (Some(error), _) => error,
                (None, Some(error)) => ScoringError::from(error).into(),
                (None, None) => return Ok(()),
            });
        }
    }
    Ok(())
}

/// A generation that failed, or, without an error, was stopped by the one who is told of it.
struct Interrupted(Option<model_zoo::GenerationError>);

impl From<model_zoo::GenerationError> for Interrupted {
    fn from(error: model_zoo::GenerationError) -> Self {
        Self(Some(error))
    }
}

/// The places of prompts that are continued together.
pub(super) fn together(prompts: &[Prompt<'_>]) -> Vec<Vec<usize>> {
    let families = families(prompts);
    families.iter().flat_map(|family| family.chunks(TOGETHER)).map(<[usize]>::to_vec).collect()
}

/// The places of prompts whose first 32 tokens are equal, and those of all others together.
fn families(prompts: &[Prompt<'_>]) -> Vec<Vec<usize>> {
    const ALIKE: usize = 32;
    let start = |place: usize| prompts[place].tokens.get(..ALIKE);
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by_key(|place| start(*place));
    let mut families = Vec::new();
    let mut others = Vec::new();
    for family in order.chunk_by(|a, b| start(*a) == start(*b)) {
        match start(family[0]) {
            // Too few to fill a batch are better together with others.
            Some(_) if family.len() >= ALIKE => families.push(family.to_vec()),
            _ => others.extend_from_slice(family),
        }
    }
    others.sort_unstable();
    families.extend((!others.is_empty()).then_some(others));
    families
}
