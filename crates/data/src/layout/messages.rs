use record_files::OrderedValue;

use super::keys::{Keys, found};
use super::tags::Speaker;
use crate::message::REASONING;
use crate::{DataError, Message, Role, tool_calls};

const TURNS: &str = "a list of {role, content} or {from, value}, or a text that is one as JSON";
const TEXT: &str = "a string, or a list of {\"type\": \"text\", \"text\"}";

impl Keys<'_> {
    /// Whether a column holds messages rather than a text.
    pub fn is_list(&self, key: &'static str) -> bool {
        matches!(self.get(key), Some(OrderedValue::Array(_)))
    }

    /// The turns in a column, and whether they are ShareGPT's.
    pub fn messages(&self, key: &'static str) -> Result<(Vec<Message>, bool), DataError> {
        let items = self.list(key, TURNS)?;
        let column = self.layout.column(key);
        let sharegpt = items
            .first()
            .is_some_and(|item| item.get("role").is_none() && item.get("from").is_some());
        let turn = |(index, item)| {
            Turn { keys: self, at: format!("{column}[{index}]"), item, sharegpt }.read()
        };
        let messages = items.iter().enumerate().map(turn).collect::<Result<Vec<_>, _>>()?;
        Ok((messages, sharegpt))
    }

    /// The descriptions of tools; a bare function is wrapped where turns are ShareGPT's, as
    /// templates expect it.
    pub fn tools(&self, sharegpt: bool) -> Result<Option<Vec<OrderedValue>>, DataError> {
        const ALLOWED: &str = "a list of objects, or a text that is one as JSON";
        let Some(value) = self.get("tools") else { return Ok(None) };
        if value.as_str().is_some_and(|text| text.trim().is_empty()) {
            return Ok(None);
        }
        let items = self.list("tools", ALLOWED)?;
        let tool = |(index, item): (usize, &OrderedValue)| {
            let parsed = item.as_str().and_then(tool_calls::object);
            let tool = parsed.unwrap_or_else(|| item.clone());
            match &tool {
                OrderedValue::Object(fields) => {
                    let bare = fields.contains_key("name") && !fields.contains_key("function");
                    Ok(if sharegpt && bare { tool_calls::wrapped(tool) } else { tool })
                }
                _ => {
                    let key = format!("{}[{index}]", self.layout.column("tools"));
                    self.wrong(key, found(Some(item)), "an object that describes a tool")
                }
            }
        };
        items.iter().enumerate().map(tool).collect::<Result<_, _>>().map(Some)
    }
}

/// One item of a conversation.
struct Turn<'a> {
    keys: &'a Keys<'a>,
    /// Column and index.
    at: String,
    item: &'a OrderedValue,
    sharegpt: bool,
}

