//! The register as the witness's controller serves it over its admin API.

use std::{net::SocketAddr, time::Duration};

use model::{
    Register as Record,
    register::{CasReply, CasRequest, LeaseReply, LeaseRequest, Orders, OrdersReply, OrdersRequest},
};
use runtime::{
    admin::{Client, ClientError},
    secret::Secret,
};

use crate::register::{Register, RegisterError};

/// A register behind HTTP. Cheap to clone; keeps its connections open.
#[derive(Clone, Debug)]
pub struct RemoteRegister {
    client: Client,
    timeout: Duration,
}

impl RemoteRegister {
    /// The register that the process at `witness` serves; every question may take `timeout`.
    pub fn new(witness: SocketAddr, token: Secret, timeout: Duration) -> RemoteRegister {
        RemoteRegister { client: Client::new(witness, token), timeout }
    }
}

impl Register for RemoteRegister {
    async fn read(&self) -> Result<Record, RegisterError> {
        self.client.get("/v1/register", self.timeout).await.map_err(fault)
    }

    async fn cas(&self, request: CasRequest) -> Result<CasReply, RegisterError> {
        self.client.post("/v1/register/cas", &request, self.timeout).await.map_err(fault)
    }

    async fn lease(&self, request: LeaseRequest) -> Result<LeaseReply, RegisterError> {
        self.client.post("/v1/lease", &request, self.timeout).await.map_err(fault)
    }

    async fn orders(&self) -> Result<Orders, RegisterError> {
        self.client.get("/v1/orders", self.timeout).await.map_err(fault)
    }

    async fn set_orders(&self, request: OrdersRequest) -> Result<OrdersReply, RegisterError> {
        self.client.post("/v1/orders", &request, self.timeout).await.map_err(fault)
    }
}

/// 4xx is ours to mend; everything else may pass by itself.
fn fault(e: ClientError) -> RegisterError {
    match &e {
        ClientError::Status(_, status, _) if status.is_client_error() => {
            RegisterError::Refused(e.to_string())
        }
        ClientError::Unreadable(..) => RegisterError::Refused(e.to_string()),
        _ => RegisterError::Unreachable(e.to_string()),
    }
}
