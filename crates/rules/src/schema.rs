//! The JSON Schema (draft-07) of rule files, for editors.
//!
//! In: the tables that the reader uses. Out: a schema. Never: a table of its own, so that it cannot say otherwise than
//! the reader. It cannot say everything: expressions, names that must exist, and fields of an event are the reader's.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::field_table::FIELDS;
use super::keys::{FILE, RULE};
use super::open::KINDS;
use super::shape::{Keys, Shape};
use super::value::Type;

/// The pattern of a span of time; that larger units stand first is [`sheriffd_event::parse_duration`]'s to say.
const DURATION: &str = r"^(\d+(d|h|m|s|ms))+$";
/// The pattern of a name.
const NAME: &str = "^[A-Za-z][A-Za-z0-9_-]{0,99}$";
/// The pattern of a text that is not only white space.
const NOT_EMPTY: &str = r"\S";

/// The schema of a rule file.
pub fn json_schema() -> Json {
    let mut schema = object(&FILE);
    if let Json::Object(map) = &mut schema {
        map.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
        map.insert("title".to_owned(), json!("sheriffd rule file"));
        map.insert("definitions".to_owned(), definitions());
    }
    schema
}

fn definitions() -> Json {
    json!({
        "open": { "oneOf": KINDS.iter().map(|kind| {
            let mut schema = object(kind.params);
            schema["properties"]["kind"] = json!({ "const": kind.kind.as_str(), "description": kind.doc });
            schema
        }).collect::<Vec<_>>() },
        "match": matches(),
    })
}

fn object(keys: &Keys) -> Json {
    let mut properties = Map::new();
    for key in keys.keys {
        let mut schema = shape(&key.shape);
        if let Json::Object(map) = &mut schema {
            map.insert("description".to_owned(), json!(key.doc));
        }
        properties.insert(key.name.to_owned(), schema);
    }
    let required: Vec<&str> = keys
        .keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    let mut schema =
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    if std::ptr::eq(keys, &RULE) {
        schema["anyOf"] = json!([{ "required": ["on"] }, { "required": ["schedule"] }]);
    }
    schema
}

fn shape(shape_of: &Shape) -> Json {
    match shape_of {
        Shape::Text | Shape::Time => json!({ "type": "string", "pattern": NOT_EMPTY }),
        Shape::Expression => json!({ "type": ["string", "boolean"], "pattern": NOT_EMPTY }),
        Shape::Name => json!({ "type": "string", "pattern": NAME }),
        Shape::Word(words) => json!({ "enum": words }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Int(low, high) if low == high => json!({ "const": low }),
        Shape::Int(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
        Shape::Number(low, high) => json!({ "type": "number", "minimum": low, "maximum": high }),
        Shape::Duration => json!({ "type": "string", "pattern": DURATION }),
        Shape::FieldName => json!({ "type": "string", "pattern": r"^event\.[a-z_]+$" }),
        // A reference cannot stand beside a description in draft-07.
        Shape::Open => json!({ "allOf": [{ "$ref": "#/definitions/open" }] }),
        Shape::Match => json!({ "allOf": [{ "$ref": "#/definitions/match" }] }),
        Shape::List(of) => json!({ "type": "array", "items": shape(of) }),
        Shape::OneOrMore(of) => json!({ "anyOf": [shape(of), { "type": "array", "items": shape(of), "minItems": 1 }] }),
        Shape::Keys(keys) => object(keys),
        Shape::Names(of) => json!({ "type": "object", "additionalProperties": shape(of) }),
        Shape::Either(a, b) => json!({ "anyOf": [shape(a), shape(b)] }),
        Shape::Scalar => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Any => json!({}),
    }
}

/// Fields of any event; which event has which is the reader's to say.
fn matches() -> Json {
    let mut fields: BTreeMap<&str, (Vec<Json>, &str)> = BTreeMap::new();
    for field in FIELDS.iter().filter(|field| field.is_matchable()) {
        let value = match (field.ty)() {
            Type::Text => json!({ "type": "string", "pattern": NOT_EMPTY }),
            Type::Bool => json!({ "type": "boolean" }),
            _ => json!({ "type": ["number", "string"] }),
        };
        let (values, _) = fields.entry(field.name).or_insert((Vec::new(), field.doc));
        if !values.contains(&value) {
            values.push(value);
        }
    }
    let list = json!({
        "type": "object",
        "properties": { "list": { "type": "string" } },
        "required": ["list"],
        "additionalProperties": false,
    });
    let properties: Map<String, Json> = fields
        .into_iter()
        .map(|(name, (values, doc))| {
            let plain = json!({ "anyOf": values.into_iter().chain([list.clone()]).collect::<Vec<_>>() });
            let many = |item: &Json| json!({ "type": "array", "items": item, "minItems": 1 });
            let not = json!({
                "type": "object",
                "properties": { "not": { "anyOf": [plain, many(&plain)] } },
                "required": ["not"],
                "additionalProperties": false,
            });
            let item = json!({ "anyOf": [plain, not] });
            (
                name.to_owned(),
                json!({ "anyOf": [item, many(&item)], "description": doc }),
            )
        })
        .collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}
