//! Whether a failover *now* would succeed: one line for each thing that it needs, as seen from here.
//!
//! The judgement answers "should we"; this answers "could we", on a day on which nobody wants to. It is built from the
//! same beliefs and the same rules, so a line that says no here is a reason for holding there.

use model::{
    Mode,
    agent::Coverage,
    observation::{Line, Readiness, State},
};

use crate::{
    problem, rules,
    world::{Beliefs, Sight},
};

/// A round of the verifier that is older than this proves little of today.
const ROUND_OLD_S: u64 = 7 * 86_400;

/// How the standby would do.
pub fn of(b: &Beliefs<'_>) -> Readiness {
    let lines = vec![
        promotable(b),
        mode(b),
        lag(b),
        verified(b),
        tunnel(b),
        name_server(b),
        viewpoints(b),
        rules_line(b),
    ];
    let ready = lines.iter().all(|line| line.state != State::No);
    Readiness { site: b.standby.clone(), ready, lines }
}

fn line(name: &str, state: State, found: impl Into<String>) -> Line {
    Line { name: name.to_owned(), state, found: found.into() }
}

fn promotable(b: &Beliefs<'_>) -> Line {
    match b.standby_unready() {
        Some(why) => line("standby", State::No, format!("{} cannot be promoted: {why}", b.standby)),
        None => line("standby", State::Yes, format!("{} can be promoted", b.standby)),
    }
}

fn mode(b: &Beliefs<'_>) -> Line {
    match (b.register_fresh, b.register.mode) {
        (false, _) => line("register", State::No, "the register does not answer"),
        (_, Mode::Sync) => {
            line("register", State::Yes, format!("epoch {}, sync: nothing is lost", b.register.epoch))
        }
        (_, Mode::Solo) => {
            let loss = rules::loss_s_max(b).map_or("an unknown part".into(), |s| format!("up to {s} s"));
            line(
                "register",
                State::No,
                format!("epoch {}, solo: {loss} of acknowledged writes would be lost", b.register.epoch),
            )
        }
    }
}

fn lag(b: &Beliefs<'_>) -> Line {
    match problem::lag_ms(b) {
        None => line("lag", State::Unknown, "not measured"),
        Some(ms) if ms > b.policy.lag_ms_max => {
            line("lag", State::No, format!("{ms} ms, the policy allows {}", b.policy.lag_ms_max))
        }
        Some(ms) => line("lag", State::Yes, format!("{ms} ms")),
    }
}

fn verified(b: &Beliefs<'_>) -> Line {
    match b.standby_said.filter(|s| s.fresh).and_then(|s| s.status.coverage.as_ref()) {
        None => line("verifier", State::Unknown, "nothing has been compared"),
        Some(Coverage { differences, first_difference, .. }) if *differences > 0 => {
            let first = first_difference.as_deref().unwrap_or("unnamed");
            line("verifier", State::No, format!("{differences} rows differ, the first: {first}"))
        }
        Some(Coverage { last_round_age_s: Some(age_s), .. }) => {
            let state = if *age_s > ROUND_OLD_S { State::Unknown } else { State::Yes };
            line("verifier", state, format!("all rows compared {age_s} s ago, none differs"))
        }
        Some(Coverage { permille, .. }) => {
            let found = format!("{permille} of 1000 rows compared in the first round, none differs");
            line("verifier", State::Unknown, found)
        }
    }
}

fn tunnel(b: &Beliefs<'_>) -> Line {
    let took = problem::link_took_ms(b).map_or(String::new(), |ms| format!(", an answer takes {ms} ms"));
    match b.beats {
        Some(true) => {
            line("tunnel", State::Yes, format!("the stream of {} beats at {}{took}", b.primary, b.standby))
        }
        Some(false) => {
            line("tunnel", State::No, format!("{} does not hear the stream of {}", b.standby, b.primary))
        }
        None => line("tunnel", State::Unknown, format!("the agent of {} is not heard", b.standby)),
    }
}

fn name_server(b: &Beliefs<'_>) -> Line {
    match &b.world.steering {
        Some(s) => line("dns", State::Yes, format!("the name server answers, and leads to {}", s.site)),
        None => line("dns", State::No, "the name server does not answer: visitors could not be led away"),
    }
}

fn viewpoints(b: &Beliefs<'_>) -> Line {
    for (place, sight) in [("the witness", &b.from_witness), (b.standby.as_str(), &b.from_standby)] {
        if let Sight::Blind { why } = sight {
            return line("viewpoints", State::No, format!("the view from {place} is missing: {why}"));
        }
    }
    line("viewpoints", State::Yes, "the witness and the standby both see the primary's state")
}

/// What would stand against it though both viewpoints had lost the primary. (The mode has its own line.)
fn rules_line(b: &Beliefs<'_>) -> Line {
    let mut against = rules::against_failover(b, false);
    against.extend(rules::standing(b));
    against.retain(|why| !why.starts_with("no_loss: "));
    match against.as_slice() {
        [] => line("rules", State::Yes, "no safety rule stands against it"),
        some => line("rules", State::No, some.join("; ")),
    }
}
