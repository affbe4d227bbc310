//! `ghostlight quarantine`: what old primaries committed and nobody was told of, read through their agents.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use model::Site;
use replicate::quarantine::{Op, Page, RowLine, Shown, Summary, sql};
use runtime::admin::{Client, ClientError};
use serde_json::{Map, Value, json};

use super::{drill::print, status::or_the_labs};
use crate::topology;

/// How long one question may take.
const ASK: Duration = Duration::from_secs(20);
/// So many lines are shown.
const SHOWN_MAX: usize = 20;

/// What is asked.
#[derive(clap::Subcommand)]
pub(crate) enum Quarantine {
    /// Every quarantine, of both sites.
    List(Which),
    /// One of them: how much, the proof that it was never acknowledged, what became of it, and its first rows.
    Show(One),
    /// All of its rows into a file: JSON lines, or SQL.
    Export(Export),
}

#[derive(clap::Args)]
pub(crate) struct Which {
    /// Only this site's.
    #[arg(long)]
    site: Option<String>,
    /// As JSON: an object a line.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct One {
    /// As `list` names it: the epoch that began without these rows.
    id: String,
    #[command(flatten)]
    which: Which,
}

#[derive(clap::Args)]
pub(crate) struct Export {
    #[command(flatten)]
    one: One,
    /// Where to; a file that must not be there yet.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// As SQL that would do it again, row by row and only where the row is still as it was before.
    #[arg(long)]
    sql: bool,
}

pub(crate) fn run(config: &Path, asked: &Quarantine) -> anyhow::Result<ExitCode> {
    let loaded = topology::load(&or_the_labs(config))?;
    let token = topology::secret(&loaded, &loaded.value.secrets.admin_token)?;
    let which = match asked {
        Quarantine::List(which) => which,
        Quarantine::Show(one) => &one.which,
        Quarantine::Export(export) => &export.one.which,
    };
    if let Some(wanted) = &which.site {
        topology::site(&loaded, &Site::new(wanted.as_str()))?;
    }
    let sites = loaded.value.sites.iter();
    let agents: Vec<(Site, Client)> = sites
        .filter(|(site, _)| which.site.as_deref().is_none_or(|wanted| wanted == site.as_str()))
        .map(|(site, here)| (site.clone(), Client::new(here.agent.admin, token.clone())))
        .collect();
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    executor.block_on(async {
        match asked {
            Quarantine::List(which) => list(&agents, which.json).await,
            Quarantine::Show(one) => show(&agents, one).await,
            Quarantine::Export(wanted) => export(&agents, wanted).await,
        }
    })
}

async fn list(agents: &[(Site, Client)], as_json: bool) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for (site, agent) in agents {
        let found: Vec<Summary> = match agent.get("/v1/quarantine", ASK).await {
            Ok(found) => found,
            Err(e) => {
                eprintln!("{site}: {e}");
                code = ExitCode::from(runtime::EXIT_UNAVAILABLE);
                continue;
            }
        };
        for one in &found {
            if as_json {
                print(&json!(one).to_string());
            } else {
                print(&in_words(one));
            }
        }
        if found.is_empty() && !as_json {
            eprintln!("{site}: nothing is in quarantine");
        }
    }
    Ok(code)
}

fn in_words(one: &Summary) -> String {
    let acknowledged = json!(one.acknowledged);
    let became = one.outcome.as_ref().map_or("nothing was done with it yet".into(), |o| {
        json!(o.done).as_str().unwrap_or_default().to_owned()
    });
    format!(
        "{:<8} {} · {} transactions, {} rows (+{} ~{} -{}) · acknowledged: {} · {became}",
        one.id,
        one.site,
        one.counts.transactions,
        one.counts.lines,
        one.counts.inserts,
        one.counts.updates,
        one.counts.deletes,
        acknowledged.as_str().unwrap_or_default(),
    )
}

/// The agent that has the quarantine, and what it holds.
async fn find<'a>(agents: &'a [(Site, Client)], id: &str) -> anyhow::Result<(&'a Client, Shown)> {
    if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        bail!("`{id}` is no quarantine's name; `ghostlight quarantine list` tells them");
    }
    let mut found = Vec::new();
    for (site, agent) in agents {
        match agent.get::<Shown>(&format!("/v1/quarantine/{id}"), ASK).await {
            Ok(shown) => found.push((site, agent, shown)),
            Err(ClientError::Status(_, status, _)) if status == 404 => {}
            Err(e) => eprintln!("{site}: {e}"),
        }
    }
    let names: Vec<&str> = found.iter().map(|(site, ..)| site.as_str()).collect();
    if found.len() > 1 {
        bail!("{} have a quarantine `{id}`; say which one's with --site", names.join(" and "));
    }
    match found.pop() {
        Some((_, agent, shown)) => Ok((agent, shown)),
        None => bail!("no site has a quarantine `{id}`; `ghostlight quarantine list` tells which there are"),
    }
}

