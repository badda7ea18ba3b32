use crate::TaskError;
use crate::request::GenerationArguments;
use crate::yaml::{Fields, Node, NodeKind};

/// The `generation_kwargs` of a task. Without any, generation is greedy; without `until` it ends
/// at the delimiter between examples.
pub(super) fn read(
    node: Option<&Node>,
    fewshot_delimiter: &str,
) -> Result<GenerationArguments, TaskError> {
    let mut arguments = GenerationArguments {
        until: vec![fewshot_delimiter.to_owned()],
        max_gen_toks: 256,
        do_sample: false,
        temperature: 0.0,
        top_p: None,
        top_k: None,
    };
    let Some(node) = node else { return Ok(arguments) };
    let mut fields = Fields::of(node, "generation_kwargs")?;
    if let Some(until) = fields.take_even_null("until") {
        arguments.until = until_of(&until)?;
    }
    let mut longest = None;
    for key in ["max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"] {
        // The first of these names that is given counts.
        let given = fields.take_with(key, Node::whole)?;
        longest = longest.or(given);
    }
    arguments.max_gen_toks = longest.unwrap_or(arguments.max_gen_toks);
    let temperature = fields.take_with("temperature", Node::number)?;
    let do_sample = fields.take_with("do_sample", Node::boolean)?;
    arguments.do_sample =
        do_sample.unwrap_or(temperature.is_some_and(|t| t > 0.0)) && temperature != Some(0.0);
    if arguments.do_sample {
        arguments.temperature = temperature.unwrap_or(1.0);
    }
    arguments.top_p = fields.take_with("top_p", Node::number)?;
    arguments.top_k = fields.take_with("top_k", Node::whole)?;
    fields.finish()?;
    Ok(arguments)
}

fn until_of(node: &Node) -> Result<Vec<String>, TaskError> {
    if node.is_null() {
        return Ok(Vec::new());
    }
    match &node.kind {
        NodeKind::Sequence(items) => {
            items.iter().map(|item| item.text("generation_kwargs.until")).collect()
        }
        _ => Ok(vec![node.text("generation_kwargs.until")?]),
    }
}
