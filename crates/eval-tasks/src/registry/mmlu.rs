//! MMLU: 57 tasks and 5 groups, written from one list.

/// The categories with their subjects.
const CATEGORIES: [(&str, &[&str]); 4] = [
    (
        "stem",
        &[
            "abstract_algebra",
            "anatomy",
            "astronomy",
            "college_biology",
            "college_chemistry",
            "college_computer_science",
            "college_mathematics",
            "college_physics",
            "computer_security",
            "conceptual_physics",
            "electrical_engineering",
            "elementary_mathematics",
            "high_school_biology",
            "high_school_chemistry",
            "high_school_computer_science",
            "high_school_mathematics",
            "high_school_physics",
            "high_school_statistics",
            "machine_learning",
        ],
    ),
    (
        "other",
        &[
            "business_ethics",
            "clinical_knowledge",
            "college_medicine",
            "global_facts",
            "human_aging",
            "management",
            "marketing",
            "medical_genetics",
            "miscellaneous",
            "nutrition",
            "professional_accounting",
            "professional_medicine",
            "virology",
        ],
    ),
    (
        "social_sciences",
        &[
            "econometrics",
            "high_school_geography",
            "high_school_government_and_politics",
            "high_school_macroeconomics",
            "high_school_microeconomics",
            "high_school_psychology",
            "human_sexuality",
            "professional_psychology",
            "public_relations",
            "security_studies",
            "sociology",
            "us_foreign_policy",
        ],
    ),
    (
        "humanities",
        &[
            "formal_logic",
            "high_school_european_history",
            "high_school_us_history",
            "high_school_world_history",
            "international_law",
            "jurisprudence",
            "logical_fallacies",
            "moral_disputes",
            "moral_scenarios",
            "philosophy",
            "prehistory",
            "professional_law",
            "world_religions",
        ],
    ),
];

const TEMPLATE: &str = include_str!("../../tasks/mmlu_template.yaml");

/// The names of the files.
pub(super) fn names() -> impl Iterator<Item = String> {
    let subjects = CATEGORIES.iter().flat_map(|(_, subjects)| subjects.iter());
    let groups = CATEGORIES.iter().map(|(category, _)| category);
    let all = groups.chain(subjects).map(|name| format!("mmlu_{name}.yaml"));
    std::iter::once("mmlu.yaml".to_owned()).chain(all)
}

/// The text of a file.
pub(super) fn text(name: &str) -> Option<String> {
    if name == "mmlu_template.yaml" {
        return Some(TEMPLATE.to_owned());
    }
    let name = name.strip_suffix(".yaml")?;
    if name == "mmlu" {
        let members = CATEGORIES.map(|(category, _)| format!("mmlu_{category}"));
        return Some(group("mmlu", "mmlu", &members.join(", ")));
    }
    let name = name.strip_prefix("mmlu_")?;
    for (category, subjects) in CATEGORIES {
        if name == category {
            let alias = category.replace('_', " ");
            return Some(group(&format!("mmlu_{name}"), &alias, &format!("mmlu_{name}_tasks")));
        }
        if subjects.contains(&name) {
            let title = name.replace('_', " ");
            return Some(format!(
                "include: mmlu_template.yaml\ntask: mmlu_{name}\ntask_alias: {name}\n\
                tag: mmlu_{category}_tasks\ndataset_name: {name}\ndescription: \"The following are \
                multiple choice questions (with answers) about {title}.\\n\\n\"\n"
            ));
        }
    }
    None
}

fn group(name: &str, alias: &str, members: &str) -> String {
    format!(
        "group: {name}\ngroup_alias: {alias}\ntask: [{members}]\naggregate_metric_list:\n\
        - metric: acc\n  weight_by_size: true\nmetadata: {{version: 2}}\n"
    )
}
