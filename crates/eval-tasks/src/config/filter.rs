use serde_json::{Map, Value};

use crate::TaskError;
use crate::python::Pattern;
use crate::yaml::{Fields, Node, NodeKind, hint};

/// A named pipeline of filters, an entry of `filter_list`.
#[derive(Debug, Clone)]
pub struct FilterPipelineConfig {
    /// The name, which follows the metric's name in results.
    pub name: String,
    /// What is done, in order.
    pub steps: Vec<FilterStep>,
}

/// One filter.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FilterStep {
    /// The first answer.
    TakeFirst,
    /// The last answer.
    TakeLast,
    /// The first so many answers.
    TakeFirstK(usize),
    /// The most frequent answer; of equally frequent ones, the first.
    MajorityVote,
    /// Without white space at both ends.
    RemoveWhitespace,
    /// In lower case.
    Lowercase,
    /// In upper case.
    Uppercase,
    /// What a table says.
    Map {
        /// The table.
        values: Map<String, Value>,
        /// What is not in it.
        default: Value,
    },
    /// What a pattern finds.
    Regex(RegexStep),
    /// The letter of the choice that is found.
    MultiChoiceRegex {
        /// The pattern that is tried first.
        regex: RegexStep,
        /// Compare choices and answer in lower case.
        ignore_case: bool,
        /// Compare without punctuation.
        ignore_punctuation: bool,
        /// Compare without what these patterns match.
        regexes_to_ignore: Vec<Pattern>,
    },
}

/// A pattern and which of its matches is taken.
#[derive(Debug, Clone)]
pub struct RegexStep {
    pub(crate) pattern: Pattern,
    /// The index of the match; from the end if below 0.
    pub(crate) select: i64,
    /// What is taken where nothing matches.
    pub(crate) fallback: String,
}

const KNOWN: [&str; 11] = [
    "regex",
    "multi_choice_regex",
    "take_first",
    "take_last",
    "take_first_k",
    "majority_vote",
    "remove_whitespace",
    "strip",
    "lowercase",
    "uppercase",
    "map",
];

pub(crate) fn pipelines(node: &Node, key: &str) -> Result<Vec<FilterPipelineConfig>, TaskError> {
    node.items(key)?.iter().map(|entry| pipeline(entry, key)).collect()
}

fn pipeline(node: &Node, key: &str) -> Result<FilterPipelineConfig, TaskError> {
    let mut fields = Fields::of(node, key)?;
    let name = fields.need("name", "results are named by it")?.name("filter_list.name")?;
    let list = fields.need("filter", "it lists what is done")?;
    fields.finish()?;
    let items = match &list.kind {
        NodeKind::Mapping(_) => std::slice::from_ref(&list),
        _ => list.items("filter_list.filter")?,
    };
    let steps = items.iter().map(step).collect::<Result<_, _>>()?;
    Ok(FilterPipelineConfig { name, steps })
}

fn step(node: &Node) -> Result<FilterStep, TaskError> {
    let mut fields = Fields::of(node, "filter_list.filter")?;
    let function = fields.need("function", "it names the filter")?;
    let name = function.text("filter_list.filter.function")?;
    let step = match name.as_str() {
        "take_first" => FilterStep::TakeFirst,
        "take_last" => FilterStep::TakeLast,
        "take_first_k" => FilterStep::TakeFirstK(
            fields.need("k", "it says how many answers are kept")?.whole("filter_list.filter.k")?,
        ),
        "majority_vote" => FilterStep::MajorityVote,
        "remove_whitespace" | "strip" => FilterStep::RemoveWhitespace,
        "lowercase" => FilterStep::Lowercase,
        "uppercase" => FilterStep::Uppercase,
        "map" => {
            let table = fields.take_with("mapping_dict", Node::to_value)?;
            let default = fields.take_with("default_value", Node::to_value)?;
            let values = match table {
                Some(Value::Object(values)) => values,
                None => Map::new(),
                Some(_) => return Err(node.wrong("filter_list.filter.mapping_dict", "a mapping")),
            };
            FilterStep::Map { values, default: default.unwrap_or(Value::Null) }
        }
        "regex" => FilterStep::Regex(regex(&mut fields)?),
        "multi_choice_regex" => FilterStep::MultiChoiceRegex {
            regex: regex(&mut fields)?,
            ignore_case: fields.take_with("ignore_case", Node::boolean)?.unwrap_or(false),
            ignore_punctuation: fields
                .take_with("ignore_punctuation", Node::boolean)?
                .unwrap_or(false),
            regexes_to_ignore: fields.take_with("regexes_to_ignore", patterns)?.unwrap_or_default(),
        },
        _ => {
            let allowed = format!("a known filter{}", hint(&name, &KNOWN));
            return Err(function.wrong("filter_list.filter.function", &allowed));
        }
    };
    fields.finish()?;
    Ok(step)
}

fn regex(fields: &mut Fields) -> Result<RegexStep, TaskError> {
    let pattern = match fields.take("regex_pattern") {
        Some(node) => pattern(&node, "filter_list.filter.regex_pattern")?,
        None => Pattern::new(r"#### (\-?[0-9\.\,]+)")
            .map_err(|message| TaskError::Yaml { place: fields.place().to_string(), message })?,
    };
    let select = fields.take_with("group_select", |node, key| {
        node.scalar().and_then(Value::as_i64).ok_or_else(|| node.wrong(key, "a whole number"))
    })?;
    let fallback = fields.take_with("fallback", Node::text)?;
    Ok(RegexStep {
        pattern,
        select: select.unwrap_or(0),
        fallback: fallback.unwrap_or_else(|| "[invalid]".into()),
    })
}

fn pattern(node: &Node, key: &str) -> Result<Pattern, TaskError> {
    Pattern::new(&node.name(key)?)
        .map_err(|message| node.wrong(key, &format!("a regular expression ({message})")))
}

/// A pattern or a list of patterns.
pub(super) fn patterns(node: &Node, key: &str) -> Result<Vec<Pattern>, TaskError> {
    match &node.kind {
        NodeKind::Sequence(items) => items.iter().map(|item| pattern(item, key)).collect(),
        _ => Ok(vec![pattern(node, key)?]),
    }
}
