//! Text and JSON with places to be filled in: `${field}`.
//!
//! In: a template of the configuration and the names of the fields there are; later their values. Out: text, a part of
//! a URL, or JSON. Never: evaluating anything. `$${` stands for `${` itself.
//!
//! In JSON, a string that is nothing but one placeholder becomes the field's own value, of its own type: with
//! `"times": "${times}"` a number is sent. In any other string the field's text is put in; what is no text is put in as
//! JSON. Member names are left as they are.

use serde_json::Value;

/// The values of the fields, by name.
pub type Fields = serde_json::Map<String, Value>;

/// A template is not sound. The template itself is not repeated: those of addresses and headers may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It names a field that does not exist.
    #[error("`${{{name}}}` is no field{}; there are: {fields}", did_you_mean(near.as_deref()))]
    UnknownField {
        /// The name it uses.
        name: String,
        /// The field that looks most like it.
        near: Option<String>,
        /// All there are.
        fields: String,
    },
    /// A placeholder is not closed.
    #[error("a `${{` has no `}}`")]
    Unclosed,
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"))
}

/// A text with places to be filled in.
#[derive(Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

impl Template {
    /// Reads a template that may use these fields.
    pub fn parse(template: &str, fields: &[&str]) -> Result<Template, TemplateError> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                text.push_str(before);
                text.push_str("${");
                rest = after;
                continue;
            }
            text.push_str(before);
            let (name, after) = after.split_once('}').ok_or(TemplateError::Unclosed)?;
            if !fields.contains(&name) {
                return Err(TemplateError::UnknownField {
                    name: name.to_owned(),
                    near: nearest(name, fields),
                    fields: fields.join(", "),
                });
            }
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Field(name.to_owned()));
            rest = after;
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Template(parts))
    }

    /// The text with every field's text in its place.
    pub fn text(&self, fields: &Fields) -> String {
        self.0.iter().map(|part| part.text(fields)).collect()
    }

    /// Like [`Template::text`], with every field percent-encoded, so that none can end the part of the URL it is in.
    pub fn url(&self, fields: &Fields) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Field(_) => percent_encode(&part.text(fields)),
            })
            .collect()
    }

    /// The value of its only field, when there is nothing else to it; its text otherwise.
    fn value(&self, fields: &Fields) -> Value {
        match self.0.as_slice() {
            [Part::Field(name)] => fields.get(name).cloned().unwrap_or_default(),
            _ => Value::String(self.text(fields)),
        }
    }

    /// The text before its first placeholder.
    pub fn beginning(&self) -> &str {
        match self.0.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// The fields it uses.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }
}

impl Part {
    fn text(&self, fields: &Fields) -> String {
        match self {
            Part::Text(text) => text.clone(),
            Part::Field(name) => match fields.get(name) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Null) | None => String::new(),
                Some(value) => value.to_string(),
            },
        }
    }
}

/// A JSON value whose strings are templates.
#[derive(Clone, PartialEq)]
pub struct JsonTemplate(Node);

#[derive(Clone, PartialEq)]
enum Node {
    Constant(Value),
    Template(Template),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl JsonTemplate {
    /// Reads a value whose strings may use these fields.
    pub fn parse(value: &Value, fields: &[&str]) -> Result<JsonTemplate, TemplateError> {
        Ok(JsonTemplate(Node::parse(value, fields)?))
    }

    /// The value with every field in its place.
    pub fn value(&self, fields: &Fields) -> Value {
        self.0.value(fields)
    }
}

impl Node {
    fn parse(value: &Value, fields: &[&str]) -> Result<Node, TemplateError> {
        Ok(match value {
            Value::String(text) => Node::Template(Template::parse(text, fields)?),
            Value::Array(items) => Node::List(
                items
                    .iter()
                    .map(|item| Node::parse(item, fields))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(members) => {
                let members = members
                    .iter()
                    .map(|(name, member)| Ok((name.clone(), Node::parse(member, fields)?)));
                Node::Object(members.collect::<Result<_, TemplateError>>()?)
            }
            constant => Node::Constant(constant.clone()),
        })
    }

    fn value(&self, fields: &Fields) -> Value {
        match self {
            Node::Constant(value) => value.clone(),
            Node::Template(template) => template.value(fields),
            Node::List(items) => items.iter().map(|item| item.value(fields)).collect(),
            Node::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|(name, member)| (name.clone(), member.value(fields)))
                    .collect(),
            ),
        }
    }
}

fn nearest(name: &str, fields: &[&str]) -> Option<String> {
    let near = fields.iter().map(|field| (strsim::jaro_winkler(name, field), *field));
    near.filter(|(alike, _)| *alike > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, field)| field.to_owned())
}

/// Everything but the unreserved characters of RFC 3986, section 2.3, as `%XX`.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_lone_placeholder_keeps_its_type_and_others_become_text() {
        let template = json!({"n": "${times}", "text": "${times} of ${label}", "list": ["$${times}", 1, null]});
        let template = JsonTemplate::parse(&template, &["times", "label"]).unwrap();
        assert_eq!(
            template.value(&fields(json!({"times": 3, "label": "L"}))),
            json!({"n": 3, "text": "3 of L", "list": ["${times}", 1, null]})
        );
    }

    #[test]
    fn a_field_cannot_leave_its_part_of_a_url() {
        let template = Template::parse("https://ci.example.com/jobs/${label}?k=${label}", &["label"]).unwrap();
        let url = template.url(&fields(json!({"label": "a/b?c#d&e ü"})));
        assert_eq!(
            url,
            "https://ci.example.com/jobs/a%2Fb%3Fc%23d%26e%20%C3%BC?k=a%2Fb%3Fc%23d%26e%20%C3%BC"
        );
    }

    #[test]
    fn a_misspelt_field_is_named_with_the_likely_one() {
        let error = Template::parse("${lable}", &["label", "times"]).err().unwrap();
        assert_eq!(
            error.to_string(),
            "`${lable}` is no field (did you mean `label`?); there are: label, times"
        );
        assert_eq!(Template::parse("a ${b", &["b"]).err(), Some(TemplateError::Unclosed));
    }

    proptest! {
        /// Law: a text without placeholders is itself, and values are never read as templates.
        #[test]
        fn values_are_never_read_as_templates(value in ".{0,20}") {
            let template = Template::parse("<${x}>", &["x"]).unwrap();
            prop_assert_eq!(template.text(&fields(json!({"x": value}))), format!("<{value}>"));
        }

        /// Law: no text makes the reader panic.
        #[test]
        fn no_text_makes_the_reader_panic(text in "[$\\{\\}a-c]{0,20}") {
            let _ = Template::parse(&text, &["a"]);
        }
    }
}
