//! `scorehouse flight`: the lake for tools that speak Arrow Flight SQL.

use std::net::SocketAddr;

use clap::Args;

use super::common;
use crate::error::Result;
use crate::pipeline::flight;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to listen. Beyond this machine a token is needed, in the environment variable SCOREHOUSE_FLIGHT_TOKEN.
    #[arg(long, default_value = "127.0.0.1:50060", value_name = "ADDRESS")]
    listen: SocketAddr,
    #[command(flatten)]
    place: common::Place,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    flight::serve(&arguments.place.resolve()?, arguments.listen).await
}
