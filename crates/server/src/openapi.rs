//! The OpenAPI document, made from the handlers.
//!
//! The handlers declare what is theirs alone: parameters, answers, and the problems that
//! depend on what is asked for. What holds for every address (who may ask, what goes wrong
//! with any request, the media type of problems) is added here, once.

use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use foretell_platform::SECRET_HEADER;

use crate::auth::asks;
use crate::problem::MEDIA_TYPE;
use crate::route;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Foretell",
        description = "Honest forecasts for markets. Times are RFC 3339 in UTC; prices are in \
                       the quote currency; errors are problem+json (RFC 9457)."
    ),
    paths(
        route::latest_report,
        route::report,
        route::health,
        route::metrics,
        route::openapi,
        route::instruments,
        route::candles,
        route::latest,
        route::by_id,
        route::explain,
        route::verify,
        route::gaps,
        route::of_instrument,
        route::models,
        route::model,
        route::promote,
        route::file,
        route::predict,
        route::next_price,
        route::runs,
        route::start,
        route::show,
        route::reproduce,
        route::searches,
        route::river,
        route::parity,
        route::replay,
        route::features,
        route::events,
        route::socket
    )
)]
struct Document;

/// The OpenAPI document of this version.
pub fn document() -> Value {
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    document["components"]["securitySchemes"] = json!({
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "The token of a server that was given one, for every request.",
        },
        "secret": {
            "type": "apiKey",
            "in": "header",
            "name": SECRET_HEADER,
            "description": "Without a token: the secret of owner.json in the data directory, \
                            for requests that change something.",
        },
    });
    for (path, methods) in entries(&mut document["paths"]) {
        for (method, operation) in entries(methods) {
            amend(path, method, operation);
        }
    }
    document
}

fn entries(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flat_map(Map::iter_mut)
}

/// Adds to an operation what holds for all of its kind.
fn amend(path: &str, method: &str, operation: &mut Value) {
    let (post, changes) = (method == "post", method == "post" && !asks(path));
    operation["security"] = match (path, changes) {
        ("/health", _) => json!([]),
        (_, false) => json!([{}, { "token": [] }, { "secret": [] }]),
        (_, true) => json!([{ "token": [] }, { "secret": [] }]),
    };
    let mut problems = vec![403];
    if path != "/health" {
        problems.extend([401, 500]);
    }
    if operation.get("parameters").is_some() {
        problems.push(400);
    }
    if post {
        problems.push(415);
    }
    if operation.get("requestBody").is_some() {
        problems.extend([400, 413]);
    }
    for status in problems {
        let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
        operation["responses"][status.to_string()] =
            json!({ "description": "", "content": { MEDIA_TYPE: problem } });
    }
    let summary = operation["summary"].clone();
    for (status, response) in entries(&mut operation["responses"]) {
        let Some(words) = words(status) else {
            // The format asks for a description; the summary says what is answered.
            response["description"] = summary.clone();
            continue;
        };
        response["description"] = words.into();
        if let Some(content) = response["content"].as_object_mut()
            && let Some(problem) = content.remove("application/json")
        {
            content.insert(MEDIA_TYPE.to_owned(), problem);
        }
    }
}

/// What a problem of a status is.
fn words(status: &str) -> Option<&'static str> {
    Some(match status {
        "400" => "The request makes no sense.",
        "401" => "A token is needed.",
        "403" => "The secret of the data directory is needed, or the host is not this machine.",
        "404" => "There is no such thing.",
        "409" => "A stored result does not recompute, or the same work is going on.",
        "413" => "The body is too large.",
        "415" => "Only JSON is understood.",
        "426" => "A WebSocket is spoken here.",
        "422" => "What was sent is understood and refused.",
        "500" => "The work failed.",
        "503" => "The server is stopping.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every operation with its path and method.
    fn operations(document: &Value) -> Vec<(&String, &String, &Value)> {
        let paths = document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().iter().map(move |(m, o)| (path, m, o))
            })
            .collect()
    }

    /// Every reference anywhere in a value.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|v| references(v, found));
            }
            Value::Array(values) => values.iter().for_each(|v| references(v, found)),
            _ => {}
        }
    }

    #[test]
    fn the_document_keeps_the_rules_of_openapi() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3."));
        assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let target = document.pointer(reference.trim_start_matches('#'));
            assert!(target.is_some(), "{reference} leads nowhere");
        }
        let mut names = BTreeSet::new();
        for (path, method, operation) in operations(&document) {
            let place = format!("{method} {path}");
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{place}: {name} names another one too");
            let in_path: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
            let none = Vec::new();
            let parameters = operation["parameters"].as_array().unwrap_or(&none);
            let mut declared = BTreeSet::new();
            for parameter in parameters {
                let (name, at) = (&parameter["name"], &parameter["in"]);
                assert!(parameter["schema"].is_object(), "{place}: {name}");
                match at.as_str() {
                    Some("path") => {
                        assert_eq!(parameter["required"], true, "{place}: {name}");
                        declared.insert(name.as_str().unwrap());
                    }
                    Some("query") => assert_ne!(parameter["required"], true, "{place}: {name}"),
                    _ => panic!("{place}: {name} is in {at}"),
                }
            }
            assert_eq!(declared, in_path, "{place}");
            let responses = operation["responses"].as_object().unwrap();
            let done = ["200", "101"].into_iter().find(|s| responses.contains_key(*s));
            let done = done.unwrap_or_else(|| panic!("{place}: no answer when all is well"));
            for (status, response) in responses {
                assert!(response["description"].is_string(), "{place}: {status}");
                let content = response["content"].as_object().unwrap();
                assert!(!content.is_empty(), "{place}: {status}");
                if status != done {
                    let types: Vec<&String> = content.keys().collect();
                    assert_eq!(types, [MEDIA_TYPE], "{place}: {status}");
                }
            }
            for requirement in operation["security"].as_array().unwrap() {
                for scheme in requirement.as_object().unwrap().keys() {
                    let known = document["components"]["securitySchemes"].get(scheme);
                    assert!(known.is_some(), "{place}: {scheme}");
                }
            }
        }
    }

    #[test]
    fn queries_streams_and_problems_are_described() {
        let document = document();
        let candles = &document["paths"]["/api/v1/candles/{instrument}"]["get"];
        let of = |name: &str| {
            let parameters = candles["parameters"].as_array().unwrap();
            let found = parameters.iter().find(|p| p["name"] == name);
            found.map(|p| p["in"].as_str().unwrap().to_owned())
        };
        assert_eq!(of("instrument").as_deref(), Some("path"));
        for name in ["interval", "from", "to", "limit"] {
            assert_eq!(of(name).as_deref(), Some("query"), "{name}");
        }
        let reproduce = &document["paths"]["/api/v1/runs/{id}/reproduce"]["post"];
        let answers = reproduce["responses"]["200"]["content"].as_object().unwrap();
        assert!(answers.contains_key("application/json"));
        assert!(answers.contains_key("application/x-ndjson"));
        for status in ["400", "401", "403", "404", "409", "415", "500", "503"] {
            assert!(reproduce["responses"].get(status).is_some(), "{status}");
        }
        assert_eq!(reproduce["security"], json!([{ "token": [] }, { "secret": [] }]));
        assert_eq!(document["paths"]["/health"]["get"]["security"], json!([]));
    }
}
