//! What the targets of a run are called: the user's names, else what their control groups say, else what was asked for.

use std::collections::BTreeMap;

use super::Selector;

/// A target as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSpec {
    /// How to find it.
    pub selector: Selector,
    /// The name the user gave it.
    pub name: Option<String>,
}

impl TargetSpec {
    /// The user's name, else one made from the selector.
    #[must_use]
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.selector.label())
    }
}

/// One name for each target. `found` is what control groups call them; it is not taken where two targets would share it, as two
/// ports of one container do, or where it is `reserved`.
///
/// The labels of `specs` must differ.
#[must_use]
pub fn names(
    specs: &[TargetSpec],
    found: &[Option<String>],
    reserved: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    let labels: Vec<String> = specs.iter().map(TargetSpec::label).collect();
    let wished = specs.iter().zip(found);
    let wished = wished.map(|(spec, found)| found.as_deref().filter(|_| spec.name.is_none()));
    for name in wished.clone().flatten().chain(labels.iter().map(String::as_str)) {
        *count.entry(name).or_default() += 1;
    }
    let sole = |name: &&str, label: &str| {
        count.get(*name).copied().unwrap_or(0) == 1 + usize::from(*name == label)
    };
    let name = |(wish, label): (Option<&str>, &String)| {
        wish.filter(|name| sole(name, label) && !reserved(name)).unwrap_or(label).to_owned()
    };
    wished.zip(&labels).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(targets: &[(u16, Option<&str>, Option<&str>)]) -> Vec<String> {
        let spec = |(port, name, _): &(u16, Option<&str>, _)| TargetSpec {
            selector: Selector::Port(*port),
            name: name.map(str::to_owned),
        };
        let specs: Vec<_> = targets.iter().map(spec).collect();
        let found: Vec<_> = targets.iter().map(|(_, _, found)| found.map(str::to_owned)).collect();
        names(&specs, &found, |name| name == "self")
    }

    #[test]
    fn the_user_s_name_comes_before_the_control_group_s_and_that_before_the_selector_s() {
        let targets = [(1, Some("a"), Some("ollama")), (2, None, Some("ollama")), (3, None, None)];
        assert_eq!(of(&targets), ["a", "ollama", "port-3"]);
    }

    #[test]
    fn a_name_that_two_would_share_or_the_books_use_is_nobody_s() {
        assert_eq!(of(&[(1, None, Some("x")), (2, None, Some("x"))]), ["port-1", "port-2"]);
        assert_eq!(of(&[(1, None, Some("x")), (2, Some("x"), None)]), ["port-1", "x"]);
        assert_eq!(of(&[(1, None, Some("port-2")), (2, None, None)]), ["port-1", "port-2"]);
        assert_eq!(of(&[(1, None, Some("port-1"))]), ["port-1"]);
        assert_eq!(of(&[(1, None, Some("self"))]), ["port-1"]);
    }
}
