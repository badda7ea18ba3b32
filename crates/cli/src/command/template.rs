use lora_moe::data::PromptTemplate;

/// The template of a name, or a text of the user's own.
pub fn template(name: &str) -> PromptTemplate {
    match name {
        "alpaca" => PromptTemplate::Alpaca,
        "plain" => PromptTemplate::Plain,
        "chat" => PromptTemplate::Chat,
        custom => PromptTemplate::Custom(custom.to_owned()),
    }
}