async fn show(agents: &[(Site, Client)], one: &One) -> anyhow::Result<ExitCode> {
    let (agent, shown) = find(agents, &one.id).await?;
    if one.which.json {
        print(&serde_json::to_string_pretty(&shown)?);
        return Ok(ExitCode::SUCCESS);
    }
    let m = &shown.manifest;
    let summary = Summary {
        id: shown.id.clone(),
        site: m.site.clone(),
        epoch: m.epoch,
        exported_at_ms: m.exported_at_ms,
        acknowledged: m.proof.acknowledged,
        counts: m.counts,
        outcome: shown.outcome.clone(),
    };
    print(&in_words(&summary));
    print(&format!(
        "from {} to {} of {}'s log; epoch {} of {} began without it",
        m.from, m.to, m.site, m.epoch, m.primary
    ));
    print(&format!("proof: {}", m.proof.because));
    for why in &m.cannot_be_undone {
        print(&format!("cannot be undone: {why}"));
    }
    if let Some(outcome) = &shown.outcome {
        print(&format!("outcome: {}", outcome.why));
    }
    let page: Page = agent.get(&format!("/v1/quarantine/{}/rows?limit={SHOWN_MAX}", shown.id), ASK).await?;
    for line in &page.rows {
        print(&line_in_words(line));
    }
    if page.next.is_some() {
        print(&format!(
            "… `ghostlight quarantine export {} --to FILE` writes all {} rows",
            shown.id, m.counts.lines
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// One changed row: what came, what went, or what changed of it.
fn line_in_words(line: &RowLine) -> String {
    let told = |image: &Option<Map<String, Value>>, only: &dyn Fn(&str) -> bool| {
        let values = image.iter().flatten().filter(|(name, _)| only(name));
        values.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    let all = |_: &str| true;
    let what = match line.op {
        Op::Insert => format!("+ {} {}", line.table, told(&line.after, &all)),
        Op::Delete => format!("- {} {}", line.table, told(&line.before, &all)),
        Op::Update => {
            let after = |name: &str| line.after.as_ref().and_then(|row| row.get(name));
            let changed = |name: &str| line.before.as_ref().and_then(|row| row.get(name)) != after(name);
            format!("~ {} {} → {}", line.table, told(&line.before, &all), told(&line.after, &changed))
        }
        Op::Definition => format!("! {} {}", line.table, line.statement.as_deref().unwrap_or_default()),
    };
    format!("{:>5} {what}", line.transaction)
}

async fn export(agents: &[(Site, Client)], wanted: &Export) -> anyhow::Result<ExitCode> {
    let (agent, shown) = find(agents, &wanted.one.id).await?;
    let name = wanted.to.display();
    let file = File::create_new(&wanted.to).with_context(|| format!("{name}"))?;
    let mut file = BufWriter::new(file);
    let (mut cursor, mut lines, mut transaction) = (None::<String>, 0_u64, None);
    loop {
        let from = cursor.map(|c| format!("?cursor={c}")).unwrap_or_default();
        let page: Page = agent.get(&format!("/v1/quarantine/{}/rows{from}", shown.id), ASK).await?;
        for line in &page.rows {
            let text = if wanted.sql {
                let table = line.number.and_then(|n| shown.manifest.tables.iter().find(|t| t.number == n));
                sql::statement(line, table, transaction)?
            } else {
                format!("{}\n", serde_json::to_string(line)?)
            };
            file.write_all(text.as_bytes()).with_context(|| format!("{name}"))?;
            (lines, transaction) = (lines + 1, Some(line.transaction));
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    file.into_inner()
        .map_err(|e| e.into_error())
        .and_then(|f| f.sync_all())
        .with_context(|| format!("{name}"))?;
    if lines != shown.manifest.counts.lines {
        bail!(
            "{lines} lines came, the manifest counts {}: {name} is not complete",
            shown.manifest.counts.lines
        );
    }
    eprintln!("{lines} rows are in {name}");
    if wanted.one.which.json {
        print(&json!({ "id": shown.id, "file": wanted.to, "rows": lines }).to_string());
    }
    Ok(ExitCode::SUCCESS)
}
