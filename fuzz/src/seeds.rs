//! Files to begin with: small models and adapters of the tests, and texts that use every part of a
//! format.

use std::fs;

use lora_moe::finetune::run::run_template;
use lora_moe::moe_adapter::Preset;
use lora_moe::study::StudyConfig;

use crate::parsers::{ADAPTERS, BINARY_ROWS, TEXT_ROWS, TOKENIZER, archive, golden};

const TEMPLATES: [&str; 2] = [
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}{{ message['content'] | trim }}\
     {% if loop.last and add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}{% endfor %}",
    "{%- set ns = namespace(x=0) -%}{%- macro m(a, b=1) -%}{{ a ~ b }}{%- endmacro -%}{% if tools \
     is defined and tools %}{{ tools | tojson(indent=2) }}{% endif %}{% for x in messages[1:] if \
     x.role != 'system' %}{% generation %}{{ m(x.content.split(' ')[-1]) }}{% endgeneration %}\
     {% break %}{% else %}{{ raise_exception('no') }}{% endfor %}{{ range(3) | list | join(',') }}\
     {{ strftime_now('%Y') }}{{ bos_token }}{{ messages | selectattr('role', 'equalto', 'user') }}",
];

const TASKS: [&str; 3] = [
    "task: t\ntag: [a, b]\ndataset_path: rows\ntest_split: test\noutput_type: generate_until\n\
     doc_to_text: '{{q}} {% if a %}x{% endif %}'\ndoc_to_target: a\ngeneration_kwargs: {until: [\".\"], \
     max_gen_toks: 5}\nfilter_list:\n  - name: number\n    filter:\n      - function: regex\n        \
     regex_pattern: '(\\d+)'\n      - function: take_first\nmetric_list:\n  - metric: exact_match\n    \
     aggregation: mean\n    higher_is_better: true\nmetadata: {version: 1.0}\n",
    "task: t\ndataset_path: rows\ntest_split: test\noutput_type: multiple_choice\n\
     doc_to_text: '{{q}} ='\ndoc_to_choice: choices\ndoc_to_target: gold\nnum_fewshot: 1\n\
     fewshot_config: {sampler: first_n}\nmetric_list: [{metric: acc}, {metric: acc_norm}]\n",
    "task: t\ndataset_path: rows\ntest_split: test\noutput_type: loglikelihood_rolling\n\
     doc_to_text: ''\ndoc_to_target: &x '{{q|upper}}'\nshould_decontaminate: true\n\
     description: *x\nmetric_list:\n- {metric: word_perplexity}\n",
];

const ROWS: [&str; 5] = [
    "[{\"instruction\": \"a\", \"input\": \"\", \"output\": \"b\", \"task_type\": 1}]",
    "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \
     \"b\"}]}\n\n{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \
     \"c\"}]}, {\"role\": \"assistant\", \"content\": \"\\u00e9\"}]}\n",
    "instruction,input,output\n\"a, b\",,c\nd,e,\"f\"\"g\"\n1,2.5,True\n",
    "prompt\tcompletion\na\tb\n007\t-1e5\n",
    "one\r\ntwo\n\n\nthree\n",
];

const RUNS: [&str; 2] = [
    "[model]\npath = \"m\"\nquantization = \"nf4\"\n[adapter]\nr = 2\nlora_alpha = 4\nnum_experts = \
     4\ntop_k = 2\ntarget_modules = \"all-linear\"\nrank_pattern = { \"q_proj\" = 3 }\n[data]\ntrain = \
     [{ path = \"a.json\", task_type = 0, weight = 0.5 }]\nvalidation_split = 0.1\n[training]\n\
     output_dir = \"out\"\nlearning_rate = 1e-3\nmax_steps = 3\nnon_finite = { skip = 3 }\n",
    "[model]\npath = \"m\"\n[adapter]\npreset = \"mixlora-paper\"\n[data]\ntask = \"text\"\ntrain = [{ \
     path = \"a.csv\" }]\n[training]\noutput_dir = \"out\"\n",
];

/// `{"w": a tensor of 4}`, as `torch.save` says it.
const PICKLE: &[u8] = b"\x80\x02}q\x00X\x01\x00\x00\x00wq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02\
    ((X\x07\x00\x00\x00storageq\x03ctorch\nFloatStorage\nq\x04X\x01\x00\x00\x000q\x05X\x03\x00\x00\x00\
    cpuq\x06K\x04tq\x07QK\x00K\x04\x85q\x08K\x01\x85q\t\x89ccollections\nOrderedDict\nq\n)Rq\x0bt\
    q\x0cRq\rs.";

