//! `ghostlight waf`: try a web ACL on a request, turn a refused request into an exclusion, give the ACL to AWS.

pub(crate) mod places;
mod request;

use std::{
    io::Read,
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use waf::{Bundle, Engine, Explained, Outcome, RequestView, Verdict, log};

#[derive(clap::Subcommand)]
pub(crate) enum Waf {
    /// Judge one request by an ACL, and say of every rule whether it matches and where. Nothing is sent.
    ///
    /// Exit code 0: the request would go on. 1: it would not. 64: the ACL is wrong.
    Test(TestArguments),
    /// Turn a refused request's log line (a file with one, or - for stdin) into the narrowest exclusion that lets it through.
    Suggest {
        /// The line, as it stands in the log.
        line: PathBuf,
    },
    /// Print the ACL as `aws wafv2 create-web-acl --cli-input-json` takes it.
    ///
    /// What only Ghostlight knows (windows other than AWS's, GhostlightCore, exclusions) is refused by its path, exit code 64.
    Export {
        /// The ACL.
        #[arg(long)]
        acl: PathBuf,
    },
}

#[derive(clap::Args)]
pub(crate) struct TestArguments {
    /// A file with a raw HTTP request, or the URL of a GET.
    request: String,
    /// The ACL: a web ACL in AWS's JSON, alone or with what it refers to.
    #[arg(long)]
    acl: PathBuf,
    /// Whom the request comes from.
    #[arg(long, default_value = "192.0.2.1")]
    client_ip: IpAddr,
    /// Headers beside those of the request, `Name: value`.
    #[arg(long = "header", short = 'H')]
    headers: Vec<String>,
    /// A database of countries (mmdb); without it every country is unknown (XX).
    #[arg(long)]
    mmdb: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Waf) -> anyhow::Result<ExitCode> {
    match command {
        Waf::Test(arguments) => test(arguments),
        Waf::Suggest { line } => {
            let text = if line.as_os_str() == "-" {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                text
            } else {
                read(line)?
            };
            let line: Value = serde_json::from_str(text.lines().next().unwrap_or_default())
                .context("this is no log line")?;
            match log::suggest(&line) {
                Ok(exclusion) => println!("{}", exclusion.to_json()),
                Err(why) => bail!("no exclusion follows from this line: {why}"),
            }
            Ok(ExitCode::SUCCESS)
        }
        Waf::Export { acl } => {
            let exported = bundle(acl).and_then(|b| b.export().map_err(|e| wrong(acl, &e)));
            match exported {
                Ok(value) => println!("{}", serde_json::to_string_pretty(&value)?),
                Err(e) => return told(&e),
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn wrong(path: &Path, e: &waf::AclError) -> anyhow::Error {
    anyhow::anyhow!("{}: {e}", path.display())
}

/// The operator's file is wrong.
fn told(e: &anyhow::Error) -> anyhow::Result<ExitCode> {
    eprintln!("ghostlight: {e:#}");
    Ok(ExitCode::from(runtime::EXIT_USAGE))
}

fn bundle(path: &Path) -> anyhow::Result<Bundle> {
    Bundle::parse(&read(path)?).map_err(|e| wrong(path, &e))
}

fn test(arguments: &TestArguments) -> anyhow::Result<ExitCode> {
    let engine =
        bundle(&arguments.acl).and_then(|b| Engine::new(b, b"test").map_err(|e| wrong(&arguments.acl, &e)));
    let engine = match engine {
        Ok(engine) => engine,
        Err(e) => return told(&e),
    };
    let places = places::open(arguments.mmdb.as_deref())?;
    let mut request = request::Owned::read(&arguments.request)?;
    for header in &arguments.headers {
        let Some((name, value)) = header.split_once(':') else {
            bail!("--header `{header}`: write `Name: value`")
        };
        request.headers.push((name.trim().to_owned(), value.trim().as_bytes().to_vec()));
    }
    let headers = request.headers();
    let now_ms = runtime::clock::Wall::now().as_ms();
    let view = request.view(&headers, arguments.client_ip, now_ms);
    let verdict = engine.evaluate(&view, places.as_ref());
    let explained = engine.explain(&view, places.as_ref());
    if arguments.json {
        println!("{}", object(&engine, &view, &verdict, &explained));
    } else {
        for e in &explained {
            let name = e.within.as_ref().map_or_else(|| e.rule.clone(), |w| format!("{}/{w}", e.rule));
            println!("{} {:<10} {name}", if e.matches { "matches" } else { "-      " }, e.action);
            for d in &e.details {
                println!("          {} in {} {}: {}", d.condition, d.location, d.name, d.data.escape_debug());
            }
        }
        let within = verdict.terminating.within.as_ref().map(|w| format!("/{w}")).unwrap_or_default();
        println!("{} by {}{within}", verdict.outcome.name(), verdict.terminating.rule);
    }
    Ok(if verdict.outcome == Outcome::Allow { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What `--json` prints.
fn object(engine: &Engine, view: &RequestView<'_>, verdict: &Verdict, explained: &[Explained]) -> Value {
    let rules: Vec<Value> = explained
        .iter()
        .map(|e| {
            let details: Vec<Value> = e
                .details
                .iter()
                .map(|d| json!({"condition": d.condition, "location": d.location, "name": d.name, "data": d.data}))
                .collect();
            json!({"rule": e.rule, "within": e.within, "matches": e.matches, "action": e.action, "details": details})
        })
        .collect();
    let source = log::LogSource { name: "GHOSTLIGHT".into(), id: "waf-test".into() };
    let line = log::line(engine, &source, view, verdict, &log::Redaction::default());
    json!({"action": verdict.outcome.name(), "wcu": engine.bundle().wcu(), "rules": rules, "log": line})
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/waf/web-acl.json");

    fn judged(url: &str) -> (Value, Verdict) {
        let engine = Engine::new(bundle(Path::new(ACL)).unwrap(), b"key").unwrap();
        let request = request::Owned::read(url).unwrap();
        let headers = request.headers();
        let view = request.view(&headers, IpAddr::from([192, 0, 2, 1]), 1_700_000_000_000);
        let verdict = engine.evaluate(&view, &waf::Nowhere);
        (object(&engine, &view, &verdict, &engine.explain(&view, &waf::Nowhere)), verdict)
    }

    #[test]
    fn what_test_prints_is_documented_and_a_refused_request_leads_to_its_exclusion() {
        let (told, verdict) =
            judged("http://shop.example.kr/DVWA/?name=%3Cscript%3Ealert(document.cookie);%3C/script%3E");
        assert_eq!(verdict.outcome, Outcome::Block);
        crate::documented("`ghostlight waf test --json`", &told);
        crate::documented("A rule of `waf test`", &told["rules"][0]);
        let exclusion = log::suggest(&told["log"]).unwrap().to_json();
        assert_eq!(
            exclusion,
            json!({"Rule": "CrossSiteScripting_QUERYARGUMENTS", "Path": "/DVWA/", "Parameter": "name"})
        );
        let mut bundle: Value = serde_json::from_str(&read(Path::new(ACL)).unwrap()).unwrap();
        bundle = json!({"WebACL": bundle, "Exclusions": [exclusion]});
        assert!(Bundle::read(&bundle).is_ok());
        assert!(log::suggest(&judged("http://shop.example.kr/").0["log"]).is_err(), "nothing was refused");
    }

    #[test]
    fn what_only_we_know_is_not_exported() {
        let error = bundle(Path::new(ACL)).unwrap().export().unwrap_err();
        assert_eq!(error.path, "$.Rules[5].Statement.ManagedRuleGroupStatement.VendorName");
        let korea = Path::new(ACL).with_file_name("only-korea.json");
        assert!(bundle(&korea).unwrap().export().unwrap_err().path.ends_with("ARN"));
    }
}
