//! The model that stateright explores: all actors, taken together.

use stateright::{Model, Property};

use crate::{
    actors::{applier, controller, edge, faults, mode, promotion, way_back},
    properties,
    rules::Scope,
    state::State,
};

/// Everything that can happen, by actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Visitors and gateways.
    Edge(edge::Act),
    /// The primary's agents move the mode.
    Mode(mode::Act),
    /// The standby applies.
    Applier(applier::Act),
    /// Leaders and operators change the register.
    Controller(controller::Act),
    /// A standby becomes primary, or refuses.
    Promotion(promotion::Act),
    /// A site becomes a standby again.
    WayBack(way_back::Act),
    /// A database fails.
    Fault(faults::Act),
}

impl Model for Scope {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(self.writes)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        fn all<A>(actions: &mut Vec<Action>, wrap: fn(A) -> Action, offer: impl FnOnce(&mut Vec<A>)) {
            let mut acts = Vec::new();
            offer(&mut acts);
            actions.extend(acts.into_iter().map(wrap));
        }
        all(actions, Action::Edge, |acts| edge::offer(self, state, acts));
        all(actions, Action::Mode, |acts| mode::offer(self, state, acts));
        all(actions, Action::Applier, |acts| applier::offer(self, state, acts));
        all(actions, Action::Controller, |acts| controller::offer(self, state, acts));
        all(actions, Action::Promotion, |acts| promotion::offer(self, state, acts));
        all(actions, Action::WayBack, |acts| way_back::offer(self, state, acts));
        all(actions, Action::Fault, |acts| faults::offer(self, state, acts));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Edge(act) => edge::step(self, &mut state, act)?,
            Action::Mode(act) => mode::step(self, &mut state, act)?,
            Action::Applier(act) => applier::step(self, &mut state, act)?,
            Action::Controller(act) => controller::step(self, &mut state, act)?,
            Action::Promotion(act) => promotion::step(self, &mut state, act)?,
            Action::WayBack(act) => way_back::step(self, &mut state, act)?,
            Action::Fault(act) => faults::step(self, &mut state, act)?,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Scope>> {
        properties::all(self)
    }
}
