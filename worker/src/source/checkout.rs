//! A revision's files, with those of its submodules where they are asked for. Where submodules may come from is a rule of
//! `domain::git_url::submodule`; here the names of hosts become addresses. Which revision of each belongs to a source is part of the
//! source's own revision.

use std::net::ToSocketAddrs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use domain::git_url::is_private;
use domain::git_url::submodule::{self, MAX_DEPTH, MAX_MODULES_BYTES, MAX_SUBMODULES, Submodule};
use git2::{Oid, Repository, Tree};
use protocol::Source;

use super::deadline::SourceDeadline;
use super::export::{Export, ExportedSize, SubmodulePlace};
use super::mirrors::{FetchFrom, Mirrors, MissingRevision};

/// Writes the files of a revision into a new folder.
pub fn export(
    mirrors: &Mirrors,
    source: &Source,
    with_submodules: bool,
    into: &Path,
    until: &SourceDeadline,
) -> anyhow::Result<()> {
    let mut checkout = Checkout { mirrors, until, size: ExportedSize::default(), submodules: 0 };
    let most_depth = if with_submodules { Some(MAX_DEPTH) } else { None };
    checkout.export(source, FetchFrom::Project, into, most_depth).map_err(|error| {
        match error.chain().find_map(|cause| cause.downcast_ref::<MissingRevision>()) {
            // Without one of its parts the revision cannot be had, and it is the revision that the master knows.
            Some(_) => {
                let sentence = format!("{error:#}");
                MissingRevision { sentence, revision: source.revision.clone() }.into()
            }
            None => error,
        }
    })
}

/// One source with all that belongs to it.
struct Checkout<'a> {
    mirrors: &'a Mirrors,
    until: &'a SourceDeadline,
    size: ExportedSize,
    /// How many submodules it has so far.
    submodules: usize,
}

impl Checkout<'_> {
    /// `most_depth` is how deep further submodules may be nested; none where they are left out.
    fn export(
        &mut self,
        source: &Source,
        from: FetchFrom,
        into: &Path,
        most_depth: Option<usize>,
    ) -> anyhow::Result<()> {
        let repository = self.mirrors.mirror(source, from, self.until)?;
        let commit = repository.find_commit(Oid::from_str(&source.revision)?)?;
        let tree = commit.tree().context("reading the revision's tree")?;
        let places = Export::new(&repository, self.until, &mut self.size).run(tree.clone(), into)?;
        let Some(most_depth) = most_depth.filter(|_| !places.is_empty()) else { return Ok(()) };
        let modules = modules(&repository, &tree)?;
        for place in places {
            let exported = self.submodule(source, &modules, &place, into, most_depth);
            exported
                .with_context(|| format!("the submodule `{}` of {}", place.path.display(), source.git))?;
        }
        Ok(())
    }

    fn submodule(
        &mut self,
        parent: &Source,
        modules: &[Submodule],
        place: &SubmodulePlace,
        into: &Path,
        most_depth: usize,
    ) -> anyhow::Result<()> {
        self.submodules += 1;
        ensure!(self.submodules <= MAX_SUBMODULES, "a source may have at most {MAX_SUBMODULES} submodules");
        let depth = most_depth.checked_sub(1);
        let depth = depth.with_context(|| format!("submodules may be nested {MAX_DEPTH} deep at most"))?;
        let module = modules.iter().find(|module| Path::new(&module.path) == place.path);
        let module = module.context("its `.gitmodules` has no URL for it")?;
        let from = match submodule::resolve(&parent.git, &module.url) {
            Ok(from) => from,
            Err(why) => bail!("it cannot be fetched from `{}`: {why}", module.url),
        };
        if let Some(host) = &from.public_host {
            refuse_private(host)?;
        }
        let source = Source { git: from.git, revision: place.commit.to_string() };
        self.export(&source, FetchFrom::Submodule, &into.join(&place.path), Some(depth))
    }
}

/// What the tree says of its submodules.
fn modules(repository: &Repository, tree: &Tree<'_>) -> anyhow::Result<Vec<Submodule>> {
    let Some(entry) = tree.get_name(".gitmodules") else { return Ok(Vec::new()) };
    let (bytes, _) = repository.odb()?.read_header(entry.id())?;
    ensure!(bytes <= MAX_MODULES_BYTES, "its `.gitmodules` is longer than {} KiB", MAX_MODULES_BYTES >> 10);
    let blob = repository.find_blob(entry.id()).context("reading `.gitmodules`")?;
    Ok(submodule::parse(&String::from_utf8_lossy(blob.content())))
}

/// A public name may lead to an address of this machine's own network.
fn refuse_private(host: &str) -> anyhow::Result<()> {
    let addresses = (host, 0).to_socket_addrs().with_context(|| format!("looking up the host {host}"))?;
    for address in addresses {
        ensure!(!is_private(address.ip()), "its host {host} has a private address");
    }
    Ok(())
}
