//! Reading the topology file, with every mistake told at once.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use model::{
    Site,
    topology::{SecretRef, SiteConfig, Topology},
};
use runtime::{
    config::{self, ConfigError, Loaded},
    secret::{Secret, SecretError},
};

/// The topology file is wrong. The process ends with exit code 64 before anything was started.
#[derive(Debug)]
pub(crate) struct Refused(Vec<ConfigError>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, e) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n  ")?;
            }
            e.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

/// Reads and checks `path`: its form, its sense, and that every secret it refers to is there.
pub(crate) fn load(path: &Path) -> Result<Loaded<Topology>, Refused> {
    let (loaded, mut wrong) = read(path)?;
    for (key, reference) in secrets(&loaded.value) {
        if let Err(e) = secret(&loaded, reference) {
            wrong.push(loaded.fault(&key, e.to_string(), "see above"));
        }
    }
    if wrong.is_empty() { Ok(loaded) } else { Err(Refused(wrong)) }
}

/// As [`load`], without asking for the secrets: they may still have to be made.
pub(crate) fn load_without_secrets(path: &Path) -> Result<Loaded<Topology>, Refused> {
    let (loaded, wrong) = read(path)?;
    if wrong.is_empty() { Ok(loaded) } else { Err(Refused(wrong)) }
}

/// The file, and every fault beyond its form.
fn read(path: &Path) -> Result<(Loaded<Topology>, Vec<ConfigError>), Refused> {
    let loaded: Loaded<Topology> = config::load(path).map_err(|e| Refused(vec![e]))?;
    let wrong = loaded.value.faults().into_iter().map(|f| loaded.fault(&f.key, f.what, f.fix)).collect();
    Ok((loaded, wrong))
}

/// Reads the secret that `reference` names; relative files stand beside the topology file.
pub(crate) fn secret(loaded: &Loaded<Topology>, reference: &SecretRef) -> Result<Secret, SecretError> {
    match reference {
        SecretRef::File(path) => Secret::from_file(&loaded.folder().join(path)),
        SecretRef::Env(name) => Secret::from_env(name),
    }
}

/// The part of the file that describes `site`.
pub(crate) fn site<'a>(loaded: &'a Loaded<Topology>, site: &Site) -> Result<&'a SiteConfig, Refused> {
    loaded.value.sites.get(site).ok_or_else(|| {
        let known: Vec<_> = loaded.value.sites.keys().map(Site::as_str).collect();
        let fix = format!("name one of them with --site: {}", known.join(", "));
        Refused(vec![loaded.fault("sites", format!("there is no site `{site}`"), fix)])
    })
}

/// The folder of `site`'s agent, as the file names it.
pub(crate) fn data_folder(loaded: &Loaded<Topology>, site: &Site, config: &SiteConfig) -> PathBuf {
    match &config.agent.data_folder {
        Some(folder) => loaded.folder().join(folder),
        None => loaded.folder().join("agent").join(site.as_str()),
    }
}

fn secrets(topology: &Topology) -> Vec<(String, &SecretRef)> {
    let mut all = vec![("secrets.admin_token".to_owned(), &topology.secrets.admin_token)];
    for (site, config) in &topology.sites {
        all.push((format!("sites.{site}.database.password"), &config.database.password));
    }
    all.extend(topology.register.password.iter().map(|p| ("register.password".to_owned(), p)));
    all
}

#[cfg(test)]
mod tests;
