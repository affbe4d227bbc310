//! Everything that we are built from must be under a licence that lets us give it on under Apache-2.0.

use crate::workspace::Workspace;

/// Licences, as SPDX names them, whose code we may build from. None asks for more than a notice.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    // Data, not code: the list of root certificates that comes with rustls.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// One line for every package that we may not build from.
pub(crate) fn faults(workspace: &Workspace) -> Vec<String> {
    workspace
        .packages
        .iter()
        .filter_map(|package| {
            let why = match &package.license {
                None => "states no licence".to_owned(),
                Some(expression) => match allows(expression) {
                    Ok(true) => return None,
                    Ok(false) => format!("is under `{expression}`, which is not in the list of licences"),
                    Err(e) => format!("states `{expression}`, which is not a licence expression: {e}"),
                },
            };
            Some(format!("{} {} {why}; see xtask/src/licences.rs", package.name, package.version))
        })
        .collect()
}

/// Whether an SPDX expression can be met with [`ALLOWED`] licences alone.
fn allows(expression: &str) -> Result<bool, String> {
    // Before SPDX, crates wrote `MIT/Apache-2.0` for OR.
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = Words { words: spaced.split_whitespace().collect(), at: 0 };
    let met = words.any_of()?;
    match words.next() {
        None => Ok(met),
        Some(word) => Err(format!("`{word}` is not expected here")),
    }
}

/// A reader by descent: OR binds weakest, then AND, then WITH.
struct Words<'a> {
    words: Vec<&'a str>,
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.at).copied();
        self.at += usize::from(word.is_some());
        word
    }

    fn next_is(&mut self, wanted: &str) -> bool {
        let is = self.words.get(self.at).is_some_and(|w| *w == wanted);
        self.at += usize::from(is);
        is
    }

    fn any_of(&mut self) -> Result<bool, String> {
        let mut met = self.all_of()?;
        while self.next_is("OR") {
            met |= self.all_of()?;
        }
        Ok(met)
    }

    fn all_of(&mut self) -> Result<bool, String> {
        let mut met = self.one()?;
        while self.next_is("AND") {
            met &= self.one()?;
        }
        Ok(met)
    }

    fn one(&mut self) -> Result<bool, String> {
        match self.next() {
            Some("(") => {
                let met = self.any_of()?;
                if self.next_is(")") { Ok(met) } else { Err("a bracket is not closed".into()) }
            }
            None | Some(")" | "AND" | "OR" | "WITH") => Err("a licence is missing".into()),
            Some(name) if self.next_is("WITH") => {
                let exception = self.next().ok_or("WITH names no exception")?;
                Ok(ALLOWED.contains(&format!("{name} WITH {exception}").as_str()))
            }
            Some(name) => Ok(ALLOWED.contains(&name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, expected: Result<bool, ()>) {
        assert_eq!(allows(expression).map_err(|_| ()), expected, "{expression}");
    }

    #[test]
    fn either_side_of_or_and_both_sides_of_and_must_be_allowed() {
        check("MIT", Ok(true));
        check("GPL-3.0-only", Ok(false));
        check("GPL-3.0-only OR MIT", Ok(true));
        check("GPL-3.0-only AND MIT", Ok(false));
        check("MIT/Apache-2.0", Ok(true));
        check("MIT OR Apache-2.0 OR LGPL-2.1-or-later", Ok(true));
    }

    #[test]
    fn and_binds_closer_than_or_and_brackets_closest() {
        check("MIT OR GPL-3.0-only AND AGPL-3.0-only", Ok(true));
        check("(MIT OR GPL-3.0-only) AND AGPL-3.0-only", Ok(false));
        check("(MIT OR Apache-2.0) AND Unicode-3.0", Ok(true));
    }

    #[test]
    fn an_exception_is_part_of_the_licence() {
        check("Apache-2.0 WITH LLVM-exception", Ok(true));
        check("MIT WITH LLVM-exception", Ok(false));
    }

    #[test]
    fn what_is_no_expression_is_told() {
        for broken in ["", "MIT OR", "AND MIT", "(MIT", "MIT)", "MIT Apache-2.0", "MIT WITH"] {
            check(broken, Err(()));
        }
    }

    #[test]
    fn a_package_outside_of_the_list_is_named_with_its_licence() {
        let package = |name: &str, license: Option<&str>| {
            serde_json::json!({
                "id": name, "name": name, "version": "1.2.3", "license": license, "publish": null,
                "manifest_path": "/nowhere", "dependencies": [], "targets": [],
            })
        };
        let workspace = serde_json::from_value(serde_json::json!({
            "packages": [package("good", Some("MIT")), package("bad", Some("AGPL-3.0-only")), package("mute", None)],
            "workspace_members": [], "resolve": {"nodes": []},
        }))
        .unwrap();
        let found = faults(&workspace);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("bad 1.2.3 is under `AGPL-3.0-only`"), "{found:?}");
        assert!(found[1].starts_with("mute 1.2.3 states no licence"), "{found:?}");
    }

    #[test]
    fn everything_that_we_are_built_from_may_be_given_on() {
        let faults = faults(&Workspace::read().unwrap());
        assert!(faults.is_empty(), "{faults:#?}");
    }
}
