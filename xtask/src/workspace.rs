//! What `cargo metadata` says, as far as the checks ask.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

/// The part of `cargo metadata --format-version 1` that is looked at.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
    /// `Some([])` is `publish = false`.
    pub(crate) publish: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` is a normal dependency.
    pub(crate) kind: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
    pub(crate) src_path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Debug, Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn read() -> Result<Workspace, String> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
            .output()
            .map_err(|e| format!("cargo metadata cannot be run: {e}"))?;
        if !output.status.success() {
            return Err(format!("cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr)));
        }
        serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata is not understood: {e}"))
    }

    /// Our own crates.
    pub(crate) fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|p| self.workspace_members.contains(&p.id))
    }

    /// Whether a crate of this name is ours.
    pub(crate) fn is_ours(&self, name: &str) -> bool {
        self.ours().any(|p| p.name == name)
    }

    /// Every package that `package` is built from: its normal dependencies, theirs, and so on, each with the name
    /// of the one that brings it in.
    pub(crate) fn built_from(&self, package: &Package) -> Vec<(&Package, &str)> {
        let packages: HashMap<&str, &Package> = self.packages.iter().map(|p| (p.id.as_str(), p)).collect();
        let nodes: HashMap<&str, &Node> = self.resolve.nodes.iter().map(|n| (n.id.as_str(), n)).collect();
        let mut seen = BTreeSet::from([package.id.as_str()]);
        let mut to_visit = vec![package.id.as_str()];
        let mut found = Vec::new();
        while let Some(id) = to_visit.pop() {
            let Some(node) = nodes.get(id) else { continue };
            for edge in &node.deps {
                let normal = edge.dep_kinds.iter().any(|k| k.kind.is_none());
                if normal && seen.insert(&edge.pkg) {
                    to_visit.push(&edge.pkg);
                    if let (Some(p), Some(by)) = (packages.get(edge.pkg.as_str()), packages.get(id)) {
                        found.push((*p, by.name.as_str()));
                    }
                }
            }
        }
        found
    }
}

impl Package {
    /// `file:line` of the dependency `name` in this package's manifest.
    pub(crate) fn line_of(&self, name: &str) -> String {
        let text = std::fs::read_to_string(&self.manifest_path).unwrap_or_default();
        let names_it = |line: &str| {
            line.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
        };
        match text.lines().position(names_it) {
            Some(at) => format!("{}:{}", self.manifest_path.display(), at + 1),
            None => self.manifest_path.display().to_string(),
        }
    }
}
