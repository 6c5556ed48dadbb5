//! How Grafana writes a dashboard down (schema 39, Grafana 10.4 and later).

use serde_json::{Value, json};

use super::panels::{Draw, Panel};
use crate::export::metrics::contract as metric;

/// The dashboard with the given panels.
#[must_use]
pub fn dashboard(panels: &[Panel]) -> Value {
    json!({
        "uid": "wattprobe-server",
        "title": "wattprobe: one server",
        "description": "What the requests of one inference server cost in joules. Generated from the metric table.",
        "tags": ["wattprobe", "energy"],
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "10s",
        "time": { "from": "now-30m", "to": "now" },
        "annotations": { "list": [] },
        "links": [],
        "templating": { "list": variables() },
        "panels": placed(panels),
    })
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn variables() -> Vec<Value> {
    let query = |name: &str, label: &str, query: String, multi: bool| {
        let mut variable = json!({
            "name": name,
            "label": label,
            "type": "query",
            "datasource": source(),
            "definition": query,
            "query": { "query": query, "refId": name },
            "refresh": 2,
            "sort": 1,
            "multi": multi,
            "includeAll": multi,
            "current": {},
            "options": [],
            "hide": 0,
            "regex": "",
            "skipUrlSync": false,
        });
        if multi {
            variable["allValue"] = json!(".+");
            variable["current"] = json!({ "selected": true, "text": "All", "value": "$__all" });
        }
        variable
    };
    let instances = format!("label_values({}, instance)", metric::BUILD_INFO.name);
    let targets =
        format!("label_values({}{{instance=\"$instance\"}}, target)", metric::IN_FLIGHT.name);
    vec![
        json!({
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "current": {},
            "options": [],
            "hide": 0,
            "includeAll": false,
            "multi": false,
            "refresh": 1,
            "regex": "",
            "skipUrlSync": false,
        }),
        query("instance", "Server", instances, false),
        query("target", "Target", targets, true),
    ]
}

fn height(draw: Draw) -> u64 {
    if draw == Draw::Stat { 4 } else { 8 }
}

/// Panels set from left to right, a new row when one does not fit.
fn placed(panels: &[Panel]) -> Vec<Value> {
    let (mut x, mut y, mut tallest) = (0, 0, 0);
    let mut placed = Vec::new();
    for (id, panel) in (1_u64..).zip(panels) {
        let tall = height(panel.draw);
        if x + panel.width > 24 || (tallest > 0 && tall != tallest) {
            (x, y) = (0, y + tallest);
        }
        placed.push(panel_json(id, panel, &json!({ "x": x, "y": y, "w": panel.width, "h": tall })));
        x += panel.width;
        tallest = tall;
    }
    placed
}

fn panel_json(id: u64, panel: &Panel, place: &Value) -> Value {
    let (kind, custom, options) = match panel.draw {
        Draw::Stat => ("stat", json!({}), stat_options()),
        Draw::Lines => ("timeseries", lines("none", 8), line_options()),
        Draw::Stack => ("timeseries", lines("normal", 40), line_options()),
        Draw::Table => (
            "table",
            json!({ "align": "auto", "cellOptions": { "type": "auto" } }),
            json!({ "showHeader": true }),
        ),
    };
    let mut value = json!({
        "id": id,
        "type": kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": source(),
        "gridPos": place,
        "fieldConfig": {
            "defaults": { "unit": panel.unit, "min": 0, "custom": custom },
            "overrides": [],
        },
        "options": options,
        "targets": targets(panel),
    });
    if panel.draw == Draw::Table {
        value["transformations"] =
            json!([{ "id": "organize", "options": { "excludeByName": { "Time": true } } }]);
    }
    value
}

fn lines(stacking: &str, fill: u64) -> Value {
    json!({
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": fill,
        "showPoints": "never",
        "spanNulls": false,
        "stacking": { "mode": stacking, "group": "A" },
    })
}

fn line_options() -> Value {
    json!({
        "legend": { "displayMode": "table", "placement": "bottom", "showLegend": true, "calcs": ["mean", "lastNotNull"] },
        "tooltip": { "mode": "multi", "sort": "desc" },
    })
}

fn stat_options() -> Value {
    json!({
        "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
    })
}

fn targets(panel: &Panel) -> Vec<Value> {
    let table = panel.draw == Draw::Table;
    let letters = ('A'..='Z').map(String::from);
    let targets = letters.zip(&panel.queries).map(|(letter, query)| {
        json!({
            "refId": letter,
            "datasource": source(),
            "editorMode": "code",
            "expr": query.expr,
            "legendFormat": query.legend,
            "range": !table,
            "instant": table,
            "format": if table { "table" } else { "time_series" },
            "exemplar": query.expr.contains("_bucket"),
        })
    });
    targets.collect()
}
