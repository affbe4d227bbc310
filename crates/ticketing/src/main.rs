//! Sells tickets until it is asked to stop. Configuration: see `ticketing::config`.

use std::process::ExitCode;

use runtime::{EXIT_USAGE, log, process};
use ticketing::{clock::Clock, config::Config, desk::Desk, serve, store::Store};
use tokio::net::TcpListener;

/// A port in use or an address that is not ours (`EX_UNAVAILABLE`).
const EXIT_UNAVAILABLE: u8 = 69;

fn main() -> ExitCode {
    log::start("ticketing");
    let config = match Config::from_env(|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(e) => {
            eprintln!("ticketing: {e}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match run(config) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("ticketing: {e}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(config: Config) -> Result<ExitCode, Box<dyn std::error::Error>> {
    if config.die_with_parent {
        process::die_with_parent()?;
    }
    let shutdown = process::shutdown_on_signal()?;
    let clock = Clock::default();
    let store = Store::open(
        &config.database_url,
        config.database_password.as_ref(),
        clock.clone(),
        shutdown.clone(),
    )?;
    let desk = Desk::new(store, config.key, clock)?
        .with_organisers(config.organisers)
        .with_bank(config.bank)
        .with_till(config.till)
        .with_webhooks(config.webhooks);
    desk.tell_webhooks(shutdown.clone());
    if let Some(post) = config.post {
        desk.send_letters(post, shutdown.clone());
    }
    let listener = match TcpListener::bind(config.listen).await {
        Ok(listener) => listener,
        Err(e) => {
            eprintln!(
                "ticketing: {} cannot be listened on: {e}; set TICKETING_LISTEN to a free address",
                config.listen
            );
            return Ok(ExitCode::from(EXIT_UNAVAILABLE));
        }
    };
    tracing::info!("box office at http://{}", listener.local_addr()?);
    serve(listener, desk, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
