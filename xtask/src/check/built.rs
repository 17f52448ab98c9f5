//! Which packages are really built. A lock file also names what a weak feature *could* bring (`rustls-webpki?/ring`), and
//! `cargo metadata` draws an edge to it; only edges that an enabled feature activates are followed here.

use cargo_metadata::{Dependency, Metadata, Node, Package, PackageId};
use std::collections::{HashMap, HashSet};

/// Every package that some member of the workspace builds on some target, members left out.
pub(crate) fn packages(metadata: &Metadata) -> Vec<&Package> {
    let packages: HashMap<&PackageId, &Package> = metadata.packages.iter().map(|it| (&it.id, it)).collect();
    let nodes: HashMap<&PackageId, &Node> =
        metadata.resolve.iter().flat_map(|it| &it.nodes).map(|node| (&node.id, node)).collect();
    let mut seen: HashSet<&PackageId> = metadata.workspace_members.iter().collect();
    let mut waiting: Vec<&PackageId> = metadata.workspace_members.iter().collect();
    while let Some(id) = waiting.pop() {
        let (Some(package), Some(node)) = (packages.get(id), nodes.get(id)) else { continue };
        for edge in &node.deps {
            let target = packages.get(&edge.pkg).map_or("", |it| it.name.as_str());
            let active = package.dependencies.iter().any(|it| it.name == target && is_active(it, package, node));
            if active && seen.insert(&edge.pkg) {
                waiting.push(&edge.pkg);
            }
        }
    }
    metadata
        .packages
        .iter()
        .filter(|package| seen.contains(&package.id) && !metadata.workspace_members.contains(&package.id))
        .collect()
}

fn is_active(dependency: &Dependency, package: &Package, node: &Node) -> bool {
    let name = dependency.rename.as_ref().unwrap_or(&dependency.name);
    !dependency.optional
        || node.features.iter().any(|enabled| {
            enabled.as_str() == name
                || package.features.get(enabled.as_str()).into_iter().flatten().any(|part| activates(part, name))
        })
}

/// Whether one entry of a feature's list turns the optional dependency on. `name?/feature` does not: it is the weak form.
fn activates(part: &str, name: &str) -> bool {
    part == name
        || part.strip_prefix("dep:") == Some(name)
        || part.split_once('/').is_some_and(|(dependency, _)| dependency == name)
}

#[cfg(test)]
mod tests {
    use super::activates;

    #[test]
    fn a_weak_feature_brings_nothing_in() {
        assert!(!activates("ring?/std", "ring"));
        assert!(!activates("dep:ring-compat", "ring"));
        for part in ["ring", "dep:ring", "ring/std"] {
            assert!(activates(part, "ring"), "{part}");
        }
    }
}
