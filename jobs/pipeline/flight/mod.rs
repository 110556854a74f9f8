//! The `flight` job: queries by Arrow Flight SQL, for tools that connect by ADBC or JDBC.
//!
//! What can be asked is what `query` can be asked, and no more: every request sees the tables of the lake as they are when
//! it comes, and a statement that would change anything is refused. Beyond the loopback interface whoever asks must bring a
//! token; there is no encryption, which is a proxy's job.

use std::net::SocketAddr;

use crate::define::profile::Profile;
use crate::error::{Error, Result};

#[cfg(feature = "flight-sql")]
mod listing;
#[cfg(feature = "flight-sql")]
mod sessions;

/// Holds the token that whoever asks must bring.
#[cfg(feature = "flight-sql")]
const TOKEN: &str = "SCOREHOUSE_FLIGHT_TOKEN";

/// Answers until the process is ended.
///
/// # Errors
/// Definition: an address beyond this machine without a token. Temporary: nobody can listen there.
#[cfg(feature = "flight-sql")]
pub async fn serve(profile: &Profile, listen: SocketAddr) -> Result<()> {
    use arrow_flight::flight_service_server::FlightServiceServer;
    use datafusion::execution::context::SQLOptions;
    use datafusion_flight_sql_server::service::FlightSqlService;
    use tonic::transport::Server;
    use tonic::transport::server::TcpIncoming;

    use super::query::Reader;
    use crate::clock;

    let token = clock::env(TOKEN).filter(|token| !token.is_empty());
    if token.is_none() && !listen.ip().is_loopback() {
        let help = format!("set {TOKEN}, or listen at 127.0.0.1");
        let what = format!("{listen} can be reached from elsewhere, and asks nobody who they are");
        return Err(Error::definition(format!("{what}\n  help: {help}")));
    }
    let unable = |why: &dyn std::fmt::Display| Error::temporary(format!("cannot listen at {listen}: {why}"));
    let sessions = sessions::Sessions { reader: Reader::open(profile)?, token };
    let only_queries = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let service = FlightSqlService::new_with_provider(Box::new(sessions)).with_sql_options(only_queries);
    let incoming = TcpIncoming::bind(listen).map_err(|e| unable(&e))?.with_nodelay(Some(true));
    tracing::info!("answering Flight SQL at grpc://{listen}");
    let server = Server::builder().add_service(FlightServiceServer::new(listing::Listing(service)));
    server.serve_with_incoming(incoming).await.map_err(|e| unable(&e))
}

/// Says that this build cannot.
#[cfg(not(feature = "flight-sql"))]
pub async fn serve(_: &Profile, _: SocketAddr) -> Result<()> {
    let help = "build with `cargo build --features flight-sql`";
    Err(Error::definition(format!("this build knows no Flight SQL\n  help: {help}")))
}
