use std::path::Path;

use anyhow::{Context, Result, bail};
use lora_moe::model_zoo::LlamaConfig;
use lora_moe::moe_adapter::{ADAPTER_CONFIG_FILE, load_adapter};

use crate::args::InspectArgs;

/// Runs `lora-moe inspect`.
pub fn run(args: &InspectArgs, device: &str) -> Result<()> {
    if args.routing {
        return super::routing::run(args, device);
    }
    let folder = args.folder.as_deref().context("a folder is needed")?;
    if folder.join(ADAPTER_CONFIG_FILE).is_file() {
        adapter(folder)
    } else if folder.join("config.json").is_file() || folder.is_file() {
        model(folder)
    } else {
        bail!(
            "{}: neither a model folder (config.json) nor an adapter folder \
             ({ADAPTER_CONFIG_FILE})",
            folder.display()
        )
    }
}

#[allow(clippy::print_stdout)]
fn model(folder: &Path) -> Result<()> {
    let config = if folder.is_file() {
        LlamaConfig::from_file(folder)?
    } else {
        LlamaConfig::from_folder(folder)?
    };
    println!("family                llama");
    println!("parameters            {}", grouped(config.parameter_count()));
    println!("hidden_size           {}", config.hidden_size);
    println!("intermediate_size     {}", config.intermediate_size);
    println!("num_hidden_layers     {}", config.num_hidden_layers);
    println!(
        "attention heads       {} of {} (key/value: {})",
        config.num_attention_heads, config.head_dim, config.num_key_value_heads
    );
    println!("vocab_size            {}", config.vocab_size);
    println!("positions             {}", config.max_position_embeddings);
    println!("tie_word_embeddings   {}", config.tie_word_embeddings);
    println!("rope                  {:?}", config.rope);
    println!("target_modules        q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj");
    Ok(())
}

#[allow(clippy::print_stdout)]
fn adapter(folder: &Path) -> Result<()> {
    let (config, state) = load_adapter(folder)?;
    let parameters: usize = state.values().map(|data| data.num_elements()).sum();
    println!("{}", serde_json::to_string_pretty(&config)?);
    println!("trainable parameters  {}", grouped(parameters));
    println!("tensors               {}", state.len());
    for (name, data) in &state {
        println!("  {name} {:?}", data.shape().as_slice());
    }
    Ok(())
}

/// 1234567 as 1,234,567.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1234), "1,234");
        assert_eq!(grouped(6_738_415_616), "6,738,415,616");
    }
}
