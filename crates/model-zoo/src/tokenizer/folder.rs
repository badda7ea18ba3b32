use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use tensor_files::write_atomically;
use tokenizers::Tokenizer;

use super::charsmap::check_charsmaps;
use super::chat::ChatTemplate;
use super::error::TokenizerError;
use super::text::{SpecialToken, TextTokenizer, guarded};

const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const CHAT_TEMPLATE: &str = "chat_template.jinja";

impl TextTokenizer {
    /// Reads the tokenizer of a Hugging Face folder.
    ///
    /// Needs `tokenizer.json`. Special tokens come from `tokenizer_config.json`, else from
    /// `special_tokens_map.json`, else by id from `generation_config.json` or `config.json`; the
    /// chat template from `chat_template.jinja`, else from `tokenizer_config.json`.
    ///
    /// # Errors
    ///
    /// [`TokenizerError`] when a file cannot be read or makes no sense.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, TokenizerError> {
        Self::from_folders(folder, None)
    }

    /// As [`from_folder`](Self::from_folder), with `generation_config.json` and `config.json` of
    /// the folder of the `model`, where the tokenizer is in one of its own.
    ///
    /// # Errors
    ///
    /// As [`from_folder`](Self::from_folder).
    pub fn from_folders(
        folder: impl AsRef<Path>,
        model: Option<&Path>,
    ) -> Result<Self, TokenizerError> {
        let folder = folder.as_ref();
        let model = model.unwrap_or(folder);
        let path = folder.join(TOKENIZER);
        let bytes = fs::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => TokenizerError::File {
                path: path.clone(),
                message: "is missing; put the one there that the model came with, or save it with \
                          the save_pretrained of a fast tokenizer of transformers"
                    .into(),
            },
            _ => TokenizerError::Io { path: path.clone(), source },
        })?;
        check_charsmaps(&bytes)
            .map_err(|message| TokenizerError::File { path: path.clone(), message })?;
        let tokenizer = guarded(|| Tokenizer::from_bytes(bytes)).map_err(|error| match error {
            TokenizerError::Text { message } => TokenizerError::File { path, message },
            other => other,
        })?;

        let config = read_object(&folder.join(TOKENIZER_CONFIG))?;
        let map = read_object(&folder.join("special_tokens_map.json"))?;
        let ids = [
            read_object(&model.join("generation_config.json"))?,
            read_object(&model.join("config.json"))?,
        ];
        let special = |role: &str| {
            let text = config.get(role).and_then(token_text);
            text.or_else(|| map.get(role).and_then(token_text)).or_else(|| {
                let id = ids.iter().find_map(|object| first_id(object.get(&format!("{role}_id"))?));
                id.and_then(|id| tokenizer.id_to_token(id))
            })
        };
        let [bos, eos, pad] = ["bos_token", "eos_token", "pad_token"].map(special);
        let template = chat_template(folder, &config)?;
        let mut this =
            Self::from_tokenizer(tokenizer, bos.as_deref(), eos.as_deref(), pad.as_deref())?;
        this.chat_template = template.map(|source| ChatTemplate::new(&source)).transpose()?;
        Ok(this)
    }

    /// Writes `tokenizer.json`, `tokenizer_config.json` and, where there is a chat template,
    /// `chat_template.jinja`.
    ///
    /// # Errors
    ///
    /// [`TokenizerError`] when the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), TokenizerError> {
        let folder = folder.as_ref();
        let io = |path: &Path, source| TokenizerError::Io { path: path.to_owned(), source };
        fs::create_dir_all(folder).map_err(|source| io(folder, source))?;
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            write_atomically(&path, text.as_bytes()).map_err(|source| io(&path, source))
        };
        let text = self
            .tokenizer
            .to_string(true)
            .map_err(|error| TokenizerError::Text { message: error.to_string() })?;
        write(TOKENIZER, &text)?;
        let token = |token: &Option<SpecialToken>| token.as_ref().map(|token| token.text.clone());
        let config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": token(&self.bos),
            "eos_token": token(&self.eos),
            "pad_token": token(&self.pad),
        });
        write(TOKENIZER_CONFIG, &format!("{config:#}\n"))?;
        match &self.chat_template {
            Some(template) => write(CHAT_TEMPLATE, &template.source),
            None => Ok(()),
        }
    }
}

/// The template as text: a file of its own, a string, or the one named `default` of a list.
fn chat_template(
    folder: &Path,
    config: &Map<String, Value>,
) -> Result<Option<String>, TokenizerError> {
    let path = folder.join(CHAT_TEMPLATE);
    if path.exists() {
        return fs::read_to_string(&path)
            .map(Some)
            .map_err(|source| TokenizerError::Io { path, source });
    }
    let wrong = |message: &str| TokenizerError::File {
        path: folder.join(TOKENIZER_CONFIG),
        message: format!("`chat_template` {message}"),
    };
    match config.get("chat_template") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(template)) => Ok(Some(template.clone())),
        Some(Value::Array(named)) => {
            let default = named.iter().find(|entry| entry["name"] == "default");
            let template = default.or(named.first()).and_then(|entry| entry["template"].as_str());
            let message = "has no entry with a `name` and a `template`";
            template.map(|text| Some(text.to_owned())).ok_or_else(|| wrong(message))
        }
        Some(_) => Err(wrong("is neither a string nor a list of named templates")),
    }
}

/// A special token as a string, or as an object with its `content`.
fn token_text(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
}

/// A token id, or the first of a list.
fn first_id(value: &Value) -> Option<u32> {
    let value = value.as_array().map_or(Some(value), |list| list.first())?;
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// The object in a JSON file; empty where there is no file.
fn read_object(path: &Path) -> Result<Map<String, Value>, TokenizerError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(source) => return Err(TokenizerError::Io { path: path.to_owned(), source }),
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| TokenizerError::File { path: path.to_owned(), message: error.to_string() })
}
