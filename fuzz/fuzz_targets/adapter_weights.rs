#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lora_moe_fuzz::guided("adapter_weights", data));
