use std::path::Path;

use super::*;

/// Real data sets, where the workspace's material lies beside it.
#[test]
fn reads_published_data_sets() {
    let material = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/material/datasets");
    for (name, count) in [
        ("instruction_1100/instruction-data.json", 1100),
        ("gsm8k/train.jsonl", 7473),
        ("llm_adapters/SVAMP/test.json", 1000),
        ("llm_adapters/boolq/test.json", 3270),
        ("moe_peft/dummy_data.json", 64),
    ] {
        let path = material.join(name);
        if !path.exists() {
            println!("skipped: {} is absent", path.display());
            continue;
        }
        assert_eq!(read_records(&[path.into()]).unwrap().len(), count, "{name}");
    }
}
