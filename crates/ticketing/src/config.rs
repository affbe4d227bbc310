//! What the process is told by its environment.
//!
//! - `TICKETING_LISTEN`: address and port to serve on, e.g. `127.0.0.1:9000`;
//! - `DATABASE_URL`: `mysql://user@host:port/ticketing`, without the password;
//! - `DATABASE_PASSWORD_FILE`: file with the password on its first line (none: no password);
//! - `TICKETING_KEY_FILE`: file with the key that signs sessions, ≥ 16 characters, the same for every instance;
//! - `TICKETING_MAIL_FOLDER`: folder into which letters to visitors are put, an `.eml` file each (none: letters wait in
//!   the outbox);
//! - `TICKETING_MAIL_FROM`: their sender's address;
//! - `TICKETING_SITE`: where visitors find the site, for links in letters, e.g. `https://tickets.example.com`;
//! - `TICKETING_PAYMENT`: `test` (nothing else is set: no money moves) or `toss`, Toss Payments;
//! - `TICKETING_TOSS_KEY_FILE`: file with the shop's secret key there;
//! - `TICKETING_TOSS_URL`: where it is, if not at `https://api.tosspayments.com`;
//! - `TICKETING_AUTHORITIES`: PEM file with the certificates of the authorities that are trusted when we ask somebody
//!   over `https` (none: `/etc/ssl/certs/ca-certificates.crt`);
//! - `TICKETING_ASK_BEFORE_MONEY`: an address to ask before real money is taken, e.g.
//!   `http://127.0.0.1:7101/v1/barrier`: a GET gives a note, a POST of the note says `{"safe": true}` once everything that
//!   was written since is safe; without that no money is taken (none: nobody is asked);
//! - `TICKETING_ASK_TOKEN_FILE`: file with the bearer token for it;
//! - `TICKETING_WEBHOOK_NETWORKS`: networks, with commas between them, into which events may be sent besides to public
//!   addresses, e.g. `127.0.0.0/8,10.1.0.0/16` (none: to public addresses only);
//! - `TICKETING_ORGANISERS`: addresses, with commas between them: whoever confirmed one of them sees sales and gives
//!   roles;
//! - `TICKETING_BANK`: the bank account to which visitors may transfer, as they read it, e.g. `국민 123-45-678901 극장`;
//!   organisers confirm what came (none: nobody pays by transfer);
//! - `TICKETING_DIE_WITH_PARENT=1`: end when the parent process ends.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use runtime::secret::{Secret, SecretError};

use crate::{
    desk::Post,
    mail::Mailer,
    payment::{
        Assurance, PaymentProvider, TestProvider, Till,
        toss::Toss,
        wire::{HttpWire, WireError},
    },
    webhook::{guard::Network, send::Sender},
};

/// Everything that `run` needs to know.
#[derive(Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where the database is.
    pub database_url: String,
    /// Its password.
    pub database_password: Option<Secret>,
    /// Signs sessions and form tokens.
    pub key: Secret,
    /// How letters leave, if they do.
    pub post: Option<Post>,
    /// Who takes money.
    pub till: Till,
    /// Tells endpoints what happens.
    pub webhooks: Sender,
    /// Who sees sales and gives roles.
    pub organisers: Vec<String>,
    /// The bank account to which visitors may transfer.
    pub bank: Option<String>,
    /// End with the parent.
    pub die_with_parent: bool,
}

/// A mistake in the environment: the operator's to mend; retrying changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable is missing.
    #[error("{0} is not set; export {0}={1}")]
    Missing(&'static str, &'static str),
    /// A variable cannot be understood.
    #[error("{name}={value}: {what}; write {example}")]
    Odd {
        /// Which.
        name: &'static str,
        /// What it says.
        value: String,
        /// What is wrong with it.
        what: String,
        /// What to write instead.
        example: &'static str,
    },
    /// A secret cannot be read.
    #[error("{0}: {1}")]
    Secret(&'static str, SecretError),
    /// Somebody who is to be asked cannot be.
    #[error("{0}: {1}")]
    Wire(&'static str, WireError),
}

const SITE_EXAMPLE: &str = "https://tickets.example.com";
const FROM_EXAMPLE: &str = "tickets@example.com";
const TOSS: &str = "https://api.tosspayments.com";
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
const LISTEN_EXAMPLE: &str = "127.0.0.1:9000";
const URL_EXAMPLE: &str = "mysql://ticketing@127.0.0.1:3306/ticketing";

impl Config {
    /// Reads the environment through `var`.
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
        let listen =
            var("TICKETING_LISTEN").ok_or(ConfigError::Missing("TICKETING_LISTEN", LISTEN_EXAMPLE))?;
        let listen = listen.parse().map_err(|e: std::net::AddrParseError| ConfigError::Odd {
            name: "TICKETING_LISTEN",
            value: listen.clone(),
            what: e.to_string(),
            example: LISTEN_EXAMPLE,
        })?;
        let database_url = var("DATABASE_URL").ok_or(ConfigError::Missing("DATABASE_URL", URL_EXAMPLE))?;
        mysql_async::Opts::from_url(&database_url).map_err(|e| ConfigError::Odd {
            name: "DATABASE_URL",
            value: database_url.clone(),
            what: e.to_string(),
            example: URL_EXAMPLE,
        })?;
        let secret = |name: &'static str| {
            var(name)
                .map(|path| Secret::from_file(&PathBuf::from(path)).map_err(|e| ConfigError::Secret(name, e)))
                .transpose()
        };
        let database_password = secret("DATABASE_PASSWORD_FILE")?;
        let key = secret("TICKETING_KEY_FILE")?
            .ok_or(ConfigError::Missing("TICKETING_KEY_FILE", "/path/to/ticketing.key"))?;
        if key.expose().len() < 16 {
            return Err(ConfigError::Odd {
                name: "TICKETING_KEY_FILE",
                value: "…".into(),
                what: "the key is shorter than 16 characters".into(),
                example: "64 random hex digits on the first line",
            });
        }
        let post = match var("TICKETING_MAIL_FOLDER") {
            None => None,
            Some(folder) => {
                let site =
                    var("TICKETING_SITE").ok_or(ConfigError::Missing("TICKETING_SITE", SITE_EXAMPLE))?;
                if !site.starts_with("http://") && !site.starts_with("https://") {
                    return Err(ConfigError::Odd {
                        name: "TICKETING_SITE",
                        value: site,
                        what: "it is no address of a site".into(),
                        example: SITE_EXAMPLE,
                    });
                }
                let from = var("TICKETING_MAIL_FROM")
                    .ok_or(ConfigError::Missing("TICKETING_MAIL_FROM", FROM_EXAMPLE))?;
                let site = site.trim_end_matches('/').to_owned();
                Some(Post { mailer: Mailer::Folder(folder.into()), from, site })
            }
        };
        let till = till(&var)?;
        let webhooks = webhooks(&var)?;
        let die_with_parent = var("TICKETING_DIE_WITH_PARENT").as_deref() == Some("1");
        let organisers = var("TICKETING_ORGANISERS").unwrap_or_default();
        let organisers =
            organisers.split(',').map(str::trim).filter(|a| !a.is_empty()).map(str::to_owned).collect();
        let bank = var("TICKETING_BANK").map(|b| b.trim().to_owned()).filter(|b| !b.is_empty());
        Ok(Config {
            listen,
            database_url,
            database_password,
            key,
            post,
            till,
            webhooks,
            organisers,
            bank,
            die_with_parent,
        })
    }
}

