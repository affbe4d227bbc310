//! `ghostlight init`: the secrets that are ours to make. Data on stdout, advice on stderr.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use model::{Site, topology::SecretRef};
use replicate::link::authority::{self, AUTHORITY_KEY, Prepared};
use runtime::secret::Secret;
use serde_json::json;

use crate::{roles::drill::print, topology};

/// The options of `init`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Give this site a new certificate and key. Both sites go on to trust each other: the authority stays.
    #[arg(long, value_name = "SITE")]
    renew: Vec<String>,
    /// One JSON line for each file.
    #[arg(long)]
    json: bool,
}

/// Makes what is missing beside the topology file.
pub(crate) fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let loaded = topology::load_without_secrets(config)?;
    let renew: Vec<Site> = arguments.renew.iter().map(Site::new).collect();
    for site in &renew {
        topology::site(&loaded, site)?;
    }
    let mut prepared = Vec::new();
    if let SecretRef::File(path) = &loaded.value.secrets.admin_token {
        prepared.push(token(&loaded.folder().join(path))?);
    }
    let folder = loaded.folder().join(&loaded.value.link.folder);
    let sites: Vec<Site> = loaded.value.sites.keys().cloned().collect();
    prepared.extend(authority::prepare(&folder, &sites, &renew)?);
    for file in &prepared {
        let (done, path) = match file {
            Prepared::Made(path) => ("made", path),
            Prepared::Kept(path) => ("kept", path),
        };
        match arguments.json {
            true => print(&json!({ "file": path, "outcome": done }).to_string()),
            false => print(&format!("{done} {}", path.display())),
        }
    }
    eprintln!(
        "each site needs authority.pem and its own .pem and .key; keep {} away from both",
        folder.join(AUTHORITY_KEY).display()
    );
    Ok(ExitCode::SUCCESS)
}

fn token(path: &PathBuf) -> anyhow::Result<Prepared> {
    if path.exists() {
        return Ok(Prepared::Kept(path.clone()));
    }
    let write = || {
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{}", Secret::random().expose())?;
        file.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(Prepared::Made(path.clone()))
}
