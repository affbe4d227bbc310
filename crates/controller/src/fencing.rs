//! What became of each means by which a site is fenced, one by one: done, not done, or not possible, and why.
//!
//! Fencing an old primary is a courtesy and no condition (nothing that it writes can be acknowledged any more), but
//! whoever reads the journal must see what of it is done, and never a claim that nobody has checked.

use model::{
    agent::{FenceDriver, FenceMeans, FenceReply, FenceResult},
    observation::ProbeResult,
};

/// The report, from the agent's reply (or why there is none), a look at the site's door, and what its provider said.
pub fn report(
    reply: Result<&FenceReply, &str>,
    door: &ProbeResult,
    provider: FenceDriver,
) -> Vec<FenceDriver> {
    let driver = |driver, done: bool, why: Option<String>| FenceDriver {
        driver,
        result: if done { FenceResult::Done } else { FenceResult::NotDone },
        why: why.filter(|_| !done),
    };
    let of_the_agent = match reply {
        Ok(reply) => {
            let why = || reply.why.clone().or_else(|| Some("the agent does not say why".into()));
            let locked = reply.account_locked;
            vec![
                driver(FenceMeans::Row, reply.row_raised, why()),
                driver(FenceMeans::AccountLock, locked, why()),
                FenceDriver {
                    why: Some(match reply.sessions_left {
                        0 if locked => format!("{} sessions were ended, none is left", reply.sessions_killed),
                        left => format!("{left} sessions are left"),
                    }),
                    ..driver(FenceMeans::SessionsKilled, locked && reply.sessions_left == 0, None)
                },
            ]
        }
        Err(why) => [FenceMeans::Row, FenceMeans::AccountLock, FenceMeans::SessionsKilled]
            .map(|means| driver(means, false, Some(why.to_owned())))
            .into(),
    };
    let untried = || Some("the agent did not come to it".to_owned());
    let read_only = match reply {
        Ok(reply) => {
            reply.read_only.clone().unwrap_or_else(|| driver(FenceMeans::ReadOnly, false, untried()))
        }
        Err(why) => driver(FenceMeans::ReadOnly, false, Some(why.to_owned())),
    };
    let gateway = match door {
        ProbeResult::Failed { .. } => driver(FenceMeans::GatewayDrained, true, None),
        ProbeResult::Ok => {
            driver(FenceMeans::GatewayDrained, false, Some("it still lets visitors in".into()))
        }
        ProbeResult::Refused | ProbeResult::Silent | ProbeResult::Never => driver(
            FenceMeans::GatewayDrained,
            false,
            Some("it does not answer: nothing is known of it".into()),
        ),
    };
    of_the_agent.into_iter().chain([read_only, gateway, provider]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reply: Result<&FenceReply, &str>, door: &ProbeResult, expected: [FenceResult; 6]) {
        let result = FenceResult::NotPossible;
        let provider = FenceDriver { driver: FenceMeans::Provider, result, why: Some("none".into()) };
        let told = report(reply, door, provider);
        assert_eq!(told.iter().map(|d| d.result).collect::<Vec<_>>(), expected, "{told:?}");
        let silent = told.iter().find(|d| d.result != FenceResult::Done && d.why.is_none());
        assert_eq!(silent, None, "what is not done says why");
    }

    #[test]
    fn nothing_is_called_done_that_was_not_seen_done() {
        use FenceResult::{Done, NotDone, NotPossible};
        let whole = FenceReply {
            row_raised: true,
            account_locked: true,
            sessions_killed: 3,
            sessions_left: 0,
            why: None,
            read_only: Some(FenceDriver {
                driver: FenceMeans::ReadOnly,
                result: NotPossible,
                why: Some("the provider keeps the privilege".into()),
            }),
        };
        let no = ProbeResult::Failed { why: "503".into() };
        check(Ok(&whole), &no, [Done, Done, Done, NotPossible, Done, NotPossible]);
        check(Ok(&whole), &ProbeResult::Ok, [Done, Done, Done, NotPossible, NotDone, NotPossible]);
        let set = FenceDriver { driver: FenceMeans::ReadOnly, result: Done, why: None };
        let set = FenceReply { read_only: Some(set), ..whole.clone() };
        check(Ok(&set), &no, [Done, Done, Done, Done, Done, NotPossible]);
        let stuck = FenceReply { sessions_left: 1, why: Some("busy".into()), ..whole.clone() };
        check(Ok(&stuck), &no, [Done, Done, NotDone, NotPossible, Done, NotPossible]);
        let only_row = FenceReply { account_locked: false, sessions_killed: 0, read_only: None, ..whole };
        check(Ok(&only_row), &no, [Done, NotDone, NotDone, NotDone, Done, NotPossible]);
        check(
            Err("silent"),
            &ProbeResult::Silent,
            [NotDone, NotDone, NotDone, NotDone, NotDone, NotPossible],
        );
    }
}