/// How endpoints are told what happens.
fn webhooks(var: &impl Fn(&str) -> Option<String>) -> Result<Sender, ConfigError> {
    let name = "TICKETING_WEBHOOK_NETWORKS";
    let networks = var(name).unwrap_or_default();
    let networks = networks.split(',').map(str::trim).filter(|n| !n.is_empty()).map(|network| {
        Network::parse(network).ok_or_else(|| ConfigError::Odd {
            name,
            value: network.to_owned(),
            what: "it is no network".into(),
            example: "127.0.0.0/8,10.1.0.0/16",
        })
    });
    Ok(Sender::new(&authorities(var), networks.collect::<Result<_, _>>()?))
}

/// Whom we trust when we ask somebody over TLS.
fn authorities(var: &impl Fn(&str) -> Option<String>) -> PathBuf {
    PathBuf::from(var("TICKETING_AUTHORITIES").unwrap_or(AUTHORITIES.into()))
}

/// Who takes money, and who is asked before.
fn till(var: &impl Fn(&str) -> Option<String>) -> Result<Till, ConfigError> {
    let authorities = authorities(var);
    let secret = |name: &'static str| {
        let path = var(name).map(PathBuf::from);
        path.map(|path| Secret::from_file(&path).map_err(|e| ConfigError::Secret(name, e))).transpose()
    };
    let provider: Arc<dyn PaymentProvider> = match var("TICKETING_PAYMENT").as_deref() {
        None | Some("test") => Arc::new(TestProvider),
        Some("toss") => {
            let name = "TICKETING_TOSS_KEY_FILE";
            let key = secret(name)?.ok_or(ConfigError::Missing(name, "/path/to/toss.key"))?;
            let address = var("TICKETING_TOSS_URL").unwrap_or(TOSS.into());
            let wire = HttpWire::new(&address, &authorities)
                .map_err(|e| ConfigError::Wire("TICKETING_TOSS_URL", e))?;
            Arc::new(Toss::new(key, wire))
        }
        Some(odd) => {
            return Err(ConfigError::Odd {
                name: "TICKETING_PAYMENT",
                value: odd.to_owned(),
                what: "there is no such provider".into(),
                example: "test or toss",
            });
        }
    };
    let name = "TICKETING_ASK_BEFORE_MONEY";
    let token = secret("TICKETING_ASK_TOKEN_FILE")?;
    let assurance = var(name)
        .map(|url| Assurance::new(&url, token, &authorities).map_err(|e| ConfigError::Wire(name, e)))
        .transpose()?;
    Ok(Till { provider, assurance })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_odd_variable_is_told_with_what_to_write() {
        let e = Config::from_env(|_| None).unwrap_err().to_string();
        assert_eq!(e, "TICKETING_LISTEN is not set; export TICKETING_LISTEN=127.0.0.1:9000");
        let e = Config::from_env(|name| Some(if name == "TICKETING_LISTEN" { "here" } else { "" }.into()))
            .unwrap_err()
            .to_string();
        let told = |name: &str, value: &str| {
            till(&|asked: &str| (asked == name).then(|| value.to_owned())).unwrap_err().to_string()
        };
        assert_eq!(
            told("TICKETING_PAYMENT", "cash"),
            "TICKETING_PAYMENT=cash: there is no such provider; write test or toss"
        );
        assert_eq!(
            told("TICKETING_PAYMENT", "toss"),
            "TICKETING_TOSS_KEY_FILE is not set; export TICKETING_TOSS_KEY_FILE=/path/to/toss.key"
        );
        assert!(
            told("TICKETING_ASK_BEFORE_MONEY", "agent").starts_with("TICKETING_ASK_BEFORE_MONEY: agent: ")
        );
        assert!(!till(&|_| None).unwrap().provider.moves_money());
        assert!(e.starts_with("TICKETING_LISTEN=here: ") && e.ends_with("write 127.0.0.1:9000"), "{e}");
    }
}
