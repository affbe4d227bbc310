//! An ACL, ready to judge requests.

use crate::{
    acl::{AclError, Bundle, Field, Ours},
    effort::Effort,
    evaluate::Evaluation,
    memo::Memo,
    plan::{Plan, Planner},
    rate::Rates,
    request::{Places, RequestView},
    verdict::{Explained, Verdict},
};

/// An ACL with everything that it refers to, compiled.
///
/// Owns the ACL's patterns in one automaton, the counters of its rate-based rules, and the memory of what held nothing;
/// nothing else changes after it was made, so threads share one. Building takes some tens of milliseconds and a few MB; judging a request takes no lock
/// unless a rate-based rule counts it. A changed ACL is a new engine, and its counters begin anew, as AWS's do.
pub struct Engine {
    pub(crate) bundle: Bundle,
    pub(crate) plan: Plan,
    pub(crate) rates: Rates,
    pub(crate) memo: Memo,
    pub(crate) key: Vec<u8>,
}

impl Engine {
    /// Compiles the ACL. `key` signs the tokens of challenges: the same on every gateway that shares visitors.
    pub fn new(bundle: Bundle, key: &[u8]) -> Result<Self, AclError> {
        let plan = Planner::new(&bundle).plan().map_err(|problem| AclError {
            path: "$".into(),
            problem,
            allowed: "patterns that compile together in a few MB".into(),
        })?;
        let rates = Rates::new(plan.rates.iter().map(|r| r.window_s));
        Ok(Self { bundle, plan, rates, memo: Memo::new(), key: key.to_vec() })
    }

    /// How many bytes of a body are inspected. The caller gives one more, if there is one, so that oversize is seen.
    pub fn body_limit(&self) -> usize {
        self.bundle.acl.body_limit
    }

    /// Whether any rule looks at bodies. If none does, nobody has to wait for one.
    pub fn reads_body(&self) -> bool {
        let of_body = |field: &Field| {
            matches!(
                field,
                Field::Body(_)
                    | Field::JsonBody { .. }
                    | Field::Ours(Ours::BodyValues | Ours::BodyNames | Ours::FileNames | Ours::Files)
            )
        };
        self.plan.fields.iter().any(of_body)
    }

    /// The ACL that it was made of.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Judges a request.
    pub fn evaluate(&self, request: &RequestView<'_>, places: &dyn Places) -> Verdict {
        Evaluation::new(self, request, places).run()
    }

    /// Asks every rule by itself: for a person who wants to know why.
    pub fn explain(&self, request: &RequestView<'_>, places: &dyn Places) -> Vec<Explained> {
        Evaluation::new(self, request, places).explain()
    }

    /// Judges a request and tells what that took.
    pub fn effort(&self, request: &RequestView<'_>, places: &dyn Places) -> (Verdict, Effort) {
        Evaluation::new(self, request, places).run_measured()
    }

    /// How many patterns there are: what a status page shows.
    pub fn pattern_count(&self) -> usize {
        self.plan.bank.len()
    }
}
