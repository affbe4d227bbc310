//! What is wrong with a cluster, member by member, in an operator's words.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use etcd_client::{AlarmAction, AlarmType, Client};
use futures_util::future::join_all;
use runtime::clock::Wall;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::members::{Member, Members};
use crate::register::{Examined, Found};

/// Clocks further apart than this are told. The answer's date has whole seconds.
const SKEW_S_MAX: u64 = 2;

/// What one member says of itself.
struct Told {
    version: String,
    leads: bool,
    has_leader: bool,
    members: BTreeSet<u64>,
    alarms: Vec<&'static str>,
}

/// A finding for every member, and what they come to together.
pub(super) async fn members(members: &Members) -> Vec<Examined> {
    let asked =
        members.all().iter().map(|m| async move { (m, told(members, m).await, skew(members, m).await) });
    let asked = join_all(asked).await;
    let mut findings: Vec<Examined> = Vec::new();
    for (member, told, skew) in &asked {
        findings.push(of_member(&member.url, told));
        findings.extend(skew.and_then(|skew_s| of_clock(&member.url, skew_s)));
    }
    findings
        .push(of_cluster(asked.len(), &asked.iter().filter_map(|a| a.1.as_ref().ok()).collect::<Vec<_>>()));
    findings
}

async fn told(members: &Members, member: &Member) -> Result<Told, String> {
    let by = members.deadline();
    let status = member.ask(by, |mut client| async move { client.status().await }).await?;
    let list = member.ask(by, |mut client| async move { client.member_list().await }).await?;
    // Answered from memory, by every member of its own. Not every user may ask.
    let ask = |mut client: Client| async move { client.alarm(AlarmAction::Get, AlarmType::None, None).await };
    let alarms = member.ask(by, ask).await;
    let me = status.header().map_or(0, |header| header.member_id());
    Ok(Told {
        version: status.version().to_owned(),
        leads: status.leader() == me,
        has_leader: status.leader() != 0,
        members: list.members().iter().map(|m| m.id()).collect(),
        alarms: alarms.iter().flat_map(|a| a.alarms()).map(|a| alarm(a.alarm())).collect(),
    })
}

fn alarm(alarm: AlarmType) -> &'static str {
    match alarm {
        AlarmType::Nospace => "NOSPACE",
        AlarmType::Corrupt => "CORRUPT",
        AlarmType::None => "NONE",
    }
}

fn of_member(url: &str, told: &Result<Told, String>) -> Examined {
    let finding = match told {
        Err(why) => Found::Silent(format!("{url}: {why}; start this member of etcd, or mend the way to it")),
        Ok(told) if told.alarms.contains(&"NOSPACE") => Found::Wrong {
            what: format!("{url} has raised the alarm NOSPACE: it takes no changes"),
            fix: "compact and defragment it (etcdctl compact, etcdctl defrag), then `etcdctl alarm disarm`"
                .into(),
        },
        Ok(told) if told.alarms.contains(&"CORRUPT") => Found::Wrong {
            what: format!("{url} has raised the alarm CORRUPT: members hold different data"),
            fix: "remove the member that differs and add it anew with an empty data folder".into(),
        },
        Ok(told) if !told.has_leader => Found::Wrong {
            what: format!("{url} runs, and knows no leader: it does not reach the majority"),
            fix: "mend the way between the members (port 2380), or start the others".into(),
        },
        Ok(told) => Found::Ok(format!(
            "{url}: etcd {}, {}",
            told.version,
            if told.leads { "leader" } else { "follower" }
        )),
    };
    Examined { check: "register_member", finding }
}

fn of_clock(url: &str, skew_s: u64) -> Option<Examined> {
    let wrong = Found::Wrong {
        what: format!("the clock of {url} and this machine's are {skew_s} s apart"),
        fix: "let both follow NTP: journals and certificates are read by the wall clock".into(),
    };
    (skew_s > SKEW_S_MAX).then_some(Examined { check: "register_clock", finding: wrong })
}

