use std::path::{Path, PathBuf};

use lora_moe::burn::tensor::Device;
use lora_moe::model_zoo::{Decoder, DecoderConfig};
use safetensors::tensor::{Dtype, TensorView, serialize};

use crate::support::{arg, succeeds, tiny_model};

/// A folder with a model, data, adapters, and what goes wrong with them.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Self { folder };
        let (model, data) = tiny_model(place.folder.path());
        let run = |name: &str, adapter: &str| {
            let output = place.path(name);
            let text = format!(
                "[model]\npath = {model:?}\n[adapter]\n{adapter}\n\
                 [data]\ntrain = [{{ path = {data:?} }}]\ntemplate = \"plain\"\n\
                 [training]\noutput_dir = {output:?}\nmax_steps = 1\n"
            );
            place.write(&format!("{name}.toml"), &text);
            place.path(&format!("{name}.toml"))
        };
        let lora = "preset = \"lora\"\nr = 2\nlora_alpha = 4\n\
                    target_modules = [\"q_proj\", \"v_proj\"]";
        succeeds(&["train", "--config", arg(&run("lora", lora))]);
        succeeds(&["train", "--config", arg(&run("mixture", "preset = \"loramoe-paper\"\nr = 2"))]);
        run("fresh", "preset = \"loramoe-paper\"\nr = 2");
        place.models(&model);
        place.data();
        place.texts();
        place
    }

    pub fn root(&self) -> &str {
        arg(self.folder.path())
    }

    /// A word of a command with the root in the place of `DIR`.
    pub fn fill(&self, word: &str) -> String {
        word.replace("DIR", self.root())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, self.fill(text)).unwrap();
    }

    fn models(&self, model: &Path) {
        let mut config = DecoderConfig::new(40, 48, 64, 2, 4);
        config.max_position_embeddings = 64;
        let wide: Decoder = Decoder::init_random(&config, 1, &Device::flex()).unwrap();
        wide.save(self.path("wide")).unwrap();
        for (name, without) in [
            ("no-tokenizer", "tokenizer.json"),
            ("no-weights", "model.safetensors"),
            ("no-config", "config.json"),
        ] {
            copy(model, &self.path(name));
            std::fs::remove_file(self.path(name).join(without)).unwrap();
        }
        copy(model, &self.path("cut"));
        let weights = self.path("cut").join("model.safetensors");
        let bytes = std::fs::read(&weights).unwrap();
        std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
        copy(model, &self.path("pointer"));
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
        std::fs::write(self.path("pointer").join("model.safetensors"), pointer).unwrap();
        copy(model, &self.path("other-family"));
        let path = self.path("other-family").join("config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(
            &path,
            text.replace("LlamaForCausalLM", "MambaForCausalLM").replace("\"llama\"", "\"mamba\""),
        )
        .unwrap();
        copy(model, &self.path("tied"));
        let path = self.path("tied").join("config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let tied = "\"tie_word_embeddings\": true";
        std::fs::write(&path, text.replace("\"tie_word_embeddings\": false", tied)).unwrap();
        copy(model, &self.path("mixtral"));
        let golden =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../model-zoo/tests/golden/mixtral");
        copy(&golden, &self.path("mixtral"));
        copy(&self.path("lora"), &self.path("no-adapter-weights"));
        std::fs::remove_file(self.path("no-adapter-weights/adapter_model.safetensors")).unwrap();
        copy(&self.path("lora"), &self.path("typed-adapter"));
        let path = self.path("typed-adapter/adapter_config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("\"r\":", "\"rr\":", 1)).unwrap();
    }

    fn data(&self) {
        self.write("empty.json", "[]");
        self.write("empty.jsonl", "");
        self.write("broken.json", "[{\"instruction\": \"a\", ");
        self.write("columns.json", "[{\"first\": \"a\", \"second\": \"b\"}]");
        self.write("typed.json", "[{\"instruction\": 3, \"output\": \"b\"}]");
        self.write("data.xlsx", "PK");
        self.write("rows.jsonl", "{\"q\": \"copy :\", \"c\": [\"a\", \"b\"], \"a\": 0}\n");
    }

    fn texts(&self) {
        let task = "task: t\ndataset_path: json\ndataset_kwargs:\n  data_files: {test: DIR/rows.jsonl}\n\
                    test_split: test\noutput_type: multiple_choice\ndoc_to_text: q\n\
                    doc_to_choice: c\ndoc_to_target: a\nmetric_list: [{metric: acc}]\n";
        self.write("task.yaml", task);
        self.write("typo.yaml", &task.replace("doc_to_text", "doc_to_txt"));
        self.write("metric.yaml", &task.replace("metric: acc", "metric: accuracy_score"));
        self.write("column.yaml", &task.replace("doc_to_text: q", "doc_to_text: '{{question}}'"));
        self.write("file.yaml", &task.replace("rows.jsonl", "absent.jsonl"));
        self.write("broken.toml", "[model\npath = 3\n");
        self.write("table.toml", "[model]\npath = \"m\"\n[adaptor]\nr = 2\n");
        self.write("study.toml", "seed = [0]\n[[methods]]\nname = \"x\"\npreset = \"lora\"\n");
        self.write("study-method.toml", "[[methods]]\nname = \"x\"\npreset = \"lorra\"\n");
        let view = TensorView::new(Dtype::I64, vec![1, 1], &[0; 8]).unwrap();
        let bytes = serialize([("input_ids", view)], None).unwrap();
        std::fs::write(self.path("in"), bytes).unwrap();
        self.write("demo.json", "{\"seeds\": 1}");
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
