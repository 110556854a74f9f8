//! The lake in a bucket: a real S3 server between which and the job stands a proxy that does what networks do.
//!
//! The server is SeaweedFS, started by `orchestration/servers.sh`, which `make test` and `make interop` install. Where it
//! is not installed these tests say so and hold nothing, unless `SCOREHOUSE_SERVERS=required`, as `make interop` says.

#[cfg(feature = "azure")]
mod azure;
mod faults;
mod night;
mod proxy;
mod race;
mod refused;
mod secrets;
mod server;
mod wire;
