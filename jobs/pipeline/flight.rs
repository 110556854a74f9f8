//! The `flight` job: queries by Arrow Flight SQL, for tools that connect by ADBC or JDBC.
//!
//! What can be asked is what `query` can be asked, and no more: every request sees the tables of the lake as they are when
//! it comes, and a statement that would change anything is refused. Beyond the loopback interface whoever asks must bring a
//! token; there is no encryption, which is a proxy's job.

use std::net::SocketAddr;

use crate::define::profile::Profile;
use crate::error::{Error, Result};

/// Holds the token that whoever asks must bring.
#[cfg(feature = "flight-sql")]
const TOKEN: &str = "SCOREHOUSE_FLIGHT_TOKEN";

/// Answers until the process is ended.
///
/// # Errors
/// Definition: an address beyond this machine without a token. Temporary: nobody can listen there.
#[cfg(feature = "flight-sql")]
pub async fn serve(profile: &Profile, listen: SocketAddr) -> Result<()> {
    use datafusion::execution::context::SQLOptions;
    use datafusion_flight_sql_server::service::FlightSqlService;

    use super::query::Reader;
    use crate::clock;
    use crate::error::Kind;

    let token = clock::env(TOKEN).filter(|token| !token.is_empty());
    if token.is_none() && !listen.ip().is_loopback() {
        let help = format!("set {TOKEN}, or listen at 127.0.0.1");
        return Err(Error::definition(format!(
            "{listen} can be reached from elsewhere, and asks nobody who they are\n  help: {help}"
        )));
    }
    let unable = |why: &dyn std::fmt::Display| Error::new(Kind::Temporary, format!("cannot listen at {listen}: {why}"));
    let socket = std::net::TcpListener::bind(listen).map_err(|e| unable(&e))?;
    socket.set_nonblocking(true).map_err(|e| unable(&e))?;
    let only_queries = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let tables = server::Tables { reader: Reader::open(profile)?, token };
    tracing::info!("answering Flight SQL at grpc://{listen}");
    let service = FlightSqlService::new_with_provider(Box::new(tables)).with_sql_options(only_queries);
    service.serve_with_listener(socket).await.map_err(|e| unable(&e))
}

#[cfg(feature = "flight-sql")]
mod server {
    use async_trait::async_trait;
    use datafusion::execution::SessionState;
    use datafusion_flight_sql_server::session::SessionStateProvider;
    use sha2::{Digest, Sha256};
    use tonic::{Request, Status};

    use crate::error::Kind;
    use crate::pipeline::query::Reader;

    pub struct Tables {
        pub reader: Reader,
        pub token: Option<String>,
    }

    impl Tables {
        fn knows(&self, request: &Request<()>) -> bool {
            let Some(token) = &self.token else { return true };
            let said = request.metadata().get("authorization").and_then(|said| said.to_str().ok());
            let said = said.and_then(|said| said.strip_prefix("Bearer ")).unwrap_or_default();
            // Digests, so that how long it takes says nothing of how much was right.
            Sha256::digest(said) == Sha256::digest(token)
        }
    }

    #[async_trait]
    impl SessionStateProvider for Tables {
        async fn new_context(&self, request: &Request<()>) -> Result<SessionState, Status> {
            if !self.knows(request) {
                return Err(Status::unauthenticated("expected the header `authorization: Bearer TOKEN`"));
            }
            let session = self.reader.everything().await;
            session.map(|session| session.context().state()).map_err(|error| match error.kind() {
                Kind::Temporary => Status::unavailable(error.to_string()),
                Kind::Data => Status::data_loss(error.to_string()),
                _ => Status::internal(error.to_string()),
            })
        }
    }
}

/// Says that this build cannot.
#[cfg(not(feature = "flight-sql"))]
pub async fn serve(_: &Profile, _: SocketAddr) -> Result<()> {
    let help = "build with `cargo build --features flight-sql`";
    Err(Error::definition(format!("this build knows no Flight SQL\n  help: {help}")))
}
