//! `ghostlight up`: both clouds on this machine, until Ctrl-C.

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

use lab::{dvwa::SecurityTest, lab::LabOptions};
use model::topology::RegisterKind;
use runtime::process::shutdown_on_signal;

use crate::register;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the lab keeps its files: data, secrets, logs. What is there is continued.
    #[arg(long, default_value = ".ghostlight")]
    folder: PathBuf,
    /// The port of the visitor's front door on localhost.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The lab's number, the third byte of its addresses; `any` takes a free one.
    #[arg(long, default_value = "0", value_parser = number)]
    lab_number: Number,
    /// What keeps the register: `file`, the witness's, or `etcd`, a member in each place.
    #[arg(long, default_value = "file", value_parser = register::kind, value_name = "KIND")]
    register: RegisterKind,
    /// The round trip that the link between the sites adds, in milliseconds.
    #[arg(long, default_value_t = 0)]
    link_rtt_ms: u64,
    /// A web ACL (AWS's JSON) that both gateways enforce, such as examples/waf/web-acl.json. It is copied into the folder.
    #[arg(long, value_name = "FILE")]
    waf: Option<PathBuf>,
    /// What stands behind /DVWA: the address of a server, such as the real DVWA in a container, or `built-in`, a small page
    /// that is vulnerable on purpose and listens on loopback only.
    #[arg(long, value_name = "TARGET")]
    dvwa: Option<SecurityTest>,
}

/// A lab's number, or any free one.
#[derive(Clone, Copy, Debug)]
struct Number(Option<u8>);

fn number(text: &str) -> Result<Number, String> {
    match text {
        "any" => Ok(Number(None)),
        _ => text.parse().map(|n| Number(Some(n))).map_err(|_| "write 0 to 250, or `any`".to_owned()),
    }
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // The lab's own troubles are told on stderr beside the progress; what its processes log is in their files.
    runtime::log::start("up");
    let mut options = LabOptions::new(arguments.folder);
    options.number = arguments.lab_number.0;
    options.front_door = Some(arguments.port);
    options.link_rtt_ms = arguments.link_rtt_ms;
    options.register = arguments.register;
    options.web_acl = arguments.waf;
    options.security_test = arguments.dvwa;
    let executor = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = executor.block_on(async {
        let shutdown = shutdown_on_signal()?;
        let progress = |what: &str| eprintln!("up: {what}");
        let ready = |table: &str| {
            // Nobody reads it any more: that ends nothing.
            if let Err(e) = std::io::stdout().write_all(table.as_bytes()) {
                tracing::debug!("the table was not read: {e}");
            }
        };
        Box::pin(lab::up::run(options, &progress, ready, shutdown)).await.map_err(anyhow::Error::from)
    });
    executor.shutdown_timeout(Duration::from_secs(1));
    outcome.map(|()| ExitCode::SUCCESS)
}
