//! What tables there are, asked by a tool that names no catalogue.
//!
//! The server of the library lists schemas and tables of the catalogue that is named, and nothing where none is: but that is
//! what ADBC and JDBC ask when somebody opens the tree of tables. There is one catalogue, so it is put in here.

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{Any, CommandGetDbSchemas, CommandGetTables, ProstMessageExt};
use arrow_flight::{
    Action, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, PollInfo, SchemaResult, Ticket,
};
use async_trait::async_trait;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use crate::pipeline::query::CATALOG;

/// A service that is asked of the one catalogue.
pub struct Listing<S>(pub S);

/// A ticket for schemas or tables of no catalogue in particular, with the one there is.
fn of_the_catalog(ticket: Ticket) -> Ticket {
    let Ok(asked) = Any::decode(ticket.ticket.as_ref()) else { return ticket };
    let named = match (asked.unpack::<CommandGetTables>(), asked.unpack::<CommandGetDbSchemas>()) {
        (Ok(Some(tables)), _) if tables.catalog.is_none() => {
            CommandGetTables { catalog: Some(CATALOG.into()), ..tables }.as_any()
        }
        (_, Ok(Some(schemas))) if schemas.catalog.is_none() => {
            CommandGetDbSchemas { catalog: Some(CATALOG.into()), ..schemas }.as_any()
        }
        _ => return ticket,
    };
    Ticket { ticket: named.encode_to_vec().into() }
}

#[async_trait]
impl<S: FlightService> FlightService for Listing<S> {
    type HandshakeStream = S::HandshakeStream;
    type ListFlightsStream = S::ListFlightsStream;
    type DoGetStream = S::DoGetStream;
    type DoPutStream = S::DoPutStream;
    type DoActionStream = S::DoActionStream;
    type ListActionsStream = S::ListActionsStream;
    type DoExchangeStream = S::DoExchangeStream;

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        self.0.do_get(request.map(of_the_catalog)).await
    }

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        self.0.handshake(request).await
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        self.0.list_flights(request).await
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        self.0.get_flight_info(request).await
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        self.0.poll_flight_info(request).await
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        self.0.get_schema(request).await
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        self.0.do_put(request).await
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        self.0.do_action(request).await
    }

    async fn list_actions(&self, request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        self.0.list_actions(request).await
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.0.do_exchange(request).await
    }
}