impl Turn<'_> {
    fn wrong<T>(&self, key: &str, found: String, allowed: &'static str) -> Result<T, DataError> {
        self.keys.wrong(format!("{}{key}", self.at), found, allowed)
    }

    fn read(&self) -> Result<Message, DataError> {
        let Some(fields) = self.item.as_object() else {
            return self.wrong("", found(Some(self.item)), "{role, content} or {from, value}");
        };
        let tags = &self.keys.layout.file.tags;
        let (role_key, content_key) =
            if self.sharegpt { ("from", "value") } else { ("role", "content") };
        let role_key = tags.role_tag.as_deref().unwrap_or(role_key);
        let content_key = tags.content_tag.as_deref().unwrap_or(content_key);
        let speaker = self.speaker(role_key)?;
        let mut message = Message {
            role: match speaker {
                Speaker::Of(role) => role,
                Speaker::FunctionCall => Role::Assistant,
            },
            content: self.content(content_key)?,
            fields: Vec::new(),
            train: true,
        };
        let own = [role_key, content_key, "train", "weight"];
        for (key, value) in fields {
            if !own.contains(&key.as_str()) && !value.is_null() {
                message.fields.push((key.clone(), self.field(key, value, message.role)?));
            }
        }
        message.train = self.train(message.role)?;
        if speaker == Speaker::FunctionCall {
            self.call(&mut message, content_key)?;
        }
        self.check_content(&message, content_key)?;
        Ok(message)
    }

    fn speaker(&self, key: &str) -> Result<Speaker, DataError> {
        const ROLES: &str = "\"system\", \"developer\", \"user\", \"assistant\" or \"tool\"; `tags` \
                             gives names to others";
        const SHAREGPT: &str = "\"system\", \"human\", \"gpt\", \"function_call\", \"observation\" or \
                                \"tool\"; `tags` gives names to others";
        let value = self.item.get(key);
        let name = value.and_then(OrderedValue::as_str);
        let tags = &self.keys.layout.file.tags;
        match name.and_then(|name| tags.speaker(name, self.sharegpt)) {
            Some(speaker) => Ok(speaker),
            None => {
                let allowed = if self.sharegpt { SHAREGPT } else { ROLES };
                self.wrong(&format!(".{key}"), found(value), allowed)
            }
        }
    }

    /// A text, or the texts of a list of parts, one after the other.
    fn content(&self, key: &str) -> Result<Option<String>, DataError> {
        let parts = match self.item.get(key) {
            None | Some(OrderedValue::Null) => return Ok(None),
            Some(OrderedValue::String(text)) => return Ok(Some(text.clone())),
            Some(OrderedValue::Array(parts)) => parts,
            other => return self.wrong(&format!(".{key}"), found(other), TEXT),
        };
        let mut text = String::new();
        for (index, part) in parts.iter().enumerate() {
            let kind = part.get("type");
            if kind.and_then(OrderedValue::as_str) != Some("text") {
                let at = format!(".{key}[{index}].type");
                return self.wrong(&at, found(kind), "\"text\": models of text see nothing else");
            }
            match part.get("text").and_then(OrderedValue::as_str) {
                Some(more) => text += more,
                None => {
                    let at = format!(".{key}[{index}].text");
                    return self.wrong(&at, found(part.get("text")), "a string");
                }
            }
        }
        Ok(Some(text))
    }

    /// A field that a template may ask for.
    fn field(
        &self,
        key: &str,
        value: &OrderedValue,
        role: Role,
    ) -> Result<OrderedValue, DataError> {
        let at = format!(".{key}");
        let is_text = ["tool_call_id", "name"].contains(&key) || REASONING.contains(&key);
        if is_text && value.as_str().is_none() {
            return self.wrong(&at, found(Some(value)), "a string, or no such key");
        }
        if key != "tool_calls" {
            return Ok(value.clone());
        }
        // Some data sets hold the list as JSON in a text.
        let parsed = value.as_str().and_then(|text| serde_json::from_str(text).ok());
        let calls = parsed.unwrap_or_else(|| value.clone());
        if let Err((below, wrong, allowed)) = tool_calls::check(&calls) {
            return self.wrong(&format!("{at}{below}"), found(wrong), allowed);
        }
        let any = calls.as_array().is_some_and(|calls| !calls.is_empty());
        if any && role != Role::Assistant {
            let found = format!("in a turn of the {}", role.as_str());
            return self.wrong(&at, found, "in turns of the assistant only");
        }
        Ok(calls)
    }

    /// Whether the turn is learned: by `train`, or by OpenAI's `weight`.
    fn train(&self, role: Role) -> Result<bool, DataError> {
        let get = |key| self.item.get(key).filter(|value| !value.is_null());
        let train = match get("train") {
            None => None,
            Some(OrderedValue::Bool(train)) => Some(("train", *train)),
            other => return self.wrong(".train", found(other), "true or false"),
        };
        let weight = match get("weight") {
            None => None,
            Some(OrderedValue::Number(number)) if number.as_f64() == Some(0.0) => Some(false),
            Some(OrderedValue::Number(number)) if number.as_f64() == Some(1.0) => Some(true),
            other => return self.wrong(".weight", found(other), "0 or 1"),
        };
        let given = match (train, weight) {
            (Some((_, train)), Some(weight)) if train != weight => {
                let found = format!("{train} beside a `weight` that says {weight}");
                return self.wrong(".train", found, "one of both, or both the same");
            }
            (train, weight) => train.or(weight.map(|weight| ("weight", weight))),
        };
        match given {
            Some((key, true)) if role != Role::Assistant => {
                let found = format!("given to a turn of the {}", role.as_str());
                self.wrong(
                    &format!(".{key}"),
                    found,
                    "turns of the assistant: only they are learned",
                )
            }
            given => Ok(given.is_none_or(|(_, train)| train)),
        }
    }

    /// Turns a call that stands as JSON in place of the text into `tool_calls`.
    fn call(&self, message: &mut Message, content_key: &str) -> Result<(), DataError> {
        const ALLOWED: &str = "a call as JSON, {\"name\", \"arguments\"}, or a list of them";
        let calls = match serde_json::from_str(message.text()) {
            Ok(OrderedValue::Array(calls)) if !calls.is_empty() => calls,
            Ok(call @ OrderedValue::Object(_)) => vec![call],
            _ => {
                let found = found(self.item.get(content_key));
                return self.wrong(&format!(".{content_key}"), found, ALLOWED);
            }
        };
        let calls = OrderedValue::Array(calls.into_iter().map(tool_calls::wrapped).collect());
        if let Err((below, wrong, allowed)) = tool_calls::check(&calls) {
            return self.wrong(&format!(".{content_key}{below}"), found(wrong), allowed);
        }
        message.content = Some(String::new());
        message.fields.push(("tool_calls".into(), calls));
        Ok(())
    }

    /// Only a turn that does something else may say nothing.
    fn check_content(&self, message: &Message, content_key: &str) -> Result<(), DataError> {
        let calls = message.field("tool_calls").and_then(OrderedValue::as_array);
        let has_calls = calls.is_some_and(|calls| !calls.is_empty());
        let at = format!(".{content_key}");
        if message.content.is_none() && !has_calls {
            return self.wrong(&at, found(self.item.get(content_key)), TEXT);
        }
        let silent = message.text().trim().is_empty() && message.reasoning().trim().is_empty();
        if message.is_target() && silent && !has_calls {
            let allowed = "a string with something to learn, or a turn with \"train\": false";
            return self.wrong(&at, "empty".into(), allowed);
        }
        Ok(())
    }
}
