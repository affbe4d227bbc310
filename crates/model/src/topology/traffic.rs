//! What the gateway does with a request beside passing it on: it judges it, and writes a line of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[sites.<name>.gateway.waf]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebAcl {
    /// The ACL's file, beside the topology file if relative: the JSON that `aws wafv2 create-web-acl` takes, alone or with
    /// what it refers to. It is looked at every two seconds; a changed one is enforced without a restart, and one that is
    /// wrong is named in the log while the one before stays. `ghostlight waf test` tries one.
    pub acl: PathBuf,
    /// The file to which log lines in AWS WAF's schema are appended. It may be moved away at any time. Default: none.
    #[serde(default)]
    pub log: Option<PathBuf>,
    /// A file with AWS's `RedactedFields` and `LoggingFilter`. Without it, what no rule matched is not logged.
    #[serde(default)]
    pub logging: Option<PathBuf>,
    /// A database of countries (mmdb). Without it every country is unknown (`XX`).
    #[serde(default)]
    pub mmdb: Option<PathBuf>,
}

/// `[sites.<name>.gateway.access_log]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessLog {
    /// The file to which lines are appended, beside the topology file if relative. It may be moved away at any time.
    pub file: PathBuf,
    /// How a line looks.
    #[serde(default)]
    pub format: AccessLogFormat,
}

/// How a line of the access log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLogFormat {
    /// A JSON object a line.
    #[default]
    Json,
    /// Apache's and nginx's `combined`.
    Combined,
}
