use serde::{Deserialize, Serialize};

use crate::Role;

/// How turns of conversations are written where that is not usual: `tags` of a data file, as in
/// LLaMA-Factory's `dataset_info.json`. Usual are OpenAI's `role` and `content`, and ShareGPT's
/// `from` and `value` with their roles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tags {
    /// The key of who speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_tag: Option<String>,
    /// The key of what is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_tag: Option<String>,
    /// The name of the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_tag: Option<String>,
    /// The name of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assistant_tag: Option<String>,
    /// The name of a tool's result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observation_tag: Option<String>,
    /// The name of the model when it calls a tool, with the call as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_tag: Option<String>,
    /// The name of standing instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_tag: Option<String>,
}

/// What a turn is by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaker {
    Of(Role),
    /// The assistant, with a call as JSON in place of a text.
    FunctionCall,
}

/// ShareGPT's names besides those of [`Role`].
const SHAREGPT: [(&str, Speaker); 4] = [
    ("human", Speaker::Of(Role::User)),
    ("gpt", Speaker::Of(Role::Assistant)),
    ("observation", Speaker::Of(Role::Tool)),
    ("function_call", Speaker::FunctionCall),
];

impl Tags {
    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Who speaks under a name; `sharegpt` where turns are `from` and `value`.
    pub(super) fn speaker(&self, name: &str, sharegpt: bool) -> Option<Speaker> {
        let given = [
            (&self.user_tag, Speaker::Of(Role::User)),
            (&self.assistant_tag, Speaker::Of(Role::Assistant)),
            (&self.observation_tag, Speaker::Of(Role::Tool)),
            (&self.function_tag, Speaker::FunctionCall),
            (&self.system_tag, Speaker::Of(Role::System)),
        ];
        let given = given.into_iter().find(|(tag, _)| tag.as_deref() == Some(name));
        let usual = || SHAREGPT.into_iter().find(|(usual, _)| sharegpt && *usual == name);
        given
            .map(|(_, speaker)| speaker)
            .or_else(|| Role::from_name(name).map(Speaker::Of))
            .or_else(|| usual().map(|(_, speaker)| speaker))
    }
}
