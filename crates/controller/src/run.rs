//! The loop, and the tasks that carry out its effects.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use cloud::register::{AnyRegister, Register as _};
use model::{Place, Site, agent::FenceReport, observation::Observation, plan::Steering, topology::Topology};
use runtime::{
    admin::{self, Client},
    clock::{Boot, Wall},
    metrics::Metrics,
    process::Shutdown,
    secret::Secret,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::{
    api::{self, Snapshot},
    drive::{Core, Effect, Event, TICK_MS},
    execute::Hands,
    journal,
    metrics::ControllerMetrics,
    order::Desk,
    probe::Eyes,
};

/// What a controller is made of.
pub struct Setup {
    /// Where it stands.
    pub place: Place,
    /// Both sites, the witness and the rules.
    pub topology: Topology,
    /// Bearer token of the admin APIs.
    pub token: Secret,
    /// The register: the file on the witness, the witness's API elsewhere; or etcd. Who does not ask another controller for
    /// it answers for it.
    pub register: AnyRegister,
    /// The file to which the journal is appended.
    pub journal: PathBuf,
    /// The process's metrics.
    pub metrics: Metrics,
}

/// Runs a controller on `listener` until `shutdown`.
///
/// # Errors
/// When the topology does not name two sites, or the admin API cannot be served any more.
pub async fn run(listener: TcpListener, setup: Setup, shutdown: Shutdown) -> std::io::Result<()> {
    let Setup { place, topology, token, register, journal, metrics } = setup;
    let sites: Vec<Site> = topology.sites.keys().cloned().collect();
    let sites: [Site; 2] =
        sites.try_into().map_err(|_| std::io::Error::other("the topology does not name two sites"))?;

    let first = Snapshot { at: Boot::now(), observations: Vec::new(), view: None };
    let (show, shown) = watch::channel(Arc::new(first));
    let desk = Desk { register: register.clone(), snapshot: shown.clone(), sites: sites.clone() };
    let (mail, mailbox) = mpsc::unbounded_channel();
    let operators = api::operator_routes(shown.clone(), mail.clone());
    let mut routes: Router = api::routes(shown)
        .merge(api::orders_routes(register.clone()))
        .merge(api::order_routes(desk))
        .merge(operators)
        .merge(api::journal_routes(place.clone(), journal.clone()));
    if register.is_at_hand() {
        routes = routes.merge(api::register_routes(register.clone()));
    }
    let own_metrics = ControllerMetrics::register(&metrics);
    let (note, notes) = mpsc::unbounded_channel();
    let journal = tokio::spawn(journal::write(journal, notes));
    let served = tokio::spawn(admin::serve(listener, token.clone(), metrics, routes, shutdown.clone()));

    let preferred = topology.service.preferred.clone();
    let core = Core::new(place.clone(), sites, topology.policy.clone()).preferring(preferred);
    let fenced = Fenced { place: place.clone(), note: note.clone(), reports: watch::Sender::new(Vec::new()) };
    let hands = Limbs::new(&place, &topology, &token, register, mail, own_metrics.clone(), fenced);
    let effects = Effects { limbs: hands, note, show, metrics: own_metrics };
    drive(core, mailbox, effects, shutdown).await;
    if let Err(e) = journal.await {
        tracing::error!("the journal's task ended early: {e}");
    }
    served.await.map_err(std::io::Error::other)?
}

struct Effects {
    limbs: Limbs,
    note: mpsc::UnboundedSender<journal::Entry>,
    show: watch::Sender<Arc<Snapshot>>,
    metrics: ControllerMetrics,
}

/// THE loop: gather one event, apply it, start what follows from it.
async fn drive(
    mut core: Core,
    mut mailbox: mpsc::UnboundedReceiver<Event>,
    mut effects: Effects,
    shutdown: Shutdown,
) {
    let mut ticks = interval(Duration::from_millis(TICK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => Event::Tick,
            Some(event) = mailbox.recv() => event,
        };
        let now = Boot::now();
        for effect in core.apply(now.as_ms(), Wall::now().as_ms(), event) {
            match effect {
                Effect::Note(entry) => {
                    if effects.note.send(*entry).is_err() {
                        tracing::error!("the journal's task has ended; this line is lost");
                    }
                }
                other => effects.limbs.begin(other),
            }
        }
        let mut view = core.view(now.as_ms());
        view.fencing = effects.limbs.fenced.reports.borrow().clone();
        effects.metrics.show(&view, core.leads(now.as_ms()));
        let observations = core.observations(now.as_ms());
        effects.show.send_replace(Arc::new(Snapshot { at: now, observations, view: Some(view) }));
    }
    effects.limbs.tasks.shutdown().await;
}

/// Where it is told what became of fencing: the journal, and the view. Cheap to clone.
#[derive(Clone, Debug)]
struct Fenced {
    place: Place,
    note: mpsc::UnboundedSender<journal::Entry>,
    /// The newest report of each site.
    reports: watch::Sender<Vec<FenceReport>>,
}

impl Fenced {
    fn tell(&self, report: FenceReport) {
        self.reports.send_modify(|known| {
            known.retain(|old| old.site != report.site);
            known.push(report.clone());
        });
        let (at_ms, epoch) = (report.at_ms, Some(report.epoch));
        let (place, what) = (self.place.to_string(), journal::What::Fencing { report });
        // Only who leads takes a step.
        if self.note.send(journal::Entry { at_ms, place, leads: true, epoch, what }).is_err() {
            tracing::error!("the journal's task has ended; the report of a fence is lost");
        }
    }
}

/// Carries out effects, each in a task of its own with a deadline, and mails what came of it.
struct Limbs {
    eyes: Eyes,
    hands: Hands,
    register: AnyRegister,
    nameserver: Client,
    others: BTreeMap<Place, Client>,
    timeout: Duration,
    mail: mpsc::UnboundedSender<Event>,
    metrics: ControllerMetrics,
    fenced: Fenced,
    /// Everything under way. Ended with the loop, so that nothing of a controller outlives it.
    tasks: JoinSet<()>,
}

impl Limbs {
    fn new(
        place: &Place,
        topology: &Topology,
        token: &Secret,
        register: AnyRegister,
        mail: mpsc::UnboundedSender<Event>,
        metrics: ControllerMetrics,
        fenced: Fenced,
    ) -> Limbs {
        let client = |address: SocketAddr| Client::new(address, token.clone());
        let eyes = Eyes::new(place, topology, token);
        let nameserver = client(topology.witness.nameserver.admin);
        let mut others: BTreeMap<Place, Client> = topology
            .sites
            .iter()
            .map(|(site, c)| {
                (Place::Site(site.clone()), client(reach(place, site, topology).unwrap_or(c.controller)))
            })
            .collect();
        others.insert(Place::Witness, client(topology.witness.controller));
        Limbs {
            hands: Hands::new(register.clone(), eyes.clone(), nameserver.clone(), topology.policy.clone()),
            eyes,
            register,
            nameserver,
            others,
            timeout: Duration::from_millis(topology.policy.probe_timeout_ms),
            mail,
            metrics,
            fenced,
            tasks: JoinSet::new(),
        }
    }

    fn begin(&mut self, effect: Effect) {
        let sent_ms = Boot::now().as_ms();
        match effect {
            Effect::Probe { of, target, sequence } => {
                let (eyes, metrics) = (self.eyes.clone(), self.metrics.clone());
                self.spawn(async move {
                    let (result, status) = eyes.probe(&of, target).await;
                    let labels = [
                        ("site", of.to_string()),
                        ("target", target.as_str().to_owned()),
                        ("result", word(&result).to_owned()),
                    ];
                    metrics.probes.get_or_create(&labels).inc();
                    Event::Probed { of, target, sequence, result, status: status.map(Box::new) }
                });
            }
            Effect::Ask { place } => {
                let (client, timeout) = (self.others.get(&place).cloned(), self.timeout);
                self.spawn(async move {
                    let observations = match client {
                        Some(client) => {
                            client.get::<Vec<Observation>>("/v1/observations", timeout).await.ok()
                        }
                        None => None,
                    };
                    Event::Told { place, sent_ms, observations }
                });
            }
            Effect::ReadRegister => {
                let register = self.register.clone();
                self.spawn(async move {
                    let record = heard(register.read().await);
                    Event::RegisterRead { sent_ms, record }
                });
            }
            Effect::ReadOrders => {
                let register = self.register.clone();
                self.spawn(async move {
                    let orders = heard(register.orders().await);
                    Event::OrdersRead { sent_ms, orders }
                });
            }
            Effect::ReadSteering => {
                let (client, timeout) = (self.nameserver.clone(), self.timeout);
                self.spawn(async move {
                    let steering = heard(client.get::<Steering>("/v1/steer", timeout).await);
                    Event::SteeringRead { sent_ms, steering }
                });
            }
            Effect::AskLease { request } => {
                let register = self.register.clone();
                self.spawn(async move {
                    let reply = heard(register.lease(request.clone()).await);
                    Event::Leased { sent_ms, request, reply }
                });
            }
            Effect::Take { step } => {
                let (hands, metrics, fenced) =
                    (self.hands.clone(), self.metrics.clone(), self.fenced.clone());
                self.spawn(async move {
                    let (outcome, drivers) = hands.take(&step).await;
                    if let (model::Step::Fence { site, epoch, .. }, false) = (&step, drivers.is_empty()) {
                        let at_ms = Wall::now().as_ms();
                        fenced.tell(FenceReport { site: site.clone(), epoch: *epoch, at_ms, drivers });
                    }
                    let result = if outcome.is_done() { "done" } else { "not_done" };
                    let labels = [("step", step.kind().to_owned()), ("result", result.to_owned())];
                    metrics.steps.get_or_create(&labels).inc();
                    Event::Ended { step, began_ms: sent_ms, outcome }
                });
            }
            Effect::Note(_) => {}
        }
    }

    fn spawn(&mut self, task: impl Future<Output = Event> + Send + 'static) {
        let mail = self.mail.clone();
        while self.tasks.try_join_next().is_some() {} // forget what has ended
        self.tasks.spawn(async move {
            let event = task.await;
            // The loop has ended when nobody takes mail any more: nothing is left to be told.
            mail.send(event).ok();
        });
    }
}

/// The address of the controller at `site` as seen from `place`, where the topology names one.
fn reach(place: &Place, site: &Site, topology: &Topology) -> Option<SocketAddr> {
    match place {
        Place::Site(here) if here != site => topology.sites.get(here)?.peer.controller,
        _ => None,
    }
}

/// The core draws its conclusions from the silence itself; the words are for whoever debugs.
fn heard<T, E: std::fmt::Display>(answer: Result<T, E>) -> Option<T> {
    answer.inspect_err(|e| tracing::debug!("{e}")).ok()
}

fn word(result: &model::observation::ProbeResult) -> &'static str {
    use model::observation::ProbeResult as R;
    match result {
        R::Ok => "ok",
        R::Refused => "refused",
        R::Silent => "silent",
        R::Failed { .. } => "failed",
        R::Never => "never",
    }
}
