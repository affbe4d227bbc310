//! Ghostlight keeps a MySQL-backed web service alive on two clouds.
//!
//! One subcommand per role. This crate joins what the other crates bring and holds no logic of its own.

mod check;
mod init;
mod pipe;
mod readiness;
mod register;
mod roles;
mod topology;
mod waf;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Keeps a MySQL-backed web service alive on two clouds.
#[derive(Parser)]
#[command(name = "ghostlight", version)]
struct Cli {
    /// The topology file.
    #[arg(long, global = true, default_value = "ghostlight.toml", env = "GHOSTLIGHT_CONFIG")]
    config: PathBuf,
    /// End when the parent process ends, however it ends.
    #[arg(long, global = true, hide = true)]
    die_with_parent: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Keep one site's database in step with the other's: ship, apply, hold, promote, fence.
    Agent {
        /// Which site's.
        #[arg(long)]
        site: String,
    },
    /// Measure how much it takes.
    #[command(subcommand)]
    Bench(roles::bench::Bench),
    /// Check the topology file, both databases and the register, and say what to do about what is wrong.
    ///
    /// Exit code 0: nothing is wrong. 64: the topology file is. 65: something in a database is. 69: something did
    /// not answer.
    Check {
        /// Instead: whether a failover to this site would succeed now, and how long it would take. Exit code 65: not.
        #[arg(long)]
        site: Option<String>,
        /// One JSON line for each requirement, then `{"summary":{…}}`; with `--site`, one object.
        #[arg(long)]
        json: bool,
    },
    /// Watch both sites from one place, and act if it leads; on the witness, keep the register too.
    Controller {
        /// `witness`, or a site's name.
        #[arg(long)]
        place: String,
    },
    /// Answer for the service's name: the authoritative name server.
    Dns,
    /// Break it on purpose, measure, and check what is left.
    #[command(subcommand)]
    Drill(roles::drill::Drill),
    /// End the present epoch by order, whatever is lost by it: for the day on which nothing may move by itself (`solo`).
    ///
    /// The standby is promoted when the last answer that the old primary could give alone has surely gone out. Exit code
    /// 0: the other site serves. 1: refused, or not done, with the reasons.
    Failover(roles::failover::Arguments),
    /// Take visitors' requests: the edge of a site.
    ///
    /// SIGHUP, or `POST /v1/reload` on its admin API, reads the topology file again: rules, groups, targets, limits.
    Gateway {
        /// Which site's.
        #[arg(long)]
        site: String,
        /// Take the listeners of the gateway that runs here already, without a refused connection: it finishes what it
        /// has begun, and ends. For a new binary, or what a reload cannot change.
        #[arg(long)]
        take_over: bool,
    },
    /// Open a maintenance window: nothing is moved automatically meanwhile. Alone, list the orders that stand.
    Hold(roles::orders::HoldArguments),
    /// Read what controllers saw, judged and did; check that nobody has changed it.
    Journal(roles::journal::Arguments),
    /// Let controllers only write down what they would do.
    Observe(roles::orders::ObserveArguments),
    /// Make what the topology file names and is not there yet: the token of the admin APIs, and the certificates with
    /// which the two agents know each other. Nothing that exists is overwritten.
    Init(init::Arguments),
    /// Look at what old primaries committed and nobody was told of.
    #[command(subcommand)]
    Quarantine(roles::quarantine::Quarantine),
    /// Take an old primary back without a rebuild: what it committed and nobody was told of goes into quarantine and is
    /// undone, and it follows the new primary. By the policy `automatic` its agent does it by itself.
    ///
    /// Exit code 0: it is a standby. 1: it stopped, and says why. 69: its agent does not answer.
    Reinstate(roles::reinstate::Arguments),
    /// Let twenty thousand visitors and their bots come for one hall at the same moment; then check what each was told.
    Rush(roles::rush::Arguments),
    /// Fill the standby's database anew from the primary, in place and while writes go on: when it stopped at a
    /// conflict, or the primary's log began anew and an operator has decided that the primary's data count.
    ///
    /// What is there is compared and repaired. Exit code 0: it is attached again. 1: it is not.
    Seed(roles::verify::SeedArguments),
    /// Stop everything: controllers watch and take no step, whatever happens, until `stop --lift`; only a switchover that
    /// is under way is taken back.
    Stop(roles::orders::StopArguments),
    /// Show both sites, the register, and where the public name leads.
    Status(roles::status::Arguments),
    /// Make the other site the primary, with nobody noticing: requests wait at the gateways for a moment, nothing is lost
    /// and nothing is refused. It takes itself back if the standby cannot catch up in time.
    ///
    /// Exit code 0: done. 1: refused or rolled back, with the reasons on stderr. 69: no controller leads.
    Switchover(roles::switchover::Arguments),
    /// Run both clouds on this machine, until Ctrl-C.
    Up(roles::up::Arguments),
    /// Hold the standby against the primary, row for row, while both go on: every difference is named by its key.
    ///
    /// Exit code 0: nothing differs, or all of it was repaired. 1: something differs, or the comparison was not done.
    Verify(roles::verify::VerifyArguments),
    /// Try a web ACL, turn a refused request into an exclusion, give the ACL to AWS.
    #[command(subcommand)]
    Waf(waf::Waf),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let code = if e.use_stderr() { runtime::EXIT_USAGE } else { 0 };
            return match e.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::FAILURE,
            };
        }
    };
    match pipe::until_reader_gone(|| run(cli)) {
        None => ExitCode::from(pipe::READER_GONE),
        Some(Ok(code)) => code,
        Some(Err(e)) => {
            eprintln!("ghostlight: {e:#}");
            ExitCode::from(exit_code(&e))
        }
    }
}

