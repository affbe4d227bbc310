//! `ghostlight failover`: an operator ends the present epoch, and accepts what is lost by it.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Context;
use model::{
    Epoch,
    observation::View,
    orders::{Approval, FailoverReply, FailoverRequest},
};
use runtime::{
    admin::{Client, ClientError},
    clock::Boot,
};
use serde_json::json;

use super::{
    drill::print,
    orders::{Who, any_controller},
    status::or_the_labs,
};
use crate::topology;

/// How long one question may take.
const ASK: Duration = Duration::from_secs(3);
/// How often the controller is asked how far it is.
const EVERY: Duration = Duration::from_millis(100);
/// The approval itself is void by then.
const WITHIN: Duration = Duration::from_secs(70);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Acknowledged writes of up to so many seconds may be lost; `any`: whatever it costs. 0 in `sync`.
    #[arg(long, value_parser = loss)]
    accept_data_loss: u64,
    /// The epoch that is to end, as `ghostlight status` shows it; typed, so that an old command ends no new epoch.
    #[arg(long)]
    epoch: u64,
    #[command(flatten)]
    who: Who,
}

fn loss(text: &str) -> Result<u64, String> {
    match text {
        "any" => Ok(Approval::ANY_LOSS),
        _ => text.parse().map_err(|_| format!("`{text}` is neither a number of seconds nor `any`")),
    }
}

pub(crate) fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let loaded = topology::load(&or_the_labs(config))?;
    let token = topology::secret(&loaded, &loaded.value.secrets.admin_token)?;
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    executor.block_on(async {
        let (controller, _) = any_controller::<View>(&loaded, &token, "/v1/view").await?;
        let Who { why, by, json } = &arguments.who;
        let request = FailoverRequest {
            epoch: Epoch(arguments.epoch),
            accept_loss_s: arguments.accept_data_loss,
            by: by.clone(),
            why: why.clone(),
        };
        let reply: FailoverReply = match controller.post("/v1/failover", &request, ASK).await {
            Ok(reply) => reply,
            Err(ClientError::Status(_, _, why)) => {
                eprintln!("ghostlight: refused / 거부됨: {why}");
                return Ok(ExitCode::FAILURE);
            }
            Err(e) => return Err(e).context("the order did not reach a controller, or its answer was lost: look with `ghostlight status`"),
        };
        let Approval { to, epoch, .. } = &reply.approval;
        eprintln!("approved / 승인됨: {to} after epoch {epoch}; controllers carry it out, Ctrl-C does not take it back");
        let began = Boot::now();
        let end = watch(&controller, &reply.approval).await?;
        let seconds = began.elapsed().as_secs_f64();
        if *json {
            print(&line(&reply, end.as_ref().err().map(Vec::as_slice), seconds).to_string());
        }
        match end {
            Ok(()) => {
                eprintln!("{to} serves, after {seconds:.1} s / {to}에서 서비스 중");
                Ok(ExitCode::SUCCESS)
            }
            Err(reasons) => {
                eprintln!("not done / 완료되지 않음: {}", reasons.join("; "));
                Ok(ExitCode::FAILURE)
            }
        }
    })
}

/// Waits until the other site is promoted and visitors are led there; `Err`: why not, as last judged.
async fn watch(controller: &Client, approval: &Approval) -> anyhow::Result<Result<(), Vec<String>>> {
    let began = Boot::now();
    let mut told = String::new();
    loop {
        let view: View = controller.get("/v1/view", ASK).await?;
        let moved =
            view.register.as_ref().is_some_and(|r| r.epoch > approval.epoch && r.primary == approval.to);
        let steered =
            view.steering.as_ref().is_some_and(|s| s.site == approval.to && s.epoch > approval.epoch);
        if moved && steered && view.verdict.plan.steps.is_empty() {
            return Ok(Ok(()));
        }
        let now = view.verdict.reasons.join("; ");
        if now != told {
            eprintln!("{}{now}", if moved { "the register has moved; " } else { "" });
            told = now;
        }
        if began.elapsed() > WITHIN {
            return Ok(Err(view.verdict.reasons));
        }
        tokio::time::sleep(EVERY).await; // the controller tells how far it is when it is asked
    }
}

fn line(reply: &FailoverReply, not_done: Option<&[String]>, seconds: f64) -> serde_json::Value {
    let FailoverReply { approval, loss_s_max } = reply;
    json!({
        "to": approval.to, "epoch_ended": approval.epoch, "accept_loss_s": approval.accept_loss_s,
        "loss_s_max": loss_s_max, "done": not_done.is_none(), "reasons": not_done.unwrap_or_default(),
        "failover_s": seconds, "by": approval.by, "why": approval.why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_documented() {
        let approval = Approval {
            epoch: Epoch(3),
            to: model::Site::new("aws"),
            accept_loss_s: 9,
            by: "kim".into(),
            why: "fire".into(),
            until_ms: 0,
        };
        let line = line(&FailoverReply { approval, loss_s_max: None }, None, 1.0);
        crate::documented("`ghostlight failover --json`", &line);
    }

    #[test]
    fn a_loss_is_a_number_of_seconds_or_any() {
        assert_eq!((loss("30"), loss("any")), (Ok(30), Ok(Approval::ANY_LOSS)));
        assert!(loss("some").is_err() && loss("-1").is_err());
    }
}
