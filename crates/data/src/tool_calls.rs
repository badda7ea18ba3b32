//! Calls of tools in a turn of the assistant: `{"type": "function", "function": {"name",
//! "arguments"}}`, or the function alone.

use record_files::OrderedValue;

/// Where the arguments of a call are, if it is one: the object with `name` and `arguments`.
fn function(call: &OrderedValue) -> &OrderedValue {
    call.get("function").unwrap_or(call)
}

/// What is wrong with calls: the key below `tool_calls`, what is found, and what is allowed.
pub(super) fn check(
    calls: &OrderedValue,
) -> Result<(), (String, Option<&OrderedValue>, &'static str)> {
    let Some(list) = calls.as_array() else {
        return Err((String::new(), Some(calls), "a list of calls"));
    };
    for (index, call) in list.iter().enumerate() {
        let wrong = |key: &str, found, allowed| Err((format!("[{index}]{key}"), found, allowed));
        if call.as_object().is_none() {
            return wrong("", Some(call), "an object with `function`");
        }
        let (at, function) = match call.get("function") {
            Some(function) => (".function", function),
            None => ("", call),
        };
        let name = function.get("name");
        if name.and_then(OrderedValue::as_str).is_none_or(str::is_empty) {
            return wrong(&format!("{at}.name"), name, "the name of a function");
        }
        match function.get("arguments") {
            None | Some(OrderedValue::Null | OrderedValue::Object(_)) => {}
            Some(OrderedValue::String(text)) if object(text).is_some() => {}
            found => {
                let allowed = "an object, or a text that is one as JSON";
                return wrong(&format!("{at}.arguments"), found, allowed);
            }
        }
    }
    Ok(())
}

/// The names of the functions that are called.
pub(super) fn names(calls: &OrderedValue) -> Vec<&str> {
    let calls = calls.as_array().unwrap_or_default();
    calls.iter().filter_map(|call| function(call).get("name")?.as_str()).collect()
}

/// The calls with arguments as objects.
pub(super) fn parsed(calls: &OrderedValue) -> OrderedValue {
    let mut calls = calls.clone();
    let OrderedValue::Array(list) = &mut calls else { return calls };
    for call in list {
        let OrderedValue::Object(fields) = call else { continue };
        let holder = match fields.get_mut("function") {
            Some(OrderedValue::Object(function)) => function,
            _ => fields,
        };
        if let Some(arguments) = holder.get_mut("arguments")
            && let Some(object) = arguments.as_str().and_then(object)
        {
            *arguments = object;
        }
    }
    calls
}

/// A text as a JSON object, if it is one.
pub(super) fn object(text: &str) -> Option<OrderedValue> {
    serde_json::from_str(text).ok().filter(|value: &OrderedValue| value.as_object().is_some())
}

/// A function as a call or a description of a tool: `{"type": "function", "function": …}`.
pub(super) fn wrapped(function: OrderedValue) -> OrderedValue {
    if function.get("function").is_some() {
        return function;
    }
    let fields = [("type".to_owned(), "function".into()), ("function".to_owned(), function)];
    OrderedValue::Object(fields.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_with_and_without_their_wrapping() {
        let calls = r#"[{"function": {"name": "f"}}, {"name": "g"}, {"id": 1}]"#;
        let calls: OrderedValue = serde_json::from_str(calls).unwrap();
        assert_eq!(names(&calls), ["f", "g"]);
        assert!(names(&OrderedValue::Null).is_empty());
    }
}
