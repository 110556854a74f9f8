//! Who may ask, and what they see: a session of its own for each request.

use async_trait::async_trait;
use datafusion::execution::SessionState;
use datafusion_flight_sql_server::session::SessionStateProvider;
use sha2::{Digest, Sha256};
use tonic::{Request, Status};

use crate::error::Kind;
use crate::pipeline::query::Reader;

pub struct Sessions {
    pub reader: Reader,
    /// What whoever asks must bring.
    pub token: Option<String>,
}

impl Sessions {
    fn knows(&self, request: &Request<()>) -> bool {
        let Some(token) = &self.token else { return true };
        let said = request.metadata().get("authorization").and_then(|said| said.to_str().ok());
        let said = said.and_then(|said| said.strip_prefix("Bearer ")).unwrap_or_default();
        // Digests, so that how long it takes says nothing of how much was right.
        Sha256::digest(said) == Sha256::digest(token)
    }
}

#[async_trait]
impl SessionStateProvider for Sessions {
    async fn new_context(&self, request: &Request<()>) -> Result<SessionState, Status> {
        if !self.knows(request) {
            return Err(Status::unauthenticated("expected the header `authorization: Bearer TOKEN`"));
        }
        let session = self.reader.everything().await.map_err(|error| match error.kind() {
            Kind::Temporary => Status::unavailable(error.to_string()),
            Kind::Data => Status::data_loss(error.to_string()),
            _ => Status::internal(error.to_string()),
        })?;
        let mut state = session.context().state();
        // Tools look there for columns, and `show tables` does.
        state.config_mut().options_mut().catalog.information_schema = true;
        Ok(state)
    }
}
