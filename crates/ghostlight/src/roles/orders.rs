//! `ghostlight stop`, `observe`, `hold`: what operators order. It stands in the register, and every controller obeys it.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use decide::rules::{self, Rule};
use model::{
    orders::{Halt, Orders, OrdersReply, OrdersRequest, Window},
    topology::Topology,
};
use runtime::{
    admin::{Client, ClientError},
    clock::Wall,
    config::Loaded,
    secret::Secret,
};

use super::{drill::print, status::or_the_labs};
use crate::topology;

/// How long one question may take.
const ASK: Duration = Duration::from_secs(3);
/// Others may change the orders at the same time; they do not for long.
const ATTEMPTS: usize = 8;
/// No window is longer, and no journal older.
const TEN_YEARS_S: u64 = 10 * 365 * 86_400;

#[derive(clap::Args)]
pub(crate) struct StopArguments {
    /// Let controllers act again.
    #[arg(long)]
    lift: bool,
    #[command(flatten)]
    who: Who,
}

#[derive(clap::Args)]
pub(crate) struct ObserveArguments {
    /// Let controllers act again.
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    who: Who,
}

#[derive(clap::Args)]
pub(crate) struct HoldArguments {
    /// How long the window is open, e.g. `90m` or `2h`. Without it, the windows are listed.
    #[arg(long = "for", value_parser = duration)]
    lasts: Option<Duration>,
    /// When it opens, from now, e.g. `30m`; at once if not given.
    #[arg(long = "in", value_parser = duration, requires = "lasts")]
    begins_in: Option<Duration>,
    /// End every window, the open and the coming ones.
    #[arg(long, conflicts_with = "lasts")]
    lift: bool,
    #[command(flatten)]
    who: Who,
}

/// Who orders, and why: it is written into every controller's journal.
#[derive(clap::Args)]
pub(crate) struct Who {
    /// Why, in words.
    #[arg(long, default_value = "no reason given")]
    pub(crate) why: String,
    /// In whose name.
    #[arg(long, env = "USER", default_value = "operator")]
    pub(crate) by: String,
    /// One JSON object on stdout: the orders as they stand.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn stop(config: &Path, arguments: &StopArguments) -> anyhow::Result<ExitCode> {
    change(config, &arguments.who, |orders| {
        let StopArguments { lift, who } = arguments;
        orders.stopped =
            (!lift).then(|| Halt { by: who.by.clone(), why: who.why.clone(), at_ms: Wall::now().as_ms() });
        true
    })
}

pub(crate) fn observe(config: &Path, arguments: &ObserveArguments) -> anyhow::Result<ExitCode> {
    change(config, &arguments.who, |orders| {
        orders.observe = !arguments.off;
        true
    })
}

pub(crate) fn hold(config: &Path, arguments: &HoldArguments) -> anyhow::Result<ExitCode> {
    change(config, &arguments.who, |orders| {
        let now_ms = Wall::now().as_ms();
        let HoldArguments { lasts, begins_in, lift, who } = arguments;
        if *lift {
            orders.windows.clear();
        } else if let Some(lasts) = lasts {
            let from_ms = now_ms.saturating_add(begins_in.map_or(0, ms));
            let until_ms = from_ms.saturating_add(ms(*lasts));
            let (by, why) = (who.by.clone(), who.why.clone());
            orders.windows.push(Window { from_ms, until_ms, by, why });
        } else {
            return false;
        }
        orders.windows.retain(|window| window.until_ms > now_ms); // what is over is history
        true
    })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Changes the orders by compare-and-set, and tells how they stand. `with` says whether there is anything to change.
fn change(config: &Path, who: &Who, with: impl Fn(&mut Orders) -> bool) -> anyhow::Result<ExitCode> {
    let loaded = topology::load(&or_the_labs(config))?;
    let token = topology::secret(&loaded, &loaded.value.secrets.admin_token)?;
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let standing = executor.block_on(async {
        let (controller, mut standing) = any_controller::<Orders>(&loaded, &token, "/v1/orders").await?;
        for _ in 0..ATTEMPTS {
            let mut orders = Orders { version: standing.version + 1, ..standing.clone() };
            if !with(&mut orders) {
                return Ok(standing);
            }
            let request = OrdersRequest { expected_version: standing.version, orders };
            match controller.post("/v1/orders", &request, ASK).await? {
                OrdersReply::Set(orders) => return Ok(orders),
                OrdersReply::Stale(orders) => standing = orders,
            }
        }
        bail!("others change the orders all the time; look with `ghostlight hold`, then try again")
    })?;
    tell(&standing, who.json)?;
    Ok(ExitCode::SUCCESS)
}

/// The first controller that answers `path`: the witness's, else a site's.
pub(crate) async fn any_controller<T: serde::de::DeserializeOwned>(
    loaded: &Loaded<Topology>,
    token: &Secret,
    path: &str,
) -> anyhow::Result<(Client, T)> {
    let topology = &loaded.value;
    let mut refused: Option<ClientError> = None;
    let sites = topology.sites.values().map(|site| site.controller);
    for address in [topology.witness.controller].into_iter().chain(sites) {
        let client = Client::new(address, token.clone());
        match client.get::<T>(path, ASK).await {
            Ok(answer) => return Ok((client, answer)),
            Err(e) => refused = Some(e),
        }
    }
    let why = refused.context("the topology names no controller")?;
    Err(why).context("no controller answers; start one, or look at the network in between")
}

fn tell(orders: &Orders, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        print(&serde_json::to_string(orders)?);
        return Ok(());
    }
    let mut any = false;
    let mut say = |rule: Rule, detail: String| {
        any = true;
        if let Some(entry) = rules::entry(rule) {
            print(&format!("{}: {detail}\n  {}\n  {}", entry.name, entry.en, entry.ko));
        }
    };
    if let Some(halt) = &orders.stopped {
        say(Rule::Stop, format!("{} ({})", halt.by, halt.why));
    }
    if orders.observe {
        say(Rule::Observe, "nothing is done, only written down".into());
    }
    let now_ms = Wall::now().as_ms();
    for window in &orders.windows {
        let minutes = |at_ms: u64| at_ms.saturating_sub(now_ms).div_ceil(60_000);
        let when = if window.is_open(now_ms) {
            format!("open, for another {} min", minutes(window.until_ms))
        } else if window.until_ms <= now_ms {
            "over".to_owned()
        } else {
            format!(
                "opens in {} min, for {} min",
                minutes(window.from_ms),
                minutes(window.until_ms) - minutes(window.from_ms)
            )
        };
        say(Rule::Maintenance, format!("{} ({}): {when}", window.by, window.why));
    }
    if !any {
        print("no orders stand: controllers act by themselves / 지시 없음: 컨트롤러가 자동으로 동작합니다");
    }
    Ok(())
}

/// `45s`, `90m`, `2h`, `1d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time; write e.g. `90m` or `2h`");
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_s = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let seconds = number.checked_mul(unit_s).ok_or_else(wrong)?;
    // More than ten years are a slip of the finger.
    if seconds > TEN_YEARS_S { Err(wrong()) } else { Ok(Duration::from_secs(seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_write_them() {
        assert_eq!(duration("90m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7_200)));
        assert_eq!(duration("1d"), Ok(Duration::from_secs(86_400)));
        for wrong in ["", "2", "h", "2 h", "-1h", "99999999999999999999d", "9999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