/// Whose fault it is, told to scripts: the operator's configuration (64), something in the way (69), anything else (1).
fn exit_code(e: &anyhow::Error) -> u8 {
    if e.is::<topology::Refused>() {
        runtime::EXIT_USAGE
    } else if e.is::<runtime::listen::ListenError>()
        || e.downcast_ref::<lab::up::UpError>().is_some_and(lab::up::UpError::is_unavailable)
    {
        runtime::EXIT_UNAVAILABLE
    } else {
        1
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if cli.die_with_parent {
        runtime::process::die_with_parent()?;
    }
    match cli.command {
        Command::Agent { site } => roles::agent::run(&cli.config, model::Site::new(site)),
        Command::Bench(bench) => roles::bench::run(bench),
        Command::Check { site: Some(site), json } => readiness::run(&cli.config, &site, json),
        Command::Check { site: None, json } => check::run(&cli.config, json),
        Command::Controller { place } => roles::controller::run(&cli.config, &place),
        Command::Drill(drill) => roles::drill::run(drill),
        Command::Failover(arguments) => roles::failover::run(&cli.config, &arguments),
        Command::Hold(arguments) => roles::orders::hold(&cli.config, &arguments),
        Command::Journal(arguments) => roles::journal::run(&cli.config, &arguments),
        Command::Observe(arguments) => roles::orders::observe(&cli.config, &arguments),
        Command::Stop(arguments) => roles::orders::stop(&cli.config, &arguments),
        Command::Dns => roles::dns::run(&cli.config),
        Command::Init(arguments) => init::run(&cli.config, &arguments),
        Command::Quarantine(quarantine) => roles::quarantine::run(&cli.config, &quarantine),
        Command::Reinstate(arguments) => roles::reinstate::run(&cli.config, &arguments),
        Command::Rush(arguments) => roles::rush::run(&arguments),
        Command::Status(arguments) => roles::status::run(&cli.config, &arguments),
        Command::Seed(arguments) => roles::verify::seed(&cli.config, &arguments),
        Command::Switchover(arguments) => roles::switchover::run(&cli.config, &arguments),
        Command::Up(arguments) => roles::up::run(arguments),
        Command::Verify(arguments) => roles::verify::verify(&cli.config, &arguments),
        Command::Waf(command) => waf::run(&command),
        Command::Gateway { site, take_over } => {
            roles::gateway::run(&cli.config, model::Site::new(site), take_over)
        }
    }
}

/// Holds a JSON object against a section of `docs/json-output.md`: every key is a row there, and no row is without one.
#[cfg(test)]
fn documented(section: &str, object: &serde_json::Value) {
    const DOCUMENT: &str = include_str!("../../../docs/json-output.md");
    let text = DOCUMENT.split("\n## ").find(|s| s.starts_with(section));
    let text = text.unwrap_or_else(|| panic!("docs/json-output.md has no section {section}"));
    let rows = text.lines().filter_map(|l| l.strip_prefix("| `")?.split_once("` |"));
    let documented: std::collections::BTreeSet<&str> = rows.map(|(key, _)| key).collect();
    let printed = object.as_object().map(|o| o.keys().map(String::as_str).collect()).unwrap_or_default();
    assert_eq!(documented, printed, "{section}");
}
