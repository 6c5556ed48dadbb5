//! The same metrics in the older text format, for readers that ask for `text/plain` alone
//! (`promtool check metrics` reads nothing newer).
//!
//! That format names counters by their full name in HELP and TYPE and knows no units, no exemplars
//! and no end mark.

use super::contract::{CONTRACT, Kind};

/// Rewrites an OpenMetrics exposition of the contract's metrics.
#[must_use]
pub fn from_openmetrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            if let Some(rewritten) = comment_line(comment) {
                out.push_str(&rewritten);
                out.push('\n');
            }
        } else {
            out.push_str(without_exemplar(line));
            out.push('\n');
        }
    }
    out
}

fn comment_line(comment: &str) -> Option<String> {
    let (word, rest) = comment.split_once(' ')?;
    if word != "HELP" && word != "TYPE" {
        return None;
    }
    let (family, rest) = rest.split_once(' ')?;
    let counter = CONTRACT.iter().find(|m| m.kind == Kind::Counter && m.family() == family);
    Some(format!("# {word} {} {rest}", counter.map_or(family, |m| m.name)))
}

/// A sample up to its exemplar; label values may contain anything.
fn without_exemplar(line: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'#' if !quoted => return line[..at].trim_end(),
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_get_their_full_name_and_units_and_the_end_mark_go() {
        let text = "# HELP wattprobe_energy_joules Help.\n# TYPE wattprobe_energy_joules counter\n\
                    # UNIT wattprobe_energy_joules joules\nwattprobe_energy_joules_total{domain=\"a\"} 1.5\n# EOF\n";
        assert_eq!(
            from_openmetrics(text),
            "# HELP wattprobe_energy_joules_total Help.\n# TYPE wattprobe_energy_joules_total counter\n\
             wattprobe_energy_joules_total{domain=\"a\"} 1.5\n"
        );
    }

    #[test]
    fn exemplars_are_cut_and_label_values_are_not() {
        assert_eq!(
            without_exemplar("a_bucket{le=\"1.0\"} 3 # {request=\"7\"} 0.5"),
            "a_bucket{le=\"1.0\"} 3"
        );
        let tricky = "a{b=\"x \\\" # {y\"} 3";
        assert_eq!(without_exemplar(tricky), tricky);
    }
}