/// Whether the cluster bears the loss of a member.
fn of_cluster(named: usize, told: &[&Told]) -> Examined {
    let known: BTreeSet<&BTreeSet<u64>> = told.iter().map(|t| &t.members).collect();
    let size = told.iter().map(|t| t.members.len()).max().unwrap_or(named);
    let majority = size / 2 + 1;
    let answer = told.len();
    let finding = if answer < majority {
        Found::Wrong {
            what: format!("no quorum: {answer} of {size} members answer, {majority} are needed"),
            fix: "start the others; until then answers go on in sync, and no failover is possible".into(),
        }
    } else if known.len() > 1 {
        Found::Wrong {
            what: "the endpoints do not belong to one cluster".into(),
            fix: "name the members of one cluster in register.endpoints (etcdctl member list)".into(),
        }
    } else if size != named {
        Found::Wrong {
            what: format!("the cluster has {size} members, register.endpoints names {named}"),
            fix: "name every member: one that is not named is no help when another is lost".into(),
        }
    } else if size < 3 || size % 2 == 0 {
        Found::Wrong {
            what: format!("{size} members bear the loss of {}", (size - 1) / 2),
            fix: "run three, one a place, or five".into(),
        }
    } else {
        Found::Ok(format!("{answer} of {size} members answer; {} more may be lost", answer - majority))
    };
    Examined { check: "register_quorum", finding }
}

/// How far a member's wall clock and ours are apart, in seconds, by the date of its HTTP answers. Not known over TLS, or
/// where it does not answer.
async fn skew(members: &Members, member: &Member) -> Option<u64> {
    let address: SocketAddr = member.url.strip_prefix("http://")?.trim_end_matches('/').parse().ok()?;
    let said = timeout(members.limit(), date(address)).await.ok()??;
    Some(said.abs_diff(Duration::from_millis(Wall::now().as_ms()).as_secs()))
}

async fn date(address: SocketAddr) -> Option<u64> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /version HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(4_096).read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let date = answer.lines().find_map(|line| line.strip_prefix("Date: "))?;
    let since_1970 = httpdate::parse_http_date(date.trim()).ok()?.duration_since(std::time::UNIX_EPOCH);
    Some(since_1970.ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(members: &[u64]) -> Told {
        Told {
            version: "3.4.23".into(),
            leads: false,
            has_leader: true,
            members: members.iter().copied().collect(),
            alarms: Vec::new(),
        }
    }

    #[track_caller]
    fn check(named: usize, told: &[Told], words: &str) {
        let Examined { finding, .. } = of_cluster(named, &told.iter().collect::<Vec<_>>());
        assert!(format!("{finding:?}").contains(words), "{finding:?}");
    }

    #[test]
    fn a_cluster_is_judged_by_who_answers_and_by_what_the_members_know() {
        let all = [told(&[1, 2, 3]), told(&[1, 2, 3]), told(&[1, 2, 3])];
        check(3, &all, "Ok(\"3 of 3 members answer; 1 more may be lost");
        check(3, &all[..2], "Ok(\"2 of 3 members answer; 0 more may be lost");
        check(3, &all[..1], "no quorum: 1 of 3 members answer, 2 are needed");
        check(3, &[], "no quorum: 0 of 3");
        check(2, &all, "the cluster has 3 members, register.endpoints names 2");
        check(2, &[told(&[1, 2]), told(&[3, 4])], "do not belong to one cluster");
        check(2, &[told(&[1, 2]), told(&[1, 2])], "2 members bear the loss of 0");
        check(1, &[told(&[1])], "1 members bear the loss of 0");
    }

    #[test]
    fn clocks_are_told_when_they_are_apart() {
        assert_eq!(of_clock("http://a", 2), None);
        assert!(of_clock("http://a", 3).is_some());
    }
}
