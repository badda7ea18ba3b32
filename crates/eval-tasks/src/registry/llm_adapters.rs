//! The sets of LLM-Adapters (Hu et al. 2023, `AGI-Edgerunners/LLM-Adapters`): eight of common
//! sense, where the answer is 'the correct answer is …', and seven of arithmetic, where the last
//! number counts. Each is there twice: with the Alpaca prompt as this workspace trains with it, and
//! as `…_verbatim` with the project's own text, whose lines are indented.

/// Names, folders, what is looked for in an answer, and what the other answers would be.
const COMMONSENSE: [(&str, &str, &str); 8] = [
    ("boolq", "boolq", "true|false"),
    ("piqa", "piqa", "solution1|solution2"),
    ("social_iqa", "social_i_qa", ANSWERS),
    ("hellaswag", "hellaswag", "ending1|ending2|ending3|ending4"),
    ("winogrande", "winogrande", "option1|option2"),
    ("arc_easy", "ARC-Easy", ANSWERS),
    ("arc_challenge", "ARC-Challenge", ANSWERS),
    ("openbookqa", "openbookqa", ANSWERS),
];

const ANSWERS: &str = "answer1|answer2|answer3|answer4|answer5";

const ARITHMETIC: [(&str, &str); 7] = [
    ("multiarith", "MultiArith"),
    ("gsm8k", "gsm8k"),
    ("addsub", "AddSub"),
    ("aqua", "AQuA"),
    ("singleeq", "SingleEq"),
    ("svamp", "SVAMP"),
    ("mawps", "mawps"),
];

const TEMPLATE: &str = include_str!("../../tasks/llm_adapters_template.yaml");
const PREFIX: &str = "llm_adapters_";
const VERBATIM: &str = "_verbatim";

/// The names of the files.
pub(super) fn names() -> impl Iterator<Item = String> {
    let sets = COMMONSENSE.iter().map(|(name, ..)| *name);
    let sets = sets.chain(ARITHMETIC.iter().map(|(name, _)| *name));
    let all = sets.chain(["commonsense", "arithmetic"]);
    all.flat_map(|name| [format!("{PREFIX}{name}.yaml"), format!("{PREFIX}{name}{VERBATIM}.yaml")])
}

/// The text of a file.
pub(super) fn text(file: &str) -> Option<String> {
    let name = file.strip_suffix(".yaml")?.strip_prefix(PREFIX)?;
    if name == "template" {
        return Some(TEMPLATE.to_owned());
    }
    let (name, suffix) = match name.strip_suffix(VERBATIM) {
        Some(name) => (name, VERBATIM),
        None => (name, ""),
    };
    match name {
        "commonsense" => {
            return Some(group(
                name,
                suffix,
                COMMONSENSE.iter().map(|(name, ..)| *name),
                "exact_match",
            ));
        }
        "arithmetic" => {
            return Some(group(
                name,
                suffix,
                ARITHMETIC.iter().map(|(name, _)| *name),
                "number_match",
            ));
        }
        _ => {}
    }
    let commonsense = COMMONSENSE.iter().find(|(known, ..)| *known == name);
    let (folder, rest) = match commonsense {
        Some((_, folder, pattern)) => (*folder, choice(pattern, 32)),
        None => {
            let (_, folder) = ARITHMETIC.iter().find(|(known, _)| *known == name)?;
            (*folder, if name == "aqua" { choice("A|B|C|D|E", 256) } else { number() })
        }
    };
    Some(format!(
        "include: {PREFIX}template.yaml\ntask: {PREFIX}{name}{suffix}\ntask_alias: {name}\n\
        dataset_name: {folder}\n{}{rest}",
        if suffix.is_empty() { "" } else { INDENTED }
    ))
}

/// The prompt as the project's `evaluate.py` writes it, with its spaces.
const INDENTED: &str = "doc_to_text: \"Below is an instruction that describes a task. Write a \
    response that appropriately completes the request. \\n\\n                ### Instruction:\\n                \
    {{instruction}}\\n\\n                ### Response:\\n                \"\n";

/// The first of the words that an answer holds.
fn choice(pattern: &str, longest: usize) -> String {
    format!(
        "generation_kwargs: {{until: [], max_gen_toks: {longest}, do_sample: false}}\n\
        filter_list:\n- name: first-choice\n  filter:\n  - {{function: regex, regex_pattern: \
        \"{pattern}\", fallback: \"\"}}\n  - {{function: take_first}}\n\
        metric_list:\n- {{metric: exact_match, aggregation: mean, higher_is_better: true}}\n"
    )
}

/// The last number of an answer.
fn number() -> String {
    "generation_kwargs: {until: [], max_gen_toks: 256, do_sample: false}\n\
    filter_list:\n- name: last-number\n  filter:\n  - {function: regex, group_select: -1, \
    regex_pattern: \"-?\\\\d[\\\\d,]*\\\\.?\\\\d*\"}\n  - {function: take_first}\n\
    metric_list:\n- {metric: number_match, aggregation: mean, higher_is_better: true, \
    tolerance: 0.001}\n"
        .to_owned()
}

/// Papers give the plain mean of the sets.
fn group<'a>(
    name: &str,
    suffix: &str,
    sets: impl Iterator<Item = &'a str>,
    metric: &str,
) -> String {
    let members: Vec<String> = sets.map(|set| format!("{PREFIX}{set}{suffix}")).collect();
    let members = members.join(", ");
    let letters =
        if name == "arithmetic" { "- metric: exact_match\n  weight_by_size: false\n" } else { "" };
    format!(
        "group: {PREFIX}{name}{suffix}\ntask: [{members}]\naggregate_metric_list:\n\
        - metric: {metric}\n  weight_by_size: false\n{letters}"
    )
}
