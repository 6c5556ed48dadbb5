//! Checks a summary's books without the product's own types: plain JSON, plain addition.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

/// One line for each equation; an error for the first that does not hold.
pub(crate) fn check(summary: &Value) -> Result<Vec<String>> {
    let domains = object(summary, "domains")?;
    ensure!(!domains.is_empty(), "the summary has no domain");
    let mut lines = Vec::new();
    for (name, domain) in domains {
        lines.push(check_domain(name, domain)?);
    }
    for (name, target) in object(summary, "targets")? {
        lines.push(check_target(name, target, domains)?);
    }
    Ok(lines)
}

fn check_domain(name: &str, domain: &Value) -> Result<String> {
    let measured = number(domain, "measured_nj")?;
    let (idle, residual) = (number(domain, "idle_nj")?, number(domain, "residual_nj")?);
    let mut active = 0;
    for consumer in object(domain, "consumers")?.values() {
        active += number(consumer, "active_nj")?;
    }
    let line = format!(
        "{name}: {measured} measured = {idle} idle + {residual} residual + {active} active"
    );
    if measured == idle + residual + active {
        return Ok(line);
    }
    bail!("the books of a domain do not close: {line}")
}

fn check_target(name: &str, target: &Value, domains: &Map<String, Value>) -> Result<String> {
    let (requests, background) = (number(target, "requests_nj")?, number(target, "background_nj")?);
    let mut active = 0;
    for domain in domains.values().filter(|domain| domain["additive"] == true) {
        if let Some(consumer) = object(domain, "consumers")?.get(name) {
            active += number(consumer, "active_nj")?;
        }
    }
    let line = format!("{name}: {active} active = {requests} requests + {background} background");
    if active == requests + background {
        return Ok(line);
    }
    bail!("the books of a target do not close: {line}")
}

fn object<'a>(value: &'a Value, field: &str) -> Result<&'a Map<String, Value>> {
    value[field].as_object().with_context(|| format!("the summary has no {field}"))
}

fn number(value: &Value, field: &str) -> Result<u64> {
    value[field].as_u64().with_context(|| format!("{field} is no integer"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn summary(residual: u64) -> Value {
        json!({
            "domains": {"package-0": {
                "measured_nj": 100, "idle_nj": 40, "residual_nj": residual, "additive": true,
                "consumers": {"demo": {"active_nj": 50}, "other": {"active_nj": 7}},
            }},
            "targets": {"demo": {"requests_nj": 45, "background_nj": 5}},
        })
    }

    #[test]
    fn books_that_close_give_one_line_an_equation() {
        let lines = check(&summary(3)).unwrap();
        assert_eq!(lines[0], "package-0: 100 measured = 40 idle + 3 residual + 57 active");
        assert_eq!(lines[1], "demo: 50 active = 45 requests + 5 background");
    }

    #[test]
    fn one_nanojoule_off_is_an_error() {
        let error = check(&summary(4)).unwrap_err().to_string();
        assert!(error.contains("4 residual"), "{error}");
    }
}
