//! Which process of a lab uses how much CPU: what is at its limit, and who uses it.

use std::{collections::BTreeMap, fs, time::Duration};

use crate::{
    drill::{Aborted, access::Access},
    ledger::to_f64,
    stats::rounded,
};

/// `sysconf(_SC_CLK_TCK)` of Linux on every machine that this runs on.
const TICKS_PER_S: u64 = 100;
/// This process: the visitors, their DNS caches, and the lab's own front door and link.
const VISITORS: &str = "visitors and lab";

/// CPU time since some beginning, in milliseconds.
pub(super) struct Cost {
    by_process: BTreeMap<String, u64>,
    busy: u64,
    all: u64,
}

impl Cost {
    /// What was used between `after` and `after + during` from now: milliseconds by process, and the part of all cores
    /// that was busy, in percent.
    pub(super) async fn between(
        access: &Access,
        after: Duration,
        during: Duration,
    ) -> Result<(BTreeMap<String, f64>, f64), Aborted> {
        // The load that is measured runs meanwhile.
        tokio::time::sleep(after).await;
        let before = Cost::now(access).await?;
        tokio::time::sleep(during).await;
        Ok(Cost::now(access).await?.since(&before))
    }

    async fn now(access: &Access) -> Result<Cost, Aborted> {
        let lab = access.lab().await?;
        let processes = lab.sites.iter().flat_map(|site| &site.processes).chain(&lab.witness);
        let mut by_process = BTreeMap::new();
        for (name, pid) in processes.filter_map(|p| Some((p.name.clone(), p.pid?))) {
            by_process.insert(name, used(&format!("/proc/{pid}/stat"))?);
        }
        by_process.insert(VISITORS.to_owned(), used("/proc/self/stat")?);
        let text = fs::read_to_string("/proc/stat").map_err(|e| Aborted::from(format!("/proc/stat: {e}")))?;
        // user nice system idle iowait irq softirq steal
        let ticks: Vec<u64> = text
            .lines()
            .next()
            .into_iter()
            .flat_map(|line| line.split_ascii_whitespace().skip(1).take(8))
            .filter_map(|n| n.parse().ok())
            .collect();
        let all = ticks.iter().sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        Ok(Cost { by_process, busy: all - idle, all })
    }

    fn since(&self, before: &Cost) -> (BTreeMap<String, f64>, f64) {
        let ms = |name: &String, now: &u64| {
            let then = before.by_process.get(name).copied().unwrap_or(0);
            to_f64(now.saturating_sub(then) * 1_000 / TICKS_PER_S)
        };
        let by_process = self.by_process.iter().map(|(name, now)| (name.clone(), ms(name, now))).collect();
        let (busy, all) = (self.busy.saturating_sub(before.busy), self.all.saturating_sub(before.all).max(1));
        (by_process, rounded(100.0 * to_f64(busy) / to_f64(all), 1))
    }
}

/// User and system time of a process, in ticks.
fn used(stat: &str) -> Result<u64, Aborted> {
    let odd = |e: &dyn std::fmt::Display| Aborted::from(format!("{stat}: {e}"));
    let text = fs::read_to_string(stat).map_err(|e| odd(&e))?;
    // The name stands in brackets and may hold anything.
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
    let times: Vec<u64> = fields.skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
    match times.as_slice() {
        [user, system] => Ok(user + system),
        _ => Err(odd(&"it has no times")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_some_time_and_a_missing_one_is_told() {
        let began = used("/proc/self/stat").unwrap();
        let mut n = 0u64;
        while used("/proc/self/stat").unwrap() == began {
            n = n.wrapping_mul(31).wrapping_add(7);
        }
        assert!(used("/proc/0/stat").unwrap_err().to_string().starts_with("/proc/0/stat: "), "{n}");
    }

    #[test]
    fn what_was_used_is_the_difference() {
        let cost =
            |ticks, busy, all| Cost { by_process: BTreeMap::from([("a".to_owned(), ticks)]), busy, all };
        let (by_process, busy) = cost(150, 190, 400).since(&cost(50, 100, 200));
        assert_eq!((by_process["a"], busy), (1_000.0, 45.0));
    }
}
