//! What a controller tells Prometheus.

use model::{Problem, observation::View};
use runtime::metrics::{
    Metrics,
    prometheus_client::{
        metrics::{counter::Counter, family::Family, gauge::Gauge},
        registry::Registry,
    },
};

type Labels<const N: usize> = [(&'static str, String); N];

/// The families of this crate. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ControllerMetrics {
    /// Probes by site, target and result.
    pub probes: Family<Labels<3>, Counter>,
    /// Steps by kind and result.
    pub steps: Family<Labels<2>, Counter>,
    problem: Family<Labels<1>, Gauge>,
    failover_ready: Family<Labels<1>, Gauge>,
    leader: Gauge,
    epoch: Gauge,
    register_age_ms: Gauge,
}

impl ControllerMetrics {
    /// Declares them.
    pub fn register(metrics: &Metrics) -> ControllerMetrics {
        let m = ControllerMetrics::default();
        metrics.register(|r: &mut Registry| {
            r.register(
                "controller_probes",
                "Probes that ended, by site, target and result",
                m.probes.clone(),
            );
            r.register("controller_steps", "Steps that ended, by kind and result", m.steps.clone());
            r.register("controller_problem", "1 while the named problem holds", m.problem.clone());
            r.register(
                "controller_failover_ready",
                "1 while a failover to the site would succeed, as far as controllers see",
                m.failover_ready.clone(),
            );
            r.register("controller_leader", "1 while this controller leads", m.leader.clone());
            r.register("controller_epoch", "The register's epoch, as last read here", m.epoch.clone());
            r.register(
                "controller_register_age_milliseconds",
                "Time since the register was last read, from the sending of the question",
                m.register_age_ms.clone(),
            );
        });
        m
    }

    /// Shows the newest view.
    pub fn show(&self, view: &View, leads: bool) {
        let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        for entry in decide::problem::TABLE {
            let holds = view.verdict.problems.contains(&entry.problem);
            self.problem.get_or_create(&[("problem", problem_name(entry.problem))]).set(holds.into());
        }
        if let Some(readiness) = &view.readiness {
            let labels = |site: &model::Site| [("site", site.to_string())];
            for seen in view.observations.iter().filter(|o| o.of != readiness.site) {
                self.failover_ready.get_or_create(&labels(&seen.of)).set(0);
            }
            self.failover_ready.get_or_create(&labels(&readiness.site)).set(readiness.ready.into());
        }
        self.leader.set(leads.into());
        self.epoch.set(view.register.as_ref().map_or(0, |r| gauge(r.epoch.0)));
        self.register_age_ms.set(view.register_age_ms.map_or(-1, gauge));
    }
}

fn problem_name(problem: Problem) -> String {
    decide::scenario::name(problem).to_owned()
}
