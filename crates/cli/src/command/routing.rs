use anyhow::{Context, Result, bail};
use lora_moe::adapter_formats::read_adapter;
use lora_moe::data::DataFile;
use lora_moe::device::parse_device;
use lora_moe::evaluation::routing::{DEAD_SHARE, RoutingReport, routing_statistics, write_routing};
use lora_moe::finetune::run::{DataConfig, load_model, load_samples, load_tokenizer};
use lora_moe::model_zoo::{CausalLm, LoadOptions};

use crate::args::InspectArgs;
use crate::command::template::template;

/// Runs `lora-moe inspect --routing`.
pub fn run(args: &InspectArgs, device: &str) -> Result<()> {
    let model = args.model.as_deref().context("--model is needed")?;
    let adapter = args.adapter.as_deref().context("--adapter is needed")?;
    let device = parse_device(device)?;
    // Before the model is read, which may take long.
    if !read_adapter(adapter)?.config.is_mixture() {
        bail!(
            "{}: the adapter has one expert and no router, so there is no routing to inspect",
            adapter.display()
        );
    }
    let tokenizer = load_tokenizer(model, Some(adapter))?;
    let model = load_model(model, Some(adapter), &LoadOptions::default(), &device)?;
    let data = DataConfig {
        template: template(&args.template),
        max_length: args.max_length,
        ..DataConfig::new(args.data.iter().map(DataFile::new).collect())
    };
    let max_length = args.max_length.min(model.max_positions());
    let (samples, report) = load_samples(&data.train, &data, max_length, &tokenizer)?;
    eprintln!("data: {report}");
    let report = routing_statistics(&model, &samples, args.batch_size)?.report(DEAD_SHARE);
    write_routing(&args.output, &report)
        .with_context(|| format!("cannot write to {}", args.output.display()))?;
    print(&report);
    eprintln!("routing.json, routing.csv and routing.html are in {}", args.output.display());
    Ok(())
}

#[allow(clippy::print_stdout)]
fn print(report: &RoutingReport) {
    println!(
        "{:32} {:>8} {:>8} {:>8} {:>5} {:>14}",
        "projection", "experts", "largest", "entropy", "dead", "specialisation"
    );
    for site in &report.sites {
        let specialisation =
            site.specialisation.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
        println!(
            "{:32} {:>8} {:>8.3} {:>8.3} {:>5} {specialisation:>14}",
            format!("layers.{}.{}", site.layer, site.module),
            site.experts,
            site.all.largest_share,
            site.all.weight_entropy,
            site.all.dead_experts.len(),
        );
    }
}