/// The seeds of a parser.
pub fn seeds(name: &str) -> Vec<Vec<u8>> {
    let golden = golden();
    let read = |path: &str| fs::read(golden.join(path)).expect("a golden file");
    let text = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let chosen = |texts: &[&[u8]]| {
        let numbered = texts.iter().enumerate();
        numbered.map(|(i, text)| [&[b'0' + i as u8], *text].concat()).collect()
    };
    // Only the files of tensors that are small.
    let tensors = archive(&[("a/data.pkl", PICKLE), ("a/data/0", &[0; 16]), ("a/version", b"3\n")]);
    match name {
        "model_config" => fs::read_dir(&golden)
            .expect("a folder")
            .filter_map(|entry| fs::read(entry.ok()?.path().join("config.json")).ok())
            .collect(),
        "weights" => vec![read("adapters/lora/adapter_model.safetensors"), Vec::new()],
        "shard_index" => text(&[
            "{\"metadata\": {\"total_size\": 10}, \"weight_map\": {\"x\": \"a.safetensors\"}}",
            "{\"weight_map\": {\"x\": \"../a.safetensors\", \"y\": \"/etc/passwd\"}}",
        ]),
        "pytorch" => vec![tensors],
        "pickle" => vec![PICKLE.to_vec()],
        "adapter_config" | "adapter_weights" => {
            let file = match name {
                "adapter_config" => "adapter_config.json",
                _ => "adapter_model.safetensors",
            };
            let files = ADAPTERS.iter().map(|layout| read(&format!("adapters/{layout}/{file}")));
            let files: Vec<_> = files.collect();
            chosen(&files.iter().map(Vec::as_slice).collect::<Vec<_>>())
        }
        "tokenizer" => text(&[
            TOKENIZER,
            r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Prepend","prepend":"_"},{"type":"Replace","pattern":{"Regex":"a+"},"content":"b"}]},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]},"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"a","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"a":{"id":"a","ids":[0],"tokens":["a"]}}},"decoder":{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},"model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":true,"ignore_merges":false,"vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}}"#,
            r#"{"version":"1.0","added_tokens":[],"normalizer":{"type":"Precompiled","precompiled_charsmap":"AAAA"},"pre_tokenizer":{"type":"Metaspace","replacement":"_","prepend_scheme":"always","split":true},"post_processor":null,"decoder":{"type":"Metaspace","replacement":"_","prepend_scheme":"always"},"model":{"type":"Unigram","unk_id":0,"vocab":[["<u>",0.0],["a",-1.5],["co",-2.0]],"byte_fallback":false}}"#,
        ]),
        "tokenizer_config" => {
            let config = "{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"ein\"}, \"chat_template\": \
                          [{\"name\": \"default\", \"template\": \"{{ messages[0].content }}\"}]}";
            let map = "{\"pad_token\": {\"content\": \"copy\"}}";
            let ids = "{\"eos_token_id\": [1, 2], \"pad_token_id\": 0}";
            chosen(&[config, map, ids].map(str::as_bytes))
        }
        "chat_template" => text(&TEMPLATES),
        "task" => text(&TASKS),
        "rows_text" => {
            assert_eq!(ROWS.len(), TEXT_ROWS.len());
            chosen(&ROWS.map(str::as_bytes))
        }
        "rows_binary" => {
            // Small files of each form, beside the tests of their reader.
            let files = ["rows.snappy.parquet", "times.arrow", "rows.lz4.feather"];
            let folder = golden.join("../../../record-files/tests/data");
            let read = |file: &&str| fs::read(folder.join(file)).expect("a file of the tests");
            let mut files: Vec<_> = files.iter().map(read).collect();
            files.push(b"\x1f\x8b\x08".to_vec());
            assert!(files.len() < BINARY_ROWS.len());
            chosen(&files.iter().map(Vec::as_slice).collect::<Vec<_>>())
        }
        "recipe" => {
            let presets = [Preset::LoramoePaper, Preset::GoatPaper].map(run_template);
            let mut seeds: Vec<_> = text(&RUNS);
            seeds.extend(presets.map(String::into_bytes));
            seeds
        }
        "study" => text(&[StudyConfig::DEFAULT_TOML]),
        "study_results" => text(&["{}", "{\"rows\": []}"]),
        _ => Vec::new(),
    }
}
